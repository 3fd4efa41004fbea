// Rows of sums inside the library: starting them, adding single pairs, and the two ways through a chunk.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "similarity.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {

/// Elements `begin` ... `end` of one sample, every sum in double. Writes [lanes, kSumFields] rows and the upper triangle
/// of [lanes, lanes] products; `rows` counts elements from `begin`.
template <class T>
void exact_chunk(const T* x, const T* const* y, std::size_t lanes, std::size_t begin, std::size_t end, double* rows,
                 double* products) noexcept;

/// The same for whole tiles, summed in float within each; false, and nothing of use written, where that would not keep
/// 1e-8 of every sum (of all pieces so far, with `running`) or something is not finite.
bool float_chunk(const float* x, const float* const* y, std::size_t lanes, std::size_t begin, std::size_t end, double* rows,
                 double* products, RunningSums* running = nullptr) noexcept;

namespace {

inline double total(const double* partial) noexcept {
    return ((partial[0] + partial[4]) + (partial[2] + partial[6])) + ((partial[1] + partial[5]) + (partial[3] + partial[7]));
}

inline double maximum_of(double a, double b) noexcept { return a > b ? a : b; }
inline double minimum_of(double a, double b) noexcept { return a < b ? a : b; }

template <class T>
void start(Extent<T>& extent) noexcept {
    for (std::size_t i = 0; i < kPartialRange; ++i) {
        extent.minimum[i] = std::numeric_limits<T>::infinity();
        extent.maximum[i] = -std::numeric_limits<T>::infinity();
    }
}

/// Widens `low` ... `high` by what was met, and gives the largest magnitude.
template <class T>
void range_of(const Extent<T>& extent, double& low, double& high, double& size) noexcept {
    T least[kPartialRange], most[kPartialRange];
    for (std::size_t i = 0; i < kPartialRange; ++i) {
        least[i] = extent.minimum[i];
        most[i] = extent.maximum[i];
    }
    // In halves: a chain of sixteen would be waited for.
    for (std::size_t half = kPartialRange / 2; half != 0; half /= 2)
        for (std::size_t i = 0; i < half; ++i) {
            least[i] = least[i + half] < least[i] ? least[i + half] : least[i];
            most[i] = most[i + half] > most[i] ? most[i + half] : most[i];
        }
    low = minimum_of(low, static_cast<double>(least[0]));
    high = maximum_of(high, static_cast<double>(most[0]));
    size = maximum_of(std::fabs(low), std::fabs(high));
}

/// One element into a row of sums: the definition, and the careful way through a tile that holds infinities or NaN.
template <class T>
void add_pair(double* row, T x_element, T y_element, std::size_t index) noexcept {
    const double x = static_cast<double>(x_element);
    const double y = static_cast<double>(y_element);
    if (!same_bits(x_element, y_element)) row[kUnequalBits] += 1.0;
    const bool x_finite = std::isfinite(x);
    const bool y_finite = std::isfinite(y);
    if (!x_finite || !y_finite) {
        row[kNonfiniteX] += x_finite ? 0.0 : 1.0;
        row[kNonfiniteY] += y_finite ? 0.0 : 1.0;
        if (row[kFirstNonfinite] < 0.0) row[kFirstNonfinite] = static_cast<double>(index);
        return;
    }
    const double d = y - x;
    row[kCount] += 1.0;
    row[kSumX] += x;
    row[kSumY] += y;
    row[kSumXX] += x * x;
    row[kSumYY] += y * y;
    row[kSumXY] += x * y;
    row[kSumD] += d;
    row[kSumDD] += d * d;
    row[kSumAbsD] += std::fabs(d);
    row[kMaxAbsD] = maximum_of(row[kMaxAbsD], std::fabs(d));
    row[kMaxAbsX] = maximum_of(row[kMaxAbsX], std::fabs(x));
    row[kMaxAbsY] = maximum_of(row[kMaxAbsY], std::fabs(y));
    row[kMinX] = minimum_of(row[kMinX], x);
    row[kMaxX] = maximum_of(row[kMaxX], x);
    row[kMinY] = minimum_of(row[kMinY], y);
    row[kMaxY] = maximum_of(row[kMaxY], y);
}

template <class T>
bool pair_is_finite(T x, T y) noexcept {
    return std::isfinite(x) && std::isfinite(y);
}

template <class T>
void add_products_with_care(const T* x, const T* const* y, std::size_t lanes, std::size_t begin, std::size_t end,
                            double* products) noexcept {
    for (std::size_t index = begin; index < end; ++index) {
        for (std::size_t i = 0; i < lanes; ++i) {
            if (!pair_is_finite(x[index], y[i][index])) continue;
            const double d_i = static_cast<double>(y[i][index]) - static_cast<double>(x[index]);
            for (std::size_t j = i; j < lanes; ++j) {
                if (!pair_is_finite(x[index], y[j][index])) continue;
                products[i * lanes + j] += d_i * (static_cast<double>(y[j][index]) - static_cast<double>(x[index]));
            }
        }
    }
}

}  // namespace
}  // namespace gfpq

// Portable tile kernels, and the tails of the others.
//
// The inner loops below run over independent partial sums in local arrays, eight or sixteen at a time, which every compiler
// turns into whatever vectors the machine has.
#pragma once

#include <cstring>

#include "prefetch.hpp"
#include "similarity_tile.hpp"

namespace gfpq {
namespace {  // each instruction set compiles its own copy

inline bool same_bits(float a, float b) noexcept {
    std::uint32_t p, q;
    std::memcpy(&p, &a, sizeof p);
    std::memcpy(&q, &b, sizeof q);
    return p == q;
}

inline bool same_bits(double a, double b) noexcept {
    std::uint64_t p, q;
    std::memcpy(&p, &a, sizeof p);
    std::memcpy(&q, &b, sizeof q);
    return p == q;
}

template <class T>
inline void add_extent(T value, std::size_t i, Extent<T>& extent) {
    T& low = extent.minimum[i % kPartialRange];
    T& high = extent.maximum[i % kPartialRange];
    low = value < low ? value : low;
    high = value > high ? value : high;
}

template <class T>
inline void add_reference(const T* x, std::size_t begin, std::size_t end, ReferenceSums<T>& sums, double* x_double) {
    for (std::size_t i = begin; i < end; ++i) {
        const double value = static_cast<double>(x[i]);
        x_double[i] = value;
        sums.x[i % kPartialSums] += value;
        sums.xx[i % kPartialSums] += value * value;
        add_extent(x[i], i, sums.extent);
    }
}

template <class T>
inline void add_lane(const T* x, const double* x_double, const T* y, std::size_t begin, std::size_t end,
                     LaneSums<T>& sums, double* errors) {
    for (std::size_t i = begin; i < end; ++i) {
        const std::size_t part = i % kPartialSums;
        const double value = static_cast<double>(y[i]);
        const double error = value - x_double[i];
        const double size = error < 0 ? -error : error;
        errors[i] = error;
        sums.yy[part] += value * value;
        sums.d[part] += error;
        sums.dd[part] += error * error;
        sums.abs_d[part] += size;
        sums.max_abs_d[part] = size > sums.max_abs_d[part] ? size : sums.max_abs_d[part];
        sums.unequal_bits += same_bits(x[i], y[i]) ? 0u : 1u;
        add_extent(y[i], i, sums.extent);
    }
}

inline void add_product(const double* a, const double* b, std::size_t begin, std::size_t end, double* partial) {
    for (std::size_t i = begin; i < end; ++i) partial[i % kPartialProducts] += a[i] * b[i];
}

/// Products with the lanes from number `first` on; `add(a, b, partial)` does one.
template <class Add>
inline void add_products(const double* errors, std::size_t first, const EarlierLanes& earlier, const Add& add) {
    for (std::size_t lane = first; lane < earlier.count; ++lane) {
        double* after = earlier.after[lane];
        for (std::size_t i = 0; i < kPartialProducts; ++i) after[i] = earlier.before[lane][i];
        add(errors, earlier.errors[lane], after);
    }
}

/// Zeros up to the next multiple of 16.
inline void pad_errors(double* errors, std::size_t count) {
    for (; count % kPartialRange != 0; ++count) errors[count] = 0.0;
}

template <class T>
inline void scalar_reference(const T* x, std::size_t count, const ReferenceSums<T>& before, ReferenceSums<T>& after,
                    double* x_double) {
    ReferenceSums<T> sums = before;
    std::size_t i = 0;
    for (; i + kPartialRange <= count; i += kPartialRange) {
        prefetch_lines<kPartialRange>(x + i, kTileAhead);
        for (std::size_t j = 0; j < kPartialRange; ++j) add_extent(x[i + j], j, sums.extent);
        for (std::size_t half = i; half < i + kPartialRange; half += kPartialSums)
            for (std::size_t j = 0; j < kPartialSums; ++j) {
                const double value = static_cast<double>(x[half + j]);
                x_double[half + j] = value;
                sums.x[j] += value;
                sums.xx[j] += value * value;
            }
    }
    add_reference(x, i, count, sums, x_double);
    after = sums;
}

template <class T>
inline void scalar_lane(const T* x, const double* x_double, const T* y, std::size_t count, const LaneSums<T>& before,
               LaneSums<T>& after, double* errors, const EarlierLanes& earlier) {
    LaneSums<T> sums = before;
    std::size_t i = 0;
    for (; i + kPartialRange <= count; i += kPartialRange) {
        prefetch_lines<kPartialRange>(y + i, kTileAhead);
        std::uint32_t unequal = 0;
        for (std::size_t j = 0; j < kPartialRange; ++j) unequal += same_bits(x[i + j], y[i + j]) ? 0u : 1u;
        sums.unequal_bits += unequal;
        for (std::size_t j = 0; j < kPartialRange; ++j) add_extent(y[i + j], j, sums.extent);
        for (std::size_t half = i; half < i + kPartialRange; half += kPartialSums) {
            for (std::size_t j = 0; j < kPartialSums; ++j) {
                const double value = static_cast<double>(y[half + j]);
                const double error = value - x_double[half + j];
                const double size = error < 0 ? -error : error;
                errors[half + j] = error;
                sums.yy[j] += value * value;
                sums.d[j] += error;
                sums.dd[j] += error * error;
                sums.abs_d[j] += size;
                sums.max_abs_d[j] = size > sums.max_abs_d[j] ? size : sums.max_abs_d[j];
            }
        }
    }
    add_lane(x, x_double, y, i, count, sums, errors);
    after = sums;
    add_products(errors, 0, earlier, [count](const double* p, const double* q, double* partial) {
        add_product(p, q, 0, count, partial);
    });
    pad_errors(errors, count);
}

}  // namespace
}  // namespace gfpq

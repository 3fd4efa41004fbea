// Portable tile kernels, and the tails of the others.
#pragma once

#include <cstring>

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
inline void add_reference(const T* x, std::size_t begin, std::size_t end, BufferSums<T>& sums, double* x_double) {
    for (std::size_t i = begin; i < end; ++i) {
        const double value = static_cast<double>(x[i]);
        x_double[i] = value;
        sums.sum[i % kPartialSums] += value;
        sums.sum_squares[i % kPartialSums] += value * value;
        T& low = sums.minimum[i % kPartialRange];
        T& high = sums.maximum[i % kPartialRange];
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
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
        if (errors != nullptr) errors[i] = error;
        sums.y.sum[part] += value;
        sums.y.sum_squares[part] += value * value;
        sums.xy[part] += x_double[i] * value;
        sums.d[part] += error;
        sums.dd[part] += error * error;
        sums.abs_d[part] += size;
        sums.max_abs_d[part] = size > sums.max_abs_d[part] ? size : sums.max_abs_d[part];
        T& low = sums.y.minimum[i % kPartialRange];
        T& high = sums.y.maximum[i % kPartialRange];
        low = y[i] < low ? y[i] : low;
        high = y[i] > high ? y[i] : high;
        sums.unequal_bits += same_bits(x[i], y[i]) ? 0u : 1u;
    }
}

inline void add_product(const double* a, const double* b, std::size_t begin, std::size_t end, double* partial) {
    for (std::size_t i = begin; i < end; ++i) partial[i % kPartialSums] += a[i] * b[i];
}

}  // namespace
}  // namespace gfpq

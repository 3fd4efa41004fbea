// The similarity kernels for AVX2; part of kernel_avx2.cpp.
#pragma once

#include <immintrin.h>

#include "prefetch.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

/// Eight doubles as two registers: partial sums 0 ... 3 and 4 ... 7.
struct Eight {
    __m256d low, high;

    static Eight load(const double* p) { return {_mm256_load_pd(p), _mm256_load_pd(p + 4)}; }
    static Eight from(const float* p) { return {_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))}; }
    static Eight from(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
    void store(double* p) const {
        _mm256_store_pd(p, low);
        _mm256_store_pd(p + 4, high);
    }
    void add(const Eight& a) {
        low = _mm256_add_pd(low, a.low);
        high = _mm256_add_pd(high, a.high);
    }
    void add_product(const Eight& a, const Eight& b) {
        low = _mm256_fmadd_pd(a.low, b.low, low);
        high = _mm256_fmadd_pd(a.high, b.high, high);
    }
    void raise(const Eight& a) {
        low = _mm256_max_pd(low, a.low);
        high = _mm256_max_pd(high, a.high);
    }
    Eight minus(const Eight& a) const { return {_mm256_sub_pd(low, a.low), _mm256_sub_pd(high, a.high)}; }
    Eight magnitude() const {
        const __m256d sign = _mm256_set1_pd(-0.0);
        return {_mm256_andnot_pd(sign, low), _mm256_andnot_pd(sign, high)};
    }
};

/// Smallest and largest element and the count of unequal bits; sixteen elements at a time.
template <class T>
struct Ranges;

template <>
struct Ranges<float> {
    __m256 low0, low1, high0, high1;
    explicit Ranges(const Extent<float>& sums)
        : low0(_mm256_load_ps(sums.minimum)), low1(_mm256_load_ps(sums.minimum + 8)),
          high0(_mm256_load_ps(sums.maximum)), high1(_mm256_load_ps(sums.maximum + 8)) {}
    void add(const float* p) {
        const __m256 first = _mm256_loadu_ps(p);
        const __m256 second = _mm256_loadu_ps(p + 8);
        low0 = _mm256_min_ps(low0, first);
        low1 = _mm256_min_ps(low1, second);
        high0 = _mm256_max_ps(high0, first);
        high1 = _mm256_max_ps(high1, second);
    }
    void store(Extent<float>& sums) const {
        _mm256_store_ps(sums.minimum, low0);
        _mm256_store_ps(sums.minimum + 8, low1);
        _mm256_store_ps(sums.maximum, high0);
        _mm256_store_ps(sums.maximum + 8, high1);
    }
    static unsigned equal(const float* a, const float* b) {
        const auto mask = [](const float* p, const float* q) {
            const __m256i same = _mm256_cmpeq_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
                                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q)));
            return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(same)));
        };
        return static_cast<unsigned>(_mm_popcnt_u32(mask(a, b) | mask(a + 8, b + 8) << 8));
    }
};

template <>
struct Ranges<double> {
    __m256d low[4], high[4];
    explicit Ranges(const Extent<double>& sums) {
        for (int j = 0; j < 4; ++j) {
            low[j] = _mm256_load_pd(sums.minimum + 4 * j);
            high[j] = _mm256_load_pd(sums.maximum + 4 * j);
        }
    }
    void add(const double* p) {
        for (int j = 0; j < 4; ++j) {
            const __m256d value = _mm256_loadu_pd(p + 4 * j);
            low[j] = _mm256_min_pd(low[j], value);
            high[j] = _mm256_max_pd(high[j], value);
        }
    }
    void store(Extent<double>& sums) const {
        for (int j = 0; j < 4; ++j) {
            _mm256_store_pd(sums.minimum + 4 * j, low[j]);
            _mm256_store_pd(sums.maximum + 4 * j, high[j]);
        }
    }
    static unsigned equal(const double* a, const double* b) {
        unsigned count = 0;
        for (int j = 0; j < 16; j += 4) {
            const __m256i same = _mm256_cmpeq_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + j)),
                                                    _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + j)));
            count += static_cast<unsigned>(_mm_popcnt_u32(static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(same)))));
        }
        return count;
    }
};

inline void tile_product(const double* a, const double* b, std::size_t count, double* partial) {
    Eight sums[2] = {Eight::load(partial), Eight::load(partial + 8)};
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16)
        for (std::size_t j = 0; j < 2; ++j) sums[j].add_product(Eight::load(a + i + 8 * j), Eight::load(b + i + 8 * j));
    for (std::size_t j = 0; j < 2; ++j) sums[j].store(partial + 8 * j);
    add_product(a, b, i, count, partial);
}

template <class T>
void tile_reference(const T* x, std::size_t count, const ReferenceSums<T>& before, ReferenceSums<T>& after,
                    double* x_double) {
    Eight sum = Eight::load(before.x);
    Eight squares = Eight::load(before.xx);
    Ranges<T> range(before.extent);
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_lines<16>(x + i, kTileAhead);
        range.add(x + i);
        for (std::size_t j = i; j < i + 16; j += 8) {
            const Eight value = Eight::from(x + j);
            value.store(x_double + j);
            sum.add(value);
            squares.add_product(value, value);
        }
    }
    sum.store(after.x);
    squares.store(after.xx);
    range.store(after.extent);
    add_reference(x, i, count, after, x_double);
}

template <class T>
void tile_lane(const T* x, const double* x_double, const T* y, std::size_t count, const LaneSums<T>& before,
               LaneSums<T>& after, double* errors, const EarlierLanes& earlier) {
    Eight squares = Eight::load(before.yy);
    Eight d = Eight::load(before.d);
    Eight dd = Eight::load(before.dd);
    Eight abs_d = Eight::load(before.abs_d);
    Eight max_abs_d = Eight::load(before.max_abs_d);
    Ranges<T> range(before.extent);
    std::uint64_t unequal = before.unequal_bits;
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_lines<16>(y + i, kTileAhead);
        range.add(y + i);
        unequal += 16 - Ranges<T>::equal(x + i, y + i);
        for (std::size_t j = i; j < i + 16; j += 8) {
            const Eight value = Eight::from(y + j);
            const Eight error = value.minus(Eight::load(x_double + j));
            const Eight size = error.magnitude();
            error.store(errors + j);
            squares.add_product(value, value);
            d.add(error);
            dd.add_product(error, error);
            abs_d.add(size);
            max_abs_d.raise(size);
        }
    }
    squares.store(after.yy);
    d.store(after.d);
    dd.store(after.dd);
    abs_d.store(after.abs_d);
    max_abs_d.store(after.max_abs_d);
    range.store(after.extent);
    after.unequal_bits = unequal;
    add_lane(x, x_double, y, i, count, after, errors);
    add_products(errors, 0, earlier, [count](const double* p, const double* q, double* partial) {
        tile_product(p, q, count, partial);
    });
    pad_errors(errors, count);
}

}  // namespace
}  // namespace gfpq

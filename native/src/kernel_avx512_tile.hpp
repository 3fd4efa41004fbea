// The similarity kernels for AVX-512; part of kernel_avx512.cpp.
#pragma once

#include <immintrin.h>

#include "kernel_avx512_lanes.hpp"
#include "prefetch.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

inline __m512d low_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline __m512d high_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

/// Smallest and largest element of a buffer.
struct FloatRange {
    __m512 low, high;

    explicit FloatRange(const Extent<float>& extent)
        : low(_mm512_load_ps(extent.minimum)), high(_mm512_load_ps(extent.maximum)) {}

    void add(__m512 value) {
        low = _mm512_min_ps(low, value);
        high = _mm512_max_ps(high, value);
    }

    void add(__m512 value, __mmask16 lanes) {
        low = _mm512_mask_min_ps(low, lanes, low, value);
        high = _mm512_mask_max_ps(high, lanes, high, value);
    }

    void store(Extent<float>& extent) const {
        _mm512_store_ps(extent.minimum, low);
        _mm512_store_ps(extent.maximum, high);
    }
};

/// Sums of the reference; eight elements at a time.
struct ReferenceRegisters {
    __m512d x, xx;

    template <class T>
    explicit ReferenceRegisters(const ReferenceSums<T>& sums) : x(_mm512_load_pd(sums.x)), xx(_mm512_load_pd(sums.xx)) {}

    template <class T>
    void store(ReferenceSums<T>& sums) const {
        _mm512_store_pd(sums.x, x);
        _mm512_store_pd(sums.xx, xx);
    }

    void add(__m512d value) {
        x = _mm512_add_pd(x, value);
        xx = _mm512_fmadd_pd(value, value, xx);
    }
};

/// Sums of one lane; eight pairs at a time.
struct LaneRegisters {
    __m512d yy, d, dd, abs_d, max_abs_d;

    template <class T>
    explicit LaneRegisters(const LaneSums<T>& sums)
        : yy(_mm512_load_pd(sums.yy)), d(_mm512_load_pd(sums.d)), dd(_mm512_load_pd(sums.dd)),
          abs_d(_mm512_load_pd(sums.abs_d)), max_abs_d(_mm512_load_pd(sums.max_abs_d)) {}

    template <class T>
    void store(LaneSums<T>& sums) const {
        _mm512_store_pd(sums.yy, yy);
        _mm512_store_pd(sums.d, d);
        _mm512_store_pd(sums.dd, dd);
        _mm512_store_pd(sums.abs_d, abs_d);
        _mm512_store_pd(sums.max_abs_d, max_abs_d);
    }

    /// Returns the errors.
    __m512d add(__m512d x, __m512d y) {
        const __m512d error = _mm512_sub_pd(y, x);
        const __m512d size = _mm512_abs_pd(error);
        yy = _mm512_fmadd_pd(y, y, yy);
        d = _mm512_add_pd(d, error);
        dd = _mm512_fmadd_pd(error, error, dd);
        abs_d = _mm512_add_pd(abs_d, size);
        max_abs_d = _mm512_max_pd(max_abs_d, size);
        return error;
    }
};

void reference_float(const float* x, std::size_t count, const ReferenceSums<float>& before, ReferenceSums<float>& after,
                     double* x_double) {
    ReferenceRegisters sums(before);
    FloatRange range(before.extent);
    const auto add = [&](__m512 floats, std::size_t i) {
        const __m512d first = low_doubles(floats);
        const __m512d second = high_doubles(floats);
        _mm512_store_pd(x_double + i, first);
        _mm512_store_pd(x_double + i + 8, second);
        sums.add(first);
        sums.add(second);
    };
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_line(x + i, kTileAhead);
        const __m512 floats = _mm512_loadu_ps(x + i);
        range.add(floats);
        add(floats, i);
    }
    if (i < count) {
        const __mmask16 lanes = first_lanes(count - i);
        const __m512 floats = _mm512_maskz_loadu_ps(lanes, x + i);
        range.add(floats, lanes);
        add(floats, i);
    }
    sums.store(after);
    range.store(after.extent);
}

/// Sums of products with up to two earlier lanes, made while this lane's errors are at hand.
template <int Count>
struct ProductRegisters {
    __m512d sums[Count + 1][2];  // one more than used: there is no array of nothing

    explicit ProductRegisters(const EarlierLanes& earlier) {
        for (int lane = 0; lane < Count; ++lane)
            for (int half = 0; half < 2; ++half) sums[lane][half] = _mm512_load_pd(earlier.before[lane] + 8 * half);
    }

    void add(const EarlierLanes& earlier, std::size_t i, __m512d first, __m512d second) {
        for (int lane = 0; lane < Count; ++lane) {
            sums[lane][0] = _mm512_fmadd_pd(first, _mm512_load_pd(earlier.errors[lane] + i), sums[lane][0]);
            sums[lane][1] = _mm512_fmadd_pd(second, _mm512_load_pd(earlier.errors[lane] + i + 8), sums[lane][1]);
        }
    }

    void store(const EarlierLanes& earlier) const {
        for (int lane = 0; lane < Count; ++lane)
            for (int half = 0; half < 2; ++half) _mm512_store_pd(earlier.after[lane] + 8 * half, sums[lane][half]);
    }
};

inline void product(const double* a, const double* b, std::size_t count, double* partial) {
    __m512d sums[2] = {_mm512_load_pd(partial), _mm512_load_pd(partial + 8)};
    for (std::size_t i = 0; i < count; i += 16)  // beyond `count` there are zeros
        for (std::size_t j = 0; j < 2; ++j)
            sums[j] = _mm512_fmadd_pd(_mm512_load_pd(a + i + 8 * j), _mm512_load_pd(b + i + 8 * j), sums[j]);
    for (std::size_t j = 0; j < 2; ++j) _mm512_store_pd(partial + 8 * j, sums[j]);
}

template <int Earlier>
void lane_float_loop(const float* x, const double* x_double, const float* y, std::size_t count,
                     const LaneSums<float>& before, LaneSums<float>& after, double* errors, const EarlierLanes& earlier) {
    LaneRegisters sums(before);
    FloatRange range(before.extent);
    ProductRegisters<Earlier> products(earlier);
    std::uint64_t unequal = before.unequal_bits;
    const auto add = [&](__m512 floats, __m512i x_bits, std::size_t i) {
        const __mmask16 differ = _mm512_cmpneq_epi32_mask(_mm512_castps_si512(floats), x_bits);
        unequal += static_cast<std::uint64_t>(_mm_popcnt_u32(differ));
        const __m512d first = sums.add(_mm512_load_pd(x_double + i), low_doubles(floats));
        const __m512d second = sums.add(_mm512_load_pd(x_double + i + 8), high_doubles(floats));
        _mm512_store_pd(errors + i, first);
        _mm512_store_pd(errors + i + 8, second);
        products.add(earlier, i, first, second);
    };
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_line(y + i, kTileAhead);
        const __m512 floats = _mm512_loadu_ps(y + i);
        range.add(floats);
        add(floats, _mm512_loadu_si512(x + i), i);
    }
    if (i < count) {
        const __mmask16 lanes = first_lanes(count - i);
        const __m512 floats = _mm512_maskz_loadu_ps(lanes, y + i);
        range.add(floats, lanes);
        add(floats, _mm512_maskz_loadu_epi32(lanes, x + i), i);
    }
    sums.store(after);
    range.store(after.extent);
    products.store(earlier);
    after.unequal_bits = unequal;
    add_products(errors, Earlier, earlier, [count](const double* p, const double* q, double* partial) {
        product(p, q, count, partial);
    });
}

void lane_float(const float* x, const double* x_double, const float* y, std::size_t count,
                const LaneSums<float>& before, LaneSums<float>& after, double* errors, const EarlierLanes& earlier) {
    if (earlier.count == 0) lane_float_loop<0>(x, x_double, y, count, before, after, errors, earlier);
    else if (earlier.count == 1) lane_float_loop<1>(x, x_double, y, count, before, after, errors, earlier);
    else lane_float_loop<2>(x, x_double, y, count, before, after, errors, earlier);
}

/// As FloatRange. The upper half of the sixteen partial extremes stays as it was.
struct DoubleRange {
    __m512d low, high;

    explicit DoubleRange(const Extent<double>& extent)
        : low(_mm512_load_pd(extent.minimum)), high(_mm512_load_pd(extent.maximum)) {}

    void add(__m512d value, __mmask8 lanes) {
        low = _mm512_mask_min_pd(low, lanes, low, value);
        high = _mm512_mask_max_pd(high, lanes, high, value);
    }

    void store(const Extent<double>& before, Extent<double>& after) const {
        _mm512_store_pd(after.minimum, low);
        _mm512_store_pd(after.maximum, high);
        _mm512_store_pd(after.minimum + 8, _mm512_load_pd(before.minimum + 8));
        _mm512_store_pd(after.maximum + 8, _mm512_load_pd(before.maximum + 8));
    }
};

void reference_double(const double* x, std::size_t count, const ReferenceSums<double>& before, ReferenceSums<double>& after,
                      double* x_double) {
    ReferenceRegisters sums(before);
    DoubleRange range(before.extent);
    for (std::size_t i = 0; i < count; i += 8) {
        const __mmask8 lanes = first_lanes8(count - i);
        prefetch_line(x + i, kTileAhead);
        const __m512d value = _mm512_maskz_loadu_pd(lanes, x + i);
        range.add(value, lanes);
        _mm512_store_pd(x_double + i, value);
        sums.add(value);
    }
    sums.store(after);
    range.store(before.extent, after.extent);
}

void lane_double(const double* x, const double* x_double, const double* y, std::size_t count,
                 const LaneSums<double>& before, LaneSums<double>& after, double* errors, const EarlierLanes& earlier) {
    LaneRegisters sums(before);
    DoubleRange range(before.extent);
    __m512i unequal = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi64(1);
    for (std::size_t i = 0; i < count; i += 8) {
        const __mmask8 lanes = first_lanes8(count - i);
        prefetch_line(y + i, kTileAhead);
        const __m512d value = _mm512_maskz_loadu_pd(lanes, y + i);
        range.add(value, lanes);
        const __mmask8 differ =
            _mm512_cmpneq_epi64_mask(_mm512_castpd_si512(value), _mm512_maskz_loadu_epi64(lanes, x + i));
        unequal = _mm512_mask_add_epi64(unequal, differ, unequal, one);
        _mm512_store_pd(errors + i, sums.add(_mm512_load_pd(x_double + i), value));
    }
    pad_errors(errors, count);
    add_products(errors, 0, earlier, [count](const double* p, const double* q, double* partial) {
        product(p, q, count, partial);
    });
    sums.store(after);
    range.store(before.extent, after.extent);
    after.unequal_bits = before.unequal_bits + static_cast<std::uint64_t>(_mm512_reduce_add_epi64(unequal));
}

}  // namespace
}  // namespace gfpq

// Kernels for AVX-512 (F, BW, DQ, VL). Nothing of the standard library is used here: an inline function compiled with
// these instructions must not end up in a program that runs elsewhere.
#include <immintrin.h>

#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

constexpr int kSmallerMagnitude = 0x02;  // vrange: the smaller magnitude with the sign of the first operand
constexpr int kLargerMagnitude = 0x03;
constexpr int kAndOr = 0xEA;  // vpternlog: (a & b) | c

inline __mmask16 first_lanes(std::size_t count) {
    return count >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << count) - 1);
}

inline __mmask8 first_lanes8(std::size_t count) {
    return count >= 8 ? static_cast<__mmask8>(0xFF) : static_cast<__mmask8>((1u << count) - 1);
}

// ------------------------------------------------------------------------------------------------------ float, common

/// Limits of a plan in registers. Magnitudes are brought into value(0 or 1) ... value(T) before their code is sought,
/// which leaves no code to be clamped.
struct FloatLimits {
    __m512 flush_positive, flush_negative, lowest_positive, lowest_negative, highest;

    explicit FloatLimits(const FloatPlan& plan)
        : flush_positive(_mm512_set1_ps(plan.flush_positive)),
          flush_negative(_mm512_set1_ps(-plan.flush_negative)),
          lowest_positive(_mm512_set1_ps(plan.lowest_positive)),
          lowest_negative(_mm512_set1_ps(plan.lowest_negative)),
          highest(_mm512_set1_ps(plan.highest)) {}

    /// Also tells which elements do not become zero; NaN does.
    __m512 clamp(__m512 x, __mmask16& stays) const {
        const __mmask16 positive = _mm512_cmp_ps_mask(x, flush_positive, _CMP_GT_OQ);
        const __mmask16 negative = _mm512_cmp_ps_mask(x, flush_negative, _CMP_LT_OQ);
        stays = _kor_mask16(positive, negative);
        const __m512 below = _mm512_range_ps(x, highest, kSmallerMagnitude);
        const __m512 inside = _mm512_range_ps(below, lowest_positive, kLargerMagnitude);
        return _mm512_mask_range_ps(inside, negative, inside, lowest_negative, kLargerMagnitude);
    }
};

/// Runs `one` (16 floats to 16 floats) over a range; `stream` writes past the caches.
template <class One>
inline void over_floats(const float* input, float* output, std::size_t count, bool stream, const One& one) {
    std::size_t i = 0;
    if (stream) {
        while (i < count && (reinterpret_cast<std::uintptr_t>(output + i) & 63) != 0) ++i;
        if (i > 0) _mm512_mask_storeu_ps(output, first_lanes(i), one(_mm512_maskz_loadu_ps(first_lanes(i), input)));
        for (; i + 16 <= count; i += 16) _mm512_stream_ps(output + i, one(_mm512_loadu_ps(input + i)));
        _mm_sfence();
    }
    for (; i + 32 <= count; i += 32) {
        const __m512 first = one(_mm512_loadu_ps(input + i));
        const __m512 second = one(_mm512_loadu_ps(input + i + 16));
        _mm512_storeu_ps(output + i, first);
        _mm512_storeu_ps(output + i + 16, second);
    }
    for (; i < count; i += 16) {
        const __mmask16 lanes = first_lanes(count - i);
        _mm512_mask_storeu_ps(output + i, lanes, one(_mm512_maskz_loadu_ps(lanes, input + i)));
    }
}

// ------------------------------------------------------------------------------------------------------- float, 8 bit

void apply_float8(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    const FloatLimits limits(plan);
    const __m512i adjust_low = _mm512_load_si512(plan.tables->adjust);
    const __m512i adjust_high = _mm512_load_si512(plan.tables->adjust + 16);
    const __m512i fraction = _mm512_load_si512(plan.tables->fraction);
    const __m512i sign_and_exponent = _mm512_set1_epi32(static_cast<int>(0xFF800000u));
    over_floats(input, output, count, stream, [&](__m512 x) {
        __mmask16 stays;
        const __m512i bits = _mm512_castps_si512(limits.clamp(x, stays));
        const __m512i adjust = _mm512_permutex2var_epi32(adjust_low, _mm512_srli_epi32(bits, 18), adjust_high);
        const __m512i sum = _mm512_add_epi32(bits, adjust);
        const __m512i mantissa = _mm512_permutexvar_epi32(_mm512_srli_epi32(sum, 19), fraction);
        return _mm512_castsi512_ps(_mm512_maskz_ternarylogic_epi32(stays, sum, sign_and_exponent, mantissa, kAndOr));
    });
}

// ------------------------------------------------------------------------------------------------------ float, 16 bit

void apply_float16(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    const FloatLimits limits(plan);
    const int* adjust_table = reinterpret_cast<const int*>(plan.tables->adjust);
    const int* fraction_table = reinterpret_cast<const int*>(plan.tables->fraction);
    const __m512i bucket_mask = _mm512_set1_epi32(0xFF);
    const __m512i step_mask = _mm512_set1_epi32(0x7F);
    const __m512i sign_and_exponent = _mm512_set1_epi32(static_cast<int>(0xFF800000u));
    over_floats(input, output, count, stream, [&](__m512 x) {
        __mmask16 stays;
        const __m512i bits = _mm512_castps_si512(limits.clamp(x, stays));
        const __m512i bucket = _mm512_and_si512(_mm512_srli_epi32(bits, 15), bucket_mask);
        const __m512i sum = _mm512_add_epi32(bits, _mm512_i32gather_epi32(bucket, adjust_table, 4));
        const __m512i step = _mm512_and_si512(_mm512_srli_epi32(sum, 16), step_mask);
        const __m512i mantissa = _mm512_i32gather_epi32(step, fraction_table, 4);
        return _mm512_castsi512_ps(_mm512_maskz_ternarylogic_epi32(stays, sum, sign_and_exponent, mantissa, kAndOr));
    });
}

void apply_float(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    if (plan.grid->bit_width == 8) apply_float8(input, output, count, plan, stream);
    else apply_float16(input, output, count, plan, stream);
}

// ------------------------------------------------------------------------------------------------------------- double

void apply_double(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool) {
    for (std::size_t i = 0; i < count; ++i) output[i] = apply_one(input[i], plan);
}

// ------------------------------------------------------------------------------------------------------------ maximum

std::uint32_t largest_float(const float* data, std::size_t count) {
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i largest[4] = {};
    std::size_t i = 0;
    for (; i + 64 <= count; i += 64)
        for (std::size_t j = 0; j < 4; ++j)
            largest[j] = _mm512_max_epu32(largest[j], _mm512_and_si512(_mm512_loadu_si512(data + i + 16 * j), magnitude));
    for (; i < count; i += 16)
        largest[0] = _mm512_max_epu32(
            largest[0], _mm512_and_si512(_mm512_maskz_loadu_epi32(first_lanes(count - i), data + i), magnitude));
    return _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_max_epu32(largest[0], largest[1]),
                                                    _mm512_max_epu32(largest[2], largest[3])));
}

std::uint64_t largest_double(const double* data, std::size_t count) {
    const __m512i magnitude = _mm512_set1_epi64(0x7FFFFFFFFFFFFFFF);
    __m512i largest[4] = {};
    std::size_t i = 0;
    for (; i + 32 <= count; i += 32)
        for (std::size_t j = 0; j < 4; ++j)
            largest[j] = _mm512_max_epu64(largest[j], _mm512_and_si512(_mm512_loadu_si512(data + i + 8 * j), magnitude));
    for (; i < count; i += 8)
        largest[0] = _mm512_max_epu64(
            largest[0], _mm512_and_si512(_mm512_maskz_loadu_epi64(first_lanes8(count - i), data + i), magnitude));
    return _mm512_reduce_max_epu64(_mm512_max_epu64(_mm512_max_epu64(largest[0], largest[1]),
                                                    _mm512_max_epu64(largest[2], largest[3])));
}

// --------------------------------------------------------------------------------------------------------- similarity

inline __m512d low_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_castps512_ps256(x)); }
inline __m512d high_doubles(__m512 x) { return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1)); }

void reference_float(const float* x, std::size_t count, const BufferSums<float>& before, BufferSums<float>& after,
                     double* x_double) {
    __m512d sum = _mm512_load_pd(before.sum);
    __m512d squares = _mm512_load_pd(before.sum_squares);
    __m512 low = _mm512_load_ps(before.minimum);
    __m512 high = _mm512_load_ps(before.maximum);
    for (std::size_t i = 0; i < count; i += 16) {
        const __mmask16 lanes = first_lanes(count - i);
        const __m512 floats = _mm512_maskz_loadu_ps(lanes, x + i);
        low = _mm512_mask_min_ps(low, lanes, low, floats);
        high = _mm512_mask_max_ps(high, lanes, high, floats);
        const __m512d x0 = low_doubles(floats);
        const __m512d x1 = high_doubles(floats);
        _mm512_store_pd(x_double + i, x0);
        _mm512_store_pd(x_double + i + 8, x1);
        sum = _mm512_add_pd(_mm512_add_pd(sum, x0), x1);
        squares = _mm512_fmadd_pd(x1, x1, _mm512_fmadd_pd(x0, x0, squares));
    }
    _mm512_store_pd(after.sum, sum);
    _mm512_store_pd(after.sum_squares, squares);
    _mm512_store_ps(after.minimum, low);
    _mm512_store_ps(after.maximum, high);
}

/// Sums of one lane in registers; eight pairs at a time.
struct LaneRegisters {
    __m512d y, yy, xy, d, dd, abs_d, max_abs_d;

    template <class T>
    explicit LaneRegisters(const LaneSums<T>& sums)
        : y(_mm512_load_pd(sums.y.sum)), yy(_mm512_load_pd(sums.y.sum_squares)), xy(_mm512_load_pd(sums.xy)),
          d(_mm512_load_pd(sums.d)), dd(_mm512_load_pd(sums.dd)), abs_d(_mm512_load_pd(sums.abs_d)),
          max_abs_d(_mm512_load_pd(sums.max_abs_d)) {}

    template <class T>
    void store(LaneSums<T>& sums) const {
        _mm512_store_pd(sums.y.sum, y);
        _mm512_store_pd(sums.y.sum_squares, yy);
        _mm512_store_pd(sums.xy, xy);
        _mm512_store_pd(sums.d, d);
        _mm512_store_pd(sums.dd, dd);
        _mm512_store_pd(sums.abs_d, abs_d);
        _mm512_store_pd(sums.max_abs_d, max_abs_d);
    }

    /// Returns the errors.
    __m512d add(__m512d x_value, __m512d y_value) {
        const __m512d error = _mm512_sub_pd(y_value, x_value);
        const __m512d size = _mm512_abs_pd(error);
        y = _mm512_add_pd(y, y_value);
        yy = _mm512_fmadd_pd(y_value, y_value, yy);
        xy = _mm512_fmadd_pd(x_value, y_value, xy);
        d = _mm512_add_pd(d, error);
        dd = _mm512_fmadd_pd(error, error, dd);
        abs_d = _mm512_add_pd(abs_d, size);
        max_abs_d = _mm512_max_pd(max_abs_d, size);
        return error;
    }
};

template <bool KeepErrors>
void lane_float_loop(const float* x, const double* x_double, const float* y, std::size_t count,
                     const LaneSums<float>& before, LaneSums<float>& after, double* errors) {
    LaneRegisters sums(before);
    __m512 low = _mm512_load_ps(before.y.minimum);
    __m512 high = _mm512_load_ps(before.y.maximum);
    __m512i unequal = _mm512_setzero_si512();
    const __m512i one = _mm512_set1_epi32(1);
    for (std::size_t i = 0; i < count; i += 16) {
        const __mmask16 lanes = first_lanes(count - i);
        const __m512 floats = _mm512_maskz_loadu_ps(lanes, y + i);
        low = _mm512_mask_min_ps(low, lanes, low, floats);
        high = _mm512_mask_max_ps(high, lanes, high, floats);
        const __mmask16 differ =
            _mm512_cmpneq_epi32_mask(_mm512_castps_si512(floats), _mm512_maskz_loadu_epi32(lanes, x + i));
        unequal = _mm512_mask_add_epi32(unequal, differ, unequal, one);
        const __m512d d0 = sums.add(_mm512_load_pd(x_double + i), low_doubles(floats));
        const __m512d d1 = sums.add(_mm512_load_pd(x_double + i + 8), high_doubles(floats));
        if (KeepErrors) {
            _mm512_store_pd(errors + i, d0);
            _mm512_store_pd(errors + i + 8, d1);
        }
    }
    sums.store(after);
    _mm512_store_ps(after.y.minimum, low);
    _mm512_store_ps(after.y.maximum, high);
    after.unequal_bits = before.unequal_bits + static_cast<std::uint64_t>(_mm512_reduce_add_epi32(unequal));
}

void lane_float(const float* x, const double* x_double, const float* y, std::size_t count,
                const LaneSums<float>& before, LaneSums<float>& after, double* errors) {
    if (errors != nullptr) lane_float_loop<true>(x, x_double, y, count, before, after, errors);
    else lane_float_loop<false>(x, x_double, y, count, before, after, errors);
}

void reference_double(const double* x, std::size_t count, const BufferSums<double>& before, BufferSums<double>& after,
                      double* x_double) {
    after = before;
    __m512d sum = _mm512_load_pd(before.sum);
    __m512d squares = _mm512_load_pd(before.sum_squares);
    __m512d low = _mm512_load_pd(before.minimum);
    __m512d high = _mm512_load_pd(before.maximum);
    for (std::size_t i = 0; i < count; i += 8) {
        const __mmask8 lanes = first_lanes8(count - i);
        const __m512d value = _mm512_maskz_loadu_pd(lanes, x + i);
        low = _mm512_mask_min_pd(low, lanes, low, value);
        high = _mm512_mask_max_pd(high, lanes, high, value);
        _mm512_store_pd(x_double + i, value);
        sum = _mm512_add_pd(sum, value);
        squares = _mm512_fmadd_pd(value, value, squares);
    }
    _mm512_store_pd(after.sum, sum);
    _mm512_store_pd(after.sum_squares, squares);
    _mm512_store_pd(after.minimum, low);
    _mm512_store_pd(after.maximum, high);
}

void lane_double(const double* x, const double* x_double, const double* y, std::size_t count,
                 const LaneSums<double>& before, LaneSums<double>& after, double* errors) {
    after = before;
    LaneRegisters sums(before);
    __m512d low = _mm512_load_pd(before.y.minimum);
    __m512d high = _mm512_load_pd(before.y.maximum);
    std::uint64_t unequal = 0;
    for (std::size_t i = 0; i < count; i += 8) {
        const __mmask8 lanes = first_lanes8(count - i);
        const __m512d value = _mm512_maskz_loadu_pd(lanes, y + i);
        low = _mm512_mask_min_pd(low, lanes, low, value);
        high = _mm512_mask_max_pd(high, lanes, high, value);
        const __mmask8 differ =
            _mm512_cmpneq_epi64_mask(_mm512_castpd_si512(value), _mm512_maskz_loadu_epi64(lanes, x + i));
        unequal += static_cast<std::uint64_t>(_mm_popcnt_u32(differ));
        const __m512d error = sums.add(_mm512_load_pd(x_double + i), value);
        if (errors != nullptr) _mm512_store_pd(errors + i, error);
    }
    sums.store(after);
    _mm512_store_pd(after.y.minimum, low);
    _mm512_store_pd(after.y.maximum, high);
    after.unequal_bits = before.unequal_bits + unequal;
}

void product(const double* a, const double* b, std::size_t count, double* partial) {
    // Beyond `count` the errors of the last vector are zero.
    __m512d sum = _mm512_load_pd(partial);
    for (std::size_t i = 0; i < count; i += 8)
        sum = _mm512_fmadd_pd(_mm512_load_pd(a + i), _mm512_load_pd(b + i), sum);
    _mm512_store_pd(partial, sum);
}

}  // namespace

const Kernels kAvx512Kernels{
    "avx512",
    apply_float,
    apply_double,
    largest_float,
    largest_double,
    {reference_float, lane_float, product},
    {reference_double, lane_double, product},
};

}  // namespace gfpq

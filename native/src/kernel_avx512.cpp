// Kernels for AVX-512 (F, BW, DQ, VL). No inline function of the standard library is used here: one compiled with these
// instructions must not end up in a program that runs elsewhere.
#include <immintrin.h>

#include "kernel_avx512_float_tile.hpp"
#include "kernel_avx512_lanes.hpp"
#include "kernel_avx512_series.hpp"
#include "kernel_avx512_tile.hpp"
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "prefetch.hpp"

namespace gfpq {
namespace {

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
        for (; i + 16 <= count; i += 16) {
            prefetch_line(input + i, kAhead);
            _mm512_stream_ps(output + i, one(_mm512_loadu_ps(input + i)));
        }
        _mm_sfence();
    }
    for (; i + 32 <= count; i += 32) {
        prefetch_line(input + i, kAhead);
        prefetch_line(input + i + 16, kAhead);
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
    const Series& series = series16();
    if (!series.exact) {
        apply_scalar(input, output, count, plan);
        return;
    }
    const FloatLimits limits(plan);
    const SeriesRegisters registers(series);
    over_floats(input, output, count, stream, [&](__m512 x) {
        __mmask16 stays;
        const __m512i bits = _mm512_castps_si512(limits.clamp(x, stays));
        const __m512i bucket = SeriesRegisters::bucket_of(bits);
        const __m512 value = registers.value_at(registers.steps_from_middle(bits, bucket), bucket);
        const __m512i power = _mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xFF800000u)));
        return _mm512_maskz_mul_ps(stays, value, _mm512_castsi512_ps(power));
    });
}

void apply_float(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    if (plan.grid->bit_width == 8) apply_float8(input, output, count, plan, stream);
    else apply_float16(input, output, count, plan, stream);
}

// ------------------------------------------------------------------------------------------------------------- double

// Sixteen doubles at a time: their upper words decide the code, and where one cannot, the scalar way does all sixteen.
template <int StepBits>
struct DoubleKernel {
    const DoublePlan& plan;
    __m512d flush_positive = _mm512_set1_pd(plan.flush_positive);
    __m512d flush_negative = _mm512_set1_pd(-plan.flush_negative);
    __m512i lowest_key = _mm512_set1_epi32(static_cast<int>(plan.lowest_key));
    __m512i highest_key = _mm512_set1_epi32(static_cast<int>(plan.highest_key));
    __m512i upper_words = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);

    __mmask8 stays(__m512d x) const {
        return _kor_mask8(_mm512_cmp_pd_mask(x, flush_positive, _CMP_GT_OQ),
                          _mm512_cmp_pd_mask(x, flush_negative, _CMP_LT_OQ));
    }

    __m512i adjustment(__m512i upper) const {
        if (StepBits == 4) {
            const __m512i low = _mm512_load_si512(plan.tables->adjust);
            const __m512i high = _mm512_load_si512(plan.tables->adjust + 16);
            return _mm512_permutex2var_epi32(low, _mm512_srli_epi32(upper, 15), high);
        }
        const __m512i bucket = _mm512_and_si512(_mm512_srli_epi32(upper, 12), _mm512_set1_epi32(0xFF));
        return _mm512_i32gather_epi32(bucket, reinterpret_cast<const int*>(plan.tables->adjust), 4);
    }

    __m512i fraction(__m256i key) const {
        if (StepBits == 4) {
            const __m512i low = _mm512_load_si512(plan.tables->fraction);
            const __m512i high = _mm512_load_si512(plan.tables->fraction + 8);
            return _mm512_permutex2var_epi64(low, _mm512_cvtepu32_epi64(key), high);
        }
        const __m256i step = _mm256_and_si256(key, _mm256_set1_epi32(0x7F));
        return _mm512_i32gather_epi64(step, reinterpret_cast<const long long*>(plan.tables->fraction), 8);
    }

    __m512d compose(__m512d x, __m256i key) const {
        const __m512i exponent = _mm512_slli_epi64(_mm512_cvtepu32_epi64(key), 52 - StepBits);
        const __m512i magnitude = _mm512_ternarylogic_epi64(
            exponent, _mm512_set1_epi64(0x7FF0000000000000), fraction(key), kAndOr);
        const __m512i sign = _mm512_set1_epi64(static_cast<long long>(0x8000000000000000u));
        return _mm512_castsi512_pd(
            _mm512_maskz_ternarylogic_epi64(stays(x), _mm512_castpd_si512(x), sign, magnitude, kAndOr));
    }

    /// False where the upper words do not decide; `first` and `second` are untouched then.
    bool operator()(__m512d& first, __m512d& second) const {
        const __m512i upper =
            _mm512_permutex2var_epi32(_mm512_castpd_si512(first), upper_words, _mm512_castpd_si512(second));
        const __m512i sum = _mm512_add_epi32(_mm512_and_si512(upper, _mm512_set1_epi32(0x7FFFFFFF)), adjustment(upper));
        const __m512i undecided = _mm512_set1_epi32((1 << (20 - StepBits)) - 1);
        if (_mm512_cmpeq_epi32_mask(_mm512_and_si512(sum, undecided), undecided) != 0) return false;
        __m512i key = _mm512_srli_epi32(sum, 20 - StepBits);
        key = _mm512_max_epi32(key, _mm512_sub_epi32(lowest_key, _mm512_srai_epi32(upper, 31)));
        key = _mm512_min_epi32(key, highest_key);
        first = compose(first, _mm512_castsi512_si256(key));
        second = compose(second, _mm512_extracti64x4_epi64(key, 1));
        return true;
    }
};

template <int StepBits>
void apply_double_loop(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool stream) {
    const DoubleKernel<StepBits> kernel{plan};
    std::size_t i = 0;
    if (stream)
        for (; i < count && (reinterpret_cast<std::uintptr_t>(output + i) & 63) != 0; ++i)
            output[i] = apply_one(input[i], plan);
    for (; i + 16 <= count; i += 16) {
        prefetch_line(input + i, kAhead);
        prefetch_line(input + i + 8, kAhead);
        __m512d first = _mm512_loadu_pd(input + i);
        __m512d second = _mm512_loadu_pd(input + i + 8);
        if (!kernel(first, second)) {
            for (std::size_t j = i; j < i + 16; ++j) output[j] = apply_one(input[j], plan);
        } else if (stream) {
            _mm512_stream_pd(output + i, first);
            _mm512_stream_pd(output + i + 8, second);
        } else {
            _mm512_storeu_pd(output + i, first);
            _mm512_storeu_pd(output + i + 8, second);
        }
    }
    if (stream) _mm_sfence();
    for (; i < count; ++i) output[i] = apply_one(input[i], plan);
}

void apply_double(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool stream) {
    if (plan.grid->bit_width == 8) apply_double_loop<4>(input, output, count, plan, stream);
    else apply_double_loop<7>(input, output, count, plan, stream);
}

// ------------------------------------------------------------------------------------------------------------ maximum

std::uint32_t largest_float(const float* data, std::size_t count) {
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    __m512i largest[4] = {};
    std::size_t i = 0;
    for (; i + 64 <= count; i += 64)
        for (std::size_t j = 0; j < 4; ++j) {
            prefetch_line(data + i + 16 * j, kAhead);
            largest[j] = _mm512_max_epu32(largest[j], _mm512_and_si512(_mm512_loadu_si512(data + i + 16 * j), magnitude));
        }
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
        for (std::size_t j = 0; j < 4; ++j) {
            prefetch_line(data + i + 8 * j, kAhead);
            largest[j] = _mm512_max_epu64(largest[j], _mm512_and_si512(_mm512_loadu_si512(data + i + 8 * j), magnitude));
        }
    for (; i < count; i += 8)
        largest[0] = _mm512_max_epu64(
            largest[0], _mm512_and_si512(_mm512_maskz_loadu_epi64(first_lanes8(count - i), data + i), magnitude));
    return _mm512_reduce_max_epu64(_mm512_max_epu64(_mm512_max_epu64(largest[0], largest[1]),
                                                    _mm512_max_epu64(largest[2], largest[3])));
}

}  // namespace

const Kernels kAvx512Kernels{
    "avx512",
    apply_float,
    apply_double,
    largest_float,
    largest_double,
    {reference_float, lane_float},
    {reference_double, lane_double},
    {float_reference<Floats16>, float_lane<Floats16>},
    true,
};

}  // namespace gfpq

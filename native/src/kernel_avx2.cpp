// Kernels for AVX2 and FMA. As in the AVX-512 file, nothing of the standard library is used.
#include <immintrin.h>

#include "kernel_avx2_float_tile.hpp"
#include "kernel_avx2_tile.hpp"
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "prefetch.hpp"

namespace gfpq {
namespace {

/// Limits of a plan in registers: codes are clamped after they are found.
struct FloatLimits {
    __m256 flush_positive, flush_negative;
    __m256i lowest_key, highest_key;

    explicit FloatLimits(const FloatPlan& plan)
        : flush_positive(_mm256_set1_ps(plan.flush_positive)),
          flush_negative(_mm256_set1_ps(-plan.flush_negative)),
          lowest_key(_mm256_set1_epi32(static_cast<int>(plan.lowest_key))),
          highest_key(_mm256_set1_epi32(static_cast<int>(plan.highest_key))) {}

    /// All ones where an element does not become zero; NaN does.
    __m256 stays(__m256 x) const {
        return _mm256_or_ps(_mm256_cmp_ps(x, flush_positive, _CMP_GT_OQ), _mm256_cmp_ps(x, flush_negative, _CMP_LT_OQ));
    }

    /// Codes 0 ... T for positive elements, 1 ... T for negative ones.
    __m256i clamp(__m256i key, __m256i x_bits) const {
        const __m256i lowest = _mm256_sub_epi32(lowest_key, _mm256_srai_epi32(x_bits, 31));
        return _mm256_min_epi32(_mm256_max_epi32(key, lowest), highest_key);
    }
};

inline __m256i select(__m256i zero, __m256i one, __m256i sign) {
    return _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(zero), _mm256_castsi256_ps(one), _mm256_castsi256_ps(sign)));
}

template <class One>
inline void over_floats(const float* input, float* output, std::size_t count, bool stream, const FloatPlan& plan,
                        const One& one) {
    std::size_t i = 0;
    if (stream) {
        for (; i < count && (reinterpret_cast<std::uintptr_t>(output + i) & 31) != 0; ++i)
            output[i] = apply_one(input[i], plan);
        for (; i + 8 <= count; i += 8) {
            prefetch_line(input + i, kAhead);
            _mm256_stream_ps(output + i, one(_mm256_loadu_ps(input + i)));
        }
        _mm_sfence();
    }
    for (; i + 16 <= count; i += 16) {
        prefetch_lines<16>(input + i, kAhead);
        const __m256 first = one(_mm256_loadu_ps(input + i));
        const __m256 second = one(_mm256_loadu_ps(input + i + 8));
        _mm256_storeu_ps(output + i, first);
        _mm256_storeu_ps(output + i + 8, second);
    }
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(output + i, one(_mm256_loadu_ps(input + i)));
    for (; i < count; ++i) output[i] = apply_one(input[i], plan);
}

/// Sign, exponent and mantissa together; zero where the element does not stay.
template <int StepBits>
inline __m256 compose(__m256 x, __m256i key, __m256i mantissa, __m256 stays) {
    const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_srli_epi32(key, StepBits), 23);
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_or_si256(exponent, mantissa));
    return _mm256_and_ps(_mm256_or_ps(magnitude, sign), stays);
}

void apply_float8(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    const FloatLimits limits(plan);
    const __m256i* adjust = reinterpret_cast<const __m256i*>(plan.tables->adjust);
    const __m256i adjust0 = _mm256_load_si256(adjust);
    const __m256i adjust1 = _mm256_load_si256(adjust + 1);
    const __m256i adjust2 = _mm256_load_si256(adjust + 2);
    const __m256i adjust3 = _mm256_load_si256(adjust + 3);
    const __m256i* fraction = reinterpret_cast<const __m256i*>(plan.tables->fraction);
    const __m256i fraction0 = _mm256_load_si256(fraction);
    const __m256i fraction1 = _mm256_load_si256(fraction + 1);
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    over_floats(input, output, count, stream, plan, [&](__m256 x) {
        const __m256i bits = _mm256_castps_si256(x);
        // A table of 32 words is four of 8: vpermd looks at the lower three bits of the bucket, the blends at the others.
        const __m256i bucket = _mm256_srli_epi32(bits, 18);
        const __m256i bit3 = _mm256_slli_epi32(bits, 10);
        const __m256i bit4 = _mm256_slli_epi32(bits, 9);
        const __m256i low = select(_mm256_permutevar8x32_epi32(adjust0, bucket), _mm256_permutevar8x32_epi32(adjust1, bucket), bit3);
        const __m256i high = select(_mm256_permutevar8x32_epi32(adjust2, bucket), _mm256_permutevar8x32_epi32(adjust3, bucket), bit3);
        const __m256i sum = _mm256_add_epi32(_mm256_and_si256(bits, magnitude), select(low, high, bit4));
        const __m256i key = limits.clamp(_mm256_srli_epi32(sum, 19), bits);
        const __m256i mantissa = select(_mm256_permutevar8x32_epi32(fraction0, key), _mm256_permutevar8x32_epi32(fraction1, key),
                                        _mm256_slli_epi32(key, 28));
        return compose<4>(x, key, mantissa, limits.stays(x));
    });
}

void apply_float16(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    const FloatLimits limits(plan);
    const int* adjust = reinterpret_cast<const int*>(plan.tables->adjust);
    const int* fraction = reinterpret_cast<const int*>(plan.tables->fraction);
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    const __m256i bucket_mask = _mm256_set1_epi32(0xFF);
    const __m256i step_mask = _mm256_set1_epi32(0x7F);
    over_floats(input, output, count, stream, plan, [&](__m256 x) {
        const __m256i bits = _mm256_castps_si256(x);
        const __m256i bucket = _mm256_and_si256(_mm256_srli_epi32(bits, 15), bucket_mask);
        const __m256i sum = _mm256_add_epi32(_mm256_and_si256(bits, magnitude), _mm256_i32gather_epi32(adjust, bucket, 4));
        const __m256i key = limits.clamp(_mm256_srli_epi32(sum, 16), bits);
        const __m256i mantissa = _mm256_i32gather_epi32(fraction, _mm256_and_si256(key, step_mask), 4);
        return compose<7>(x, key, mantissa, limits.stays(x));
    });
}

void apply_float(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool stream) {
    if (plan.grid->bit_width == 8) apply_float8(input, output, count, plan, stream);
    else apply_float16(input, output, count, plan, false);  // loads from the tables and streaming get in each other's way
}

// Eight doubles at a time: their upper words decide the code, and where one cannot, the scalar way does all eight.
template <int StepBits>
struct DoubleKernel {
    const DoublePlan& plan;
    __m256d flush_positive = _mm256_set1_pd(plan.flush_positive);
    __m256d flush_negative = _mm256_set1_pd(-plan.flush_negative);
    __m256i lowest_key = _mm256_set1_epi32(static_cast<int>(plan.lowest_key));
    __m256i highest_key = _mm256_set1_epi32(static_cast<int>(plan.highest_key));

    __m256i adjustment(__m256i upper) const {
        constexpr int bucket_shift = 20 - StepBits - 1;
        const __m256i bucket = _mm256_and_si256(_mm256_srli_epi32(upper, bucket_shift), _mm256_set1_epi32((2 << StepBits) - 1));
        return _mm256_i32gather_epi32(reinterpret_cast<const int*>(plan.tables->adjust), bucket, 4);
    }

    /// `key`: four keys in 64 bits each.
    __m256d compose(__m256d x, __m256i key) const {
        const __m256i step = _mm256_and_si256(key, _mm256_set1_epi64x((1 << StepBits) - 1));
        const __m256i fraction =
            _mm256_i64gather_epi64(reinterpret_cast<const long long*>(plan.tables->fraction), step, 8);
        const __m256i exponent =
            _mm256_and_si256(_mm256_slli_epi64(key, 52 - StepBits), _mm256_set1_epi64x(0x7FF0000000000000));
        const __m256d magnitude = _mm256_castsi256_pd(_mm256_or_si256(exponent, fraction));
        const __m256d sign = _mm256_and_pd(x, _mm256_set1_pd(-0.0));
        const __m256d stays = _mm256_or_pd(_mm256_cmp_pd(x, flush_positive, _CMP_GT_OQ),
                                           _mm256_cmp_pd(x, flush_negative, _CMP_LT_OQ));
        return _mm256_and_pd(_mm256_or_pd(magnitude, sign), stays);
    }

    /// False where the upper words do not decide; `first` and `second` are untouched then.
    bool operator()(__m256d& first, __m256d& second) const {
        // Within each half: two upper words of the first register, then two of the second.
        const __m256i upper = _mm256_castps_si256(
            _mm256_shuffle_ps(_mm256_castpd_ps(first), _mm256_castpd_ps(second), _MM_SHUFFLE(3, 1, 3, 1)));
        const __m256i sum = _mm256_add_epi32(_mm256_and_si256(upper, _mm256_set1_epi32(0x7FFFFFFF)), adjustment(upper));
        const __m256i undecided = _mm256_set1_epi32((1 << (20 - StepBits)) - 1);
        if (_mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_and_si256(sum, undecided), undecided)) != 0) return false;
        __m256i key = _mm256_srli_epi32(sum, 20 - StepBits);
        key = _mm256_max_epi32(key, _mm256_sub_epi32(lowest_key, _mm256_srai_epi32(upper, 31)));
        key = _mm256_min_epi32(key, highest_key);
        first = compose(first, _mm256_unpacklo_epi32(key, _mm256_setzero_si256()));
        second = compose(second, _mm256_unpackhi_epi32(key, _mm256_setzero_si256()));
        return true;
    }
};

template <int StepBits>
void apply_double_loop(const double* input, double* output, std::size_t count, const DoublePlan& plan) {
    const DoubleKernel<StepBits> kernel{plan};
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        prefetch_line(input + i, kAhead);
        __m256d first = _mm256_loadu_pd(input + i);
        __m256d second = _mm256_loadu_pd(input + i + 4);
        if (kernel(first, second)) {
            _mm256_storeu_pd(output + i, first);
            _mm256_storeu_pd(output + i + 4, second);
        } else {
            for (std::size_t j = i; j < i + 8; ++j) output[j] = apply_one(input[j], plan);
        }
    }
    for (; i < count; ++i) output[i] = apply_one(input[i], plan);
}

void apply_double(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool) {
    if (plan.grid->bit_width == 8) apply_double_loop<4>(input, output, count, plan);
    else apply_double_loop<7>(input, output, count, plan);
}

// ------------------------------------------------------------------------------------------------------------ maximum

std::uint32_t largest_float(const float* data, std::size_t count) {
    const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i largest[4] = {};
    std::size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        prefetch_lines<32>(data + i, kAhead);
        for (std::size_t j = 0; j < 4; ++j) {
            const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 8 * j));
            largest[j] = _mm256_max_epi32(largest[j], _mm256_and_si256(bits, magnitude));
        }
    }
    alignas(32) std::uint32_t parts[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(parts), _mm256_max_epi32(_mm256_max_epi32(largest[0], largest[1]),
                                                                           _mm256_max_epi32(largest[2], largest[3])));
    std::uint32_t result = 0;
    for (const std::uint32_t part : parts) result = part > result ? part : result;
    for (; i < count; ++i) {
        const std::uint32_t bits = magnitude_bits(data[i]);
        result = bits > result ? bits : result;
    }
    return result;
}

std::uint64_t largest_double(const double* data, std::size_t count) {
    const __m256i magnitude = _mm256_set1_epi64x(0x7FFFFFFFFFFFFFFF);
    __m256i largest[4] = {};
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_lines<16>(data + i, kAhead);
        for (std::size_t j = 0; j < 4; ++j) {
            const __m256i bits =
                _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i + 4 * j)), magnitude);
            largest[j] = _mm256_blendv_epi8(largest[j], bits, _mm256_cmpgt_epi64(bits, largest[j]));
        }
    }
    std::uint64_t result = 0;
    for (const __m256i& vector : largest) {
        alignas(32) std::uint64_t parts[4];
        _mm256_store_si256(reinterpret_cast<__m256i*>(parts), vector);
        for (const std::uint64_t part : parts) result = part > result ? part : result;
    }
    for (; i < count; ++i) {
        const std::uint64_t bits = magnitude_bits(data[i]);
        result = bits > result ? bits : result;
    }
    return result;
}

}  // namespace

const Kernels kAvx2Kernels{
    "avx2",
    apply_float,
    apply_double,
    largest_float,
    largest_double,
    {tile_reference<float>, tile_lane<float>},
    {tile_reference<double>, tile_lane<double>},
    {float_reference<Floats8>, float_lane<Floats8>},
    true,
};

}  // namespace gfpq

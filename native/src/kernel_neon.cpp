// Kernels for 64-bit ARM, whose table instruction looks up whole words once their bytes are numbered.
#include <arm_neon.h>

#include "kernel_neon_float_tile.hpp"
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "prefetch.hpp"
#include "series.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

/// Sixteen words of a table.
inline uint8x16x4_t sixteen(const void* words) { return vld1q_u8_x4(static_cast<const std::uint8_t*>(words)); }

/// Numbers of the four bytes of word `index`.
inline uint8x16_t bytes_of(uint32x4_t index) {
    return vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100u), index, 0x04040404u));
}

inline uint32x4_t look_up(const uint8x16x4_t& table, uint8x16_t bytes) {
    return vreinterpretq_u32_u8(vqtbl4q_u8(table, bytes));
}

/// A table of 32 words: what lies beyond the first half is zero there, and comes from the second.
struct ThirtyTwo {
    uint8x16x4_t low, high;

    explicit ThirtyTwo(const void* words) : low(sixteen(words)), high(sixteen(static_cast<const std::uint8_t*>(words) + 64)) {}

    uint32x4_t operator()(uint8x16_t bytes) const {
        return vreinterpretq_u32_u8(vqtbx4q_u8(vqtbl4q_u8(low, bytes), high, vsubq_u8(bytes, vdupq_n_u8(64))));
    }
    float32x4_t floats(uint8x16_t bytes) const { return vreinterpretq_f32_u32((*this)(bytes)); }
};

inline uint32x4_t stays(float32x4_t x, const FloatPlan& plan) {
    return vorrq_u32(vcgtq_f32(x, vdupq_n_f32(plan.flush_positive)), vcltq_f32(x, vdupq_n_f32(-plan.flush_negative)));
}

template <class One>
inline void over_floats(const float* input, float* output, std::size_t count, const FloatPlan& plan, const One& one) {
    std::size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        prefetch_line(input + i, kAhead);
        const float32x4_t first = one(vld1q_f32(input + i));
        const float32x4_t second = one(vld1q_f32(input + i + 4));
        vst1q_f32(output + i, first);
        vst1q_f32(output + i + 4, second);
    }
    for (; i < count; ++i) output[i] = apply_one(input[i], plan);
}

void apply_float8(const float* input, float* output, std::size_t count, const FloatPlan& plan) {
    const ThirtyTwo adjust(plan.tables->adjust);
    const uint8x16x4_t fraction = sixteen(plan.tables->fraction);
    const uint32x4_t lowest_key = vdupq_n_u32(plan.lowest_key);
    const uint32x4_t highest_key = vdupq_n_u32(plan.highest_key);
    over_floats(input, output, count, plan, [&](float32x4_t x) {
        const uint32x4_t bits = vreinterpretq_u32_f32(x);
        const uint32x4_t bucket = vandq_u32(vshrq_n_u32(bits, 18), vdupq_n_u32(31));
        const uint32x4_t sum = vaddq_u32(vandq_u32(bits, vdupq_n_u32(0x7FFFFFFFu)), adjust(bytes_of(bucket)));
        const uint32x4_t lowest = vaddq_u32(lowest_key, vshrq_n_u32(bits, 31));
        const uint32x4_t key = vminq_u32(vmaxq_u32(vshrq_n_u32(sum, 19), lowest), highest_key);
        const uint32x4_t mantissa = look_up(fraction, bytes_of(vandq_u32(key, vdupq_n_u32(15))));
        const uint32x4_t magnitude = vorrq_u32(vshlq_n_u32(vshrq_n_u32(key, 4), 23), mantissa);
        const uint32x4_t result = vorrq_u32(magnitude, vandq_u32(bits, vdupq_n_u32(0x80000000u)));
        return vreinterpretq_f32_u32(vandq_u32(result, stays(x, plan)));
    });
}

void apply_float16(const float* input, float* output, std::size_t count, const FloatPlan& plan) {
    const Series& series = series16();
    if (!series.exact) {
        apply_scalar(input, output, count, plan);
        return;
    }
    const ThirtyTwo reciprocal(series.reciprocal), offset(series.offset), value(series.value), rest(series.rest);
    const uint8x16x4_t growth = sixteen(series.growth);
    const uint32x4_t sign_bit = vdupq_n_u32(0x80000000u);
    over_floats(input, output, count, plan, [&](float32x4_t x) {
        const uint32x4_t sign = vandq_u32(vreinterpretq_u32_f32(x), sign_bit);
        const float32x4_t lowest = vbslq_f32(vceqq_u32(sign, sign_bit), vdupq_n_f32(plan.lowest_negative),
                                             vdupq_n_f32(plan.lowest_positive));
        const float32x4_t clamped = vminnmq_f32(vmaxnmq_f32(vabsq_f32(x), lowest), vdupq_n_f32(plan.highest));
        const uint32x4_t bits = vreinterpretq_u32_f32(clamped);
        const uint8x16_t bytes = bytes_of(vandq_u32(vshrq_n_u32(bits, 18), vdupq_n_u32(31)));
        const float32x4_t mantissa =
            vreinterpretq_f32_u32(vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x007FFFFFu)), vdupq_n_u32(0x3F800000u)));
        const float32x4_t r = vfmaq_f32(vdupq_n_f32(-1.0f), mantissa, reciprocal.floats(bytes));
        const float32x4_t curve = vfmaq_f32(vdupq_n_f32(Series::square), r, vdupq_n_f32(Series::cubic));
        const float32x4_t slope = vfmaq_f32(vdupq_n_f32(Series::linear), r, curve);
        const float32x4_t steps = vfmaq_f32(offset.floats(bytes), r, slope);
        const uint32x4_t k = vreinterpretq_u32_f32(vaddq_f32(steps, vdupq_n_f32(Series::rounder)));
        const float32x4_t grown = vreinterpretq_f32_u32(look_up(growth, bytes_of(vandq_u32(k, vdupq_n_u32(15)))));
        const float32x4_t middle = value.floats(bytes);
        const float32x4_t unit = vaddq_f32(middle, vfmaq_f32(rest.floats(bytes), middle, grown));
        const float32x4_t power = vreinterpretq_f32_u32(vorrq_u32(vandq_u32(bits, vdupq_n_u32(0x7F800000u)), sign));
        return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(vmulq_f32(unit, power)), stays(x, plan)));
    });
}

void apply_float(const float* input, float* output, std::size_t count, const FloatPlan& plan, bool) {
    if (plan.grid->bit_width == 8) apply_float8(input, output, count, plan);
    else apply_float16(input, output, count, plan);
}

void apply_double(const double* input, double* output, std::size_t count, const DoublePlan& plan, bool) {
    apply_scalar(input, output, count, plan);
}

std::uint32_t largest_float(const float* data, std::size_t count) {
    const uint32x4_t magnitude = vdupq_n_u32(0x7FFFFFFFu);
    uint32x4_t largest[4] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        prefetch_line(data + i, kAhead);
        for (std::size_t j = 0; j < 4; ++j)
            largest[j] = vmaxq_u32(largest[j], vandq_u32(vreinterpretq_u32_f32(vld1q_f32(data + i + 4 * j)), magnitude));
    }
    std::uint32_t result = vmaxvq_u32(vmaxq_u32(vmaxq_u32(largest[0], largest[1]), vmaxq_u32(largest[2], largest[3])));
    for (; i < count; ++i) {
        const std::uint32_t bits = magnitude_bits(data[i]);
        result = bits > result ? bits : result;
    }
    return result;
}

}  // namespace

const Kernels kNeonKernels{
    "neon",
    apply_float,
    apply_double,
    largest_float,
    largest_scalar<double, std::uint64_t>,
    {scalar_reference<float>, scalar_lane<float>},
    {scalar_reference<double>, scalar_lane<double>},
    {float_reference<Floats4>, float_lane<Floats4>},
    true,
};

}  // namespace gfpq

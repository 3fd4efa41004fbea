// Four floats for the float kernels of the similarity sums; part of kernel_neon.cpp.
#pragma once

#include <arm_neon.h>

#include "similarity_float_kernel.hpp"

namespace gfpq {
namespace {

struct Floats4 {
    static constexpr std::size_t width = 4;
    float32x4_t v;

    static Floats4 load(const float* p) { return {vld1q_f32(p)}; }
    static Floats4 load_unaligned(const float* p) { return {vld1q_f32(p)}; }
    static Floats4 zero() { return {vdupq_n_f32(0.0f)}; }
    static Floats4 all(float value) { return {vdupq_n_f32(value)}; }
    void store(float* p) const { vst1q_f32(p, v); }

    /// Adds sixteen sums, each divided by its scale, to eight partial ones.
    static void hand_on(const float* part, const double* inverse, double* sums) {
        for (std::size_t i = 0; i < kColumns; i += 2) {
            double* sum = sums + i % kPartialSums;
            vst1q_f64(sum, vfmaq_f64(vld1q_f64(sum), vcvt_f64_f32(vld1_f32(part + i)), vld1q_f64(inverse + i)));
        }
    }

    static void hand_on(const float* part, const double* inverse, double* sums, double* squares) {
        for (std::size_t i = 0; i < kColumns; i += 2) {
            double* sum = sums + i % kPartialSums;
            double* square = squares + i % kPartialSums;
            const float64x2_t one = vmulq_f64(vcvt_f64_f32(vld1_f32(part + i)), vld1q_f64(inverse + i));
            vst1q_f64(sum, vaddq_f64(vld1q_f64(sum), one));
            vst1q_f64(square, vaddq_f64(vld1q_f64(square), vmulq_f64(one, one)));
        }
    }

    class Unequal {
    public:
        void add(Floats4 a, Floats4 b, std::size_t) {
            equal_ = vsubq_u32(equal_, vceqq_u32(vreinterpretq_u32_f32(a.v), vreinterpretq_u32_f32(b.v)));
        }
        std::uint64_t count() const { return kTile - vaddvq_u32(equal_); }

    private:
        uint32x4_t equal_ = vdupq_n_u32(0);
    };
};

inline Floats4 operator*(Floats4 a, Floats4 b) { return {vmulq_f32(a.v, b.v)}; }
inline Floats4 operator+(Floats4 a, Floats4 b) { return {vaddq_f32(a.v, b.v)}; }
inline Floats4 operator-(Floats4 a, Floats4 b) { return {vsubq_f32(a.v, b.v)}; }
inline Floats4 fused(Floats4 a, Floats4 b, Floats4 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Floats4 fused_minus(Floats4 a, Floats4 b, Floats4 c) { return {vfmaq_f32(vnegq_f32(c.v), a.v, b.v)}; }
inline Floats4 magnitude(Floats4 a) { return {vabsq_f32(a.v)}; }
/// Without the last kLowBits bits.
inline Floats4 shortened(Floats4 a) {
    return {vreinterpretq_f32_s32(vandq_s32(vreinterpretq_s32_f32(a.v), vdupq_n_s32(-(1 << kLowBits))))};
}
/// The second where neither is smaller (larger), as with a NaN.
inline Floats4 smaller(Floats4 a, Floats4 b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
inline Floats4 larger(Floats4 a, Floats4 b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }

}  // namespace
}  // namespace gfpq

// Eight floats for the float kernels of the similarity sums; part of kernel_avx2.cpp.
#pragma once

#include <immintrin.h>

#include "similarity_float_kernel.hpp"

namespace gfpq {
namespace {

struct Floats8 {
    static constexpr std::size_t width = 8;
    __m256 v;

    static Floats8 load(const float* p) { return {_mm256_load_ps(p)}; }
    static Floats8 load_unaligned(const float* p) { return {_mm256_loadu_ps(p)}; }
    static Floats8 zero() { return {_mm256_setzero_ps()}; }
    static Floats8 all(float value) { return {_mm256_set1_ps(value)}; }
    void store(float* p) const { _mm256_store_ps(p, v); }

    /// Adds sixteen sums, each divided by its scale, to eight partial ones.
    static void hand_on(const float* part, const double* inverse, double* sums) {
        for (std::size_t half = 0; half < kPartialSums; half += 4) {
            __m256d sum = _mm256_load_pd(sums + half);
            for (std::size_t i = half; i < kColumns; i += kPartialSums)
                sum = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_load_ps(part + i)), _mm256_load_pd(inverse + i), sum);
            _mm256_store_pd(sums + half, sum);
        }
    }

    static void hand_on(const float* part, const double* inverse, double* sums, double* squares) {
        for (std::size_t half = 0; half < kPartialSums; half += 4) {
            __m256d sum = _mm256_load_pd(sums + half);
            __m256d square = _mm256_load_pd(squares + half);
            for (std::size_t i = half; i < kColumns; i += kPartialSums) {
                const __m256d one = _mm256_mul_pd(_mm256_cvtps_pd(_mm_load_ps(part + i)), _mm256_load_pd(inverse + i));
                sum = _mm256_add_pd(sum, one);
                square = _mm256_add_pd(square, _mm256_mul_pd(one, one));
            }
            _mm256_store_pd(sums + half, sum);
            _mm256_store_pd(squares + half, square);
        }
    }

    class Unequal {
    public:
        void add(Floats8 a, Floats8 b, std::size_t) {
            equal_ = _mm256_sub_epi32(equal_, _mm256_cmpeq_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)));
        }
        std::uint64_t count() const {
            alignas(32) std::uint32_t equal[8];
            _mm256_store_si256(reinterpret_cast<__m256i*>(equal), equal_);
            std::uint64_t all = kTile;
            for (const std::uint32_t one : equal) all -= one;
            return all;
        }

    private:
        __m256i equal_ = _mm256_setzero_si256();
    };
};

inline Floats8 operator*(Floats8 a, Floats8 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Floats8 operator+(Floats8 a, Floats8 b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Floats8 operator-(Floats8 a, Floats8 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Floats8 fused(Floats8 a, Floats8 b, Floats8 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats8 fused_minus(Floats8 a, Floats8 b, Floats8 c) { return {_mm256_fmsub_ps(a.v, b.v, c.v)}; }
inline Floats8 magnitude(Floats8 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
/// Without the last kLowBits bits.
inline Floats8 shortened(Floats8 a) {
    return {_mm256_and_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-(1 << kLowBits))))};
}
/// The second where neither is smaller (larger), as with a NaN.
inline Floats8 smaller(Floats8 a, Floats8 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Floats8 larger(Floats8 a, Floats8 b) { return {_mm256_max_ps(a.v, b.v)}; }

}  // namespace
}  // namespace gfpq

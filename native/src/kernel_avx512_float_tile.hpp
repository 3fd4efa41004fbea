// Sixteen floats for the float kernels of the similarity sums; part of kernel_avx512.cpp.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "similarity_float_kernel.hpp"

namespace gfpq {
namespace {

struct Floats16 {
    static constexpr std::size_t width = 16;
    __m512 v;

    static Floats16 load(const float* p) { return {_mm512_load_ps(p)}; }
    static Floats16 load_unaligned(const float* p) { return {_mm512_loadu_ps(p)}; }
    static Floats16 zero() { return {_mm512_setzero_ps()}; }
    static Floats16 all(float value) { return {_mm512_set1_ps(value)}; }
    void store(float* p) const { _mm512_store_ps(p, v); }

    /// Adds sixteen sums, each divided by its scale, to eight partial ones.
    static void hand_on(const float* part, const double* inverse, double* sums) {
        __m512d sum = _mm512_load_pd(sums);
        for (std::size_t i = 0; i < kColumns; i += 8)
            sum = _mm512_fmadd_pd(_mm512_cvtps_pd(_mm256_load_ps(part + i)), _mm512_load_pd(inverse + i), sum);
        _mm512_store_pd(sums, sum);
    }

    static void hand_on(const float* part, const double* inverse, double* sums, double* squares) {
        __m512d sum = _mm512_load_pd(sums);
        __m512d square = _mm512_load_pd(squares);
        for (std::size_t i = 0; i < kColumns; i += 8) {
            const __m512d one = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_load_ps(part + i)), _mm512_load_pd(inverse + i));
            sum = _mm512_add_pd(sum, one);
            square = _mm512_add_pd(square, _mm512_mul_pd(one, one));
        }
        _mm512_store_pd(sums, sum);
        _mm512_store_pd(squares, square);
    }

    /// The masks go through memory: there is room at the store ports, and none at those that move a mask to a register.
    class Unequal {
    public:
        void add(Floats16 a, Floats16 b, std::size_t row) {
            masks_[row] = _mm512_cmpneq_epi32_mask(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v));
        }
        std::uint64_t count() const {
            std::uint64_t all = 0;
            for (std::size_t row = 0; row < kRows; row += 4) {
                std::uint64_t four;
                std::memcpy(&four, masks_ + row, sizeof four);
                all += static_cast<std::uint64_t>(_mm_popcnt_u64(four));
            }
            return all;
        }

    private:
        alignas(64) __mmask16 masks_[kRows];
    };
};

inline Floats16 operator*(Floats16 a, Floats16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Floats16 operator+(Floats16 a, Floats16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Floats16 operator-(Floats16 a, Floats16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Floats16 fused(Floats16 a, Floats16 b, Floats16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Floats16 fused_minus(Floats16 a, Floats16 b, Floats16 c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
inline Floats16 magnitude(Floats16 a) { return {_mm512_abs_ps(a.v)}; }
/// Without the last kLowBits bits.
inline Floats16 shortened(Floats16 a) {
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(a.v), _mm512_set1_epi32(-(1 << kLowBits))))};
}
/// The second where neither is smaller (larger), as with a NaN.
inline Floats16 smaller(Floats16 a, Floats16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline Floats16 larger(Floats16 a, Floats16 b) { return {_mm512_max_ps(a.v, b.v)}; }

}  // namespace
}  // namespace gfpq

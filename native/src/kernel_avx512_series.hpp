// The 16-bit series in AVX-512 registers; part of kernel_avx512.cpp.
#pragma once

#include <immintrin.h>

#include "kernel_avx512_lanes.hpp"
#include "series.hpp"

namespace gfpq {
namespace {

struct SeriesRegisters {
    __m512 reciprocal[2], offset[2], value[2], rest[2], growth;

    explicit SeriesRegisters(const Series& series) : growth(_mm512_load_ps(series.growth)) {
        for (int half = 0; half < 2; ++half) {
            reciprocal[half] = _mm512_load_ps(series.reciprocal + 16 * half);
            offset[half] = _mm512_load_ps(series.offset + 16 * half);
            value[half] = _mm512_load_ps(series.value + 16 * half);
            rest[half] = _mm512_load_ps(series.rest + 16 * half);
        }
    }

    static __m512 look_up(const __m512 (&table)[2], __m512i bucket) {
        return _mm512_permutex2var_ps(table[0], bucket, table[1]);
    }

    static __m512i bucket_of(__m512i bits) { return _mm512_srli_epi32(bits, 18); }

    /// k in the lowest four bits.
    __m512i steps_from_middle(__m512i bits, __m512i bucket) const {
        const __m512 mantissa = _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
            bits, _mm512_set1_epi32(0x007FFFFF), _mm512_set1_epi32(0x3F800000), kAndOr));
        const __m512 r = _mm512_fmsub_ps(mantissa, look_up(reciprocal, bucket), _mm512_set1_ps(1.0f));
        const __m512 curve = _mm512_fmadd_ps(r, _mm512_set1_ps(Series::cubic), _mm512_set1_ps(Series::square));
        const __m512 slope = _mm512_fmadd_ps(r, curve, _mm512_set1_ps(Series::linear));
        const __m512 steps = _mm512_fmadd_ps(r, slope, look_up(offset, bucket));
        return _mm512_castps_si512(_mm512_add_ps(steps, _mm512_set1_ps(Series::rounder)));
    }

    /// Mantissa of the k-th code from the middle, in 1 ... 2.
    __m512 value_at(__m512i steps, __m512i bucket) const {
        const __m512 middle = look_up(value, bucket);
        const __m512 less = _mm512_fmadd_ps(middle, _mm512_permutexvar_ps(steps, growth), look_up(rest, bucket));
        return _mm512_add_ps(middle, less);
    }
};

}  // namespace
}  // namespace gfpq

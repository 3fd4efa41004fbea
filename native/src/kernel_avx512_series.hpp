// How 16-bit codes and values are found without fetching anything from memory; part of kernel_avx512.cpp.
//
// The 256 changes of an octave at 16 bit do not fit into registers, and fetching them from memory would take several times
// as long as everything else. So the octave is cut into 32 buckets of a few codes, each with a code n in its middle, and
//
//     k = round(128 * log2(m / 2^(n / 128)))        by a short series in r = m * reciprocal - 1,   |k| <= 4
//     2^((n + k) / 128) = value + (value * (2^(k / 128) - 1) + rest)
//
// Both are exact because they are made so: `make_series` moves the offset of each bucket until the code changes at the
// very mantissas of the table, and the rest until every value is the float nearest to the power.
#pragma once

#include <immintrin.h>
#include <math.h>

#include "kernel_avx512_lanes.hpp"
#include "tables.hpp"

namespace gfpq {
namespace {

struct Series {
    alignas(64) float reciprocal[32];  ///< of 2^(n / 128)
    alignas(64) float offset[32];      ///< what the rounding of the reciprocal costs, in steps
    alignas(64) float value[32];       ///< 2^(n / 128)
    alignas(64) float rest[32];        ///< what rounding `value` has cut off
    alignas(64) float growth[16];      ///< 2^(k / 128) - 1 at index k modulo 16
    bool exact;
};

constexpr float kRounder = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits

/// The series in registers.
struct SeriesRegisters {
    __m512 reciprocal[2], offset[2], value[2], rest[2], growth;
    // 128 / ln 2 * (r - r^2 / 2 + r^3 / 3), its square term raised by what stands for r^4 over |r| < 0.0165.
    __m512 linear = _mm512_set1_ps(184.664966f);
    __m512 square = _mm512_set1_ps(-92.345051f);
    __m512 cubic = _mm512_set1_ps(61.5549889f);

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
        const __m512 slope = _mm512_fmadd_ps(r, _mm512_fmadd_ps(r, cubic, square), linear);
        const __m512 steps = _mm512_fmadd_ps(r, slope, look_up(offset, bucket));
        return _mm512_castps_si512(_mm512_add_ps(steps, _mm512_set1_ps(kRounder)));
    }

    /// Mantissa of the k-th code from the middle, in 1 ... 2.
    __m512 value_at(__m512i steps, __m512i bucket) const {
        const __m512 middle = look_up(value, bucket);
        return _mm512_add_ps(
            middle, _mm512_fmadd_ps(middle, _mm512_permutexvar_ps(steps, growth), look_up(rest, bucket)));
    }
};

/// 0, 1, -1, 2, -2, ...
inline int alternating(int index) { return index % 2 == 0 ? -index / 2 : (index + 1) / 2; }

/// Moves one number of a bucket around `start` until `good` holds, and then to the middle of where it does.
template <class Good>
bool settle(float& number, double start, double stride, const Good& good) {
    constexpr int reach = 256;
    int first = reach + 1, last = -reach - 1;
    const auto good_at = [&](double strides) {
        number = static_cast<float>(start + strides * stride);
        return good();
    };
    for (int step = 0; step <= 2 * reach && first > last; ++step) {
        if (good_at(alternating(step))) first = last = alternating(step);
    }
    if (first > last) return false;
    while (last < reach && good_at(last + 1)) ++last;
    while (first > -reach && good_at(first - 1)) --first;
    return good_at(0.5 * (first + last));
}

/// The changes and values of one bucket, and whether the series reproduces them.
struct Bucket {
    int number;
    int middle;
    int first_code, last_code;
    const Tables<std::uint32_t>* tables;

    std::uint32_t code_at(std::uint32_t mantissa) const {
        const std::uint32_t bucket = mantissa >> tables->bucket_shift & (tables->bucket_count - 1);
        return (mantissa + tables->adjust[bucket]) >> tables->key_shift;
    }

    /// First mantissa of a code, found between those of the bucket.
    std::uint32_t first_mantissa(int code) const {
        std::uint32_t low = static_cast<std::uint32_t>(number) << 18;
        std::uint32_t high = low + (1u << 18);
        while (low < high) {
            const std::uint32_t between = (low + high) / 2;
            if (static_cast<int>(code_at(between)) < code) low = between + 1;
            else high = between;
        }
        return low;
    }

    bool codes_are_right(const Series& series) const {
        const SeriesRegisters registers(series);
        alignas(64) std::uint32_t mantissas[16];
        alignas(64) std::uint32_t steps[16];
        const std::uint32_t begin = static_cast<std::uint32_t>(number) << 18;
        int used = 0;
        for (int code = first_code + 1; code <= last_code; ++code) {
            const std::uint32_t change = first_mantissa(code);
            mantissas[used++] = change - 1;
            mantissas[used++] = change;
        }
        for (; used < 16; ++used) mantissas[used] = used % 2 == 0 ? begin : begin + (1u << 18) - 1;
        const __m512i bits = _mm512_load_si512(mantissas);
        _mm512_store_si512(steps, registers.steps_from_middle(bits, SeriesRegisters::bucket_of(bits)));
        for (int i = 0; i < 16; ++i)
            if (((steps[i] - code_at(mantissas[i]) + static_cast<std::uint32_t>(middle)) & 15u) != 0) return false;
        return true;
    }

    bool values_are_right(const Series& series) const {
        const SeriesRegisters registers(series);
        alignas(64) float values[16];
        alignas(64) std::int32_t steps[16];
        for (int i = 0; i < 16; ++i) steps[i] = first_code - middle + i;
        const __m512i bucket = _mm512_set1_epi32(number);
        _mm512_store_ps(values, registers.value_at(_mm512_load_si512(steps), bucket));
        for (int code = first_code; code <= last_code; ++code)
            if (values[code - first_code] != static_cast<float>(pow(2.0, code / 128.0))) return false;
        return true;
    }
};

/// Fills in the numbers of one bucket around its code `middle`, `ulps` beside the float nearest to the power; false
/// where some sum rounds to the wrong side.
bool fill_bucket(Series& series, const Bucket& bucket, int ulps) {
    const int i = bucket.number;
    const double value = pow(2.0, bucket.middle / 128.0);
    series.value[i] = static_cast<float>(value + ulps * 0x1p-23);
    series.reciprocal[i] = static_cast<float>(1.0 / value);
    const double cut_off = value - static_cast<double>(series.value[i]);
    const double lost = -128.0 * log2(static_cast<double>(series.reciprocal[i]) * value);
    return settle(series.offset[i], lost, 1e-8, [&] { return bucket.codes_are_right(series); }) &&
           settle(series.rest[i], cut_off, 1e-10, [&] { return bucket.values_are_right(series); });
}

Series make_series(const Tables<std::uint32_t>& tables) {
    Series series;
    series.exact = true;
    for (int i = 0; i < 16; ++i) series.growth[i] = static_cast<float>(pow(2.0, (i < 8 ? i : i - 16) / 128.0) - 1.0);
    for (int i = 0; i < 32; ++i) {
        Bucket bucket{i, 0, 0, 0, &tables};
        bucket.first_code = static_cast<int>(bucket.code_at(static_cast<std::uint32_t>(i) << 18));
        bucket.last_code = static_cast<int>(bucket.code_at((static_cast<std::uint32_t>(i + 1) << 18) - 1));
        const int middle = (bucket.first_code + bucket.last_code) / 2;
        bool filled = false;
        for (int attempt = 0; attempt < 3 * 17 && !filled; ++attempt) {
            bucket.middle = middle + alternating(attempt / 17);
            filled = fill_bucket(series, bucket, alternating(attempt % 17));
        }
        series.exact &= filled;
    }
    return series;
}

}  // namespace
}  // namespace gfpq

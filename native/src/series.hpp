// How 16-bit codes and values are found without fetching anything from memory.
//
// The 256 changes of an octave at 16 bit do not fit into registers, and fetching them from memory would take several
// times as long as everything else. So the octave is cut into 32 buckets of a few codes, each with a code n near its
// middle. For a mantissa m in 1 ... 2 and the bucket that it falls into,
//
//     r = m * reciprocal - 1
//     k = round(offset + r * (linear + r * (square + r * cubic)))        = round(128 * log2(m / 2^(n / 128))), |k| <= 4
//     2^((n + k) / 128) = value + (value * growth[k] + rest)
//
// every product and the sum behind it rounded once (fused). Both are exact because they are made so: `make_series` moves
// the offset of a bucket until k changes at the very mantissas of the table, and the rest until every value is the
// float nearest to the power.
#pragma once

#include "tables.hpp"

namespace gfpq {

struct Series {
    // 128 / ln 2 * (r - r^2 / 2 + r^3 / 3), the square term changed by what stands for r^4 while |r| < 0.0165.
    static constexpr float linear = 184.664966f;
    static constexpr float square = -92.345051f;
    static constexpr float cubic = 61.5549889f;
    /// 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits.
    static constexpr float rounder = 12582912.0f;

    alignas(64) float reciprocal[32];  ///< of 2^(n / 128)
    alignas(64) float offset[32];      ///< what the rounding of the reciprocal costs, in steps
    alignas(64) float value[32];       ///< 2^(n / 128)
    alignas(64) float rest[32];        ///< what rounding `value` has cut off
    alignas(64) float growth[16];      ///< 2^(k / 128) - 1 at index k modulo 16
    bool exact;                        ///< false where some number could not be settled: use the tables then
};

/// The series for 16 bit, made at the first call.
const Series& series16() noexcept;

}  // namespace gfpq

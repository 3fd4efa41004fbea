// Constants of the fast kernels: where codes change inside an octave, and the mantissas that codes stand for.
//
// Codes of a magnitude are found without a logarithm. Inside an octave the code changes at the mantissas
// 2^((j + 1/2) / S). Divide the octave into equal buckets, so narrow that each holds one change at most (32 for S = 16,
// 256 for S = 128). Each bucket has one number which, added to the bits of the magnitude, makes the sum cross a
// multiple of 2^shift exactly where the code changes. Hence
//
//     key = (bits + adjust[bucket]) >> shift = S * (biased exponent) + (code inside the octave),
//
// the carry into the next octave included, exact for every float. For double the same is done with the upper word;
// where it alone cannot decide, the lower `shift` bits of the sum are all ones, and the reference decides.
#pragma once

#include <cstdint>

#include "codec.hpp"

namespace gfpq {

inline constexpr std::uint32_t kFloatBias = 127;
inline constexpr std::uint32_t kDoubleBias = 1023;

/// Tables of one grid for one element type. Word is the unsigned integer as wide as the element.
template <class Word>
struct Tables {
    alignas(64) std::uint32_t adjust[256];
    alignas(64) Word fraction[128];  ///< mantissa bits of 2^(j / S)
    unsigned step_bits;              ///< log2(S)
    unsigned bucket_shift;           ///< (bits >> bucket_shift) & (buckets - 1) is the bucket
    unsigned bucket_count;
    unsigned key_shift;
};

/// What a kernel needs for one coefficient.
template <class T, class Word>
struct Plan {
    const Grid* grid;
    const Tables<Word>* tables;
    int delta;
    T flush_positive;     ///< largest positive number that becomes zero
    T flush_negative;     ///< largest magnitude that becomes zero on the negative side
    T lowest_positive;    ///< value(0)
    T lowest_negative;    ///< value(1)
    T highest;            ///< value(T)
    std::uint32_t lowest_key;  ///< key of code 0
    std::uint32_t highest_key;
};

using FloatPlan = Plan<float, std::uint32_t>;
using DoublePlan = Plan<double, std::uint64_t>;

/// False where the grid leaves the normal numbers (coefficients far outside the grid's range): only the reference
/// knows that world.
bool make_plan(const Grid& grid, int delta, FloatPlan& plan) noexcept;
bool make_plan(const Grid& grid, int delta, DoublePlan& plan) noexcept;

}  // namespace gfpq

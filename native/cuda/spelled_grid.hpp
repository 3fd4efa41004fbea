// Grids spelled out for the GPU: where each code begins and what it stands for, as this machine's log2 and pow have it.
//
// A float64 number may lie so close to the border of two codes that the rounding of log2 decides. A GPU has another
// log2, so it is given the borders themselves, found here by asking the CPU's.
#pragma once

#include <vector>

#include "../src/codec.hpp"

namespace gfpq::cuda {

/// Borders and values for the steps `first` ... `last`, a step being delta + code. Index 0 belongs to `first`.
struct SpelledSteps {
    long long first = 0;
    std::vector<double> borders;  ///< smallest magnitude that rounds to the step, or above it; infinite where none does
    std::vector<double> values;   ///< 2^(step / S)
};

/// Spells out all steps of one coefficient (last = delta + T), or of every coefficient that data can have. May throw
/// std::bad_alloc.
SpelledSteps spell_out(const Grid& grid, long long first, long long last);

/// Magnitudes up to this become zero: value(0) / 2 for positive numbers, value(1) / 2 for negative ones.
double zero_threshold(const Grid& grid, int delta, bool negative) noexcept;

}  // namespace gfpq::cuda

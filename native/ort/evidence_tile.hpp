// What quantizing did to a piece of a tensor, counted while both are in the cache.
#pragma once

#include <cstddef>

#include "codec.hpp"

namespace gfpq::ort {

/// Adds to a row of `kEvidenceFields` numbers what became of `count` elements.
void add_evidence(const float* before, const float* after, std::size_t count, const Grid& grid, int delta,
                  double* evidence) noexcept;

/// Says which coefficient was used.
void add_coefficient(int delta, double* evidence) noexcept;

}  // namespace gfpq::ort

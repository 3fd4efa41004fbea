// What the format does to one tensor: codes, and counts of what falls outside the grid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec.hpp"

namespace gfpq {

/// The chip's codes: the sign in the highest bit and the code below it; the sign alone (0x80, 0x8000) is zero.
/// Word is uint8_t for 8 bit and uint16_t for 16 bit.
template <class T, class Word>
void encode(const T* input, Word* codes, std::size_t count, const Grid& grid, int delta) noexcept;

/// Values of codes. Returns the number of patterns that are no code (16 bit has many); they decode to NaN.
template <class T, class Word>
std::uint64_t decode(const Word* codes, T* output, std::size_t count, const Grid& grid, int delta) noexcept;

/// Counts of one tensor under one coefficient; infinities and NaN only in `nonfinite`.
struct CodeStatistics {
    std::uint64_t finite = 0;
    std::uint64_t nonfinite = 0;
    std::uint64_t zeros = 0;    ///< finite and zero before quantization
    std::uint64_t flushed = 0;  ///< finite, not zero, and zero after quantization
    std::uint64_t snapped = 0;  ///< magnitude between value(T) and value(T + 1): the doing of `floor`
    std::uint64_t beyond = 0;   ///< magnitude at or above value(T + 1): never after INIT on the same data
};

/// Adds to `histogram` [2, T + 1] how often each code is used, positive values first; flushed values are not in it.
template <class T>
CodeStatistics code_statistics(const T* data, std::size_t count, const Grid& grid, int delta,
                               std::int64_t* histogram) noexcept;

/// How near the non-zero finite elements lie to points 2^(k / S) of the grid, whatever the coefficient.
struct GridResidual {
    std::uint64_t nonzero = 0;
    std::uint64_t within = 0;      ///< |u - round(u)| <= tolerance where u = S * log2|x|
    double largest = 0.0;          ///< largest |u - round(u)|
    double lowest_step = 0.0;      ///< smallest round(u); 0 without an element
    double highest_step = 0.0;
};

template <class T>
GridResidual grid_residual(const T* data, std::size_t count, const Grid& grid, double tolerance) noexcept;

/// Energy of the tensor and of the error that rounding alone makes: every magnitude to the nearest step of a grid
/// without ends. Finite elements only.
struct RoundingEnergy {
    double signal = 0.0;
    double error = 0.0;
};

template <class T>
RoundingEnergy rounding_energy(const T* data, std::size_t count, const Grid& grid) noexcept;

}  // namespace gfpq

#include "spelled_grid.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace gfpq::cuda {
namespace {

double value_of(long long step, const Grid& grid) noexcept {
    return std::pow(2.0, static_cast<double>(step) / grid.steps_per_octave);
}

// Positive doubles in their order, counted from 0 at +0.
std::int64_t rank_of(double x) noexcept {
    std::int64_t rank;
    std::memcpy(&rank, &x, sizeof rank);
    return rank;
}

double at_rank(std::int64_t rank) noexcept {
    double x;
    std::memcpy(&x, &rank, sizeof x);
    return x;
}

/// The smallest magnitude above 0 whose rounded logarithm is `step` or more.
double border_of(long long step, const Grid& grid) noexcept {
    const auto reaches = [&](std::int64_t rank) noexcept {
        return std::round(grid.steps_per_octave * std::log2(at_rank(rank))) >= static_cast<double>(step);
    };
    constexpr std::int64_t smallest = 1;
    const std::int64_t infinity = rank_of(std::numeric_limits<double>::infinity());
    // The border is a few units in the last place from here, unless it is outside the range of double altogether.
    const double guess = std::pow(2.0, (static_cast<double>(step) - 0.5) / grid.steps_per_octave);
    const std::int64_t middle = std::clamp(rank_of(guess), smallest, infinity);
    std::int64_t width = 64;
    std::int64_t below = middle;
    while (below > smallest && reaches(below)) {
        below = std::max(smallest, below - width);
        width *= 2;
    }
    if (reaches(below)) return at_rank(below);
    width = 64;
    std::int64_t above = middle;
    while (above < infinity && !reaches(above)) {
        above = std::min(infinity, above + width);
        width *= 2;
    }
    while (above - below > 1) {
        const std::int64_t half = below + (above - below) / 2;
        (reaches(half) ? above : below) = half;
    }
    return at_rank(above);
}

}  // namespace

SpelledSteps spell_out(const Grid& grid, long long first, long long last) {
    SpelledSteps steps;
    steps.first = first;
    for (long long step = first; step <= last; ++step) {
        steps.borders.push_back(border_of(step, grid));
        steps.values.push_back(value_of(step, grid));
    }
    return steps;
}

double zero_threshold(const Grid& grid, int delta, bool negative) noexcept {
    return value_of(static_cast<long long>(delta) + (negative ? 1 : 0), grid) / 2;
}

}  // namespace gfpq::cuda

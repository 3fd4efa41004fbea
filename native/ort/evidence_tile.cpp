#include "evidence_tile.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "evidence.hpp"
#include "run.hpp"

namespace gfpq::ort {
namespace {

constexpr std::int32_t kInfinityBits = 0x7F800000;

struct Counts {
    std::int32_t largest = 0;  // bits, without the sign
    std::uint32_t nonzero = 0;
    std::uint32_t snapped = 0;
    std::uint32_t beyond = 0;
    std::uint32_t vanished = 0;
};

std::int32_t magnitude_bits_of(float x) noexcept {
    std::int32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFF;
}

/// Whole numbers only: magnitudes order as their bits do, which every compiler turns into vectors.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
Counts count(const float* before, const float* after, std::size_t size, std::int32_t over,
             std::int32_t above) noexcept {
    Counts counts;
    std::int32_t largest = 0;
    std::uint32_t nonzero = 0, larger = 0, beyond = 0, left = 0;
    for (std::size_t i = 0; i < size; ++i) {
        std::int32_t x, y;
        std::memcpy(&x, before + i, sizeof x);
        std::memcpy(&y, after + i, sizeof y);
        x &= 0x7FFFFFFF;
        y &= 0x7FFFFFFF;
        largest = x > largest ? x : largest;
        nonzero += x != 0 ? 1u : 0u;
        larger += x >= over ? 1u : 0u;
        beyond += x >= above ? 1u : 0u;
        left += y != 0 ? 1u : 0u;
    }
    counts.largest = largest;
    counts.nonzero = nonzero;
    counts.snapped = larger - beyond;
    counts.beyond = beyond;
    counts.vanished = nonzero - left;
    return counts;
}

double value_of(int code, const Grid& grid, int delta) noexcept {
    return std::pow(2.0, (static_cast<double>(delta) + code) / grid.steps_per_octave);
}

/// The smallest float that is not below a number.
float rounded_up(double x) noexcept {
    const float nearest = static_cast<float>(x);
    return static_cast<double>(nearest) < x ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest;
}

void add_with_care(const float* before, std::size_t size, const Grid& grid, int delta, double* evidence) noexcept {
    std::int64_t histogram[2 * 1408] = {};
    const CodeStatistics counts = code_statistics(before, size, grid, delta, histogram);
    evidence[kFinite] += static_cast<double>(counts.finite);
    evidence[kNonzero] += static_cast<double>(counts.finite - counts.zeros);
    evidence[kSnapped] += static_cast<double>(counts.snapped);
    evidence[kBeyond] += static_cast<double>(counts.beyond);
    evidence[kFlushed] += static_cast<double>(counts.flushed);
    evidence[kMagnitude] = std::max(evidence[kMagnitude], largest_magnitude(before, size).largest);
}

}  // namespace

void add_evidence(const float* before, const float* after, std::size_t size, const Grid& grid, int delta,
                  double* evidence) noexcept {
    const float top = static_cast<float>(value_of(grid.highest_code, grid, delta));
    const float over = std::nextafter(top, std::numeric_limits<float>::infinity());
    const float above = rounded_up(value_of(grid.highest_code + 1, grid, delta));
    const Counts counts = count(before, after, size, magnitude_bits_of(over), magnitude_bits_of(above));
    if (counts.largest >= kInfinityBits) return add_with_care(before, size, grid, delta, evidence);
    float largest;
    std::memcpy(&largest, &counts.largest, sizeof largest);
    evidence[kFinite] += static_cast<double>(size);
    evidence[kNonzero] += counts.nonzero;
    evidence[kSnapped] += counts.snapped;
    evidence[kBeyond] += counts.beyond;
    evidence[kFlushed] += counts.vanished;
    evidence[kMagnitude] = std::max(evidence[kMagnitude], static_cast<double>(largest));
}

void add_coefficient(int delta, double* evidence) noexcept {
    evidence[kDeltaLow] = std::min(evidence[kDeltaLow], static_cast<double>(delta));
    evidence[kDeltaHigh] = std::max(evidence[kDeltaHigh], static_cast<double>(delta));
}

}  // namespace gfpq::ort

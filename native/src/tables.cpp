#include "tables.hpp"

#include <cmath>
#include <cstring>

namespace gfpq {
namespace {

unsigned log2_of(int power_of_two) noexcept {
    unsigned result = 0;
    while ((1 << result) < power_of_two) ++result;
    return result;
}

std::uint32_t bits_of(float x) noexcept {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

std::uint64_t bits_of(double x) noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

/// First mantissa (an integer of `mantissa_bits`) beyond the change from code j to j + 1. No float lies on a change,
/// and the change is never so near to an integer that the last bit of pow could matter (a test measures how near).
std::uint32_t change_after(int j, int steps, unsigned mantissa_bits) noexcept {
    const double position = (std::pow(2.0, (j + 0.5) / steps) - 1.0) * static_cast<double>(1u << mantissa_bits);
    return static_cast<std::uint32_t>(std::floor(position)) + 1u;
}

template <class Word>
void fill_adjust(Tables<Word>& tables, const Grid& grid, unsigned mantissa_bits) noexcept {
    const int steps = grid.steps_per_octave;
    tables.step_bits = log2_of(steps);
    tables.bucket_count = static_cast<unsigned>(2 * steps);
    tables.bucket_shift = mantissa_bits - tables.step_bits - 1;
    tables.key_shift = mantissa_bits - tables.step_bits;

    std::uint32_t code = 0;  // code at the start of the bucket
    for (std::uint32_t bucket = 0; bucket < 256; ++bucket) {
        const std::uint32_t bucket_of_octave = bucket & (tables.bucket_count - 1);
        if (bucket_of_octave == 0) code = 0;
        const std::uint32_t start = bucket_of_octave << tables.bucket_shift;
        const std::uint32_t end = start + (1u << tables.bucket_shift);
        const std::uint32_t change = change_after(static_cast<int>(code), steps, mantissa_bits);
        if (change < end) {
            ++code;
            tables.adjust[bucket] = (code << tables.key_shift) - change;
        } else {
            tables.adjust[bucket] = (code << tables.key_shift) - start;
        }
    }
}

struct AllTables {
    Tables<std::uint32_t> float8, float16;
    Tables<std::uint64_t> double8, double16;
    bool double_is_exact;

    AllTables() noexcept {
        const Grid& grid8 = *grid_of(8);
        const Grid& grid16 = *grid_of(16);
        fill(float8, grid8, 23);
        fill(float16, grid16, 23);
        fill(double8, grid8, 20);
        fill(double16, grid16, 20);
        double_is_exact = powers_scale_exactly(grid8) && powers_scale_exactly(grid16);
    }

    static void fill(Tables<std::uint32_t>& tables, const Grid& grid, unsigned mantissa_bits) noexcept {
        fill_adjust(tables, grid, mantissa_bits);
        for (int j = 0; j < 128; ++j) {
            const double fraction = (j % grid.steps_per_octave) / static_cast<double>(grid.steps_per_octave);
            tables.fraction[j] = bits_of(static_cast<float>(std::pow(2.0, fraction))) & 0x007FFFFFu;
        }
    }

    static void fill(Tables<std::uint64_t>& tables, const Grid& grid, unsigned mantissa_bits) noexcept {
        fill_adjust(tables, grid, mantissa_bits);
        for (int j = 0; j < 128; ++j) {
            const double fraction = (j % grid.steps_per_octave) / static_cast<double>(grid.steps_per_octave);
            tables.fraction[j] = bits_of(std::pow(2.0, fraction)) & 0x000FFFFFFFFFFFFFu;
        }
    }

    /// The reference takes pow of the whole exponent, the kernels scale the power of the fraction. glibc gives the same
    /// bits for both; where a library does not, double goes through the reference.
    static bool powers_scale_exactly([[maybe_unused]] const Grid& grid) noexcept {
#if !defined(__GLIBC__)
        const int steps = grid.steps_per_octave;
        for (int k = grid.delta_low; k <= grid.delta_high + grid.highest_code; ++k) {
            const int octave = static_cast<int>(std::floor(static_cast<double>(k) / steps));
            const double whole = std::pow(2.0, static_cast<double>(k) / steps);
            const double scaled = std::ldexp(std::pow(2.0, static_cast<double>(k - octave * steps) / steps), octave);
            if (whole != scaled) return false;
        }
#endif
        return true;
    }
};

const AllTables& all_tables() noexcept {
    static const AllTables tables;
    return tables;
}

float round_down(double x) noexcept {
    const float nearest = static_cast<float>(x);
    return static_cast<double>(nearest) > x ? std::nextafter(nearest, 0.0f) : nearest;
}

double value_of(int code, const Grid& grid, int delta) noexcept {
    return std::pow(2.0, static_cast<double>(delta + code) / grid.steps_per_octave);
}

}  // namespace

bool make_plan(const Grid& grid, int delta, FloatPlan& plan) noexcept {
    const int steps = grid.steps_per_octave;
    if (delta < -124 * steps || delta > 126 * steps - grid.highest_code) return false;
    plan.grid = &grid;
    plan.tables = grid.bit_width == 8 ? &all_tables().float8 : &all_tables().float16;
    plan.delta = delta;
    plan.flush_positive = round_down(value_of(0, grid, delta) / 2);
    plan.flush_negative = round_down(value_of(1, grid, delta) / 2);
    plan.lowest_positive = static_cast<float>(value_of(0, grid, delta));
    plan.lowest_negative = static_cast<float>(value_of(1, grid, delta));
    plan.highest = static_cast<float>(value_of(grid.highest_code, grid, delta));
    plan.lowest_key = static_cast<std::uint32_t>(static_cast<int>(kFloatBias) * steps + delta);
    plan.highest_key = plan.lowest_key + static_cast<std::uint32_t>(grid.highest_code);
    return true;
}

bool make_plan(const Grid& grid, int delta, DoublePlan& plan) noexcept {
    if (delta < grid.delta_low || delta > grid.delta_high || !all_tables().double_is_exact) return false;
    plan.grid = &grid;
    plan.tables = grid.bit_width == 8 ? &all_tables().double8 : &all_tables().double16;
    plan.delta = delta;
    plan.flush_positive = value_of(0, grid, delta) / 2;
    plan.flush_negative = value_of(1, grid, delta) / 2;
    plan.lowest_positive = value_of(0, grid, delta);
    plan.lowest_negative = value_of(1, grid, delta);
    plan.highest = value_of(grid.highest_code, grid, delta);
    plan.lowest_key = static_cast<std::uint32_t>(static_cast<int>(kDoubleBias) * grid.steps_per_octave + delta);
    plan.highest_key = plan.lowest_key + static_cast<std::uint32_t>(grid.highest_code);
    return true;
}

}  // namespace gfpq

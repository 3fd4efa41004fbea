// What the fast kernels rest on: no change of code lies where its rounding could matter.
#include <cmath>

#include "check.hpp"
#include "series.hpp"
#include "tables.hpp"

using namespace gfpq;

namespace {

/// The changes 2^((j + 1/2) / S) must stay away from the mantissas that the kernels tell apart, by far more than what a
/// logarithm or a power in double can be wrong.
void changes_lie_between_mantissas(const Grid& grid, unsigned mantissa_bits, double at_least) {
    for (int j = 0; j < grid.steps_per_octave; ++j) {
        const double position = (std::pow(2.0, (j + 0.5) / grid.steps_per_octave) - 1) * static_cast<double>(1u << mantissa_bits);
        const double distance = std::fabs(position - std::round(position));
        CHECK(distance > at_least, "%d bit, change %d: %g", grid.bit_width, j, distance);
    }
}

void powers_scale(const Grid& grid) {
#if defined(__GLIBC__)
    const int steps = grid.steps_per_octave;
    for (int k = grid.delta_low - 1; k <= grid.delta_high + grid.highest_code + 1; ++k) {
        const int octave = static_cast<int>(std::floor(static_cast<double>(k) / steps));
        const double scaled = std::ldexp(std::pow(2.0, static_cast<double>(k - octave * steps) / steps), octave);
        CHECK(std::pow(2.0, static_cast<double>(k) / steps) == scaled, "%d / %d", k, steps);
    }
#else
    (void)grid;
#endif
}

void plans_cover_every_coefficient_from_data(const Grid& grid) {
    FloatPlan float_plan;
    for (int delta = grid.delta_low; delta <= grid.delta_high; ++delta) CHECK(make_plan(grid, delta, float_plan), "%d", delta);
    CHECK(!make_plan(grid, -130 * grid.steps_per_octave, float_plan));
    CHECK(!make_plan(grid, 2000000000, float_plan));
}

}  // namespace

int main() {
    for (unsigned width : {8u, 16u}) {
        const Grid& grid = *grid_of(width);
        changes_lie_between_mantissas(grid, 23, 1e-3);  // of a float's last bit
        changes_lie_between_mantissas(grid, 20, 1e-3);  // of the last bit in a double's upper word
        powers_scale(grid);
        plans_cover_every_coefficient_from_data(grid);
    }
    CHECK(series16().exact);
    return check::result("tables");
}

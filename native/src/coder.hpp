// Codes of single elements, shared by everything that counts or stores them.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernel_scalar.hpp"
#include "pool.hpp"
#include "tables.hpp"

namespace gfpq {
namespace {

constexpr std::size_t kRange = std::size_t{1} << 16;  // elements a task
constexpr int kZero = -1;                             // no code: the element becomes zero
constexpr int kMostCodes = 1408;

double value_of(int code, const Grid& grid, int delta) noexcept {
    return std::pow(2.0, (static_cast<double>(delta) + code) / grid.steps_per_octave);
}

/// Code of an element, sign aside, as the reference finds it.
int code_by_logarithm(double x, const Grid& grid, int delta) noexcept {
    const double magnitude = std::fabs(x);
    if (!(magnitude > 0.0)) return kZero;
    const int lowest = x > 0.0 ? 0 : 1;
    if (magnitude <= value_of(lowest, grid, delta) / 2) return kZero;
    const double wanted = std::round(grid.steps_per_octave * std::log2(magnitude)) - delta;
    if (wanted < lowest) return lowest;
    return wanted < grid.highest_code ? static_cast<int>(wanted) : grid.highest_code;
}

/// The same from the bits of what the kernels make of the element, which saves the logarithm.
int code_of_value(float value, const FloatPlan& plan) noexcept {
    if (value == 0.0f) return kZero;
    const std::uint32_t bits = magnitude_bits(value);
    const std::uint32_t mask = plan.tables->bucket_count - 1;
    const std::uint32_t sum = bits + plan.tables->adjust[(bits >> plan.tables->bucket_shift) & mask];
    return static_cast<int>((sum >> plan.tables->key_shift) - plan.lowest_key);
}

int code_of_value(double value, const DoublePlan& plan) noexcept {
    if (value == 0.0) return kZero;
    // A point of the grid never lies in the cell of a change, so the upper word decides.
    const std::uint32_t upper = static_cast<std::uint32_t>(magnitude_bits(value) >> 32);
    const std::uint32_t mask = plan.tables->bucket_count - 1;
    const std::uint32_t sum = upper + plan.tables->adjust[(upper >> plan.tables->bucket_shift) & mask];
    return static_cast<int>((sum >> plan.tables->key_shift) - plan.lowest_key);
}

template <class T>
struct PlanOf;
template <>
struct PlanOf<float> {
    using type = FloatPlan;
};
template <>
struct PlanOf<double> {
    using type = DoublePlan;
};

/// Codes of elements, the fast way where there is one.
template <class T>
class Coder {
public:
    Coder(const Grid& grid, int delta) noexcept : grid_(grid), delta_(delta), planned_(make_plan(grid, delta, plan_)) {}

    int operator()(T x) const noexcept {
        return planned_ ? code_of_value(apply_one(x, plan_), plan_)
                        : code_by_logarithm(static_cast<double>(x), grid_, delta_);
    }

private:
    const Grid& grid_;
    int delta_;
    typename PlanOf<T>::type plan_;
    bool planned_;
};

template <class Work>
void over_ranges(std::size_t count, Work&& work) noexcept {
    const std::size_t ranges = (count + kRange - 1) / kRange;
    parallel(ranges, [&](std::size_t index) {
        const std::size_t begin = index * kRange;
        work(begin, count - begin < kRange ? count : begin + kRange);
    });
}

}  // namespace
}  // namespace gfpq

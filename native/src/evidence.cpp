#include "evidence.hpp"

#include <cmath>
#include <limits>
#include <mutex>

#include "coder.hpp"

namespace gfpq {
namespace {

/// The nearest value of a grid without ends, by logarithm.
template <class T>
double nearest_by_logarithm(double magnitude, const Grid& grid) noexcept {
    const double step = std::round(grid.steps_per_octave * std::log2(magnitude));
    return static_cast<double>(static_cast<T>(std::pow(2.0, step / grid.steps_per_octave)));
}

/// The same by the tables, where the number and its neighbours are normal.
double nearest(float magnitude, const Grid& grid, const FloatPlan& plan) noexcept {
    const std::uint32_t bits = magnitude_bits(magnitude);
    if (bits < 0x00800000u || bits >= 0x7F000000u) return nearest_by_logarithm<float>(static_cast<double>(magnitude), grid);
    const std::uint32_t mask = plan.tables->bucket_count - 1;
    const std::uint32_t key = (bits + plan.tables->adjust[bits >> plan.tables->bucket_shift & mask]) >> plan.tables->key_shift;
    const std::uint32_t steps_mask = (1u << plan.tables->step_bits) - 1;
    const std::uint32_t result = key >> plan.tables->step_bits << 23 | plan.tables->fraction[key & steps_mask];
    float value;
    std::memcpy(&value, &result, sizeof value);
    return static_cast<double>(value);
}

double nearest(double magnitude, const Grid& grid, const FloatPlan&) noexcept {
    return nearest_by_logarithm<double>(magnitude, grid);
}

template <class T>
RoundingEnergy energy_of_range(const T* data, std::size_t count, const Grid& grid, const FloatPlan& plan) noexcept {
    constexpr std::size_t partial = 4;  // enough to hide the latency of the additions
    double signal[partial] = {}, error[partial] = {};
    for (std::size_t i = 0; i < count; ++i) {
        const T magnitude = std::fabs(data[i]);
        if (!(magnitude > T(0)) || !(magnitude <= std::numeric_limits<T>::max())) continue;
        const double x = static_cast<double>(magnitude);
        const double difference = nearest(magnitude, grid, plan) - x;
        signal[i % partial] += x * x;
        error[i % partial] += difference * difference;
    }
    return {(signal[0] + signal[2]) + (signal[1] + signal[3]), (error[0] + error[2]) + (error[1] + error[3])};
}

}  // namespace

template <class T, class Word>
void encode(const T* input, Word* codes, std::size_t count, const Grid& grid, int delta) noexcept {
    constexpr Word sign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
    const Coder<T> coder(grid, delta);
    over_ranges(count, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            const int code = coder(input[i]);
            const Word magnitude = static_cast<Word>(code);
            codes[i] = code == kZero ? sign : input[i] < T(0) ? static_cast<Word>(magnitude | sign) : magnitude;
        }
    });
}

template <class T, class Word>
std::uint64_t decode(const Word* codes, T* output, std::size_t count, const Grid& grid, int delta) noexcept {
    constexpr Word sign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
    constexpr Word magnitude = static_cast<Word>(sign - 1);
    T values[kMostCodes];
    for (int code = 0; code <= grid.highest_code; ++code) values[code] = static_cast<T>(value_of(code, grid, delta));
    std::uint64_t invalid = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const int code = codes[i] & magnitude;
        if (codes[i] == sign) {
            output[i] = T(0);
        } else if (code > grid.highest_code) {
            output[i] = std::numeric_limits<T>::quiet_NaN();
            ++invalid;
        } else {
            output[i] = (codes[i] & sign) != 0 ? -values[code] : values[code];
        }
    }
    return invalid;
}

template <class T>
GridResidual grid_residual(const T* data, std::size_t count, const Grid& grid, double tolerance) noexcept {
    GridResidual all;
    std::mutex mutex;
    over_ranges(count, [&](std::size_t begin, std::size_t end) {
        GridResidual part;
        for (std::size_t i = begin; i < end; ++i) {
            const double magnitude = std::fabs(static_cast<double>(data[i]));
            if (!(magnitude > 0.0) || std::isinf(magnitude)) continue;
            const double position = grid.steps_per_octave * std::log2(magnitude);
            const double step = std::round(position);
            const double residual = std::fabs(position - step);
            part.lowest_step = part.nonzero == 0 || step < part.lowest_step ? step : part.lowest_step;
            part.highest_step = part.nonzero == 0 || step > part.highest_step ? step : part.highest_step;
            part.largest = residual > part.largest ? residual : part.largest;
            part.within += residual <= tolerance ? 1u : 0u;
            ++part.nonzero;
        }
        if (part.nonzero == 0) return;
        const std::lock_guard<std::mutex> lock(mutex);
        all.lowest_step = all.nonzero == 0 || part.lowest_step < all.lowest_step ? part.lowest_step : all.lowest_step;
        all.highest_step = all.nonzero == 0 || part.highest_step > all.highest_step ? part.highest_step : all.highest_step;
        all.largest = part.largest > all.largest ? part.largest : all.largest;
        all.within += part.within;
        all.nonzero += part.nonzero;
    });
    return all;
}

template <class T>
RoundingEnergy rounding_energy(const T* data, std::size_t count, const Grid& grid) noexcept {
    FloatPlan plan;
    make_plan(grid, 0, plan);
    // Ranges are computed in any order and added in theirs, some at a time.
    constexpr std::size_t together = 64;
    RoundingEnergy all, parts[together];
    for (std::size_t start = 0; start < count; start += together * kRange) {
        const std::size_t left = count - start < together * kRange ? count - start : together * kRange;
        over_ranges(left, [&](std::size_t begin, std::size_t end) {
            parts[begin / kRange] = energy_of_range(data + start + begin, end - begin, grid, plan);
        });
        for (std::size_t i = 0; i < (left + kRange - 1) / kRange; ++i) {
            all.signal += parts[i].signal;
            all.error += parts[i].error;
        }
    }
    return all;
}

template void encode(const float*, std::uint8_t*, std::size_t, const Grid&, int) noexcept;
template void encode(const float*, std::uint16_t*, std::size_t, const Grid&, int) noexcept;
template void encode(const double*, std::uint8_t*, std::size_t, const Grid&, int) noexcept;
template void encode(const double*, std::uint16_t*, std::size_t, const Grid&, int) noexcept;
template std::uint64_t decode(const std::uint8_t*, float*, std::size_t, const Grid&, int) noexcept;
template std::uint64_t decode(const std::uint16_t*, float*, std::size_t, const Grid&, int) noexcept;
template std::uint64_t decode(const std::uint8_t*, double*, std::size_t, const Grid&, int) noexcept;
template std::uint64_t decode(const std::uint16_t*, double*, std::size_t, const Grid&, int) noexcept;
template GridResidual grid_residual(const float*, std::size_t, const Grid&, double) noexcept;
template GridResidual grid_residual(const double*, std::size_t, const Grid&, double) noexcept;
template RoundingEnergy rounding_energy(const float*, std::size_t, const Grid&) noexcept;
template RoundingEnergy rounding_energy(const double*, std::size_t, const Grid&) noexcept;

}  // namespace gfpq

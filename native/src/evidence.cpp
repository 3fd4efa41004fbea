#include "evidence.hpp"

#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

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
CodeStatistics code_statistics(const T* data, std::size_t count, const Grid& grid, int delta,
                               std::int64_t* histogram) noexcept {
    const Coder<T> coder(grid, delta);
    const double top = value_of(grid.highest_code, grid, delta);
    const double above = value_of(grid.highest_code + 1, grid, delta);
    const std::size_t codes = static_cast<std::size_t>(grid.highest_code) + 1;
    CodeStatistics all;
    std::mutex mutex;
    over_ranges(count, [&](std::size_t begin, std::size_t end) {
        CodeStatistics part;
        // Two sets of counters: a run of equal codes would otherwise wait for its own last increment.
        std::uint32_t counters[2][2 * kMostCodes] = {};
        for (std::size_t i = begin; i < end; ++i) {
            const double magnitude = std::fabs(static_cast<double>(data[i]));
            if (!(magnitude <= std::numeric_limits<double>::max())) {
                ++part.nonfinite;
                continue;
            }
            ++part.finite;
            part.zeros += magnitude == 0.0 ? 1u : 0u;
            part.snapped += magnitude > top && magnitude < above ? 1u : 0u;
            part.beyond += magnitude >= above ? 1u : 0u;
            const int code = coder(data[i]);
            if (code == kZero) ++part.flushed;  // zeros among them, taken off below
            else ++counters[i & 1][(data[i] < T(0) ? codes : 0) + static_cast<std::size_t>(code)];
        }
        part.flushed -= part.zeros;
        const std::lock_guard<std::mutex> lock(mutex);
        all.finite += part.finite;
        all.nonfinite += part.nonfinite;
        all.zeros += part.zeros;
        all.flushed += part.flushed;
        all.snapped += part.snapped;
        all.beyond += part.beyond;
        for (std::size_t code = 0; code < 2 * codes; ++code)
            histogram[code] += static_cast<std::int64_t>(counters[0][code]) + counters[1][code];
    });
    return all;
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
    // One after the other, in short sums: the result must not depend on threads.
    constexpr std::size_t block = 1024;
    RoundingEnergy all;
    for (std::size_t begin = 0; begin < count; begin += block) {
        const std::size_t end = count - begin < block ? count : begin + block;
        RoundingEnergy part;
        for (std::size_t i = begin; i < end; ++i) {
            const double magnitude = std::fabs(static_cast<double>(data[i]));
            if (!(magnitude > 0.0) || std::isinf(magnitude)) continue;
            const double step = std::round(grid.steps_per_octave * std::log2(magnitude));
            const T rounded = static_cast<T>(std::pow(2.0, step / grid.steps_per_octave));
            const double error = static_cast<double>(rounded) - magnitude;
            part.signal += magnitude * magnitude;
            part.error += error * error;
        }
        all.signal += part.signal;
        all.error += part.error;
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
template CodeStatistics code_statistics(const float*, std::size_t, const Grid&, int, std::int64_t*) noexcept;
template CodeStatistics code_statistics(const double*, std::size_t, const Grid&, int, std::int64_t*) noexcept;
template GridResidual grid_residual(const float*, std::size_t, const Grid&, double) noexcept;
template GridResidual grid_residual(const double*, std::size_t, const Grid&, double) noexcept;
template RoundingEnergy rounding_energy(const float*, std::size_t, const Grid&) noexcept;
template RoundingEnergy rounding_energy(const double*, std::size_t, const Grid&) noexcept;

}  // namespace gfpq

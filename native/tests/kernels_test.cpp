// Every kernel gives the bits of the reference: all lengths, alignments, threads, and the values where it is hard.
#include <cmath>
#include <limits>

#include "check.hpp"
#include "kernels.hpp"

using namespace gfpq;
using check::bits;

namespace {

template <class T>
constexpr const char* name_of() {
    return sizeof(T) == 4 ? "float" : "double";
}

template <class T>
void run_row(const Kernels& row, const T* input, T* output, std::size_t count, const Grid& grid, int delta, bool stream);

template <>
void run_row(const Kernels& row, const float* input, float* output, std::size_t count, const Grid& grid, int delta, bool stream) {
    FloatPlan plan;
    if (make_plan(grid, delta, plan)) row.apply_float(input, output, count, plan, stream);
    else apply_reference(input, output, count, grid, delta);
}

template <>
void run_row(const Kernels& row, const double* input, double* output, std::size_t count, const Grid& grid, int delta, bool stream) {
    DoublePlan plan;
    if (make_plan(grid, delta, plan)) row.apply_double(input, output, count, plan, stream);
    else apply_reference(input, output, count, grid, delta);
}

template <class T>
void compare(const std::vector<T>& input, const Grid& grid, int delta, const char* what) {
    std::vector<T> expected(input.size());
    std::vector<T> output(input.size());
    apply_reference(input.data(), expected.data(), input.size(), grid, delta);
    apply(input.data(), output.data(), input.size(), grid, delta);
    for (std::size_t i = 0; i < input.size(); ++i)
        CHECK(bits(output[i]) == bits(expected[i]), "%s %s %d bit delta %d %s: %a -> %a, not %a", instruction_set(),
              name_of<T>(), grid.bit_width, delta, what, static_cast<double>(input[i]), static_cast<double>(output[i]),
              static_cast<double>(expected[i]));
}

float random_number(check::Random& random, float) {
    return check::float_of(static_cast<std::uint32_t>(random.next()));
}

double random_number(check::Random& random, double) {
    // Random bits, their exponent brought near to one most of the time.
    std::uint64_t word = random.next();
    if (random.below(4) != 0) word = (word & 0x800FFFFFFFFFFFFFu) | (1023 - 32 + random.below(80)) << 52;
    return check::double_of(word);
}

/// Every length 0 ... 200 at every alignment inside a cache line, out of place and in place, written past the caches
/// and not; nothing beside the output is touched.
template <class T>
void lengths_and_alignments(const char* set) {
    constexpr std::size_t slack = 64 / sizeof(T);
    constexpr std::size_t most = 200;
    const Kernels& row = *kernels();
    check::Random random(7);
    const T guard = static_cast<T>(12345.678);
    alignas(64) static T input[most + 2 * slack];
    alignas(64) static T output[most + 2 * slack];
    std::vector<T> expected(most);
    for (unsigned width : {8u, 16u}) {
        const Grid& grid = *grid_of(width);
        const int delta = grid.steps_per_octave * 3 - grid.highest_code;
        for (std::size_t offset = 0; offset < slack; ++offset) {
            for (std::size_t count = 0; count <= most; ++count) {
                const bool stream = (count + offset) % 2 == 1;
                for (std::size_t i = 0; i < most + 2 * slack; ++i) input[i] = random_number(random, T{});
                for (std::size_t i = 0; i < most + 2 * slack; ++i) output[i] = guard;
                const T* from = input + (slack - offset) % slack;
                T* to = output + offset;
                apply_reference(from, expected.data(), count, grid, delta);
                run_row(row, from, to, count, grid, delta, stream);
                bool same = true;
                for (std::size_t i = 0; i < most + 2 * slack; ++i) {
                    const bool inside = i >= offset && i < offset + count;
                    same = same && bits(output[i]) == bits(inside ? expected[i - offset] : guard);
                }
                CHECK(same, "%s %s %u bit count %zu offset %zu", set, name_of<T>(), width, count, offset);
                for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
                run_row(row, to, to, count, grid, delta, stream);
                for (std::size_t i = 0; i < count; ++i) same = same && bits(to[i]) == bits(expected[i]);
                CHECK(same, "%s %s %u bit in place count %zu offset %zu", set, name_of<T>(), width, count, offset);
                if (count > 0) {
                    const Extremes found = largest_magnitude(from, count);
                    const Extremes right = magnitude(from, count);
                    CHECK(found.largest == right.largest && found.nan_count == right.nan_count &&
                          found.infinity_count == right.infinity_count, "%s %s count %zu", set, name_of<T>(), count);
                }
            }
        }
    }
}

/// Numbers around every place where the result changes, and everything special, under coefficients inside and outside
/// the range of the grid.
template <class T>
void hard_values() {
    using Limits = std::numeric_limits<T>;
    for (unsigned width : {8u, 16u}) {
        const Grid& grid = *grid_of(width);
        const int steps = grid.steps_per_octave;
        for (int delta : {0, -steps * 3 - 5, grid.delta_low, grid.delta_high, grid.delta_high + 1, grid.delta_low - 1, 20 * steps,
                          -100 * steps, 100 * steps, 124 * steps, -124 * steps, -130 * steps, 200 * steps, -1100 * steps, 1000000, -1000000,
                          std::numeric_limits<int>::max(), std::numeric_limits<int>::min()}) {
            std::vector<T> values{T(0), -T(0), Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), -Limits::quiet_NaN(),
                                  Limits::max(), -Limits::max(), Limits::min(), -Limits::min(), Limits::denorm_min(), -Limits::denorm_min(),
                                  T(1), -T(1)};
            for (int half_step = -2 * steps - 40; half_step <= 2 * grid.highest_code + 40; ++half_step) {
                const double place = std::pow(2.0, (static_cast<double>(delta) + half_step / 2.0) / steps);
                T value = static_cast<T>(place);
                for (int i = 0; i < 3; ++i) value = std::nextafter(value, T(0));
                for (int i = 0; i < 7; ++i) {
                    values.push_back(value);
                    values.push_back(-value);
                    value = std::nextafter(value, Limits::infinity());
                }
            }
            compare(values, grid, delta, "hard values");
        }
    }
}

/// The mantissas of all changes in every octave that double has: where its rounding of the logarithm decides.
void changes_in_every_octave() {
    for (unsigned width : {8u, 16u}) {
        const Grid& grid = *grid_of(width);
        const int steps = grid.steps_per_octave;
        for (int delta : {grid.delta_low, 0, grid.delta_high}) {
            std::vector<double> values;
            for (int octave = -40; octave <= 60; ++octave)
                for (int j = 0; j < steps; ++j) {
                    const double place = std::ldexp(std::pow(2.0, (j + 0.5) / steps), octave);
                    for (const double ulps : {-3000.0, -40.0, -2.0, -1.0, 0.0, 1.0, 2.0, 40.0, 3000.0})
                        values.push_back(place * (1 + ulps * 0x1p-52));
                }
            compare(values, grid, delta, "changes");
        }
    }
}

template <class T>
void random_values() {
    check::Random random(11);
    for (unsigned width : {8u, 16u}) {
        const Grid& grid = *grid_of(width);
        for (int round = 0; round < 40; ++round) {
            std::vector<T> values(5000);
            for (T& value : values) value = random_number(random, T{});
            const int span = grid.delta_high - grid.delta_low + 1;
            compare(values, grid, grid.delta_low + static_cast<int>(random.below(static_cast<std::uint64_t>(span))), "random");
        }
    }
}

/// Large arrays are cut into ranges; the cuts must not show.
template <class T>
void threads_do_not_matter() {
    check::Random random(13);
    std::vector<T> values((std::size_t{1} << 20) + 77);
    for (T& value : values) value = random_number(random, T{});
    const Grid& grid = *grid_of(8);
    std::vector<T> expected(values.size());
    apply_reference(values.data(), expected.data(), values.size(), grid, -77);
    const Extremes right = magnitude(values.data(), values.size());
    for (unsigned limit : {1u, 2u, 3u, 8u}) {
        set_threads(limit);
        std::vector<T> output(values.size());
        apply(values.data(), output.data(), values.size(), grid, -77);
        CHECK(std::memcmp(output.data(), expected.data(), expected.size() * sizeof(T)) == 0, "%u threads", limit);
        const Extremes found = largest_magnitude(values.data(), values.size());
        CHECK(found.largest == right.largest && found.nan_count == right.nan_count, "%u threads", limit);
    }
    set_threads(0);
}

}  // namespace

int main() {
    for (const char* set : check::instruction_sets()) {
        CHECK(set_instruction_set(set), "%s", set);
        lengths_and_alignments<float>(set);
        lengths_and_alignments<double>(set);
        hard_values<float>();
        hard_values<double>();
        changes_in_every_octave();
        random_values<float>();
        random_values<double>();
        threads_do_not_matter<float>();
        threads_do_not_matter<double>();
        std::printf("%s done\n", set);
    }
    return check::result("kernels");
}

// Compares the GPU's arithmetic, compiled for the host, with the CPU's, on machines without a GPU.
//
//   gfpq_device_twin          a sample of all float32 patterns, and every border of float64: seconds
//   gfpq_device_twin --all    every float32 pattern, at both widths and several coefficients: minutes
//   --reference               compare with the scalar reference instead of the fast kernel (slower)
//   --threads N               default: all processors

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "../src/codec.hpp"
#include "gfpq_device.cuh"
#include "spelled_grid.hpp"

namespace {

using gfpq_device::LongWord;
using gfpq_device::Word;

std::atomic<long> failures{0};

template <class T>
void expect_same(T input, T expected, T actual, int bits, int delta) {
    if (std::memcmp(&expected, &actual, sizeof(T)) == 0) return;
    if (failures.fetch_add(1) < 20) {
        std::printf("%d bit, delta %d: %a gives %a, expected %a\n", bits, delta, static_cast<double>(input),
                    static_cast<double>(actual), static_cast<double>(expected));
    }
}

/// The tables of a kernel's block, one copy of each.
template <int STEPS>
struct Tables {
    Word thresholds[STEPS + 1];
    Word values[STEPS + 1];
    Tables() {
        for (int k = 0; k <= STEPS; ++k) {
            thresholds[k] = gfpq_device::threshold_word<STEPS>(k);
            values[k] = gfpq_device::value_word<STEPS>(k);
        }
    }
};

/// The grid that the host hands to a table kernel.
struct Spelled {
    gfpq::cuda::SpelledSteps steps;
    gfpq_device::TableGrid grid;
    Spelled(const gfpq::Grid& format, int delta)
        : steps(gfpq::cuda::spell_out(format, delta, static_cast<long long>(delta) + format.highest_code)),
          grid{steps.borders.data(), steps.values.data(),
               {gfpq::cuda::zero_threshold(format, delta, false), gfpq::cuda::zero_threshold(format, delta, true)}, delta} {}
};

using Apply = void (*)(const float*, float*, std::size_t, const gfpq::Grid&, int);

/// Patterns first, first + stride, ... below last.
template <int STEPS>
void compare_floats(Apply cpu, int delta, std::uint64_t first, std::uint64_t last, std::uint64_t stride) {
    static const Tables<STEPS> tables;
    const gfpq::Grid& format = *gfpq::grid_of(STEPS == 16 ? 8 : 16);
    const bool common = gfpq_device::is_common<STEPS>(delta);
    const gfpq_device::FloatGrid grid = gfpq_device::float_grid<STEPS>(common ? delta : 0);
    const Spelled spelled(format, delta);
    std::vector<float> input;
    std::vector<float> expected;
    for (std::uint64_t at = first; at < last;) {
        input.clear();
        for (; at < last && input.size() < 65536; at += stride) input.push_back(gfpq_device::float_of(static_cast<Word>(at)));
        expected.resize(input.size());
        cpu(input.data(), expected.data(), input.size(), format, delta);
        for (std::size_t i = 0; i < input.size(); ++i) {
            if (common) {
                const Word bits = gfpq_device::quantize_dequantize<STEPS, 1>(gfpq_device::bits_of(input[i]),
                                                                             tables.thresholds, tables.values, grid);
                expect_same(input[i], expected[i], gfpq_device::float_of(bits), format.bit_width, delta);
            }
            if (common && stride == 1) continue;  // the table kernel is for the other coefficients
            const float by_table = static_cast<float>(
                gfpq_device::table_quantize_dequantize<STEPS>(static_cast<double>(input[i]), spelled.grid));
            expect_same(input[i], expected[i], by_table, format.bit_width, delta);
        }
    }
}

/// Splits all patterns over threads.
template <int STEPS>
void compare_all_floats(Apply cpu, int delta, std::uint64_t stride, unsigned threads) {
    constexpr std::uint64_t patterns = std::uint64_t{1} << 32;
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) {
        const std::uint64_t first = (patterns / threads * i + stride - 1) / stride * stride;
        const std::uint64_t last = i + 1 == threads ? patterns : patterns / threads * (i + 1);
        workers.emplace_back([=] { compare_floats<STEPS>(cpu, delta, first, last, stride); });
    }
    for (std::thread& worker : workers) worker.join();
}

/// float64: each border of the grid and its neighbours, special numbers, random ones.
template <int STEPS>
void compare_doubles(int delta) {
    const gfpq::Grid& format = *gfpq::grid_of(STEPS == 16 ? 8 : 16);
    const Spelled spelled(format, delta);
    std::vector<double> inputs = {0.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN(),
                                  std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max(), 1.0, 9.0};
    const auto add_around = [&](double middle) {
        std::int64_t rank;
        std::memcpy(&rank, &middle, sizeof rank);
        for (std::int64_t near = rank - 40; near <= rank + 40; ++near) {
            if (near < 0) continue;
            double value;
            std::memcpy(&value, &near, sizeof value);
            inputs.push_back(value);
        }
    };
    for (int code = 0; code <= format.highest_code; ++code) {
        add_around(std::pow(2.0, (delta + code - 0.5) / STEPS));
        inputs.push_back(spelled.steps.values[static_cast<std::size_t>(code)]);
    }
    add_around(spelled.grid.zero[0]);
    add_around(spelled.grid.zero[1]);
    std::mt19937_64 random(20190520);
    for (int i = 0; i < 20000; ++i) {
        const LongWord bits = random();
        inputs.push_back(gfpq_device::double_of(bits));
    }
    for (std::size_t i = 0, n = inputs.size(); i < n; ++i) inputs.push_back(-inputs[i]);
    std::vector<double> expected(inputs.size());
    gfpq::apply_reference(inputs.data(), expected.data(), inputs.size(), format, delta);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        expect_same(inputs[i], expected[i],
                    gfpq_device::table_quantize_dequantize<STEPS>(inputs[i], spelled.grid), format.bit_width, delta);
    }
}

/// Coefficients of every float32 near a value of the grid, in every octave, and of the ends of the range.
template <int STEPS>
void compare_coefficients() {
    const gfpq::Grid& format = *gfpq::grid_of(STEPS == 16 ? 8 : 16);
    const auto compare = [&](float magnitude, bool infinite) {
        gfpq::Extremes extremes;
        extremes.largest = magnitude;
        extremes.infinity_count = infinite ? 1 : 0;
        const int expected = gfpq::coefficient_from(extremes, format);
        const int actual = gfpq_device::coefficient<STEPS>(gfpq_device::bits_of(magnitude), infinite);
        if (expected == actual) return;
        if (failures.fetch_add(1) < 20) std::printf("coefficient of %a: %d, expected %d\n", magnitude, actual, expected);
    };
    for (const bool infinite : {false, true}) {
        compare(0.0f, infinite);
        compare(std::numeric_limits<float>::denorm_min(), infinite);
        compare(std::numeric_limits<float>::max(), infinite);
    }
    for (int step = -149 * STEPS; step < 128 * STEPS; ++step) {
        const float value = static_cast<float>(std::pow(2.0, static_cast<double>(step) / STEPS));
        float near = value;
        for (int i = 0; i < 4; ++i) near = std::nextafter(near, 0.0f);
        for (int i = 0; i < 9; ++i, near = std::nextafter(near, std::numeric_limits<float>::max())) compare(near, false);
    }
}

}  // namespace

int main(int count, char** words) {
    bool all = false;
    Apply cpu = [](const float* in, float* out, std::size_t n, const gfpq::Grid& g, int d) { gfpq::apply(in, out, n, g, d); };
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    for (int i = 1; i < count; ++i) {
        if (std::strcmp(words[i], "--all") == 0) {
            all = true;
        } else if (std::strcmp(words[i], "--reference") == 0) {
            cpu = [](const float* in, float* out, std::size_t n, const gfpq::Grid& g, int d) {
                gfpq::apply_reference(in, out, n, g, d);
            };
        } else if (std::strcmp(words[i], "--threads") == 0 && i + 1 < count) {
            threads = static_cast<unsigned>(std::max(1, std::atoi(words[++i])));
        } else {
            std::fprintf(stderr, "unknown option %s\n", words[i]);
            return 2;
        }
    }
    gfpq::set_threads(1);  // this program brings its own
    constexpr std::uint64_t stride_of_sample = 1021;  // a prime visits every exponent and all low bits

    // The first six are those of the recorded digests and the ends of the range; the last seven no data can have.
    const int deltas8[] = {-77, -127, 100, 0, -511, 511, -446, 13, -2000, 1873, 1874, 600, -600, 5000, -5000};
    const int deltas16[] = {-1002, -1407, 300, 0, -4095, 4095, -1, 450, -16000, 14848, 14849, 5000, -5000, 20000, -20000};
    for (std::size_t i = 0; i < std::size(deltas8); ++i) {
        const bool every_pattern = all && i < 6;
        compare_all_floats<16>(cpu, deltas8[i], every_pattern ? 1 : stride_of_sample, threads);
        compare_all_floats<128>(cpu, deltas16[i], every_pattern ? 1 : stride_of_sample, threads);
        compare_doubles<16>(deltas8[i]);
        compare_doubles<128>(deltas16[i]);
        if (every_pattern) {
            std::printf("all patterns at 8 bit, delta %d, and 16 bit, delta %d: %ld differences so far\n", deltas8[i],
                        deltas16[i], failures.load());
            std::fflush(stdout);
        }
    }
    for (const int delta : {std::numeric_limits<int>::min(), std::numeric_limits<int>::max(), 16384, -17200}) {
        compare_doubles<16>(delta);
        compare_doubles<128>(delta);
        compare_all_floats<16>(cpu, delta, stride_of_sample, threads);
        compare_all_floats<128>(cpu, delta, stride_of_sample, threads);
    }
    compare_coefficients<16>();
    compare_coefficients<128>();
    std::printf("%ld differences\n", failures.load());
    return failures.load() == 0 ? 0 : 1;
}

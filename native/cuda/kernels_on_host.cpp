// Runs the GPU kernels on the host and compares them with the CPU's code: tiles, unaligned ends, reductions, sums.

#include "host_cuda.hpp"

#define GFPQ_BLOCK 64  // as few threads as show two warps
#define GFPQ_UNROLL 2
#include "gfpq_kernels.cuh"

#define GFPQ_THREADS 128  // as few as show several warps
#define GFPQ_LANES 3
#define GFPQ_LANE_POINTERS const float *__restrict__ y0, const float *__restrict__ y1, const float *__restrict__ y2
#define GFPQ_LANE_NAMES y0, y1, y2
#include "gfpq_similarity.cuh"

#include <climits>
#include <cstdio>
#include <limits>
#include <random>

#include "../src/codec.hpp"
#include "../src/similarity.hpp"
#include "spelled_grid.hpp"

namespace {

long failures = 0;

void expect(bool fine, const char* what, std::size_t count, long detail) {
    if (fine) return;
    if (++failures <= 20) std::printf("%s, %zu elements (%ld)\n", what, count, detail);
}

template <class T>
std::vector<T> numbers(std::size_t count, unsigned seed, bool with_nonfinite) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0.0, 3.0);
    std::vector<T> result(count);
    for (T& x : result) x = static_cast<T>(normal(random));
    if (with_nonfinite && count > 5) {
        result[count / 2] = std::numeric_limits<T>::infinity();
        result[count / 3] = std::numeric_limits<T>::quiet_NaN();
        result[count - 1] = -std::numeric_limits<T>::infinity();
    }
    return result;
}

template <class T>
bool same_bits(const T* a, const T* b, std::size_t count) {
    return count == 0 || std::memcmp(a, b, count * sizeof(T)) == 0;
}

template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, gfpq_device::Word, gfpq_device::LongWord>;

void apply_float(const gfpq::Grid& grid, const float* in, float* out, std::size_t count, int delta, int backwards, dim3 blocks) {
    const auto kernel = grid.bit_width == 8 ? gfpq_apply_float32_8 : gfpq_apply_float32_16;
    host_cuda::launch(blocks, GFPQ_BLOCK, [&] {
        kernel(reinterpret_cast<const gfpq_device::Word*>(in), reinterpret_cast<gfpq_device::Word*>(out), count, delta, nullptr,
               backwards);
    });
}

template <class T>
void apply_table(const gfpq::Grid& grid, const T* in, T* out, std::size_t count, int delta, int backwards, dim3 blocks) {
    const auto spelled = gfpq::cuda::spell_out(grid, delta, static_cast<long long>(delta) + grid.highest_code);
    const double zero[2] = {gfpq::cuda::zero_threshold(grid, delta, false), gfpq::cuda::zero_threshold(grid, delta, true)};
    const auto run = [&](auto kernel) {
        host_cuda::launch(blocks, GFPQ_BLOCK, [&] {
            kernel(reinterpret_cast<const Bits<T>*>(in), reinterpret_cast<Bits<T>*>(out), count, spelled.borders.data(),
                   spelled.values.data(), zero[0], zero[1], delta, backwards);
        });
    };
    if constexpr (sizeof(T) == 4) run(grid.bit_width == 8 ? gfpq_apply_table_float32_8 : gfpq_apply_table_float32_16);
    else run(grid.bit_width == 8 ? gfpq_apply_table_float64_8 : gfpq_apply_table_float64_16);
}

/// `in` and `out` begin at any element of memory that is aligned to 16 bytes; what lies around `out` must stay.
template <class T>
void check_apply(std::size_t count, std::size_t in_offset, std::size_t out_offset, unsigned blocks, bool by_table) {
    const gfpq::Grid& grid = *gfpq::grid_of(count % 2 == 0 ? 8 : 16);
    const int delta = grid.bit_width == 8 ? -90 : -1100;
    struct alignas(16) Pack {
        T element[16 / sizeof(T)];
    };
    std::vector<Pack> in_memory(count / 2 + 8), out_memory(count / 2 + 8);
    T* const in = in_memory[0].element + in_offset;
    T* const all = out_memory[0].element;
    const std::vector<T> data = numbers<T>(count, static_cast<unsigned>(count), true);
    std::copy(data.begin(), data.end(), in);
    std::fill(all, all + count + out_offset + 8, T(123));
    std::vector<T> expected(count);
    gfpq::apply_reference(data.data(), expected.data(), count, grid, delta);
    const int backwards = static_cast<int>(count / 2 % 2);
    const dim3 shape{blocks};
    if constexpr (sizeof(T) == 4) {
        if (!by_table) apply_float(grid, in, all + out_offset, count, delta, backwards, shape);
        else apply_table(grid, in, all + out_offset, count, delta, backwards, shape);
    } else {
        apply_table(grid, in, all + out_offset, count, delta, backwards, shape);
    }
    expect(same_bits(all + out_offset, expected.data(), count), "apply", count, static_cast<long>(in_offset * 10 + out_offset));
    for (std::size_t i = 0; i < out_offset; ++i) expect(all[i] == T(123), "before the array", count, static_cast<long>(i));
    for (std::size_t i = 0; i < 8; ++i) expect(all[out_offset + count + i] == T(123), "behind the array", count, static_cast<long>(i));
}

void check_coefficient(std::size_t count, std::size_t offset, unsigned blocks, bool with_nonfinite) {
    using namespace gfpq_device;
    ReductionState state{};
    Report report{};
    const std::vector<float> data = numbers<float>(count + offset, static_cast<unsigned>(count + 7), with_nonfinite);
    const std::vector<double> wide(data.begin(), data.end());
    for (int turn = 0; turn < 2; ++turn) {  // the second finds the state as the first left it
        for (const unsigned bits : {8u, 16u}) {
            const gfpq::Grid& grid = *gfpq::grid_of(bits);
            const gfpq::Extremes extremes = gfpq::magnitude(data.data() + offset, count);
            const int stored = turn == 0 ? INT_MIN : 20;
            const int expected = std::max(stored, gfpq::coefficient_from(extremes, grid));
            const auto kernel = bits == 8 ? gfpq_coefficient_float32_8 : gfpq_coefficient_float32_16;
            host_cuda::launch({blocks}, GFPQ_BLOCK, [&] {
                kernel(reinterpret_cast<const Word*>(data.data()) + offset, count, &state, stored, &report);
            });
            expect(report.delta == expected && state.delta == expected, "coefficient", count, report.delta);
            expect(report.magnitude == extremes.largest, "magnitude", count, static_cast<long>(offset));
            expect(report.nonfinite == extremes.nan_count + extremes.infinity_count, "not finite", count, turn);
            expect(report.infinities == extremes.infinity_count, "infinities", count, turn);
            expect(state.largest == 0 && state.finished_blocks == 0 && state.nonfinite == 0, "cleared", count, turn);
        }
        host_cuda::launch({blocks}, GFPQ_BLOCK, [&] {
            gfpq_magnitude_float64(reinterpret_cast<const LongWord*>(wide.data()) + offset, count, &state, &report);
        });
        const gfpq::Extremes extremes = gfpq::magnitude(wide.data() + offset, count);
        expect(report.magnitude == extremes.largest && report.infinities == extremes.infinity_count, "float64", count, turn);
    }
}

bool near(double a, double b, double scale) { return a == b || std::fabs(a - b) <= 1e-12 * scale; }

enum class Kind { harmless, not_finite, far_apart };

void check_similarity(std::size_t samples, std::size_t size, unsigned blocks, std::size_t offset, Kind kind) {
    using namespace gfpq_similarity;
    std::vector<std::vector<float>> arrays;
    for (unsigned k = 0; k < 4; ++k) {
        arrays.push_back(numbers<float>(samples * size + offset, 100 + k, kind == Kind::not_finite && k % 2 == 1));
    }
    if (kind == Kind::far_apart) {
        for (float& value : arrays[2]) value = value * 1e-9f + 1e-20f;
    }
    const float* pointers[4];
    for (unsigned k = 0; k < 4; ++k) pointers[k] = arrays[k].data() + offset;
    std::vector<double> partial(samples * width * blocks), sums(samples * row_width), products(samples * lanes * lanes);
    host_cuda::launch({blocks, static_cast<unsigned>(samples)}, threads, [&] {
        gfpq_similarity_shares(pointers[0], pointers[1], pointers[2], pointers[3], size, partial.data());
    });
    host_cuda::launch({width, static_cast<unsigned>(samples)}, 32, [&] {
        gfpq_similarity_join(partial.data(), blocks, sums.data(), products.data());
    });
    std::vector<double> expected(sums.size()), expected_products(products.size());
    gfpq::similarity_reference(pointers[0], pointers + 1, lanes, samples, size, expected.data(), expected_products.data());
    const double scale = 100.0 * static_cast<double>(size + 1);
    for (std::size_t i = 0; i < sums.size(); ++i) {
        const std::size_t field = i % fields;
        // Where lane 1 is small, its own sums must be right to its own digits.
        const bool own = kind == Kind::far_apart && i / fields % lanes == 1 && (field == sum_y || field == sum_yy || field == sum_xy);
        expect(near(sums[i], expected[i], own ? std::fabs(expected[i]) * 1e3 : scale), "sum", size, static_cast<long>(i));
    }
    for (std::size_t i = 0; i < products.size(); ++i) {
        expect(near(products[i], expected_products[i], scale), "product", size, static_cast<long>(i));
    }
}

}  // namespace

int main() {
    const std::size_t tile = GFPQ_BLOCK * GFPQ_UNROLL * 4;
    for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{5}, std::size_t{63},
                              std::size_t{200}, tile - 1, tile, tile + 6, 3 * tile, 5 * tile + 17}) {
        for (std::size_t offset = 0; offset < 4; ++offset) {
            for (unsigned blocks : {1u, 3u}) {
                check_apply<float>(count, offset, offset, blocks, false);
                check_apply<float>(count, offset, (offset + blocks) % 4, blocks, offset % 2 == 0);
                check_apply<double>(count, offset % 2, (offset + blocks) % 2, blocks, true);
                check_coefficient(count, offset, blocks, offset % 2 == 0);
            }
        }
    }
    for (Kind kind : {Kind::harmless, Kind::not_finite, Kind::far_apart}) {
        check_similarity(1, 1, 1, 0, kind);
        check_similarity(2, 1003, 1, 1, kind);
        check_similarity(2, 2 * gfpq_similarity::stride + 2, 2, 0, kind);  // a piece shorter than a group
        check_similarity(1, 9 * gfpq_similarity::stride + 1029, 3, 0, kind);
        for (std::size_t turns : {1, 2, 3, 4}) check_similarity(1, turns * 2 * gfpq_similarity::stride, 2, 3, kind);
    }
    std::printf("%ld differences\n", failures);
    return failures == 0 ? 0 : 1;
}

// Compares every kernel of this machine with the reference on every one of the 2^32 float32 bit patterns.
//
//   gfpq_exhaustive [--stride N] [--bits 8|16] [--delta D]
//
// --stride N   take every N-th pattern (an odd number meets all exponents and mantissas alike); default 1: all
// --bits, --delta   one width, one coefficient; default: both widths, three coefficients each
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>

#include "check.hpp"
#include "kernels.hpp"
#include "pool.hpp"

using namespace gfpq;

namespace {

constexpr std::uint64_t kPatterns = std::uint64_t{1} << 32;
constexpr std::size_t kBlock = std::size_t{1} << 16;

struct Row {
    const char* name;
    const Kernels* kernels;
};

std::vector<Row> rows() {
    std::vector<Row> found;
    for (const char* name : check::instruction_sets()) {
        set_instruction_set(name);
        found.push_back({name, kernels()});
    }
    return found;
}

/// Number of patterns that differ.
std::uint64_t compare(const std::vector<Row>& all, const Grid& grid, int delta, std::uint64_t stride) {
    FloatPlan plan;
    if (!make_plan(grid, delta, plan)) return 0;  // the kernels leave such coefficients to the reference
    const std::uint64_t patterns = (kPatterns + stride - 1) / stride;
    const std::uint64_t blocks = (patterns + kBlock - 1) / kBlock;
    std::atomic<std::uint64_t> wrong{0};
    parallel(static_cast<std::size_t>(blocks), [&](std::size_t block) {
        std::vector<float> input(kBlock), expected(kBlock), output(kBlock);
        const std::uint64_t first = block * kBlock;
        const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, patterns - first));
        for (std::size_t i = 0; i < count; ++i) input[i] = check::float_of(static_cast<std::uint32_t>((first + i) * stride));
        apply_reference(input.data(), expected.data(), count, grid, delta);
        for (const Row& row : all) {
            row.kernels->apply_float(input.data(), output.data(), count, plan, false);
            if (std::memcmp(output.data(), expected.data(), count * sizeof(float)) == 0) continue;
            for (std::size_t i = 0; i < count; ++i) {
                if (check::bits(output[i]) == check::bits(expected[i])) continue;
                if (wrong.fetch_add(1) < 10)
                    std::fprintf(stderr, "%s, %d bit, delta %d: %08x gives %08x, not %08x\n", row.name, grid.bit_width, delta,
                                 check::bits(input[i]), check::bits(output[i]), check::bits(expected[i]));
            }
        }
    });
    return wrong.load();
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t stride = 1;
    unsigned only_bits = 0;
    std::string only_delta;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        if (option == "--stride") stride = std::max(1ull, std::strtoull(argv[i + 1], nullptr, 10));
        else if (option == "--bits") only_bits = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
        else if (option == "--delta") only_delta = argv[i + 1];
    }
    const std::vector<Row> all = rows();
    std::uint64_t wrong = 0;
    for (unsigned width : {8u, 16u}) {
        if (only_bits != 0 && only_bits != width) continue;
        const Grid& grid = *grid_of(width);
        std::vector<int> deltas{width == 8 ? -77 : -1002, 100, grid.delta_low};
        if (!only_delta.empty()) deltas = {std::atoi(only_delta.c_str())};
        for (const int delta : deltas) {
            const auto start = std::chrono::steady_clock::now();
            const std::uint64_t found = compare(all, grid, delta, stride);
            wrong += found;
            std::printf("%2u bit, delta %5d:", width, delta);
            for (const Row& row : all) std::printf(" %s", row.name);
            std::printf(": %llu of %llu patterns differ (%.0f s)\n", static_cast<unsigned long long>(found),
                        static_cast<unsigned long long>((kPatterns + stride - 1) / stride),
                        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
            std::fflush(stdout);
        }
    }
    return wrong == 0 ? 0 : 1;
}

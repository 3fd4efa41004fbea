// libFuzzer: bytes become a width, a mode, a block and numbers; every kernel must agree with the reference, bit for bit, and
// codes must lead back to the values.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "codec.hpp"
#include "evidence.hpp"
#include "similarity.hpp"

namespace {

void require(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "%s: %s\n", gfpq::instruction_set(), what);
    std::abort();
}

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) {
    return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class T, class Word>
void check_codes(const std::vector<T>& input, const std::vector<T>& expected, const gfpq::Grid& grid, int delta) {
    std::vector<Word> codes(input.size());
    std::vector<T> decoded(input.size());
    gfpq::encode(input.data(), codes.data(), input.size(), grid, delta);
    require(gfpq::decode(codes.data(), decoded.data(), codes.size(), grid, delta) == 0, "encode made something that is no code");
    require(same(decoded, expected), "codes do not lead back to the values");
}

template <class T>
void check_numbers(const std::uint8_t* bytes, std::size_t size, unsigned width, unsigned mode, const std::uint8_t* block) {
    std::vector<T> input(size / sizeof(T));
    if (!input.empty()) std::memcpy(input.data(), bytes, input.size() * sizeof(T));
    const gfpq::Grid* grid = gfpq::grid_of(width);

    gfpq::set_instruction_set("reference");
    std::vector<T> expected = input;
    std::uint8_t expected_block[gfpq::kParameterLength];
    std::memcpy(expected_block, block, sizeof expected_block);
    const int code = gfpq::quantize_dequantize(expected.data(), expected.size(), width, mode, expected_block);
    if (grid == nullptr) require(code == gfpq::kBadFormat, "a bad width went through");

    for (const char* name : {"baseline", "avx2", "avx512", "neon"}) {
        if (!gfpq::set_instruction_set(name)) continue;
        std::vector<T> output = input;
        std::uint8_t output_block[gfpq::kParameterLength];
        std::memcpy(output_block, block, sizeof output_block);
        require(gfpq::quantize_dequantize(output.data(), output.size(), width, mode, output_block) == code, "return codes differ");
        require(same(output, expected), "values differ");
        require(std::memcmp(output_block, expected_block, sizeof output_block) == 0, "blocks differ");
        if (grid == nullptr || input.empty()) continue;
        const int delta = gfpq::unpack_parameters(output_block);
        if (width == 8) check_codes<T, std::uint8_t>(input, expected, *grid, delta);
        else check_codes<T, std::uint16_t>(input, expected, *grid, delta);
        std::vector<std::int64_t> histogram(2 * (static_cast<std::size_t>(grid->highest_code) + 1));
        const gfpq::CodeStatistics found =
            gfpq::code_statistics(input.data(), input.size(), *grid, delta, histogram.data());
        require(found.finite + found.nonfinite == input.size(), "elements are lost in the statistics");
        const T* lane = output.data();
        double sums[gfpq::kSumFields], product[1];
        require(gfpq::similarity(input.data(), &lane, 1, 1, input.size(), sums, product), "similarity failed");
        require(sums[gfpq::kCount] + 0.0 <= static_cast<double>(input.size()), "too many pairs");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t header = 3 + gfpq::kParameterLength;
    if (size < header) return 0;
    const unsigned width = data[0] % 4 == 3 ? data[1] : data[0] % 2 == 0 ? 8u : 16u;
    const unsigned mode = data[2] % 5;
    std::uint8_t block[gfpq::kParameterLength];
    std::memcpy(block, data + 3, sizeof block);
    if (data[1] % 2 == 0) {  // mostly a coefficient that some tensor has
        block[6] = block[7] = static_cast<std::uint8_t>(static_cast<std::int8_t>(block[5]) < 0 ? 0xFF : 0);
        block[5] = static_cast<std::uint8_t>(static_cast<std::int8_t>(block[5]) / 16);
    }
    if (data[1] % 4 < 2) check_numbers<float>(data + header, size - header, width, mode, block);
    else check_numbers<double>(data + header, size - header, width, mode, block);
    return 0;
}

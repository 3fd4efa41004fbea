// Codes: what encode and decode give is what apply gives, for every code and for what is no code.
#include "evidence.hpp"

#include <cmath>

#include "check.hpp"

using namespace gfpq;
using check::bits;

namespace {

template <class T, class Word>
void codes_agree_with_values(const Grid& grid) {
    check::Random random(3);
    for (int delta : {-grid.steps_per_octave * 5, grid.delta_low, grid.delta_high, 0, -2 * grid.delta_high, 1000000}) {
        std::vector<T> input(3001), expected(3001), decoded(3001);
        std::vector<Word> codes(3001);
        for (T& value : input) {
            const double exponent = (delta + static_cast<double>(random.below(static_cast<std::uint64_t>(grid.highest_code) + 60)) - 30) / grid.steps_per_octave;
            value = static_cast<T>(std::pow(2.0, exponent) * (random.below(2) == 0 ? 1 : -1));
        }
        input[0] = T(0);
        input[1] = static_cast<T>(std::nan(""));
        input[2] = static_cast<T>(INFINITY);
        input[3] = -input[2];
        apply(input.data(), expected.data(), input.size(), grid, delta);
        encode(input.data(), codes.data(), input.size(), grid, delta);
        CHECK(decode(codes.data(), decoded.data(), codes.size(), grid, delta) == 0);
        for (std::size_t i = 0; i < input.size(); ++i)
            CHECK(bits(decoded[i]) == bits(expected[i]), "%d bit delta %d: %a", grid.bit_width, delta, static_cast<double>(input[i]));
    }
}

template <class Word>
void every_pattern(const Grid& grid) {
    const std::size_t patterns = std::size_t{1} << (8 * sizeof(Word));
    std::vector<Word> codes(patterns), again(patterns);
    std::vector<float> values(patterns);
    for (std::size_t i = 0; i < patterns; ++i) codes[i] = static_cast<Word>(i);
    const std::uint64_t invalid = decode(codes.data(), values.data(), patterns, grid, -50);
    CHECK(invalid == patterns - 2 * (static_cast<std::size_t>(grid.highest_code) + 1));
    encode(values.data(), again.data(), patterns, grid, -50);
    for (std::size_t i = 0; i < patterns; ++i) CHECK(std::isnan(values[i]) || codes[i] == again[i], "%zu", i);
}

void statistics_add_up() {
    std::vector<float> data(100000);
    check::Random random(5);
    for (float& value : data) value = static_cast<float>(static_cast<double>(random.next() >> 11) * 0x1p-53 - 0.5);
    data[7] = 0.0f;
    data[8] = std::nanf("");
    std::vector<std::int64_t> histogram(256);
    const CodeStatistics found = code_statistics(data.data(), data.size(), *grid_of(8), -160, histogram.data());
    std::int64_t coded = 0;
    for (const std::int64_t count : histogram) coded += count;
    CHECK(found.finite == data.size() - 1 && found.nonfinite == 1 && found.zeros == 1);
    CHECK(static_cast<std::uint64_t>(coded) + found.flushed + found.zeros == found.finite);
    CHECK(found.beyond > 0 && histogram[128] == 0);
}

}  // namespace

int main() {
    for (const char* set : check::instruction_sets()) {
        set_instruction_set(set);
        codes_agree_with_values<float, std::uint8_t>(*grid_of(8));
        codes_agree_with_values<double, std::uint8_t>(*grid_of(8));
        codes_agree_with_values<float, std::uint16_t>(*grid_of(16));
        codes_agree_with_values<double, std::uint16_t>(*grid_of(16));
        every_pattern<std::uint8_t>(*grid_of(8));
        every_pattern<std::uint16_t>(*grid_of(16));
        statistics_add_up();
    }
    return check::result("evidence");
}

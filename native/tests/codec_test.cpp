// Grids, coefficients, parameter block and whole calls.
#include <cmath>
#include <limits>

#include "check.hpp"

using namespace gfpq;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void grids() {
    CHECK(grid_of(8)->steps_per_octave == 16 && grid_of(8)->highest_code == 127);
    CHECK(grid_of(16)->steps_per_octave == 128 && grid_of(16)->highest_code == 1407);
    for (unsigned width : {0u, 1u, 4u, 7u, 9u, 15u, 17u, 32u, 0xFFFFFFFFu}) CHECK(grid_of(width) == nullptr, "%u", width);
}

void coefficients() {
    const Grid& eight = *grid_of(8);
    const Grid& sixteen = *grid_of(16);
    CHECK(coefficient_from_magnitude(9.0, eight) == -77);
    CHECK(coefficient_from_magnitude(9.0, sixteen) == -1002);
    CHECK(coefficient_from_magnitude(0.0, eight) == -446);
    CHECK(coefficient_from_magnitude(1e-7, eight) == -500);
    CHECK(coefficient_from_magnitude(1e-30, eight) == -511);
    CHECK(coefficient_from_magnitude(1e30, sixteen) == 4095);
    CHECK(coefficient_from_magnitude(kInfinity, eight) == 511);

    const float with_infinity[] = {0.0f, -std::numeric_limits<float>::infinity(), std::nanf("")};
    CHECK(coefficient_from(largest_magnitude(with_infinity, 3), eight) == 511);
    CHECK(coefficient_from(largest_magnitude(with_infinity, 1), eight) == -446);
    const double mixed[] = {kInfinity, -9.0, std::nan(""), 1.0, -0.0};
    const Extremes extremes = magnitude(mixed, 5);
    CHECK(extremes.largest == 9.0 && extremes.nan_count == 1 && extremes.infinity_count == 1 && extremes.zero_count == 1);
    CHECK(coefficient_from(extremes, eight) == -77);
}

void parameter_block() {
    const std::uint8_t guide[] = {0x60, 0x62, 0x82, 0x69, 0xb3, 0xff, 0xff, 0xff, 0xc5, 0xc7, 0x27, 0xcc, 0x3a, 0x38, 0xd8, 0x33};
    std::uint8_t block[kParameterLength];
    pack_parameters(-77, block);
    CHECK(std::memcmp(block, guide, sizeof block) == 0);
    for (int delta : {-2147483647 - 1, -5000, -1, 0, 1, 511, 2147483647}) {
        pack_parameters(delta, block);
        CHECK(unpack_parameters(block) == delta && parameters_are_intact(block), "%d", delta);
        for (int bit = 0; bit < 128; ++bit) {
            if (bit / 32 == 1) continue;  // not every bit of the coefficient shows in the other words
            block[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
            CHECK(!parameters_are_intact(block), "%d, bit %d", delta, bit);
            block[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
        }
    }
}

template <class T>
void guide_sample() {
    const float expected[] = {0, 1, 2, 2.9536524f, 4, 4.967431f, 5.907305f, 7.0250087f, 8, 8.724062f};
    T data[10];
    for (int i = 0; i < 10; ++i) data[i] = static_cast<T>(i);
    std::uint8_t block[kParameterLength] = {};
    CHECK(quantize_dequantize(data, 10, 8, 0, block) == kSuccess);
    for (int i = 0; i < 10; ++i) CHECK(static_cast<float>(data[i]) == expected[i], "%d", i);
    CHECK(unpack_parameters(block) == -77);
}

void modes() {
    float data[2] = {1.0f, 2.0f};
    std::uint8_t block[kParameterLength];
    const auto call = [&](unsigned mode, int stored, float largest) {
        data[0] = 1.0f;
        data[1] = largest;
        pack_parameters(stored, block);
        CHECK(quantize_dequantize(data, 2, 8, mode, block) == kSuccess);
        return unpack_parameters(block);
    };
    CHECK(call(0, 400, 2.0f) == -111);
    CHECK(call(1, -200, 2.0f) == -111);
    CHECK(call(1, 3, 2.0f) == 3);
    CHECK(call(2, 600, 2.0f) == 600 && data[1] == 0.0f);
    CHECK(call(77, -200, 2.0f) == -111);  // any other mode updates
    data[1] = 2.0f;
    CHECK(quantize_dequantize(data, 2, 8, 2, static_cast<std::uint8_t*>(nullptr)) == kSuccess && data[1] == 2.0f);
}

void errors_change_nothing() {
    float data[3] = {0.3f, -1.7f, 5.1f};
    const float before[3] = {0.3f, -1.7f, 5.1f};
    std::uint8_t block[kParameterLength];
    std::uint8_t block_before[kParameterLength];
    pack_parameters(-3, block);
    std::memcpy(block_before, block, sizeof block);
    CHECK(quantize_dequantize(data, 3, 4, 0, block) == kBadFormat);
    CHECK(quantize_dequantize(static_cast<float*>(nullptr), 3, 8, 0, block) == kBadParameter);
    CHECK(quantize_dequantize(data, 0, 8, 0, block) == kSuccess);
    CHECK(std::memcmp(data, before, sizeof data) == 0);
    CHECK(std::memcmp(block, block_before, sizeof block) == 0);
    CHECK(static_cast<unsigned>(kFailure) == 0xFFFF0000u && kFailure == -65536);
}

}  // namespace

int main() {
    grids();
    coefficients();
    parameter_block();
    guide_sample<float>();
    guide_sample<double>();
    modes();
    errors_change_nothing();
    return check::result("codec");
}

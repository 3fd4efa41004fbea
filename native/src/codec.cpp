#include "codec.hpp"

#include <cmath>
#include <limits>

namespace gfpq {
namespace {

constexpr Grid kGrid8{8, 16, 127, -511, 511};
constexpr Grid kGrid16{16, 128, 1407, -4095, 4095};

// The original takes an all-zero tensor for one whose maximum is this.
constexpr double kMagnitudeOfNothing = 1e-6;
constexpr std::uint32_t kBlockKey = 0xA5A5A5A5u;

std::uint32_t read_word(const std::uint8_t* bytes) noexcept {
    return static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
           static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

void write_word(std::uint8_t* bytes, std::uint32_t word) noexcept {
    for (int i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(word >> (8 * i));
}

}  // namespace

const Grid* grid_of(unsigned bit_width) noexcept {
    if (bit_width == 8) return &kGrid8;
    if (bit_width == 16) return &kGrid16;
    return nullptr;
}

int coefficient_from_magnitude(double largest, const Grid& grid) noexcept {
    if (largest == std::numeric_limits<double>::infinity()) return grid.delta_high;
    if (largest == 0.0) largest = kMagnitudeOfNothing;
    const double delta = std::floor(grid.steps_per_octave * std::log2(largest)) - grid.highest_code;
    if (delta < grid.delta_low) return grid.delta_low;
    if (delta > grid.delta_high) return grid.delta_high;
    return static_cast<int>(delta);
}

int coefficient_from(const Extremes& extremes, const Grid& grid) noexcept {
    if (extremes.largest == 0.0 && extremes.infinity_count > 0) return grid.delta_high;
    return coefficient_from_magnitude(extremes.largest, grid);
}

void pack_parameters(int delta, std::uint8_t* block) noexcept {
    const std::uint32_t n = ~static_cast<std::uint32_t>(delta);
    const std::uint32_t first = (n << 3) | (n << 11) | (n << 21) | (n << 27);
    write_word(block, first);
    write_word(block + 4, static_cast<std::uint32_t>(delta));
    write_word(block + 8, first ^ kBlockKey);
    write_word(block + 12, ~(first ^ kBlockKey));
}

int unpack_parameters(const std::uint8_t* block) noexcept {
    return static_cast<int>(read_word(block + 4));
}

bool parameters_are_intact(const std::uint8_t* block) noexcept {
    std::uint8_t expected[kParameterLength];
    pack_parameters(unpack_parameters(block), expected);
    for (std::size_t i = 0; i < kParameterLength; ++i)
        if (block[i] != expected[i]) return false;
    return true;
}

template <class T>
int choose_coefficient(const T* data, std::size_t count, const Grid& grid, unsigned mode,
                       const std::uint8_t* block) noexcept {
    if (block == nullptr) mode = static_cast<unsigned>(Mode::initialize);
    if (mode == static_cast<unsigned>(Mode::apply_only)) return unpack_parameters(block);
    const int from_data = coefficient_from(largest_magnitude(data, count), grid);
    if (mode == static_cast<unsigned>(Mode::initialize)) return from_data;
    const int stored = unpack_parameters(block);
    return stored > from_data ? stored : from_data;
}

template <class T>
int quantize_dequantize(T* data, std::size_t count, unsigned bit_width, unsigned mode, std::uint8_t* block) noexcept {
    const Grid* grid = grid_of(bit_width);
    if (grid == nullptr) return kBadFormat;
    if (data == nullptr) return kBadParameter;
    if (count == 0) return kSuccess;
    const int delta = choose_coefficient(data, count, *grid, mode, block);
    apply(data, data, count, *grid, delta);
    if (block != nullptr && mode != static_cast<unsigned>(Mode::apply_only)) pack_parameters(delta, block);
    return kSuccess;
}

template int choose_coefficient(const float*, std::size_t, const Grid&, unsigned, const std::uint8_t*) noexcept;
template int choose_coefficient(const double*, std::size_t, const Grid&, unsigned, const std::uint8_t*) noexcept;
template int quantize_dequantize(float*, std::size_t, unsigned, unsigned, std::uint8_t*) noexcept;
template int quantize_dequantize(double*, std::size_t, unsigned, unsigned, std::uint8_t*) noexcept;

}  // namespace gfpq

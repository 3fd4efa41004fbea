// The GFPQ codec: grid, coefficient, parameter block, and the kernels behind every interface.
//
// This header knows the number format and nothing else: no Python, no C interface, no console. Nothing here throws,
// and nothing here allocates once the tables and the thread pool exist.
//
// A magnitude of the grid is 2^((delta + code) / S), code in 0 ... T. Positive values use codes 0 ... T, negative
// values 1 ... T, and zero is apart. `apply_reference` says what the format is; `apply` gives the same bits faster.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gfpq {

/// What a call does with the coefficient (values are part of the C interface).
enum class Mode : unsigned {
    initialize = 0,  ///< coefficient from the data, stored in the block
    update = 1,      ///< the larger of the stored one and the one from the data, stored in the block
    apply_only = 2,  ///< the stored one as it is, even outside the range of the grid; block untouched
};

/// Return codes of the C interface.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = static_cast<int>(0xFFFF0000u);
inline constexpr int kBadFormat = static_cast<int>(0xFFFF0005u);
inline constexpr int kBadParameter = static_cast<int>(0xFFFF0006u);
inline constexpr int kOutOfMemory = static_cast<int>(0xFFFF000Cu);
inline constexpr int kShortBuffer = static_cast<int>(0xFFFF0010u);
inline constexpr int kNotSupported = static_cast<int>(0xFFFF0011u);

/// Facts of one bit width.
struct Grid {
    int bit_width;
    int steps_per_octave;  ///< S
    int highest_code;      ///< T
    int delta_low;         ///< coefficients made from data lie in delta_low ... delta_high
    int delta_high;
};

/// The grid of 8 or 16 bit; nullptr for any other width.
const Grid* grid_of(unsigned bit_width) noexcept;

/// What the coefficient is made from.
struct Extremes {
    double largest = 0.0;          ///< largest finite magnitude, 0 where there is none
    std::uint64_t nan_count = 0;
    std::uint64_t infinity_count = 0;
    std::uint64_t zero_count = 0;  ///< +0 and -0
};

/// Largest finite magnitude and the counts of special elements. T is float or double.
template <class T>
Extremes magnitude(const T* data, std::size_t count) noexcept;

/// As `magnitude`, without `zero_count` (left 0): what the modes need, at the speed of reading.
template <class T>
Extremes largest_magnitude(const T* data, std::size_t count) noexcept;

/// floor(S * log2(m)) - T clamped to the range of the grid; m == 0 counts as 1e-6, m == infinity gives delta_high.
int coefficient_from_magnitude(double largest, const Grid& grid) noexcept;

/// The coefficient of a tensor: infinities count only where there is no finite non-zero value.
int coefficient_from(const Extremes& extremes, const Grid& grid) noexcept;

/// Quantize and dequantize, one element after the other, in double with log2 and pow: the definition.
/// `input` may equal `output`; otherwise the two must not overlap. `delta` may be any number.
template <class T>
void apply_reference(const T* input, T* output, std::size_t count, const Grid& grid, int delta) noexcept;

/// The same bits as `apply_reference` from the fastest kernel of this machine, on several threads where it pays.
template <class T>
void apply(const T* input, T* output, std::size_t count, const Grid& grid, int delta) noexcept;

// The parameter block: 16 bytes, little endian; word 1 is delta, the others are made from it.
inline constexpr std::size_t kParameterLength = 16;
void pack_parameters(int delta, std::uint8_t* block) noexcept;
/// Word 1, whatever the other words hold (the original's tolerance).
int unpack_parameters(const std::uint8_t* block) noexcept;
/// True when all four words belong together.
bool parameters_are_intact(const std::uint8_t* block) noexcept;

/// The coefficient that a call uses. `mode` is the raw number: anything but 0 and 2 is an update, as in the original.
/// `block` may be nullptr, which means initialize. The block is not written.
template <class T>
int choose_coefficient(const T* data, std::size_t count, const Grid& grid, unsigned mode, const std::uint8_t* block) noexcept;

/// A whole call of the C interface in place: checks, coefficient, apply, block. Says nothing on the console.
/// On an error nothing is changed. `count` == 0 succeeds and leaves the block as it is.
template <class T>
int quantize_dequantize(T* data, std::size_t count, unsigned bit_width, unsigned mode, std::uint8_t* block) noexcept;

/// Name of the kernel in use: "reference", "baseline", "neon", "avx2" or "avx512".
const char* instruction_set() noexcept;
/// True when this machine and build have the kernel of that name.
bool has_instruction_set(const char* name) noexcept;
/// Force a kernel by name (tests; also environment GFPQ_INSTRUCTION_SET). False when this machine or build lacks it.
bool set_instruction_set(const char* name) noexcept;

/// Threads that a large array may use, the caller's included (environment GFPQ_THREADS, else the processors allowed).
unsigned threads() noexcept;
/// 0 goes back to the default.
void set_threads(unsigned limit) noexcept;

}  // namespace gfpq

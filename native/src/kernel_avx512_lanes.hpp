// Masks and constants of the AVX-512 kernels; part of kernel_avx512.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace gfpq {
namespace {

constexpr int kSmallerMagnitude = 0x02;  // vrange: the smaller magnitude with the sign of the first operand
constexpr int kLargerMagnitude = 0x03;
constexpr int kAndOr = 0xEA;  // vpternlog: (a & b) | c

inline __mmask16 first_lanes(std::size_t count) {
    return count >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1u << count) - 1);
}

inline __mmask8 first_lanes8(std::size_t count) {
    return count >= 8 ? static_cast<__mmask8>(0xFF) : static_cast<__mmask8>((1u << count) - 1);
}

}  // namespace
}  // namespace gfpq

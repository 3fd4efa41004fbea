// Masks and constants of the AVX-512 kernels; part of kernel_avx512.cpp.
#pragma once

#include <immintrin.h>

#include <cstddef>

namespace gfpq {
namespace {

/// Asks for what a loop will read some steps from now: at this pace, the processor's own prefetching lags behind.
template <class T>
inline void prefetch_ahead(const T* data) {
    constexpr std::size_t ahead = 2048;  // bytes; measured, flat between 1 and 4 KB
    _mm_prefetch(reinterpret_cast<const char*>(data) + ahead, _MM_HINT_T0);
}

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

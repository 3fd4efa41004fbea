// Asks the memory for what a loop will read some steps from now. The processor's own prefetching lags behind loops of this
// pace, is confused by several buffers in turn, and is switched off on some virtual machines.
#pragma once

#include <cstddef>

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace gfpq {
namespace {  // each instruction set compiles its own copy

inline constexpr std::size_t kLine = 64;         // bytes of a cache line
inline constexpr std::size_t kAhead = 2048;      // bytes; measured: flat between 1 and 4 KB
inline constexpr std::size_t kTileAhead = 1024;  // the same where tiles of several buffers take turns

/// The cache line `ahead` bytes from here, which may lie beyond the end of the array: nothing faults.
inline void prefetch_line(const void* data, std::size_t ahead) {
    const char* address = static_cast<const char*>(data) + ahead;
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(address);
#elif defined(_M_X64) || defined(_M_IX86)
    _mm_prefetch(address, _MM_HINT_T0);
#else
    static_cast<void>(address);
#endif
}

/// The lines that `Count` elements occupy.
template <std::size_t Count, class T>
inline void prefetch_lines(const T* data, std::size_t ahead) {
    for (std::size_t bytes = 0; bytes < Count * sizeof(T); bytes += kLine) prefetch_line(data, ahead + bytes);
}

}  // namespace
}  // namespace gfpq

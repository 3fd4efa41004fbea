// What the similarity kernels of the instruction sets share: a tile is a piece of the tensor that stays in the first
// cache while one lane after the other is compared with it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gfpq {

inline constexpr std::size_t kTile = 512;        // elements; a multiple of every vector length
inline constexpr std::size_t kPartialSums = 8;   // element i belongs to partial sum i % 8
inline constexpr std::size_t kPartialRange = 16;  // the same for minimum and maximum

/// Running sums of one buffer. Not initialized: `start` does it for as many as are used.
template <class T>
struct alignas(64) BufferSums {
    double sum[kPartialSums];
    double sum_squares[kPartialSums];
    T minimum[kPartialRange];
    T maximum[kPartialRange];
};

/// Running sums of one lane against the reference.
template <class T>
struct alignas(64) LaneSums {
    BufferSums<T> y;
    double xy[kPartialSums];
    double d[kPartialSums];
    double dd[kPartialSums];
    double abs_d[kPartialSums];
    double max_abs_d[kPartialSums];
    std::uint64_t unequal_bits;
};

/// Each takes the sums before the tile and writes those after it elsewhere, so that a tile with something that is not
/// finite (the sums of squares show it) can be done again with care.
template <class T>
struct TileKernels {
    void (*reference)(const T* x, std::size_t count, const BufferSums<T>& before, BufferSums<T>& after, double* x_double);
    /// `errors` (kTile doubles) is written where it is not nullptr.
    void (*lane)(const T* x, const double* x_double, const T* y, std::size_t count, const LaneSums<T>& before,
                 LaneSums<T>& after, double* errors);
    /// Adds sum(a * b) to eight partial sums.
    void (*product)(const double* a, const double* b, std::size_t count, double* partial);
};

}  // namespace gfpq

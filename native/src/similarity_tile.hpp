// What the similarity kernels of the instruction sets share: a tile is a piece of the tensor that stays in the first
// cache while one lane after the other is compared with it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gfpq {

inline constexpr std::size_t kTile = 512;        // elements; a multiple of every vector length
inline constexpr std::size_t kPartialSums = 8;   // element i belongs to partial sum i % 8
inline constexpr std::size_t kPartialRange = 16;  // the same for minimum and maximum
inline constexpr std::size_t kPartialProducts = 16;  // and for products of errors

// None of the following is initialized by itself: `start` does it for as many as are used.

/// Smallest and largest elements of a buffer.
template <class T>
struct alignas(64) Extent {
    T minimum[kPartialRange];
    T maximum[kPartialRange];
};

/// Running sums of the reference.
template <class T>
struct alignas(64) ReferenceSums {
    double x[kPartialSums];
    double xx[kPartialSums];
    Extent<T> extent;
};

/// Running sums of one lane. Sums of y and of x * y are not here: they follow from the others, see `Chunk::finish`.
template <class T>
struct alignas(64) LaneSums {
    double yy[kPartialSums];
    double d[kPartialSums];
    double dd[kPartialSums];
    double abs_d[kPartialSums];
    double max_abs_d[kPartialSums];
    Extent<T> extent;
    std::uint64_t unequal_bits;
};

/// What a lane's errors are multiplied with: those of the lanes before it, kTile doubles each. Sums of kPartialProducts
/// doubles each.
struct EarlierLanes {
    std::size_t count;
    const double* const* errors;
    const double* const* before;
    double* const* after;
};

/// Each takes the sums before the tile and writes those after it elsewhere, so that a tile with something that is not
/// finite (the sums of squares show it) can be done again with care.
template <class T>
struct TileKernels {
    void (*reference)(const T* x, std::size_t count, const ReferenceSums<T>& before, ReferenceSums<T>& after,
                      double* x_double);
    /// `errors` is written: kTile doubles, zero from `count` to the next multiple of 16.
    void (*lane)(const T* x, const double* x_double, const T* y, std::size_t count, const LaneSums<T>& before,
                 LaneSums<T>& after, double* errors, const EarlierLanes& earlier);
};

}  // namespace gfpq

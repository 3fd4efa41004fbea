// What the float kernels of the instruction sets share: sums of a whole tile in float, handed on in double.
//
// A tile is kRows rows of kColumns elements; element i is in column i % kColumns, and every column is summed for itself:
// blocks of kBlockRows products first, then the blocks. Each column has a random scale s between 1 and 2, so that what is
// added up is s * x and s * d. Without it the roundings of few-valued data (a constant, a grid of 127 values) would go the
// same way in every column of every tile and add up; so they are independent, and cancel.
//
// s * d is taken apart as (s * y - high) - low, where high + low is s * x (to 2^-45 of it). y - x itself, rounded to float,
// would be off the same way again wherever it is not exact; and so would s * d be where d lies close to a power of two, as
// s is a float, too. Hence `high` is kept short: what is left in `low` is finer than the float next to s * d, so that the
// first rounding goes either way, and the second on average leads back to s * d.
#pragma once

#include <cstddef>
#include <cstdint>

#include "similarity_tile.hpp"

namespace gfpq {

inline constexpr std::size_t kColumns = 16;
inline constexpr std::size_t kRows = kTile / kColumns;
inline constexpr std::size_t kBlockRows = 8;

/// How many bits of s * x are left to `low` beyond the last ones of a float. With fewer, errors larger than x itself are
/// rounded one way; with more, `low` is not precise enough for errors of the last bits of x: 2 and 6 break 1e-8.
inline constexpr int kLowBits = 3;

/// What every sum of squares or products of a block starts from: it keeps the sums of very small numbers out of the
/// denormal ones, which many processors add a hundred times slower. `FloatChunk` refuses sums in which it would be seen.
inline constexpr float kSeed = 0x1p-124f;

/// The scales of one tile. The inverses have 29 significant bits, so that a float times one of them is exact in double.
struct alignas(64) TileScale {
    float scale[kColumns];
    float rough_inverse[kColumns];
    double inverse[kColumns];
    double inverse_square[kColumns];
};

/// s * x of a tile, in two parts.
struct alignas(64) ScaledTile {
    float high[kTile];
    float low[kTile];
};

/// Running sums of the reference. `xx_square` adds up the squares of the sums of single columns: it tells how many of
/// them the whole rests on.
struct alignas(64) FloatReferenceSums {
    double x[kPartialSums];
    double xx[kPartialSums];
    double xx_square[kPartialSums];
    Extent<float> extent;
};

/// Running sums of a lane.
struct alignas(64) FloatLaneSums {
    double d[kPartialSums];
    double abs_d[kPartialSums];
    double xd[kPartialSums];
    double dd[kPartialSums];
    double dd_square[kPartialSums];
    float largest[kColumns];  ///< |d|, to some 2^-22 of it
    Extent<float> extent;
    std::uint64_t unequal_bits;
};

/// The scaled errors of the lanes before, and where the sums of products with them are kept (kPartialSums each).
struct FloatEarlierLanes {
    std::size_t count;
    const float* const* errors;
    double* const* sums;
};

/// Each adds one whole tile. Infinities and NaN end up in the sums of squares.
struct FloatTileKernels {
    void (*reference)(const float* x, const TileScale& scale, FloatReferenceSums& sums, ScaledTile& scaled);
    /// `errors` gets the scaled errors, kTile of them, `largest` the largest magnitude of d in each column, roughly.
    void (*lane)(const float* x, const ScaledTile& scaled, const float* y, const TileScale& scale, FloatLaneSums& sums,
                 float* errors, float* largest, const FloatEarlierLanes& earlier);
};

}  // namespace gfpq

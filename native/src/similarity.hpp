// Sums that tell how alike tensors are: one reference, several lanes compared with it, each buffer read once.
//
// Sums of double, and of chunks of fewer than kFloatChunk floats, are made in double from the first product on. The product
// of two floats is exact there, so nothing is lost whatever the data look like, and squares do not overflow.
//
// Larger chunks of floats are summed in float within tiles of 512 elements and in double from there on, which takes half
// the time. Every sum is then within 1e-8: sums of squares relative to themselves, sum(x * y) and the products of errors
// to the root of the squares' sums, sum(x), sum(y) and sum(d) to the sum of magnitudes; the largest error is exact. Chunks
// that could miss this are told by their own sums, and done again in double: those dominated by few elements, nearly
// constant, or with a d that is nearly a gain and an offset (so that variances and residuals keep their digits), with tiny,
// huge or infinite values. similarity_float_test.cpp holds this against more than fifty kinds of data; the largest error
// met in 144 tensors of each, in one go and in pieces, is 7.6e-9 (errors of the last bits of x). Lanes that equal the
// reference bit for bit have exactly equal sums and no error.
//
// Elements go to partial sums by their index, chunks of fixed length are merged in order: the result depends neither on
// the number of threads nor on how samples are batched. Instruction sets with a fused multiply-add give the same bits for
// sums made in float; the portable kernels stay in double (see Kernels::sums_in_float).
#pragma once

#include <cstddef>
#include <cstdint>

namespace gfpq {

/// Columns of a row of sums. x is the reference, y the lane, d = y - x. Everything but `nonfinite_*`,
/// `first_nonfinite` and `unequal_bits` is over pairs of two finite numbers.
enum SumField : std::size_t {
    kCount,
    kSumX,
    kSumY,
    kSumXX,
    kSumYY,
    kSumXY,
    kSumD,
    kSumDD,
    kSumAbsD,
    kMaxAbsD,
    kMaxAbsX,
    kMaxAbsY,
    kMinX,  ///< +infinity without a finite pair
    kMaxX,  ///< -infinity without a finite pair
    kMinY,
    kMaxY,
    kNonfiniteX,
    kNonfiniteY,
    kFirstNonfinite,  ///< index of the first element that is not finite on either side, else -1
    kUnequalBits,     ///< elements whose bits differ
    kSumFields,
};

inline constexpr std::size_t kMostLanes = 16;

/// For each of `samples` samples of `size` elements: `sums` gets [samples, lanes, kSumFields], `products` gets
/// [samples, lanes, lanes], sum(d_i * d_j) over elements finite in the reference and in both lanes.
/// False when memory for the partial results is short. T is float or double.
template <class T>
bool similarity(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t samples,
                std::size_t size, double* sums, double* products) noexcept;

/// The same from plain loops in double, one element after the other: the definition.
template <class T>
void similarity_reference(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t samples,
                          std::size_t size, double* sums, double* products) noexcept;

/// The most elements that are summed up before the sums are merged.
inline constexpr std::size_t kSimilarityChunk = std::size_t{1} << 16;

/// Chunks of float with at least so many elements are summed in float first; smaller ones all in double.
inline constexpr std::size_t kFloatChunk = 24576;

/// Length of the chunks of a sample of `size` elements, the last of which may be shorter: as few as go, of at most `longest`
/// elements, and about equally long, so that none is too short to be summed in float where there are several. With the
/// longest that there are, part of the definition of the result.
constexpr std::size_t similarity_chunk_length(std::size_t size, std::size_t longest = kSimilarityChunk) noexcept {
    constexpr std::size_t step = 512;  // whole tiles
    const std::size_t chunks = size <= longest ? 1 : (size + longest - 1) / longest;
    const std::size_t length = (size + chunks - 1) / chunks;
    return (length + step - 1) / step * step;
}

/// After the first piece of a sample, pieces with at least so many elements may be summed in float.
inline constexpr std::size_t kFloatPiece = 4096;

/// What is known of the pieces of one sample so far: energies and largest error of every lane, and the sums of squares that its errors of
/// rounding follow from. A short piece alone has too few columns for its errors to average out (a dozen channels may hold
/// all of it); together with the pieces before it has enough.
struct RunningSums {
    double xx[kMostLanes] = {};
    double yy[kMostLanes] = {};
    double dd[kMostLanes] = {};
    double xx_square[kMostLanes] = {};
    double xd_square[kMostLanes] = {};
    double dd_square[kMostLanes] = {};
    double max_abs_d[kMostLanes] = {};
    double least_xx[kMostLanes] = {};  ///< below these energies, a piece like the last refused one is refused again
    double least_dd[kMostLanes] = {};
    std::size_t tiles = 0;  ///< seen so far, in float or not
};

/// One piece of one sample, at most kSimilarityChunk elements, on the caller's thread: `rows` gets
/// [lanes, kSumFields], `products` the upper triangle of [lanes, lanes]. `similarity` is these pieces, merged in order.
/// With `running`, which starts empty for every sample, the sums of all pieces together keep their precision, so that
/// short pieces can be summed in float, too; a piece whose errors stay below the largest one so far may give theirs roughly.
template <class T>
void similarity_chunk(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t count,
                      double* rows, double* products, RunningSums* running = nullptr) noexcept;

/// A row of sums that nothing was added to yet.
void start_sums(double* row) noexcept;

/// Adds row `other` to `row`: sums and counts add, extremes widen. `offset` is the index of other's first element.
void merge_sums(double* row, const double* other, std::size_t offset) noexcept;

}  // namespace gfpq

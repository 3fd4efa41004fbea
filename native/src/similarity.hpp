// Sums that tell how alike tensors are: one reference, several lanes compared with it, each buffer read once.
//
// All sums are made in double from the first product on. The product of two floats is exact there, so nothing is lost
// whatever the data look like (a constant tensor is enough to spoil sums of floats), and squares do not overflow.
// Elements go to eight partial sums by index modulo 8, chunks of fixed length are merged in order: the result depends
// neither on the number of threads nor on how samples are batched.
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

/// Elements that are summed up before the sums are merged; part of the definition of the result.
inline constexpr std::size_t kSimilarityChunk = std::size_t{1} << 16;

/// One piece of one sample, at most kSimilarityChunk elements, on the caller's thread: `rows` gets
/// [lanes, kSumFields], `products` the upper triangle of [lanes, lanes]. `similarity` is these pieces, merged in order.
template <class T>
void similarity_chunk(const T* reference, const T* const* lanes, std::size_t lane_count, std::size_t count,
                      double* rows, double* products) noexcept;

/// A row of sums that nothing was added to yet.
void start_sums(double* row) noexcept;

/// Adds row `other` to `row`: sums and counts add, extremes widen. `offset` is the index of other's first element.
void merge_sums(double* row, const double* other, std::size_t offset) noexcept;

}  // namespace gfpq

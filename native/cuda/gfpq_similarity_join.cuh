// How a block of the similarity kernel joins what its threads have seen, and makes a row of fields for each lane of it.
#pragma once

#include "gfpq_similarity_thread.cuh"

namespace gfpq_similarity {

// Columns of a block's sums on their way to thread 0. First those that add, in batches of eight, then those of which the
// largest counts (a minimum is the largest with its sign changed).
enum { batch = 8 };
enum AddedColumn { in_x, in_xx, added_of_reference };
enum AddedLaneColumn { in_yy, in_d, in_dd, in_abs_d, in_unequal, added_of_lane };
enum LargestColumn { in_low, in_high, largest_of_reference };
enum LargestLaneColumn { in_largest_d, in_low_y, in_high_y, largest_of_lane };
enum {
    added_columns = ((int)added_of_reference + (int)lanes * (int)added_of_lane + (int)pairs + batch - 1) / batch * batch,
    largest_columns = ((int)largest_of_reference + (int)lanes * (int)largest_of_lane + batch - 1) / batch * batch,
    columns = added_columns + largest_columns,
};

__device__ __forceinline__ int added(int k, int which) { return (int)added_of_reference + k * (int)added_of_lane + which; }
__device__ __forceinline__ int added_product(int pair) { return (int)added_of_reference + (int)lanes * (int)added_of_lane + pair; }
__device__ __forceinline__ int largest(int which) { return (int)added_columns + which; }
__device__ __forceinline__ int largest(int k, int which) {
    return (int)added_columns + (int)largest_of_reference + k * (int)largest_of_lane + which;
}

template <bool ADD>
__device__ __forceinline__ double join_two(double a, double b) {
    return ADD ? a + b : larger(a, b);
}

// Joins eight columns over the warp: each thread passes on half of its columns at every step, so that nine exchanges do
// what would be forty. Every fourth thread ends with one column.
template <bool ADD>
__device__ __forceinline__ void join_batch(double* column, int first, double* by_warp) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = batch / 2, distance = 16; half > 0; half /= 2, distance /= 2) {
        const bool upper = (lane & distance) != 0;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            const double passed = upper ? column[i] : column[i + half];
            const double kept = upper ? column[i + half] : column[i];
            column[i] = join_two<ADD>(kept, __shfl_xor_sync(0xFFFFFFFFu, passed, distance));
        }
    }
    double value = column[0];
#pragma unroll
    for (int distance = 32 / batch / 2; distance > 0; distance /= 2) {
        value = join_two<ADD>(value, __shfl_xor_sync(0xFFFFFFFFu, value, distance));
    }
    if (lane % (32 / batch) == 0) by_warp[(first + lane / (32 / batch)) * warps + threadIdx.x / 32] = value;
}

// Joins what the warps have left of a column, neighbours first.
__device__ __forceinline__ double join_warps(const double* by_warp, bool add) {
    double value[warps];
#pragma unroll
    for (int w = 0; w < warps; ++w) value[w] = by_warp[w];
#pragma unroll
    for (int distance = 1; distance < warps; distance *= 2) {
#pragma unroll
        for (int w = 0; w + distance < warps; w += 2 * distance) {
            value[w] = add ? value[w] + value[w + distance] : larger(value[w], value[w + distance]);
        }
    }
    return value[0];
}

// Joins what the threads hold; `totals` gets `columns` numbers, which all threads may read.
__device__ __forceinline__ void join_sums(const Sums& sums, double* by_warp, double* totals) {
    double column[columns];
#pragma unroll
    for (int i = 0; i < columns; ++i) column[i] = 0.0;
    column[in_x] = sums.x;
    column[in_xx] = sums.xx;
    column[largest(in_low)] = -widen(sums.low);
    column[largest(in_high)] = widen(sums.high);
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
        const LaneSums& lane = sums.lane[k];
        column[added(k, in_yy)] = lane.yy;
        column[added(k, in_d)] = lane.d;
        column[added(k, in_dd)] = lane.dd;
        column[added(k, in_abs_d)] = lane.abs_d;
        column[added(k, in_unequal)] = (double)lane.unequal;
        column[largest(k, in_largest_d)] = lane.largest_d;
        column[largest(k, in_low_y)] = -widen(lane.low);
        column[largest(k, in_high_y)] = widen(lane.high);
    }
#pragma unroll
    for (int i = 0; i < pairs; ++i) column[added_product(i)] = sums.product[i];
#pragma unroll
    for (int first = 0; first < added_columns; first += batch) join_batch<true>(column + first, first, by_warp);
#pragma unroll
    for (int first = added_columns; first < columns; first += batch) join_batch<false>(column + first, first, by_warp);
    __syncthreads();
#pragma unroll 1
    for (int i = threadIdx.x; i < columns; i += threads) totals[i] = join_warps(by_warp + i * warps, i < added_columns);
    __syncthreads();
}

// Whether sums of y and of x * y may be derived from the others: everything is finite, and the rounding of the larger
// sums (1e-13 of them, at most) is below 1e-9 of the smaller one.
__device__ __forceinline__ bool derivable(const double* totals) {
    const double xx = totals[in_xx];
    bool fine = is_finite(xx);
    for (int k = 0; k < lanes; ++k) {
        const double yy = totals[added(k, in_yy)];
        fine = fine && is_finite(yy) && (xx < yy ? xx : yy) >= 1e-8 * (xx < yy ? yy : xx);
    }
    return fine;
}

__device__ __forceinline__ double field_from(const double* totals, int k, int which, Word length) {
    const double low = -totals[largest(in_low)], high = totals[largest(in_high)];
    const double low_y = -totals[largest(k, in_low_y)], high_y = totals[largest(k, in_high_y)];
    const double xx = totals[in_xx], yy = totals[added(k, in_yy)], dd = totals[added(k, in_dd)];
    switch (which) {
        case count: return (double)length;
        case sum_x: return totals[in_x];
        case sum_y: return totals[in_x] + totals[added(k, in_d)];
        case sum_xx: return xx;
        case sum_yy: return yy;
        case sum_xy: return 0.5 * ((xx + yy) - dd);
        case sum_d: return totals[added(k, in_d)];
        case sum_dd: return dd;
        case sum_abs_d: return totals[added(k, in_abs_d)];
        case max_abs_d: return totals[largest(k, in_largest_d)];
        case max_abs_x: return length == 0 ? 0.0 : larger(fabs(low), fabs(high));
        case max_abs_y: return length == 0 ? 0.0 : larger(fabs(low_y), fabs(high_y));
        case min_x: return low;
        case max_x: return high;
        case min_y: return low_y;
        case max_y: return high_y;
        case first_nonfinite: return infinity();
        case unequal_bits: return totals[added(k, in_unequal)];
        default: return 0.0;
    }
}

// A thread writes a whole row: writing takes less time than telling threads of a warp what each of them writes.
__device__ __forceinline__ void write_sums(const double* totals, Word length, double* result, size_t blocks) {
    if (threadIdx.x < lanes) {
        const int k = threadIdx.x;
#pragma unroll
        for (int which = 0; which < fields; ++which) {
            result[(k * fields + which) * blocks] = field_from(totals, k, which, length);
        }
    }
    for (int i = (int)threadIdx.x - 32; i >= 0 && i < lanes * lanes; i += threads - 32) {
        const int low = i / lanes < i % lanes ? i / lanes : i % lanes, high = i / lanes + i % lanes - low;
        const int pair = low * lanes - low * (low + 1) / 2 + (high - low - 1);
        result[(row_width + i) * blocks] = totals[low == high ? added(low, in_dd) : added_product(pair)];
    }
}

}  // namespace gfpq_similarity

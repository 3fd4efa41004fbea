// Sums that tell how alike tensors on a GPU are: one reference, several lanes, each buffer read once.
//
// All sums are made in double. Which thread adds which element, and the order in which partial results are joined,
// follow from an element's index in its sample alone: the result does not depend on the GPU, on the number of samples
// in a call, or on alignment.
//
// A block first takes its share for harmless. Where that turns out wrong (something is not finite, or one side is so much
// smaller than the other that a difference of sums would lose it), it goes over its share again, with care.
#pragma once

#include "gfpq_similarity_careful.cuh"
#include "gfpq_similarity_join.cuh"

extern "C" {

// A share of one sample a block: grid is (blocks of a sample, samples); how many blocks there are is part of the definition
// of the result. `partial` gets [samples, width, blocks].
__global__ void __launch_bounds__(gfpq_similarity::threads, GFPQ_RESIDENT)
gfpq_similarity_shares(const gfpq_similarity::Element* __restrict__ reference, GFPQ_LANE_POINTERS, size_t size,
                       double* partial) {
    using namespace gfpq_similarity;
    const Element* const others[lanes] = {GFPQ_LANE_NAMES};
    const size_t base = (size_t)blockIdx.y * size;
    const size_t blocks = gridDim.x;
    double* result = partial + (size_t)blockIdx.y * width * blocks + blockIdx.x;
    const Share share(size, blockIdx.x, gridDim.x);

    __shared__ double by_warp[columns * warps];
    __shared__ double totals[columns];
    Buffers from;
    from.x = reference + base;
    bool aligned = (size_t)from.x % 16 == 0;
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
        from.y[k] = others[k] + base;
        aligned = aligned && (size_t)from.y[k] % 16 == 0;
    }
    Sums sums;
    sums.start();
    if (aligned && threadIdx.x == 0) fetch_share_ahead(from, share);
    wait_for_previous_kernel();
    let_next_kernel_start();
    if (aligned) add_share<true>(from, share, sums);
    else add_share<false>(from, share, sums);
    join_sums(sums, by_warp, totals);
    if (derivable(totals)) {
        write_sums(totals, share.length(), result, blocks);
    } else {
        const Element* shifted[lanes];
        for (int k = 0; k < lanes; ++k) shifted[k] = others[k] + base;
        careful_share(reference + base, shifted, size, by_warp, result, blocks);
    }
}

// Joins the shares of one column of one sample a block of one warp: grid is (width, samples).
__global__ void __launch_bounds__(32)
gfpq_similarity_join(const double* partial, size_t blocks, double* sums, double* products) {
    using namespace gfpq_similarity;
    const int column = (int)blockIdx.x;
    const int which = column < row_width ? column % fields : (int)count;
    const double* values = partial + ((size_t)blockIdx.y * width + column) * blocks;
    const double nothing = which == min_x || which == min_y || which == first_nonfinite ? infinity()
                           : which == max_x || which == max_y                          ? -infinity()
                                                                                       : 0.0;
    double value = nothing;
    enum { turns = 5 };
    let_next_kernel_start();
    wait_for_previous_kernel();
    for (size_t i = threadIdx.x; i < blocks; i += turns * 32) {
        double next[turns];
#pragma unroll
        for (int turn = 0; turn < turns; ++turn) next[turn] = i + turn * 32 < blocks ? values[i + turn * 32] : nothing;
#pragma unroll
        for (int turn = 0; turn < turns; ++turn) value = join(which, value, next[turn]);
    }
    value = join_warp(which, value);
    if (threadIdx.x != 0) return;
    if (which == first_nonfinite && value == infinity()) value = -1.0;
    if (column < row_width) sums[(size_t)blockIdx.y * row_width + column] = value;
    else products[(size_t)blockIdx.y * lanes * lanes + (column - row_width)] = value;
}

}  // extern "C"

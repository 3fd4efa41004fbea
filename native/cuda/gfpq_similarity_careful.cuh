// The similarity kernel on a share where something is not finite, or one side is so much smaller than the other that a
// difference of sums would lose it: element by element, with branches.
#pragma once

#include "gfpq_similarity_fields.cuh"

namespace gfpq_similarity {

// Two partial results of a field as one.
__device__ __forceinline__ double join(int which, double a, double b) {
    switch (which) {
        case max_abs_d: case max_abs_x: case max_abs_y: case max_x: case max_y: return larger(a, b);
        case min_x: case min_y: case first_nonfinite: return smaller(a, b);
        default: return a + b;
    }
}

__device__ __forceinline__ double join_warp(int which, double value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        value = join(which, value, __shfl_down_sync(0xFFFFFFFFu, value, distance));
    }
    return value;
}

// The block's result for one field, in thread 0: lanes of a warp pairwise, then the warps in order. Not inlined, so that
// compiling stays quick.
__device__ __noinline__ double join_block(int which, double value, double* shared) {
    value = join_warp(which, value);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < warps; ++warp) value = join(which, value, shared[warp]);
    }
    __syncthreads();
    return value;
}

// What one thread has seen of one lane and the reference beside it.
struct CarefulSums {
    double x, y, xx, yy, xy, d, dd, abs_d, largest_d;
    Element low_x, high_x, low_y, high_y;
    Word seen, bad_x, bad_y, unequal;
    Word first_bad;  // within the share

    __device__ __forceinline__ void start() {
        x = y = xx = yy = xy = d = dd = abs_d = largest_d = 0.0;
        low_x = low_y = (Element)infinity();
        high_x = high_y = -(Element)infinity();
        seen = bad_x = bad_y = unequal = 0;
        first_bad = 0xFFFFFFFFu;
    }

    __device__ __forceinline__ void add(Element a, Element b, Word index) {
        if (!same_bits(a, b)) ++unequal;
        if (!(is_finite(a) && is_finite(b))) {
            if (!is_finite(a)) ++bad_x;
            if (!is_finite(b)) ++bad_y;
            if (index < first_bad) first_bad = index;
            return;
        }
        const double p = widen(a);
        const double q = widen(b);
        const double error = q - p;
        const double size = fabs(error);
        ++seen;
        x += p;
        y += q;
        xx += p * p;
        yy += q * q;
        xy += p * q;
        d += error;
        dd += error * error;
        abs_d += size;
        largest_d = size > largest_d ? size : largest_d;
        low_x = smaller(low_x, a);
        high_x = larger(high_x, a);
        low_y = smaller(low_y, b);
        high_y = larger(high_y, b);
    }

    __device__ __forceinline__ double field(int which) const {
        switch (which) {
            case count: return (double)seen;
            case sum_x: return x;
            case sum_y: return y;
            case sum_xx: return xx;
            case sum_yy: return yy;
            case sum_xy: return xy;
            case sum_d: return d;
            case sum_dd: return dd;
            case sum_abs_d: return abs_d;
            case max_abs_d: return largest_d;
            case max_abs_x: return seen == 0 ? 0.0 : larger(fabs(widen(low_x)), fabs(widen(high_x)));
            case max_abs_y: return seen == 0 ? 0.0 : larger(fabs(widen(low_y)), fabs(widen(high_y)));
            case min_x: return widen(low_x);
            case max_x: return widen(high_x);
            case min_y: return widen(low_y);
            case max_y: return widen(high_y);
            case nonfinite_x: return (double)bad_x;
            case nonfinite_y: return (double)bad_y;
            case unequal_bits: return (double)unequal;
            default: return first_bad == 0xFFFFFFFFu ? infinity() : (double)first_bad;
        }
    }
};

// One lane after the other, then one pair of lanes after the other.
__device__ __noinline__ void careful_share(const Element* x, const Element* const* y, size_t size,
                                           double* shared, double* result, size_t blocks) {
    const Share share(size, blockIdx.x, gridDim.x);
    const Word length = share.length();
    for (int k = 0; k < lanes; ++k) {
        CarefulSums sums;
        sums.start();
        const Element* const other = y[k];
        for (Word i = threadIdx.x; i < length; i += threads) sums.add(x[share.place(i)], other[share.place(i)], i);
        for (int which = 0; which < fields; ++which) {
            double value = join_block(which, sums.field(which), shared);
            if (which == first_nonfinite && value < (double)length) value = (double)share.place((Word)value);
            if (threadIdx.x == 0) result[(k * fields + which) * blocks] = value;
            if (which == sum_dd && threadIdx.x == 0) result[(row_width + k * lanes + k) * blocks] = value;
        }
    }
    for (int i = 0; i < lanes; ++i) {
        for (int j = i + 1; j < lanes; ++j) {
            double sum = 0.0;
            for (Word place = threadIdx.x; place < length; place += threads) {
                const size_t at = share.place(place);
                if (!(is_finite(x[at]) && is_finite(y[i][at]) && is_finite(y[j][at]))) continue;
                sum += (widen(y[i][at]) - widen(x[at])) * (widen(y[j][at]) - widen(x[at]));
            }
            sum = join_block(count, sum, shared);
            if (threadIdx.x == 0) {
                result[(row_width + i * lanes + j) * blocks] = sum;
                result[(row_width + j * lanes + i) * blocks] = sum;
            }
        }
    }
}

}  // namespace gfpq_similarity

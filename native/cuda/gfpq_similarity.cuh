// Sums that tell how alike tensors on a GPU are: one reference, several lanes, each buffer read once. The columns and
// their meaning are those of src/similarity.hpp. Compiled by CuPy with
//   GFPQ_LANES          number of lanes
//   GFPQ_ELEMENT        float or double
//   GFPQ_LANE_POINTERS  the lanes as parameters: const gfpq_similarity::Element* y0, ...
//   GFPQ_LANE_NAMES     y0, ...
//
// All sums are made in double. Which thread adds which element, and the order in which partial results are joined,
// follow from an element's index in its sample alone: the result does not depend on the GPU, on the number of samples
// in a call, or on alignment.
#pragma once

#ifndef GFPQ_LANES
#define GFPQ_LANES 1
#endif
#ifndef GFPQ_ELEMENT
#define GFPQ_ELEMENT float
#endif
#ifndef GFPQ_LANE_POINTERS
#define GFPQ_LANE_POINTERS const gfpq_similarity::Element* y0
#define GFPQ_LANE_NAMES y0
#endif

namespace gfpq_similarity {

enum Field {
    count, sum_x, sum_y, sum_xx, sum_yy, sum_xy, sum_d, sum_dd, sum_abs_d, max_abs_d, max_abs_x, max_abs_y,
    min_x, max_x, min_y, max_y, nonfinite_x, nonfinite_y, first_nonfinite, unequal_bits, fields
};

enum {
    lanes = GFPQ_LANES,
    threads = 256,
    group = 4,                   // neighbouring elements that a thread takes at a time
    chunk = 16 * threads * group,  // elements of a block; part of the definition of the result
    pairs = lanes * (lanes - 1) / 2,
    row_width = lanes * fields,
    width = row_width + lanes * lanes,  // doubles of a partial result: rows, then products of errors
};

typedef GFPQ_ELEMENT Element;
typedef unsigned int Word;

__device__ __forceinline__ bool is_finite(float x) { return (__float_as_uint(x) & 0x7F800000u) != 0x7F800000u; }
__device__ __forceinline__ bool is_finite(double x) { return (__double2hiint(x) & 0x7FF00000) != 0x7FF00000; }
__device__ __forceinline__ bool same_bits(float a, float b) { return __float_as_uint(a) == __float_as_uint(b); }
__device__ __forceinline__ bool same_bits(double a, double b) {
    return __double_as_longlong(a) == __double_as_longlong(b);
}
__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7FF0000000000000ll); }

// What one thread has seen of one lane, or of the reference beside it.
struct Sums {
    double x, y, xx, yy, xy, d, dd, abs_d, largest_d;
    Element low_x, high_x, low_y, high_y;
    Word seen, bad_x, bad_y, unequal;
    Word first_bad;  // within the chunk

    __device__ __forceinline__ void start() {
        x = y = xx = yy = xy = d = dd = abs_d = largest_d = 0.0;
        low_x = low_y = (Element)infinity();
        high_x = high_y = -(Element)infinity();
        seen = bad_x = bad_y = unequal = 0;
        first_bad = 0xFFFFFFFFu;
    }

    // Returns y - x, or 0 where either is not finite.
    __device__ __forceinline__ double add(Element a, Element b, Word index) {
        if (!same_bits(a, b)) ++unequal;
        if (!(is_finite(a) && is_finite(b))) {
            if (!is_finite(a)) ++bad_x;
            if (!is_finite(b)) ++bad_y;
            if (index < first_bad) first_bad = index;
            return 0.0;
        }
        const double p = (double)a;
        const double q = (double)b;
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
        low_x = a < low_x ? a : low_x;
        high_x = a > high_x ? a : high_x;
        low_y = b < low_y ? b : low_y;
        high_y = b > high_y ? b : high_y;
        return error;
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
            case max_abs_x: return seen == 0 ? 0.0 : fmax(fabs((double)low_x), fabs((double)high_x));
            case max_abs_y: return seen == 0 ? 0.0 : fmax(fabs((double)low_y), fabs((double)high_y));
            case min_x: return (double)low_x;
            case max_x: return (double)high_x;
            case min_y: return (double)low_y;
            case max_y: return (double)high_y;
            case nonfinite_x: return (double)bad_x;
            case nonfinite_y: return (double)bad_y;
            case unequal_bits: return (double)unequal;
            default: return first_bad == 0xFFFFFFFFu ? infinity() : (double)first_bad;
        }
    }
};

// Two partial results of a field as one. Products of errors come after the rows and add.
__device__ __forceinline__ double join(int which, double a, double b) {
    switch (which) {
        case max_abs_d: case max_abs_x: case max_abs_y: case max_x: case max_y: return fmax(a, b);
        case min_x: case min_y: case first_nonfinite: return fmin(a, b);
        default: return a + b;
    }
}

__device__ __forceinline__ int field_of(int column) { return column < row_width ? column % fields : (int)count; }

// The block's result for one column, in thread 0: lanes of a warp pairwise, then the warps in order. Called once for each
// column, of which sixteen lanes have 440: not inlined, so that compiling stays quick.
__device__ __noinline__ double join_block(int which, double value, double* shared) {
    for (int distance = 16; distance > 0; distance /= 2) {
        value = join(which, value, __shfl_down_sync(0xFFFFFFFFu, value, distance));
    }
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < threads / 32; ++warp) value = join(which, value, shared[warp]);
    }
    __syncthreads();
    return value;
}

struct Group {
    Element value[group];
};

__device__ __forceinline__ void load_aligned(const float* data, float* value) {
    const float4 v = *reinterpret_cast<const float4*>(data);
    value[0] = v.x, value[1] = v.y, value[2] = v.z, value[3] = v.w;
}
__device__ __forceinline__ void load_aligned(const double* data, double* value) {
    const double2 v = *reinterpret_cast<const double2*>(data);
    const double2 w = *reinterpret_cast<const double2*>(data + 2);
    value[0] = v.x, value[1] = v.y, value[2] = w.x, value[3] = w.y;
}

// `group` neighbours, 16 bytes at once where the address allows.
__device__ __forceinline__ Group load(const Element* data, bool aligned) {
    Group result;
    if (aligned) {
        load_aligned(data, result.value);
    } else {
#pragma unroll
        for (int i = 0; i < group; ++i) result.value[i] = data[i];
    }
    return result;
}

}  // namespace gfpq_similarity

extern "C" {

// One chunk of one sample a block: grid is (chunks of a sample, samples). `partial` gets [samples, width, chunks].
__global__ void __launch_bounds__(gfpq_similarity::threads)
gfpq_similarity_chunks(const gfpq_similarity::Element* reference, GFPQ_LANE_POINTERS, size_t size, double* partial) {
    using namespace gfpq_similarity;
    const Element* const others[lanes] = {GFPQ_LANE_NAMES};
    const size_t begin = (size_t)blockIdx.x * chunk;
    const size_t base = (size_t)blockIdx.y * size + begin;
    const Word length = (Word)(size - begin < (size_t)chunk ? size - begin : (size_t)chunk);

    bool aligned = (size_t)(reference + base) % 16 == 0;
    Sums sums[lanes];
    double product[pairs > 0 ? pairs : 1];
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
        sums[k].start();
        aligned = aligned && (size_t)(others[k] + base) % 16 == 0;
    }
#pragma unroll
    for (int i = 0; i < pairs; ++i) product[i] = 0.0;

    const auto add = [&](Element x, const Element* y, Word index) {
        double error[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) error[k] = sums[k].add(x, y[k], index);
#pragma unroll
        for (int i = 0, pair = 0; i < lanes; ++i) {
#pragma unroll
            for (int j = i + 1; j < lanes; ++j, ++pair) product[pair] += error[i] * error[j];
        }
    };

    const Word whole = length / group * group;
#pragma unroll 2
    for (Word at = threadIdx.x * group; at < whole; at += threads * group) {
        const Group x = load(reference + base + at, aligned);
        Group y[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) y[k] = load(others[k] + base + at, aligned);
#pragma unroll
        for (int i = 0; i < group; ++i) {
            Element values[lanes];
#pragma unroll
            for (int k = 0; k < lanes; ++k) values[k] = y[k].value[i];
            add(x.value[i], values, at + i);
        }
    }
    for (Word at = whole + threadIdx.x; at < length; at += threads) {
        Element values[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) values[k] = others[k][base + at];
        add(reference[base + at], values, at);
    }

    __shared__ double shared[threads / 32];
    const size_t chunks = gridDim.x;
    double* result = partial + (size_t)blockIdx.y * width * chunks + blockIdx.x;
#pragma unroll
    for (int k = 0; k < lanes; ++k) {
#pragma unroll
        for (int which = 0; which < fields; ++which) {
            double value = join_block(which, sums[k].field(which), shared);
            if (which == first_nonfinite) value += (double)begin;
            if (threadIdx.x == 0) result[(k * fields + which) * chunks] = value;
            if (which == sum_dd && threadIdx.x == 0) result[(row_width + k * lanes + k) * chunks] = value;
        }
    }
#pragma unroll
    for (int i = 0, pair = 0; i < lanes; ++i) {
#pragma unroll
        for (int j = i + 1; j < lanes; ++j, ++pair) {
            const double value = join_block(count, product[pair], shared);
            if (threadIdx.x == 0) {
                result[(row_width + i * lanes + j) * chunks] = value;
                result[(row_width + j * lanes + i) * chunks] = value;
            }
        }
    }
}

// Joins the chunks of one column of one sample a block: grid is (width, samples).
__global__ void __launch_bounds__(gfpq_similarity::threads)
gfpq_similarity_join(const double* partial, size_t chunks, double* sums, double* products) {
    using namespace gfpq_similarity;
    const int column = (int)blockIdx.x;
    const int which = field_of(column);
    const double* values = partial + ((size_t)blockIdx.y * width + column) * chunks;
    double value = which == min_x || which == min_y || which == first_nonfinite ? infinity()
                   : which == max_x || which == max_y                          ? -infinity()
                                                                               : 0.0;
    for (size_t i = threadIdx.x; i < chunks; i += threads) value = join(which, value, values[i]);
    __shared__ double shared[threads / 32];
    value = join_block(which, value, shared);
    if (threadIdx.x != 0) return;
    if (which == first_nonfinite && value == infinity()) value = -1.0;
    if (column < row_width) sums[(size_t)blockIdx.y * row_width + column] = value;
    else products[(size_t)blockIdx.y * lanes * lanes + (column - row_width)] = value;
}

}  // extern "C"

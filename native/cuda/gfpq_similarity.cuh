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
//
// A block first takes its chunk for harmless: sums of the reference serve all lanes, sums of y and of x * y follow from
// the others, and nothing branches. Where that turns out wrong (something is not finite, or one side is so much smaller
// than the other that a difference of sums would lose it), the block goes over its chunk again, with care.
#pragma once

#ifndef GFPQ_LANES
#define GFPQ_LANES 1
#endif
#ifndef GFPQ_ELEMENT
#define GFPQ_ELEMENT float
#endif
#ifndef GFPQ_LANE_POINTERS
#define GFPQ_LANE_POINTERS const gfpq_similarity::Element* __restrict__ y0
#define GFPQ_LANE_NAMES y0
#endif
#ifndef GFPQ_DEPTH
#define GFPQ_DEPTH (GFPQ_LANES == 2 ? 4 : GFPQ_LANES <= 3 ? 2 : 1)  // groups of every buffer that a thread has under way at a time
#endif
#ifndef GFPQ_RESIDENT
#define GFPQ_RESIDENT (GFPQ_LANES == 1 ? 4 : GFPQ_LANES <= 4 ? 2 : 1)  // blocks that a multiprocessor holds
#endif

namespace gfpq_similarity {

enum Field {
    count, sum_x, sum_y, sum_xx, sum_yy, sum_xy, sum_d, sum_dd, sum_abs_d, max_abs_d, max_abs_x, max_abs_y,
    min_x, max_x, min_y, max_y, nonfinite_x, nonfinite_y, first_nonfinite, unequal_bits, fields
};

enum {
    lanes = GFPQ_LANES,
    threads = 256,
    warps = threads / 32,
    group = 4,  // neighbouring elements that a thread takes at a time
    stride = threads * group,
    pairs = lanes * (lanes - 1) / 2,
    row_width = lanes * fields,
    width = row_width + lanes * lanes,  // doubles of a partial result: rows, then products of errors
};

typedef GFPQ_ELEMENT Element;
typedef unsigned int Word;

// CuPy has NVRTC flush subnormal numbers, whatever the caller asks for. Instructions spelled out do not.
#if defined(__CUDA_ARCH__)
__device__ __forceinline__ double widen(float x) { double y; asm("cvt.f64.f32 %0, %1;" : "=d"(y) : "f"(x)); return y; }
__device__ __forceinline__ float smaller(float a, float b) {
    float c;
    asm("min.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}
__device__ __forceinline__ float larger(float a, float b) {
    float c;
    asm("max.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}
#else
__device__ __forceinline__ double widen(float x) { return (double)x; }
__device__ __forceinline__ float smaller(float a, float b) { return b < a ? b : a; }
__device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a; }
#endif
__device__ __forceinline__ double widen(double x) { return x; }
__device__ __forceinline__ double smaller(double a, double b) { return b < a ? b : a; }
__device__ __forceinline__ double larger(double a, double b) { return b > a ? b : a; }

__device__ __forceinline__ bool is_finite(float x) { return (__float_as_uint(x) & 0x7F800000u) != 0x7F800000u; }
__device__ __forceinline__ bool is_finite(double x) { return (__double2hiint(x) & 0x7FF00000) != 0x7FF00000; }
__device__ __forceinline__ bool same_bits(float a, float b) { return __float_as_uint(a) == __float_as_uint(b); }
__device__ __forceinline__ bool same_bits(double a, double b) {
    return __double_as_longlong(a) == __double_as_longlong(b);
}
__device__ __forceinline__ double infinity() { return __longlong_as_double(0x7FF0000000000000ll); }

// 0 as long as all that was added is finite, then NaN.
__device__ __forceinline__ float watch(float x, float before) { return fmaf(x, 0.0f, before); }
__device__ __forceinline__ double watch(double x, double before) { return fma(x, 0.0, before); }

// Two partial results of a field as one. Products of errors come after the rows and add.
__device__ __forceinline__ double join(int which, double a, double b) {
    switch (which) {
        case max_abs_d: case max_abs_x: case max_abs_y: case max_x: case max_y: return larger(a, b);
        case min_x: case min_y: case first_nonfinite: return smaller(a, b);
        default: return a + b;
    }
}

__device__ __forceinline__ int field_of(int column) { return column < row_width ? column % fields : (int)count; }

__device__ __forceinline__ double join_warp(int which, double value) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        value = join(which, value, __shfl_down_sync(0xFFFFFFFFu, value, distance));
    }
    return value;
}

// The block's result for one column, in thread 0: lanes of a warp pairwise, then the warps in order. Not inlined, so
// that compiling stays quick.
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
template <bool ALIGNED>
__device__ __forceinline__ Group load(const Element* data) {
    Group result;
    if (ALIGNED) {
        load_aligned(data, result.value);
    } else {
#pragma unroll
        for (int i = 0; i < group; ++i) result.value[i] = data[i];
    }
    return result;
}

// ---------------------------------------------------------------------------------------------- a chunk that is harmless

struct LaneSums {
    double yy, d, dd, abs_d, largest_d;
    Element low, high;
    Word unequal;
};

// What one thread has seen.
struct Sums {
    double x, xx;
    Element low, high, poison;
    LaneSums lane[lanes];
    double product[pairs > 0 ? pairs : 1];

    __device__ __forceinline__ void start() {
        x = xx = 0.0;
        poison = (Element)0;
        low = (Element)infinity();
        high = -low;
#pragma unroll
        for (int k = 0; k < lanes; ++k) {
            lane[k].yy = lane[k].d = lane[k].dd = lane[k].abs_d = lane[k].largest_d = 0.0;
            lane[k].low = low;
            lane[k].high = high;
            lane[k].unequal = 0;
        }
#pragma unroll
        for (int i = 0; i < pairs; ++i) product[i] = 0.0;
    }

    __device__ __forceinline__ void add(Element a, const Element* b) {
        const double p = widen(a);
        double error[lanes];
        x += p;
        xx += p * p;
        low = smaller(low, a);
        high = larger(high, a);
        poison = watch(a, poison);
#pragma unroll
        for (int k = 0; k < lanes; ++k) {
            LaneSums& sums = lane[k];
            const double q = widen(b[k]);
            const double e = q - p;
            sums.yy += q * q;
            sums.d += e;
            sums.dd += e * e;
            sums.abs_d += fabs(e);
            sums.largest_d = fabs(e) > sums.largest_d ? fabs(e) : sums.largest_d;
            sums.low = smaller(sums.low, b[k]);
            sums.high = larger(sums.high, b[k]);
            sums.unequal += same_bits(a, b[k]) ? 0u : 1u;
            poison = watch(b[k], poison);
            error[k] = e;
        }
#pragma unroll
        for (int i = 0, pair = 0; i < lanes; ++i) {
#pragma unroll
            for (int j = i + 1; j < lanes; ++j, ++pair) product[pair] += error[i] * error[j];
        }
    }
};

struct Buffers {
    const Element* x;
    const Element* y[lanes];
};

// Groups of every buffer, on their way from memory.
template <bool ALIGNED, int DEPTH>
struct Groups {
    Group x[DEPTH], y[DEPTH][lanes];

    __device__ __forceinline__ void load(const Buffers& from, Word at) {
#pragma unroll
        for (int turn = 0; turn < DEPTH; ++turn) {
            x[turn] = gfpq_similarity::load<ALIGNED>(from.x + at + turn * stride);
#pragma unroll
            for (int k = 0; k < lanes; ++k) y[turn][k] = gfpq_similarity::load<ALIGNED>(from.y[k] + at + turn * stride);
        }
    }

    __device__ __forceinline__ void add_to(Sums& sums) const {
#pragma unroll
        for (int turn = 0; turn < DEPTH; ++turn) {
#pragma unroll
            for (int i = 0; i < group; ++i) {
                Element values[lanes];
#pragma unroll
                for (int k = 0; k < lanes; ++k) values[k] = y[turn][k].value[i];
                sums.add(x[turn].value[i], values);
            }
        }
    }
};

// The next groups are asked for before the last ones are added, so that the memory has work all the time.
template <bool ALIGNED, int DEPTH>
__device__ __forceinline__ Word add_whole(const Buffers& from, Word at, Word whole, Sums& sums) {
    const Word step = DEPTH * stride, reach = (DEPTH - 1) * stride;
    if (at + reach >= whole) return at;
    Groups<ALIGNED, DEPTH> even, odd;
    even.load(from, at);
    for (;;) {
        at += step;
        if (at + reach >= whole) {
            even.add_to(sums);
            return at;
        }
        odd.load(from, at);
        even.add_to(sums);
        at += step;
        if (at + reach >= whole) {
            odd.add_to(sums);
            return at;
        }
        even.load(from, at);
        odd.add_to(sums);
    }
}

template <bool ALIGNED>
__device__ __forceinline__ void add_chunk(const Buffers& from, Word length, Sums& sums) {
    const Word whole = length / group * group;
    Word at = add_whole<ALIGNED, GFPQ_DEPTH>(from, threadIdx.x * group, whole, sums);
    if (GFPQ_DEPTH > 1) {
        for (; at < whole; at += stride) {
            Groups<ALIGNED, 1> last;
            last.load(from, at);
            last.add_to(sums);
        }
    }
    for (at = whole + threadIdx.x; at < length; at += threads) {
        Element values[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) values[k] = from.y[k][at];
        sums.add(from.x[at], values);
    }
}

// Columns of a block's sums on their way to thread 0. First those that add, in batches of eight, then those of which the
// largest counts (a minimum is the largest with its sign changed).
enum { batch = 8 };
enum AddedColumn { in_x, in_xx, added_of_reference };
enum AddedLaneColumn { in_yy, in_d, in_dd, in_abs_d, in_unequal, added_of_lane };
enum LargestColumn { in_poison, in_low, in_high, largest_of_reference };
enum LargestLaneColumn { in_largest_d, in_low_y, in_high_y, largest_of_lane };
enum {
    added_columns = (added_of_reference + lanes * added_of_lane + pairs + batch - 1) / batch * batch,
    largest_columns = (largest_of_reference + lanes * largest_of_lane + batch - 1) / batch * batch,
    columns = added_columns + largest_columns,
};

__device__ __forceinline__ int added(int k, int which) { return added_of_reference + k * added_of_lane + which; }
__device__ __forceinline__ int added_product(int pair) { return added_of_reference + lanes * added_of_lane + pair; }
__device__ __forceinline__ int largest(int which) { return added_columns + which; }
__device__ __forceinline__ int largest(int k, int which) {
    return added_columns + largest_of_reference + k * largest_of_lane + which;
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

// Joins what the threads hold; `totals` gets `columns` numbers, which all threads may read.
__device__ __forceinline__ void join_sums(const Sums& sums, double* by_warp, double* totals) {
    double column[columns];
#pragma unroll
    for (int i = 0; i < columns; ++i) column[i] = 0.0;
    column[in_x] = sums.x;
    column[in_xx] = sums.xx;
    column[largest(in_poison)] = sums.poison != sums.poison ? 1.0 : 0.0;
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
    for (int i = threadIdx.x; i < columns; i += threads) {
        double value = by_warp[i * warps];
        for (int w = 1; w < warps; ++w) {
            const double other = by_warp[i * warps + w];
            value = i < added_columns ? value + other : larger(value, other);
        }
        totals[i] = value;
    }
    __syncthreads();
}

// Whether sums of y and of x * y may be derived from the others: the rounding of the larger sums (1e-13 of them, at
// most) is then below 1e-9 of the smaller one.
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

__device__ __forceinline__ void write_sums(const double* totals, Word length, double* result, size_t chunks) {
    for (int column = threadIdx.x; column < width; column += threads) {
        double value;
        if (column < row_width) {
            value = field_from(totals, column / fields, column % fields, length);
        } else {
            int i = (column - row_width) / lanes, j = (column - row_width) % lanes;
            if (i == j) {
                value = totals[added(i, in_dd)];
            } else {
                if (i > j) {
                    const int other = i;
                    i = j;
                    j = other;
                }
                value = totals[added_product(i * lanes - i * (i + 1) / 2 + (j - i - 1))];
            }
        }
        result[column * chunks] = value;
    }
}

// --------------------------------------------------------------------------------------------------------- and with care

// What one thread has seen of one lane and the reference beside it.
struct CarefulSums {
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
__device__ __noinline__ void careful_chunk(const Element* x, const Element* const* y, Word length, size_t begin,
                                           double* shared, double* result, size_t chunks) {
    for (int k = 0; k < lanes; ++k) {
        CarefulSums sums;
        sums.start();
        const Element* const other = y[k];
        for (Word at = threadIdx.x; at < length; at += threads) sums.add(x[at], other[at], at);
        for (int which = 0; which < fields; ++which) {
            double value = join_block(which, sums.field(which), shared);
            if (which == first_nonfinite) value += (double)begin;
            if (threadIdx.x == 0) result[(k * fields + which) * chunks] = value;
            if (which == sum_dd && threadIdx.x == 0) result[(row_width + k * lanes + k) * chunks] = value;
        }
    }
    for (int i = 0; i < lanes; ++i) {
        for (int j = i + 1; j < lanes; ++j) {
            double sum = 0.0;
            for (Word at = threadIdx.x; at < length; at += threads) {
                if (!(is_finite(x[at]) && is_finite(y[i][at]) && is_finite(y[j][at]))) continue;
                sum += (widen(y[i][at]) - widen(x[at])) * (widen(y[j][at]) - widen(x[at]));
            }
            sum = join_block(count, sum, shared);
            if (threadIdx.x == 0) {
                result[(row_width + i * lanes + j) * chunks] = sum;
                result[(row_width + j * lanes + i) * chunks] = sum;
            }
        }
    }
}

}  // namespace gfpq_similarity

extern "C" {

// One chunk of one sample a block: grid is (chunks of a sample, samples). `chunk` is how many elements a block takes; it
// is part of the definition of the result. `partial` gets [samples, width, chunks].
__global__ void __launch_bounds__(gfpq_similarity::threads, GFPQ_RESIDENT)
gfpq_similarity_chunks(const gfpq_similarity::Element* __restrict__ reference, GFPQ_LANE_POINTERS, size_t size,
                       size_t chunk, double* partial) {
    using namespace gfpq_similarity;
    const Element* const others[lanes] = {GFPQ_LANE_NAMES};
    const size_t begin = (size_t)blockIdx.x * chunk;
    const size_t base = (size_t)blockIdx.y * size + begin;
    const Word length = (Word)(size - begin < chunk ? size - begin : chunk);
    const size_t chunks = gridDim.x;
    double* result = partial + (size_t)blockIdx.y * width * chunks + blockIdx.x;

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
    if (aligned) add_chunk<true>(from, length, sums);
    else add_chunk<false>(from, length, sums);
    join_sums(sums, by_warp, totals);
    if (totals[largest(in_poison)] == 0.0 && derivable(totals)) {
        write_sums(totals, length, result, chunks);
    } else {
        const Element* shifted[lanes];
        for (int k = 0; k < lanes; ++k) shifted[k] = others[k] + base;
        careful_chunk(reference + base, shifted, length, begin, by_warp, result, chunks);
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

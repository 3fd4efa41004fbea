// What one thread of the similarity kernel adds up, as long as its numbers are harmless: sums of the reference serve all
// lanes, sums of y and of x * y follow from the others, and nothing branches.
#pragma once

#include "gfpq_similarity_fields.cuh"

namespace gfpq_similarity {

struct LaneSums {
    double yy, d, dd, abs_d, largest_d;
    Element low, high;
    Word unequal;
};

// What one thread has seen. Something that is not finite shows in the sums of squares.
struct Sums {
    double x, xx;
    Element low, high;
    LaneSums lane[lanes];
    double product[pairs > 0 ? pairs : 1];

    __device__ __forceinline__ void start() {
        x = xx = 0.0;
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

// Groups of every buffer, on their way from memory: those of them that begin before `end`.
template <bool ALIGNED>
struct Groups {
    Group x[GFPQ_DEPTH], y[GFPQ_DEPTH][lanes];

    __device__ __forceinline__ void load(const Buffers& from, Word at, Word end) {
#pragma unroll
        for (int turn = 0; turn < GFPQ_DEPTH; ++turn) {
            if (at + turn * stride >= end) continue;
            x[turn] = gfpq_similarity::load<ALIGNED>(from.x + at + turn * stride);
#pragma unroll
            for (int k = 0; k < lanes; ++k) y[turn][k] = gfpq_similarity::load<ALIGNED>(from.y[k] + at + turn * stride);
        }
    }

    __device__ __forceinline__ void add_to(Sums& sums, Word at, Word end) const {
#pragma unroll
        for (int turn = 0; turn < GFPQ_DEPTH; ++turn) {
            if (at + turn * stride >= end) continue;
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
template <bool ALIGNED>
__device__ __forceinline__ void add_chunk(const Buffers& from, Word length, Sums& sums) {
    const Word step = GFPQ_DEPTH * stride, whole = length / group * group;
    Word at = threadIdx.x * group;
    Groups<ALIGNED> even, odd;
    even.load(from, at, whole);
    if (whole + threadIdx.x < length) {
        Element values[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) values[k] = from.y[k][whole + threadIdx.x];
        sums.add(from.x[whole + threadIdx.x], values);
    }
    while (at < whole) {
        odd.load(from, at + step, whole);
        even.add_to(sums, at, whole);
        at += step;
        even.load(from, at + step, whole);
        odd.add_to(sums, at, whole);
        at += step;
    }
}

}  // namespace gfpq_similarity

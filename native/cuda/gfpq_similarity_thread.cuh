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

// A group of every buffer, on its way from memory.
template <bool ALIGNED>
struct Groups {
    Group x, y[lanes];

    __device__ __forceinline__ void load(const Buffers& from, size_t at) {
        x = gfpq_similarity::load<ALIGNED>(from.x + at);
#pragma unroll
        for (int k = 0; k < lanes; ++k) y[k] = gfpq_similarity::load<ALIGNED>(from.y[k] + at);
    }

    __device__ __forceinline__ void add_to(Sums& sums) const {
#pragma unroll
        for (int i = 0; i < group; ++i) {
            Element values[lanes];
#pragma unroll
            for (int k = 0; k < lanes; ++k) values[k] = y[k].value[i];
            sums.add(x.value[i], values);
        }
    }
};

__device__ __forceinline__ void fetch_share_ahead(const Buffers& from, const Share& share) {
    for (Word turn = 0; turn < turns_ahead && turn < share.turns; ++turn) {
        const size_t at = share.first + turn * share.jump;
        fetch_ahead(from.x + at, stride);
        for (int k = 0; k < lanes; ++k) fetch_ahead(from.y[k] + at, stride);
    }
}

// The next groups are asked for before the last ones are added, so that the memory has work all the time. The piece comes
// first: its groups, and the elements behind its last whole group.
template <bool ALIGNED>
__device__ __forceinline__ void add_share(const Buffers& from, const Share& share, Sums& sums) {
    const Word own = threadIdx.x * group, whole = share.piece_length / group * group;
    size_t at = share.first + own;
    Word left = share.turns;
    Groups<ALIGNED> even, odd;
    if (own < whole) even.load(from, share.piece + own);
    if (left > 0) odd.load(from, at);
    if (own < whole) even.add_to(sums);
    if (whole + threadIdx.x < share.piece_length) {
        const size_t last = share.piece + whole + threadIdx.x;
        Element values[lanes];
#pragma unroll
        for (int k = 0; k < lanes; ++k) values[k] = from.y[k][last];
        sums.add(from.x[last], values);
    }
    for (; left > 2; left -= 2) {
        at += share.jump;
        even.load(from, at);
        odd.add_to(sums);
        at += share.jump;
        odd.load(from, at);
        even.add_to(sums);
    }
    if (left == 2) even.load(from, at + share.jump);
    if (left > 0) odd.add_to(sums);
    if (left == 2) even.add_to(sums);
}

}  // namespace gfpq_similarity

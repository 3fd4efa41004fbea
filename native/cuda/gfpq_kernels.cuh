// The kernels behind HI_GFPQ_QuantAndDeQuant_GPU and behind CuPy arrays: coefficient by a device-wide reduction, and
// one pass that quantizes and dequantizes. Compiled by nvcc and, as text, by CuPy; `gfpq_device.cuh` has the arithmetic.
//
// All of them take any count and any alignment that an element has of itself. A block works through tiles of
// GFPQ_BLOCK * GFPQ_UNROLL vectors of 16 bytes, so that each thread has GFPQ_UNROLL loads under way at a time.
#pragma once

#include "gfpq_device.cuh"

#ifndef GFPQ_BLOCK
#define GFPQ_BLOCK 512  // threads of a block
#endif
#ifndef GFPQ_UNROLL
#define GFPQ_UNROLL 4
#endif

namespace gfpq_device {

// What a reduction leaves for the host. On the host's side it is pinned memory, or a copy.
struct Report {
    double magnitude;     // largest finite magnitude
    LongWord nonfinite;   // how many infinities and NaN
    LongWord infinities;  // how many of them are infinities
    int delta;            // float32 only: the coefficient, the stored one considered
    int padding;
};

// Working memory of one reduction. All zero before the first; the last block of each clears it for the next.
struct ReductionState {
    LongWord largest;
    LongWord nonfinite;
    LongWord infinities;
    Word finished_blocks;
    int delta;
};

template <class Element>
struct Vector;
template <>
struct Vector<Word> {
    typedef uint4 type;
    enum { lanes = 4 };
};
template <>
struct Vector<LongWord> {
    typedef ulonglong2 type;
    enum { lanes = 2 };
};

template <class Function>
__device__ __forceinline__ uint4 map_vector(uint4 v, const Function& function) {
    return make_uint4(function(v.x), function(v.y), function(v.z), function(v.w));
}
template <class Function>
__device__ __forceinline__ ulonglong2 map_vector(ulonglong2 v, const Function& function) {
    return make_ulonglong2(function(v.x), function(v.y));
}

// Elements before the first 16-byte boundary.
template <class Element>
__device__ __forceinline__ size_t unaligned_head(const Element* data) {
    const size_t past = (size_t)data % 16 / sizeof(Element);
    return past == 0 ? 0 : 16 / sizeof(Element) - past;
}

// output[i] = function(input[i]), or only function(input[i]) where `output` is null. `backwards` starts at the end:
// after a reduction that ran forwards, the end of the array is what the cache still holds.
template <class Element, class Function>
__device__ __forceinline__ void for_all(const Element* input, Element* output, size_t count, bool backwards,
                                        const Function& function) {
    typedef typename Vector<Element>::type Pack;
    const size_t lanes = Vector<Element>::lanes;
    size_t head = unaligned_head(input);
    if (output != nullptr && unaligned_head(output) != head) head = count;  // the two never align: one at a time
    if (head > count) head = count;
    const size_t packs = (count - head) / lanes;
    const Pack* source = reinterpret_cast<const Pack*>(input + head);
    Pack* target = reinterpret_cast<Pack*>(output + head);

    const size_t tile = (size_t)GFPQ_BLOCK * GFPQ_UNROLL;
    const size_t tiles = (packs + tile - 1) / tile;
    for (size_t turn = blockIdx.x; turn < tiles; turn += gridDim.x) {
        const size_t begin = (backwards ? tiles - 1 - turn : turn) * tile;
        Pack pack[GFPQ_UNROLL];
        if (begin + tile <= packs) {
#pragma unroll
            for (int i = 0; i < GFPQ_UNROLL; ++i) pack[i] = source[begin + threadIdx.x + i * GFPQ_BLOCK];
#pragma unroll
            for (int i = 0; i < GFPQ_UNROLL; ++i) {
                pack[i] = map_vector(pack[i], function);
                if (output != nullptr) target[begin + threadIdx.x + i * GFPQ_BLOCK] = pack[i];
            }
        } else {
            for (size_t at = begin + threadIdx.x; at < packs; at += GFPQ_BLOCK) {
                pack[0] = map_vector(source[at], function);
                if (output != nullptr) target[at] = pack[0];
            }
        }
    }

    const size_t singles = count - packs * lanes;
    const size_t stride = (size_t)gridDim.x * GFPQ_BLOCK;
    for (size_t i = (size_t)blockIdx.x * GFPQ_BLOCK + threadIdx.x; i < singles; i += stride) {
        const size_t at = i < head ? i : packs * lanes + i;
        const Element result = function(input[at]);
        if (output != nullptr) output[at] = result;
    }
}

// ----------------------------------------------------------------------------------------------------------------- apply

template <int STEPS>
struct QuantizeFloat {
    // Copies of the tables: 32 serve every lane of a warp without conflict; the larger table makes do with 8.
    enum { copies = STEPS == 16 ? 32 : 8, table_length = (STEPS + 1) * copies };
    const Word* thresholds;
    const Word* values;
    FloatGrid grid;
    __device__ __forceinline__ Word operator()(Word bits) const {
        return quantize_dequantize<STEPS, copies>(bits, thresholds, values, grid);
    }
};

// `delta_from_device` overrides `delta` where it is not null. Either must be common (see `is_common`).
template <int STEPS>
__device__ __forceinline__ void apply_float(const Word* input, Word* output, size_t count, int delta,
                                            const int* delta_from_device, int backwards) {
    typedef QuantizeFloat<STEPS> Quantize;
    __shared__ Word thresholds[Quantize::table_length];
    __shared__ Word values[Quantize::table_length];
    __shared__ FloatGrid grid;
    for (int i = threadIdx.x; i < Quantize::table_length; i += GFPQ_BLOCK) {
        thresholds[i] = threshold_word<STEPS>(i / Quantize::copies);
        values[i] = value_word<STEPS>(i / Quantize::copies);
    }
    if (threadIdx.x == 0) grid = float_grid<STEPS>(delta_from_device != nullptr ? *delta_from_device : delta);
    __syncthreads();
    const int copy = threadIdx.x % Quantize::copies;
    const Quantize quantize = {thresholds + copy, values + copy, grid};
    for_all(input, output, count, backwards != 0, quantize);
}

template <int STEPS>
struct QuantizeByTable {
    TableGrid grid;
    __device__ __forceinline__ Word operator()(Word bits) const {
        return bits_of(narrow(table_quantize_dequantize<STEPS>(widen(float_of(bits)), grid)));
    }
    __device__ __forceinline__ LongWord operator()(LongWord bits) const {
        return bits_of(table_quantize_dequantize<STEPS>(double_of(bits), grid));
    }
};

template <int STEPS, class Element>
__device__ __forceinline__ void apply_table(const Element* input, Element* output, size_t count, TableGrid grid,
                                            int backwards) {
    enum { length = Shape<STEPS>::top_code + 1 };
    __shared__ double thresholds[length];
    __shared__ double values[length];
    for (int i = threadIdx.x; i < length; i += GFPQ_BLOCK) {
        thresholds[i] = grid.thresholds[i];
        values[i] = grid.values[i];
    }
    __syncthreads();
    grid.thresholds = thresholds;
    grid.values = values;
    const QuantizeByTable<STEPS> quantize = {grid};
    for_all(input, output, count, backwards != 0, quantize);
}

// ------------------------------------------------------------------------------------------------------------- reduction

// Largest finite magnitude (as bits, which order as the numbers do), and counts of what is not finite.
template <class Element>
struct Extremes {
    Element* largest;
    Word* nonfinite;
    Word* infinities;
    __device__ __forceinline__ Element operator()(Element bits) const {
        const Element infinity = sizeof(Element) == 4 ? (Element)float_infinity : (Element)double_infinity;
        const Element magnitude = bits << 1 >> 1;
        if (magnitude < infinity) {
            *largest = magnitude > *largest ? magnitude : *largest;
        } else {
            ++*nonfinite;
            if (magnitude == infinity) ++*infinities;
        }
        return bits;
    }
};

// Leaves the extremes of all blocks so far in `state`. True, for thread 0 of the last block alone, when all are in.
// Maxima and sums of integers: the order of the blocks does not matter.
template <class Element>
__device__ __forceinline__ bool reduce_extremes(const Element* input, size_t count, ReductionState* state) {
    Element largest = 0;
    Word nonfinite = 0;
    Word infinities = 0;
    const Extremes<Element> look = {&largest, &nonfinite, &infinities};
    for_all(input, static_cast<Element*>(nullptr), count, false, look);

    __shared__ Element warp_largest[GFPQ_BLOCK / 32];
    if (__syncthreads_or(nonfinite != 0) && nonfinite != 0) {  // rare, so that it may be slow
        atomicAdd(&state->nonfinite, (LongWord)nonfinite);
        if (infinities != 0) atomicAdd(&state->infinities, (LongWord)infinities);
        __threadfence();
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        const Element other = __shfl_xor_sync(0xFFFFFFFFu, largest, distance);
        largest = other > largest ? other : largest;
    }
    if (threadIdx.x % 32 == 0) warp_largest[threadIdx.x / 32] = largest;
    __syncthreads();
    if (threadIdx.x != 0) return false;
    for (int warp = 1; warp < GFPQ_BLOCK / 32; ++warp) {
        largest = warp_largest[warp] > largest ? warp_largest[warp] : largest;
    }
    atomicMax(&state->largest, (LongWord)largest);
    __threadfence();
    if (atomicAdd(&state->finished_blocks, 1u) != gridDim.x - 1) return false;
    __threadfence();
    return true;
}

// Moves the result from `state` to `report`, and clears `state`; returns the bits of the largest magnitude.
__device__ __forceinline__ LongWord take(ReductionState* state, Report* report) {
    const LongWord largest = atomicExch(&state->largest, 0ull);
    report->nonfinite = atomicExch(&state->nonfinite, 0ull);
    report->infinities = atomicExch(&state->infinities, 0ull);
    state->finished_blocks = 0;
    return largest;
}

// `stored_delta` is the one of an update, or the smallest int.
template <int STEPS>
__device__ __forceinline__ void find_coefficient(const Word* input, size_t count, ReductionState* state, int stored_delta,
                                                 Report* report) {
    if (!reduce_extremes(input, count, state)) return;
    Report result;
    const Word largest = (Word)take(state, &result);
    const int delta = coefficient<STEPS>(largest, result.infinities != 0);
    state->delta = delta > stored_delta ? delta : stored_delta;
    result.magnitude = widen(float_of(largest));
    result.delta = state->delta;
    *report = result;
}

}  // namespace gfpq_device

// ------------------------------------------------------------------------------------------------------------ entry points

extern "C" {

#define GFPQ_KERNEL __global__ void __launch_bounds__(GFPQ_BLOCK)

GFPQ_KERNEL gfpq_coefficient_float32_8(const gfpq_device::Word* input, size_t count, gfpq_device::ReductionState* state,
                                       int stored_delta, gfpq_device::Report* report) {
    gfpq_device::find_coefficient<16>(input, count, state, stored_delta, report);
}
GFPQ_KERNEL gfpq_coefficient_float32_16(const gfpq_device::Word* input, size_t count, gfpq_device::ReductionState* state,
                                        int stored_delta, gfpq_device::Report* report) {
    gfpq_device::find_coefficient<128>(input, count, state, stored_delta, report);
}

// For float64 the coefficient is left to the host, whose logarithm decides close cases.
GFPQ_KERNEL gfpq_magnitude_float64(const gfpq_device::LongWord* input, size_t count, gfpq_device::ReductionState* state,
                                   gfpq_device::Report* report) {
    if (!gfpq_device::reduce_extremes(input, count, state)) return;
    gfpq_device::Report result;
    result.magnitude = gfpq_device::double_of(gfpq_device::take(state, &result));
    result.delta = 0;
    *report = result;
}

GFPQ_KERNEL gfpq_apply_float32_8(const gfpq_device::Word* input, gfpq_device::Word* output, size_t count, int delta,
                                 const int* delta_from_device, int backwards) {
    gfpq_device::apply_float<16>(input, output, count, delta, delta_from_device, backwards);
}
GFPQ_KERNEL gfpq_apply_float32_16(const gfpq_device::Word* input, gfpq_device::Word* output, size_t count, int delta,
                                  const int* delta_from_device, int backwards) {
    gfpq_device::apply_float<128>(input, output, count, delta, delta_from_device, backwards);
}

// The rest take the grid spelled out: thresholds and values of codes 0 ... T, and the two zero thresholds.
#define GFPQ_TABLE_KERNEL(NAME, STEPS, ELEMENT)                                                                       \
    GFPQ_KERNEL NAME(const ELEMENT* input, ELEMENT* output, size_t count, const double* thresholds,                   \
                     const double* values, double zero_positive, double zero_negative, int delta, int backwards) {    \
        const gfpq_device::TableGrid grid = {thresholds, values, {zero_positive, zero_negative}, delta};              \
        gfpq_device::apply_table<STEPS>(input, output, count, grid, backwards);                                       \
    }
GFPQ_TABLE_KERNEL(gfpq_apply_table_float32_8, 16, gfpq_device::Word)
GFPQ_TABLE_KERNEL(gfpq_apply_table_float32_16, 128, gfpq_device::Word)
GFPQ_TABLE_KERNEL(gfpq_apply_table_float64_8, 16, gfpq_device::LongWord)
GFPQ_TABLE_KERNEL(gfpq_apply_table_float64_16, 128, gfpq_device::LongWord)

}  // extern "C"

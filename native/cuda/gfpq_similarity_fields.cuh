// What the similarity kernel gathers, and the elements that it reads. The columns and their meaning are those of
// src/similarity.hpp. Compiled by CuPy with
//   GFPQ_LANES          number of lanes
//   GFPQ_ELEMENT        float or double
//   GFPQ_LANE_POINTERS  the lanes as parameters: const gfpq_similarity::Element* y0, ...
//   GFPQ_LANE_NAMES     y0, ...
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
#ifndef GFPQ_THREADS
#define GFPQ_THREADS (GFPQ_LANES <= 4 ? 512 : 256)  // threads of a block; part of the definition of the result
#endif
#ifndef GFPQ_RESIDENT
#define GFPQ_RESIDENT 1  // blocks that a multiprocessor holds
#endif

namespace gfpq_similarity {

enum Field {
    count, sum_x, sum_y, sum_xx, sum_yy, sum_xy, sum_d, sum_dd, sum_abs_d, max_abs_d, max_abs_x, max_abs_y,
    min_x, max_x, min_y, max_y, nonfinite_x, nonfinite_y, first_nonfinite, unequal_bits, fields
};

enum {
    lanes = GFPQ_LANES,
    threads = GFPQ_THREADS,
    warps = threads / 32,
    group = 4,  // neighbouring elements that a thread takes at a time
    stride = threads * group,
    turns_ahead = 2,  // turns that a block has brought into the second cache while the kernel before it ends
    piece_unit = 32,  // pieces of a sample are multiples of this
    pairs = lanes * (lanes - 1) / 2,
    row_width = (int)lanes * (int)fields,
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

// Launches may overlap (programmatic dependent launch, from compute capability 9.0 on): a kernel is put onto the GPU
// while the one before it still runs, and waits here until that has ended and its results can be seen. Where launches do
// not overlap, neither does anything.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_kernel_start() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// Has memory brought into the second cache. Nothing is read yet, and whoever still writes there writes to that cache, so
// that this may come before wait_for_previous_kernel. `data` is aligned to 16 bytes.
__device__ __forceinline__ void fetch_ahead(const Element* data, Word count) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && __CUDACC_VER_MAJOR__ >= 12
    const Word bytes = count * (Word)sizeof(Element);
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(__cvta_generic_to_global(data)), "r"(bytes) : "memory");
#else
    (void)data, (void)count;
#endif
}

// `group` neighbours.
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

// 16 bytes at once where the address allows.
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

// The elements of one block. In each of `turns` turns the blocks of a sample take a stride each, one beside the other, so
// that all of them read neighbouring memory at a time; what is left over is shared out in equal pieces.
struct Share {
    Word turns;
    size_t first, jump;         // where its first stride begins, and how far apart strides begin
    size_t piece;               // where its piece begins
    Word piece_length;

    // Of a sample of `size` elements, for block number `block` of `blocks`.
    __device__ __forceinline__ Share(size_t size, Word block, Word blocks) {
        jump = (size_t)blocks * stride;
        turns = (Word)(size / jump);
        first = (size_t)block * stride;
        const size_t shared = turns * jump;
        const Word rest = (Word)(size - shared), unit = blocks * piece_unit;
        const Word length = (rest + unit - 1) / unit * piece_unit, before = block * length;
        piece = shared + before;
        piece_length = before >= rest ? 0 : rest - before < length ? rest - before : length;
    }

    __device__ __forceinline__ Word length() const { return turns * stride + piece_length; }

    // Where the share's element number i lies in the sample.
    __device__ __forceinline__ size_t place(Word i) const {
        return i < turns * stride ? i / stride * jump + first + i % stride : piece + (i - turns * stride);
    }
};

}  // namespace gfpq_similarity

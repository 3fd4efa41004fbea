// Just enough of CUDA to run a kernel on the host: a block's threads are threads, one block runs after the other.
//
// For tests on machines without a GPU. What it shows is that every element is reached once, that reductions join what
// they should, and that barriers stand where threads meet; it shows nothing of speed, and not every race.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }

inline thread_local dim3 threadIdx, blockIdx, gridDim;

namespace host_cuda {

constexpr unsigned warp_size = 32;

/// Where the threads of the running block meet.
struct Block {
    explicit Block(unsigned threads) : all(threads), any(0) {
        for (unsigned warp = 0; warp < threads / warp_size; ++warp) {
            warps.push_back(std::make_unique<std::barrier<>>(warp_size));
        }
        exchanged.resize(threads);
    }
    std::barrier<> all;
    std::vector<std::unique_ptr<std::barrier<>>> warps;
    std::vector<unsigned long long> exchanged;  // one place a thread
    std::atomic<int> any;
};

inline Block* block = nullptr;

/// Runs kernel() for every thread of every block.
template <class Kernel>
void launch(dim3 grid, unsigned threads, Kernel&& kernel) {
    Block running(threads);
    block = &running;
    std::vector<std::thread> workers;
    for (unsigned index = 0; index < threads; ++index) {
        workers.emplace_back([&, index] {
            for (unsigned y = 0; y < grid.y; ++y) {
                for (unsigned x = 0; x < grid.x; ++x) {
                    threadIdx.x = index;
                    blockIdx.x = x, blockIdx.y = y;
                    gridDim = grid;
                    kernel();
                    running.all.arrive_and_wait();  // shared memory is the next block's from here on
                }
            }
        });
    }
    for (std::thread& worker : workers) worker.join();
    block = nullptr;
}

/// What the lane with this number holds.
template <class T>
T from_lane(T value, unsigned lane) {
    static_assert(sizeof(T) <= sizeof(unsigned long long));
    std::barrier<>& warp = *block->warps[threadIdx.x / warp_size];
    std::memcpy(&block->exchanged[threadIdx.x], &value, sizeof value);
    warp.arrive_and_wait();
    if (lane < warp_size) std::memcpy(&value, &block->exchanged[threadIdx.x / warp_size * warp_size + lane], sizeof value);
    warp.arrive_and_wait();
    return value;
}

}  // namespace host_cuda

inline void __syncthreads() { host_cuda::block->all.arrive_and_wait(); }
inline int __syncthreads_or(int predicate) {
    if (predicate) host_cuda::block->any = 1;
    __syncthreads();
    const int result = host_cuda::block->any;
    __syncthreads();
    host_cuda::block->any = 0;
    __syncthreads();
    return result;
}
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }

template <class T>
T __shfl_xor_sync(unsigned, T value, int distance) {
    return host_cuda::from_lane(value, (threadIdx.x % host_cuda::warp_size) ^ static_cast<unsigned>(distance));
}
template <class T>
T __shfl_down_sync(unsigned, T value, int distance) {
    return host_cuda::from_lane(value, threadIdx.x % host_cuda::warp_size + static_cast<unsigned>(distance));
}

template <class T>
T atomicAdd(T* place, T value) { return std::atomic_ref<T>(*place).fetch_add(value); }
template <class T>
T atomicExch(T* place, T value) { return std::atomic_ref<T>(*place).exchange(value); }
template <class T>
T atomicMax(T* place, T value) {
    std::atomic_ref<T> shared(*place);
    T seen = shared.load();
    while (seen < value && !shared.compare_exchange_weak(seen, value)) {
    }
    return seen;
}

inline unsigned __float_as_uint(float x) { unsigned bits; std::memcpy(&bits, &x, sizeof bits); return bits; }
inline long long __double_as_longlong(double x) { long long bits; std::memcpy(&bits, &x, sizeof bits); return bits; }
inline double __longlong_as_double(long long bits) { double x; std::memcpy(&x, &bits, sizeof x); return x; }
inline int __double2hiint(double x) { return static_cast<int>(__double_as_longlong(x) >> 32); }

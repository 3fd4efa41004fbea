// Launches the kernels of gfpq_kernels.cuh, and keeps what they need between calls for each GPU.

#include <climits>
#include <cstdio>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include <cuda_runtime.h>

#include "gfpq_kernels.cuh"
#include "gpu.hpp"
#include "spelled_grid.hpp"

#ifndef GFPQ_BUILT_FOR
#define GFPQ_BUILT_FOR "unknown architectures"
#endif

namespace gfpq::cuda {
namespace {

using gfpq_device::LongWord;
using gfpq_device::ReductionState;
using gfpq_device::Report;
using gfpq_device::Word;

/// A CUDA call that failed; only thrown and caught in this file.
struct CudaError {
    cudaError_t error;
    const char* during;
};

void check(cudaError_t error, const char* during) {
    if (error == cudaSuccess) return;
    (void)cudaGetLastError();  // the next call is not to blame for this one
    throw CudaError{error, during};
}

/// One reduction under way: device memory that it works in, and pinned memory that it answers in.
struct Slot {
    ReductionState* state = nullptr;
    Report* report = nullptr;
    cudaEvent_t known = nullptr;     // the answer is there
    cudaEvent_t finished = nullptr;  // nothing on the GPU uses the slot any more
    bool taken = false;
};

/// Grids of all coefficients that data can have, in device memory; made when float64 is first used.
struct DeviceSteps {
    double* borders = nullptr;
    double* values = nullptr;
};

/// What one GPU needs between calls. Lives until the process ends, as the CUDA context does.
class Gpu {
public:
    explicit Gpu(int device) {
        // Code for the wrong architecture shows here, before anything has been changed.
        cudaFuncAttributes attributes{};
        check(cudaFuncGetAttributes(&attributes, gfpq_apply_float32_8), "loading the GPU code");
        check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, device), "asking about the GPU");
        int threads = 0;
        check(cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device), "asking about the GPU");
        blocks_ = static_cast<unsigned>(multiprocessors_ * (threads / GFPQ_BLOCK));
    }

    /// Blocks for `count` elements of `size` bytes: a tile each, up to as many as run at the same time.
    unsigned blocks_for(std::size_t count, std::size_t size) const noexcept {
        const std::size_t tile = std::size_t{GFPQ_BLOCK} * GFPQ_UNROLL * 16;
        const std::size_t tiles = (count * size + tile - 1) / tile;
        return static_cast<unsigned>(tiles < blocks_ ? (tiles == 0 ? 1 : tiles) : blocks_);
    }

    /// A slot that no earlier call still uses.
    Slot& take_slot() {
        const std::lock_guard<std::mutex> lock(mutex_);
        for (const auto& slot : slots_) {
            if (slot->taken) continue;
            const cudaError_t status = cudaEventQuery(slot->finished);
            if (status == cudaSuccess) {
                slot->taken = true;
                return *slot;
            }
            (void)cudaGetLastError();
            if (status != cudaErrorNotReady) check(status, "waiting for earlier work");
        }
        auto slot = std::make_unique<Slot>();
        check(cudaMalloc(&slot->state, sizeof(ReductionState)), "allocating working memory");
        check(cudaMemset(slot->state, 0, sizeof(ReductionState)), "clearing working memory");
        check(cudaStreamSynchronize(nullptr), "clearing working memory");
        check(cudaHostAlloc(&slot->report, sizeof(Report), cudaHostAllocDefault), "allocating pinned memory");
        check(cudaEventCreateWithFlags(&slot->known, cudaEventDisableTiming), "creating an event");
        check(cudaEventCreateWithFlags(&slot->finished, cudaEventDisableTiming), "creating an event");
        slot->taken = true;
        slots_.push_back(std::move(slot));
        return *slots_.back();
    }

    void give_back(Slot& slot) noexcept {
        const std::lock_guard<std::mutex> lock(mutex_);
        slot.taken = false;
    }

    const DeviceSteps& steps(const Grid& grid) {
        const std::lock_guard<std::mutex> lock(mutex_);
        DeviceSteps& steps = grid.bit_width == 8 ? steps8_ : steps16_;
        if (steps.values == nullptr) {
            const SpelledSteps spelled = spell_out(grid, grid.delta_low, grid.delta_high + grid.highest_code);
            const std::size_t bytes = spelled.values.size() * sizeof(double);
            double* memory = nullptr;
            check(cudaMalloc(&memory, 2 * bytes), "allocating tables");
            check(cudaMemcpy(memory, spelled.borders.data(), bytes, cudaMemcpyHostToDevice), "copying tables");
            check(cudaMemcpy(memory + spelled.values.size(), spelled.values.data(), bytes, cudaMemcpyHostToDevice),
                  "copying tables");
            steps.borders = memory;
            steps.values = memory + spelled.values.size();
        }
        return steps;
    }

private:
    int multiprocessors_ = 0;
    unsigned blocks_ = 1;
    std::mutex mutex_;
    std::vector<std::unique_ptr<Slot>> slots_;
    DeviceSteps steps8_;
    DeviceSteps steps16_;
};

Gpu& current_gpu() {
    static std::mutex mutex;
    static auto& gpus = *new std::vector<std::unique_ptr<Gpu>>;  // outlives static destructors, as the context may not
    int device = 0;
    check(cudaGetDevice(&device), "asking for the current GPU");
    const std::lock_guard<std::mutex> lock(mutex);
    if (gpus.size() <= static_cast<std::size_t>(device)) gpus.resize(static_cast<std::size_t>(device) + 1);
    auto& gpu = gpus[static_cast<std::size_t>(device)];
    if (gpu == nullptr) gpu = std::make_unique<Gpu>(device);
    return *gpu;
}

/// Keeps a slot for as long as the host needs it.
class SlotInUse {
public:
    SlotInUse(Gpu& gpu, cudaStream_t stream) : gpu_(gpu), stream_(stream), slot_(gpu.take_slot()) {}
    ~SlotInUse() {
        (void)cudaEventRecord(slot_.finished, stream_);
        gpu_.give_back(slot_);
    }
    SlotInUse(const SlotInUse&) = delete;
    SlotInUse& operator=(const SlotInUse&) = delete;
    Slot* operator->() const noexcept { return &slot_; }

private:
    Gpu& gpu_;
    cudaStream_t stream_;
    Slot& slot_;
};

bool is_common(const Grid& grid, int delta) noexcept {
    return grid.bit_width == 8 ? gfpq_device::is_common<16>(delta) : gfpq_device::is_common<128>(delta);
}

void launch_apply(float* data, std::size_t count, const Grid& grid, int delta, const int* delta_from_device,
                  bool backwards, Gpu& gpu, cudaStream_t stream) {
    const auto kernel = grid.bit_width == 8 ? gfpq_apply_float32_8 : gfpq_apply_float32_16;
    Word* const words = reinterpret_cast<Word*>(data);
    kernel<<<gpu.blocks_for(count, sizeof(float)), GFPQ_BLOCK, 0, stream>>>(words, words, count, delta, delta_from_device,
                                                                            backwards ? 1 : 0);
    check(cudaGetLastError(), "launching the quantization");
}

void launch_table(float* data, std::size_t count, const Grid& grid, int delta, const double* borders,
                  const double* values, Gpu& gpu, cudaStream_t stream) {
    const auto kernel = grid.bit_width == 8 ? gfpq_apply_table_float32_8 : gfpq_apply_table_float32_16;
    Word* const words = reinterpret_cast<Word*>(data);
    kernel<<<gpu.blocks_for(count, sizeof(float)), GFPQ_BLOCK, 0, stream>>>(
        words, words, count, borders, values, zero_threshold(grid, delta, false), zero_threshold(grid, delta, true), delta,
        1);
    check(cudaGetLastError(), "launching the quantization");
}

void launch_table(double* data, std::size_t count, const Grid& grid, int delta, const double* borders,
                  const double* values, Gpu& gpu, cudaStream_t stream) {
    const auto kernel = grid.bit_width == 8 ? gfpq_apply_table_float64_8 : gfpq_apply_table_float64_16;
    LongWord* const words = reinterpret_cast<LongWord*>(data);
    kernel<<<gpu.blocks_for(count, sizeof(double)), GFPQ_BLOCK, 0, stream>>>(
        words, words, count, borders, values, zero_threshold(grid, delta, false), zero_threshold(grid, delta, true), delta,
        1);
    check(cudaGetLastError(), "launching the quantization");
}

/// Any coefficient at all: the grid travels with the call, which therefore waits for the work.
template <class T>
void apply_unusual(T* data, std::size_t count, const Grid& grid, int delta, Gpu& gpu, cudaStream_t stream) {
    const SpelledSteps spelled = spell_out(grid, delta, static_cast<long long>(delta) + grid.highest_code);
    const std::size_t length = spelled.values.size();
    double* memory = nullptr;
    check(cudaMalloc(&memory, 2 * length * sizeof(double)), "allocating tables");
    const auto free_memory = [](double* pointer) { (void)cudaFree(pointer); };
    const std::unique_ptr<double, decltype(free_memory)> owner(memory, free_memory);
    check(cudaMemcpyAsync(memory, spelled.borders.data(), length * sizeof(double), cudaMemcpyHostToDevice, stream),
          "copying tables");
    check(cudaMemcpyAsync(memory + length, spelled.values.data(), length * sizeof(double), cudaMemcpyHostToDevice, stream),
          "copying tables");
    launch_table(data, count, grid, delta, memory, memory + length, gpu, stream);
    check(cudaStreamSynchronize(stream), "quantizing");
}

void apply(float* data, std::size_t count, const Grid& grid, int delta, Gpu& gpu, cudaStream_t stream) {
    if (is_common(grid, delta)) launch_apply(data, count, grid, delta, nullptr, false, gpu, stream);
    else apply_unusual(data, count, grid, delta, gpu, stream);
}

void apply(double* data, std::size_t count, const Grid& grid, int delta, Gpu& gpu, cudaStream_t stream) {
    if (delta < grid.delta_low || delta > grid.delta_high) {
        apply_unusual(data, count, grid, delta, gpu, stream);
        return;
    }
    const DeviceSteps& steps = gpu.steps(grid);
    const int offset = delta - grid.delta_low;
    launch_table(data, count, grid, delta, steps.borders + offset, steps.values + offset, gpu, stream);
}

/// Coefficient and quantization without a wait between them; waits for the coefficient only where it is asked for.
void generate_and_apply(float* data, std::size_t count, const Grid& grid, int stored_delta, std::uint8_t* block, Gpu& gpu,
                        cudaStream_t stream) {
    const SlotInUse slot(gpu, stream);
    const auto kernel = grid.bit_width == 8 ? gfpq_coefficient_float32_8 : gfpq_coefficient_float32_16;
    kernel<<<gpu.blocks_for(count, sizeof(float)), GFPQ_BLOCK, 0, stream>>>(reinterpret_cast<const Word*>(data), count,
                                                                            slot->state, stored_delta, slot->report);
    check(cudaGetLastError(), "launching the search for the maximum");
    check(cudaEventRecord(slot->known, stream), "recording an event");
    launch_apply(data, count, grid, 0, &slot->state->delta, true, gpu, stream);
    if (block == nullptr) return;
    check(cudaEventSynchronize(slot->known), "searching the maximum");
    pack_parameters(slot->report->delta, block);
}

void generate_and_apply(double* data, std::size_t count, const Grid& grid, int stored_delta, std::uint8_t* block, Gpu& gpu,
                        cudaStream_t stream) {
    const SlotInUse slot(gpu, stream);
    gfpq_magnitude_float64<<<gpu.blocks_for(count, sizeof(double)), GFPQ_BLOCK, 0, stream>>>(
        reinterpret_cast<const LongWord*>(data), count, slot->state, slot->report);
    check(cudaGetLastError(), "launching the search for the maximum");
    check(cudaEventRecord(slot->known, stream), "recording an event");
    check(cudaEventSynchronize(slot->known), "searching the maximum");
    Extremes extremes;
    extremes.largest = slot->report->magnitude;
    extremes.infinity_count = slot->report->infinities;
    const int from_data = coefficient_from(extremes, grid);
    const int delta = from_data > stored_delta ? from_data : stored_delta;
    apply(data, count, grid, delta, gpu, stream);
    if (block != nullptr) pack_parameters(delta, block);
}

bool means_no_code_for_this_gpu(cudaError_t error) noexcept {
    return error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction ||
           error == cudaErrorInvalidKernelImage || error == cudaErrorUnsupportedPtxVersion ||
           error == cudaErrorJitCompilerNotFound;
}

Outcome explain(const CudaError& failure) noexcept {
    Outcome outcome;
    outcome.code = failure.error == cudaErrorMemoryAllocation ? kOutOfMemory : kFailure;
    cudaDeviceProp properties{};
    int device = 0;
    if (means_no_code_for_this_gpu(failure.error) && cudaGetDevice(&device) == cudaSuccess &&
        cudaGetDeviceProperties(&properties, device) == cudaSuccess) {
        std::snprintf(outcome.explanation, sizeof outcome.explanation,
                      "this GPU is %s of architecture sm_%d%d, and this library is built for " GFPQ_BUILT_FOR
                      " (0x%x: %s): build it with -gencode arch=compute_%d%d,code=sm_%d%d",
                      properties.name, properties.major, properties.minor, static_cast<unsigned>(failure.error),
                      cudaGetErrorString(failure.error), properties.major, properties.minor, properties.major,
                      properties.minor);
    } else {
        std::snprintf(outcome.explanation, sizeof outcome.explanation, "%s on the GPU failed (0x%x: %s)", failure.during,
                      static_cast<unsigned>(failure.error), cudaGetErrorString(failure.error));
    }
    (void)cudaGetLastError();
    return outcome;
}

}  // namespace

Memory memory_of(const void* pointer) noexcept {
    cudaPointerAttributes attributes{};
    if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
        (void)cudaGetLastError();
        return Memory::cpu;  // without a GPU there is no other memory
    }
    if (attributes.type == cudaMemoryTypeManaged) return Memory::both;
    if (attributes.type != cudaMemoryTypeDevice) return Memory::cpu;
    int device = attributes.device;
    (void)cudaGetDevice(&device);
    return device == attributes.device ? Memory::this_gpu : Memory::other_gpu;
}

Outcome find_gpu() noexcept {
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    (void)cudaGetLastError();
    Outcome outcome;
    if (error == cudaSuccess && devices > 0) return outcome;
    outcome.code = kFailure;
    std::snprintf(outcome.explanation, sizeof outcome.explanation, "no CUDA GPU can be used here (0x%x: %s)",
                  static_cast<unsigned>(error), cudaGetErrorString(error));
    return outcome;
}

template <class T>
Outcome quantize_dequantize(T* data, std::size_t count, const Grid& grid, unsigned mode, std::uint8_t* block,
                            void* stream) noexcept {
    try {
        Gpu& gpu = current_gpu();
        const auto queue = static_cast<cudaStream_t>(stream);
        if (block == nullptr) mode = static_cast<unsigned>(Mode::initialize);
        if (mode == static_cast<unsigned>(Mode::apply_only)) {
            apply(data, count, grid, unpack_parameters(block), gpu, queue);
            return {};
        }
        const int stored = mode == static_cast<unsigned>(Mode::initialize) ? INT_MIN : unpack_parameters(block);
        if (stored > grid.delta_high) {  // no data can reach it: the larger one is known
            apply(data, count, grid, stored, gpu, queue);
            pack_parameters(stored, block);
        } else {
            generate_and_apply(data, count, grid, stored, block, gpu, queue);
        }
        return {};
    } catch (const CudaError& failure) {
        return explain(failure);
    } catch (const std::bad_alloc&) {
        Outcome outcome;
        outcome.code = kOutOfMemory;
        std::snprintf(outcome.explanation, sizeof outcome.explanation, "working memory could not be had");
        return outcome;
    }
}

template Outcome quantize_dequantize(float*, std::size_t, const Grid&, unsigned, std::uint8_t*, void*) noexcept;
template Outcome quantize_dequantize(double*, std::size_t, const Grid&, unsigned, std::uint8_t*, void*) noexcept;

}  // namespace gfpq::cuda

// What the GPU half of the interface asks of CUDA. No CUDA type appears here, so that any C++ compiler can read it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../src/codec.hpp"

namespace gfpq::cuda {

/// How a call ended: a return code of the interface and, where it is not 0, one sentence.
struct Outcome {
    int code = kSuccess;
    char explanation[640] = "";
};

/// Where a pointer points, as CUDA has it.
enum class Memory { cpu, this_gpu, other_gpu, both };
Memory memory_of(const void* pointer) noexcept;

/// An empty outcome where a GPU can be used, else why not.
Outcome find_gpu() noexcept;

/// A whole call: coefficient, apply, block. `data` is in the memory of the current GPU and aligned for its type;
/// `block` is in CPU memory or nullptr; `stream` is a cudaStream_t. `count` is not 0.
template <class T>
Outcome quantize_dequantize(T* data, std::size_t count, const Grid& grid, unsigned mode, std::uint8_t* block,
                            void* stream) noexcept;

}  // namespace gfpq::cuda

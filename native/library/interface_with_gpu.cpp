// The GPU half of gfpq.hpp: looks at the arguments, then hands over to CUDA.

#include <cstdint>

#include "../cuda/gpu.hpp"
#include "../src/codec.hpp"
#include "console.hpp"
#include "gfpq.hpp"

namespace gfpq::library {

bool is_gpu_memory(const void* pointer) noexcept {
    const cuda::Memory memory = cuda::memory_of(pointer);
    return memory == cuda::Memory::this_gpu || memory == cuda::Memory::other_gpu;
}

}  // namespace gfpq::library

namespace {

using gfpq::cuda::Memory;
using gfpq::library::complain;

/// Success where `data` is memory that the current GPU can work on.
int check_data(const char* function, const void* data, std::size_t element_size) noexcept {
    const Memory memory = gfpq::cuda::memory_of(data);
    if (memory == Memory::cpu) {
        const gfpq::cuda::Outcome gpu = gfpq::cuda::find_gpu();
        return complain(function, gfpq::kBadParameter,
                        "the data pointer %p is CPU memory, and this function works on GPU memory: call "
                        "HI_GFPQ_QuantAndDeQuant, or copy the data to the GPU first%s%s",
                        data, gpu.code == gfpq::kSuccess ? "" : "; ", gpu.explanation);
    }
    if (memory == Memory::other_gpu) {
        return complain(function, gfpq::kBadParameter,
                        "the data pointer %p is memory of a GPU that is not the current one: call cudaSetDevice first",
                        data);
    }
    if (reinterpret_cast<std::uintptr_t>(data) % element_size != 0) {
        return complain(function, gfpq::kBadParameter,
                        "the data pointer %p is not a multiple of %u bytes, which a GPU needs to read it", data,
                        static_cast<unsigned>(element_size));
    }
    return gfpq::kSuccess;
}

template <class T>
int run(const char* function, T* data, unsigned count, unsigned bit_width, GFPQ_PARAM_ST* parameters,
        void* stream) noexcept {
    const gfpq::Grid* grid = gfpq::grid_of(bit_width);
    if (grid == nullptr) {
        return complain(function, gfpq::kBadFormat, "bit width %u does not exist: GFPQ has 8 and 16", bit_width);
    }
    if (data == nullptr) {
        return complain(function, gfpq::kBadParameter, "the data pointer is NULL (count %u)", count);
    }
    if (count == 0) return gfpq::kSuccess;
    if (parameters != nullptr && gfpq::library::is_gpu_memory(parameters)) {
        return complain(function, gfpq::kBadParameter,
                        "the parameter pointer %p is GPU memory: the block is kept in CPU memory",
                        static_cast<const void*>(parameters));
    }
    if (const int code = check_data(function, data, sizeof(T)); code != gfpq::kSuccess) return code;
    const unsigned mode = parameters != nullptr ? parameters->mode : GFPQ_MODE_INIT;
    unsigned char* block = parameters != nullptr ? parameters->buf : nullptr;
    const gfpq::cuda::Outcome outcome = gfpq::cuda::quantize_dequantize(data, count, *grid, mode, block, stream);
    return outcome.code == gfpq::kSuccess ? outcome.code : complain(function, outcome.code, "%s", outcome.explanation);
}

}  // namespace

int HI_GFPQ_QuantAndDeQuant_GPU(float* pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                GFPQ_PARAM_ST* pstParam, void* cuda_stream, void*) {
    return run("HI_GFPQ_QuantAndDeQuant_GPU", pf32FloatData, u32DataCnt, u32BitWidth, pstParam, cuda_stream);
}

int HI_GFPQ_QuantAndDeQuant_GPU(double* p64DoubleData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                GFPQ_PARAM_ST* pstParam, void* cuda_stream, void*) {
    return run("HI_GFPQ_QuantAndDeQuant_GPU", p64DoubleData, u32DataCnt, u32BitWidth, pstParam, cuda_stream);
}

int HI_GFPQ_QuantAndDeQuant_GPU_PY(float* pf32FloatData, unsigned int u32DataCnt, unsigned int u32BitWidth,
                                   GFPQ_PARAM_ST* pstParam, void* cuda_stream, void*) {
    return run("HI_GFPQ_QuantAndDeQuant_GPU_PY", pf32FloatData, u32DataCnt, u32BitWidth, pstParam, cuda_stream);
}

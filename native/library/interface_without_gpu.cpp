// The GPU half of gfpq.hpp in the library that has no CUDA code: the names exist, so that a program links, and say why
// they cannot work.

#include "console.hpp"
#include "gfpq.hpp"
#include "../src/codec.hpp"

namespace gfpq::library {

bool is_gpu_memory(const void*) noexcept { return false; }

}  // namespace gfpq::library

namespace {

int refuse(const char* function) noexcept {
    return gfpq::library::complain(function, gfpq::kNotSupported,
                                   "this is libgfpq, the library for CPUs: link libgfpq_gpu to work on GPU memory");
}

}  // namespace

int HI_GFPQ_QuantAndDeQuant_GPU(float*, unsigned int, unsigned int, GFPQ_PARAM_ST*, void*, void*) {
    return refuse("HI_GFPQ_QuantAndDeQuant_GPU");
}

int HI_GFPQ_QuantAndDeQuant_GPU(double*, unsigned int, unsigned int, GFPQ_PARAM_ST*, void*, void*) {
    return refuse("HI_GFPQ_QuantAndDeQuant_GPU");
}

int HI_GFPQ_QuantAndDeQuant_GPU_PY(float*, unsigned int, unsigned int, GFPQ_PARAM_ST*, void*, void*) {
    return refuse("HI_GFPQ_QuantAndDeQuant_GPU_PY");
}

// Calls every kernel of libgfpq_gpu on small arrays, for compute-sanitizer to watch.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <cuda_runtime.h>

#include "gfpq.hpp"

static void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::printf("%s\n", cudaGetErrorString(error));
    std::exit(1);
}

template <class T>
static void exercise(unsigned count, unsigned offset, unsigned bit_width, int delta, cudaStream_t stream) {
    std::vector<T> numbers(count + offset);
    for (unsigned i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<T>(0.37 * (i % 101) - 17.0);
    T* data = nullptr;
    check(cudaMalloc(&data, numbers.size() * sizeof(T)));
    for (unsigned mode : {GFPQ_MODE_INIT, GFPQ_MODE_UPDATE, GFPQ_MODE_APPLY_ONLY}) {
        check(cudaMemcpyAsync(data, numbers.data(), numbers.size() * sizeof(T), cudaMemcpyHostToDevice, stream));
        GFPQ_PARAM_ST param = {mode, {0}};
        const unsigned value = static_cast<unsigned>(delta);
        for (int i = 0; i < 4; ++i) param.buf[4 + i] = static_cast<unsigned char>(value >> (8 * i));
        const int code = HI_GFPQ_QuantAndDeQuant_GPU(data + offset, count, bit_width, &param, stream);
        if (code != 0) std::exit(2);
    }
    if (HI_GFPQ_QuantAndDeQuant_GPU(data + offset, count, bit_width, nullptr, stream) != 0) std::exit(2);
    check(cudaStreamSynchronize(stream));
    check(cudaFree(data));
}

int main() {
    cudaStream_t stream;
    check(cudaStreamCreate(&stream));
    for (unsigned bit_width : {8u, 16u}) {
        for (unsigned count : {1u, 3u, 511u, 8192u, 70001u}) {
            for (unsigned offset : {0u, 1u}) {
                for (int delta : {-77, 5000, -5000}) {
                    exercise<float>(count, offset, bit_width, delta, stream);
                    exercise<double>(count, offset, bit_width, delta, nullptr);
                }
            }
        }
    }
    check(cudaStreamDestroy(stream));
    std::printf("done\n");
    return 0;
}

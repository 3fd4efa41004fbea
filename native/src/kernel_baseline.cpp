// Portable kernels: what every machine can run.
#include "kernel_scalar.hpp"
#include "kernels.hpp"

namespace gfpq {
namespace {

template <class T, class P>
void apply_range(const T* input, T* output, std::size_t count, const P& plan, bool) {
    for (std::size_t i = 0; i < count; ++i) output[i] = apply_one(input[i], plan);
}

template <class T, class Word>
Word largest_range(const T* data, std::size_t count) {
    Word largest = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const Word bits = magnitude_bits(data[i]);
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

}  // namespace

const Kernels kBaselineKernels{
    "baseline",
    apply_range<float, FloatPlan>,
    apply_range<double, DoublePlan>,
    largest_range<float, std::uint32_t>,
    largest_range<double, std::uint64_t>,
};

}  // namespace gfpq

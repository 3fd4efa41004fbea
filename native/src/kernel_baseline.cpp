// Portable kernels: what every machine can run.
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "similarity_scalar.hpp"

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

template <class T>
void tile_reference(const T* x, std::size_t count, const ReferenceSums<T>& before, ReferenceSums<T>& after, double* x_double) {
    after = before;
    add_reference(x, 0, count, after, x_double);
}

template <class T>
void tile_lane(const T* x, const double* x_double, const T* y, std::size_t count, const LaneSums<T>& before,
               LaneSums<T>& after, double* errors) {
    after = before;
    add_lane(x, x_double, y, 0, count, after, errors);
}

void tile_product(const double* a, const double* b, std::size_t count, double* partial) {
    add_product(a, b, 0, count, partial);
}

}  // namespace

const Kernels kBaselineKernels{
    "baseline",
    apply_range<float, FloatPlan>,
    apply_range<double, DoublePlan>,
    largest_range<float, std::uint32_t>,
    largest_range<double, std::uint64_t>,
    {tile_reference<float>, tile_lane<float>, tile_product},
    {tile_reference<double>, tile_lane<double>, tile_product},
};

}  // namespace gfpq

// Portable kernels: what every machine can run.
#include "kernel_baseline_float_tile.hpp"
#include "kernel_scalar.hpp"
#include "kernels.hpp"
#include "similarity_scalar.hpp"

namespace gfpq {
namespace {

template <class T, class P>
void apply_range(const T* input, T* output, std::size_t count, const P& plan, bool) {
    apply_scalar(input, output, count, plan);
}

}  // namespace

const Kernels kBaselineKernels{
    "baseline",
    apply_range<float, FloatPlan>,
    apply_range<double, DoublePlan>,
    largest_scalar<float, std::uint32_t>,
    largest_scalar<double, std::uint64_t>,
    {scalar_reference<float>, scalar_lane<float>},
    {scalar_reference<double>, scalar_lane<double>},
    {float_reference<Floats1>, float_lane<Floats1>},
    false,
};

}  // namespace gfpq

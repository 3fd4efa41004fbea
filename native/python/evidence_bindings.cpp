#include <nanobind/stl/tuple.h>

#include <tuple>

#include "bindings.hpp"
#include "evidence.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;

template <class Array>
void require_codes(const Array& codes, std::size_t count, unsigned bits) {
    const bool is_unsigned = codes.dtype().code == static_cast<std::uint8_t>(nb::dlpack::dtype_code::UInt);
    if (codes.size() != count || codes.itemsize() * 8 != bits || !is_unsigned)
        throw nb::value_error("codes must be unsigned integers of the bit width, as many as there are elements");
}

void encode_any(const InputArray& input, const OutputArray& codes, unsigned bits, int delta) {
    const Grid& grid = grid_or_raise(bits);
    require_codes(codes, input.size(), bits);
    with_elements(input, [&](auto* data) {
        if (bits == 8) encode(data, static_cast<std::uint8_t*>(codes.data()), input.size(), grid, delta);
        else encode(data, static_cast<std::uint16_t*>(codes.data()), input.size(), grid, delta);
    });
}

std::uint64_t decode_any(const InputArray& codes, const OutputArray& output, unsigned bits, int delta) {
    const Grid& grid = grid_or_raise(bits);
    require_codes(codes, output.size(), bits);
    return with_elements(output, [&]<class T>(const T*) {
        T* values = static_cast<T*>(output.data());
        if (bits == 8) return decode(static_cast<const std::uint8_t*>(codes.data()), values, codes.size(), grid, delta);
        return decode(static_cast<const std::uint16_t*>(codes.data()), values, codes.size(), grid, delta);
    });
}

using Counts = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;

Counts statistics(const InputArray& array, unsigned bits, int delta,
                  const nb::ndarray<std::int64_t, nb::c_contig, nb::device::cpu>& histogram) {
    const Grid& grid = grid_or_raise(bits);
    if (histogram.size() != 2 * (static_cast<std::size_t>(grid.highest_code) + 1))
        throw nb::value_error("the histogram must be [2, highest code + 1]");
    const CodeStatistics s = with_elements(
        array, [&](auto* data) { return code_statistics(data, array.size(), grid, delta, histogram.data()); });
    return {s.finite, s.nonfinite, s.zeros, s.flushed, s.snapped, s.beyond};
}

void channels(const InputArray& array, const nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>& output) {
    if (array.ndim() < 2 || array.shape(1) != output.shape(0))
        throw nb::value_error("the array must be [N, C, ...] and the output [C]");
    const std::size_t samples = array.shape(0);
    const std::size_t count = array.shape(1);
    const std::size_t inner = samples * count == 0 ? 0 : array.size() / (samples * count);
    double* largest = output.data();
    with_elements(array, [&](auto* data) {
        for (std::size_t channel = 0; channel < count; ++channel) {
            largest[channel] = 0.0;
            for (std::size_t sample = 0; sample < samples; ++sample) {
                const double value = largest_magnitude(data + (sample * count + channel) * inner, inner).largest;
                largest[channel] = value > largest[channel] ? value : largest[channel];
            }
        }
    });
}

}  // namespace

void bind_evidence(nb::module_& module) {
    module.def("encode", &encode_any, nb::arg("input").noconvert(), nb::arg("codes").noconvert(), "bits"_a, "delta"_a);
    module.def("decode", &decode_any, nb::arg("codes").noconvert(), nb::arg("output").noconvert(), "bits"_a, "delta"_a);
    module.def("code_statistics", &statistics, nb::arg("array").noconvert(), "bits"_a, "delta"_a,
               nb::arg("histogram").noconvert());
    module.def("channel_magnitudes", &channels, nb::arg("array").noconvert(), nb::arg("output").noconvert());
    module.def("grid_residual", [](const InputArray& array, unsigned bits, double tolerance) {
        const Grid& grid = grid_or_raise(bits);
        const GridResidual r = with_elements(
            array, [&](auto* data) { return grid_residual(data, array.size(), grid, tolerance); });
        return std::tuple(r.nonzero, r.within, r.largest, r.lowest_step, r.highest_step);
    }, nb::arg("array").noconvert(), "bits"_a, "tolerance"_a);
    module.def("rounding_energy", [](const InputArray& array, unsigned bits) {
        const Grid& grid = grid_or_raise(bits);
        const RoundingEnergy e = with_elements(
            array, [&](auto* data) { return rounding_energy(data, array.size(), grid); });
        return std::tuple(e.signal, e.error);
    }, nb::arg("array").noconvert(), "bits"_a);
}

}  // namespace gfpq::python

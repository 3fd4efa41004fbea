#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>

#include <cstring>
#include <optional>
#include <tuple>

#include "bindings.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;

void require_same(const InputArray& input, const OutputArray& output) {
    if (input.dtype() != output.dtype() || input.size() != output.size())
        throw nb::value_error("input and output must agree in type and size");
}

template <class T>
T* elements_of(const OutputArray& array) {
    return static_cast<T*>(array.data());
}

template <class Function>
void run_apply(const InputArray& input, const OutputArray& output, Function&& function) {
    require_same(input, output);
    with_elements(input, [&]<class T>(const T* data) { function(data, elements_of<T>(output), input.size()); });
}

std::tuple<double, std::uint64_t, std::uint64_t, std::uint64_t> as_tuple(const Extremes& extremes) {
    return {extremes.largest, extremes.nan_count, extremes.infinity_count, extremes.zero_count};
}

const std::uint8_t* block_or_raise(const nb::bytes& block) {
    if (block.size() != kParameterLength) throw nb::value_error("a parameter block has 16 bytes");
    return static_cast<const std::uint8_t*>(block.data());
}

nb::bytes packed(int delta) {
    std::uint8_t block[kParameterLength];
    pack_parameters(delta, block);
    return nb::bytes(reinterpret_cast<const char*>(block), sizeof block);
}

/// The call of the C interface, in place: return code and block.
std::tuple<int, std::optional<nb::bytes>> whole_call(const OutputArray& array, unsigned bits, unsigned mode,
                                                     const std::optional<nb::bytes>& block) {
    std::uint8_t buffer[kParameterLength] = {};
    if (block) std::memcpy(buffer, block_or_raise(*block), sizeof buffer);
    std::uint8_t* given = block ? buffer : nullptr;
    const int code = with_elements(array, [&]<class T>(const T*) {
        return quantize_dequantize(elements_of<T>(array), array.size(), bits, mode, given);
    });
    if (!block) return {code, std::nullopt};
    return {code, nb::bytes(reinterpret_cast<const char*>(buffer), sizeof buffer)};
}

}  // namespace

void bind_codec(nb::module_& module) {
    module.def("apply", [](const InputArray& input, const OutputArray& output, unsigned bits, int delta) {
        const Grid& grid = grid_or_raise(bits);
        run_apply(input, output, [&](auto* from, auto* to, std::size_t n) { apply(from, to, n, grid, delta); });
    }, nb::arg("input").noconvert(), nb::arg("output").noconvert(), "bits"_a, "delta"_a);

    module.def("apply_reference", [](const InputArray& input, const OutputArray& output, unsigned bits, int delta) {
        const Grid& grid = grid_or_raise(bits);
        run_apply(input, output, [&](auto* from, auto* to, std::size_t n) { apply_reference(from, to, n, grid, delta); });
    }, nb::arg("input").noconvert(), nb::arg("output").noconvert(), "bits"_a, "delta"_a);

    module.def("largest_magnitude", [](const InputArray& array) {
        return as_tuple(with_elements(array, [&](auto* data) { return largest_magnitude(data, array.size()); }));
    }, nb::arg("array").noconvert());

    module.def("magnitude", [](const InputArray& array) {
        return as_tuple(with_elements(array, [&](auto* data) { return magnitude(data, array.size()); }));
    }, nb::arg("array").noconvert());

    module.def("coefficient_from_magnitude", [](double largest, unsigned bits) {
        return coefficient_from_magnitude(largest, grid_or_raise(bits));
    }, "largest"_a, "bits"_a);

    module.def("pack_parameters", &packed, "delta"_a);
    module.def("unpack_parameters", [](const nb::bytes& block) { return unpack_parameters(block_or_raise(block)); }, "block"_a);
    module.def("parameters_are_intact", [](const nb::bytes& block) { return parameters_are_intact(block_or_raise(block)); }, "block"_a);
    module.def("quantize_dequantize", &whole_call, nb::arg("array").noconvert(), "bits"_a, "mode"_a, "block"_a.none());

    module.def("instruction_set", &instruction_set);
    module.def("instruction_sets", [] {
        nb::list names;
        for (const char* name : {"reference", "baseline", "neon", "avx2", "avx512"})
            if (has_instruction_set(name)) names.append(name);
        return names;
    });
    module.def("set_instruction_set", &set_instruction_set, "name"_a);
    module.def("threads", &threads);
    module.def("set_threads", &set_threads, "limit"_a);
}

}  // namespace gfpq::python

#include <nanobind/stl/pair.h>

#include <utility>
#include <vector>

#include "bindings.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;

/// The memory of an array of any library as a NumPy array; bfloat16, which NumPy lacks, as its bits.
template <class Array, class Result>
std::pair<nb::object, bool> as_numpy(const Array& array) {
    constexpr auto bfloat16 = static_cast<std::uint8_t>(nb::dlpack::dtype_code::Bfloat);
    const bool is_bfloat16 = array.dtype().code == bfloat16;
    std::vector<std::size_t> shape(array.ndim());
    std::vector<std::int64_t> strides(array.ndim());
    for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
        shape[axis] = array.shape(axis);
        strides[axis] = array.stride(axis);
    }
    const nb::object owner = nb::cast(array);
    Result view(array.data(), array.ndim(), shape.data(), owner, strides.data(),
                is_bfloat16 ? nb::dtype<std::uint16_t>() : array.dtype());
    return {nb::cast(view), is_bfloat16};
}

}  // namespace

void bind_arrays(nb::module_& module) {
    module.def("as_numpy", [](nb::handle array, bool writable) {
        if (writable)
            return as_numpy<nb::ndarray<nb::device::cpu>, nb::ndarray<nb::numpy>>(
                nb::cast<nb::ndarray<nb::device::cpu>>(array, false));
        return as_numpy<nb::ndarray<nb::ro, nb::device::cpu>, nb::ndarray<nb::numpy, nb::ro>>(
            nb::cast<nb::ndarray<nb::ro, nb::device::cpu>>(array, false));
    }, "array"_a, "writable"_a);
}

}  // namespace gfpq::python

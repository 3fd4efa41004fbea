#include <nanobind/stl/vector.h>

#include <vector>

#include "bindings.hpp"
#include "similarity.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;
using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;

std::size_t per_sample(const InputArray& array) {
    if (array.ndim() == 0) throw nb::value_error("the first axis must count samples");
    std::size_t size = 1;
    for (std::size_t axis = 1; axis < array.ndim(); ++axis) size *= array.shape(axis);
    return size;
}

template <class T>
void measure(const InputArray& reference, const std::vector<InputArray>& lanes, const Doubles& sums,
             const Doubles& products, bool by_definition) {
    const T* pointers[kMostLanes] = {};
    for (std::size_t k = 0; k < lanes.size(); ++k) pointers[k] = static_cast<const T*>(lanes[k].data());
    const T* x = static_cast<const T*>(reference.data());
    const std::size_t size = per_sample(reference);
    bool done = true;
    {
        const nb::gil_scoped_release unlocked;
        if (by_definition)
            similarity_reference(x, pointers, lanes.size(), reference.shape(0), size, sums.data(), products.data());
        else
            done = similarity(x, pointers, lanes.size(), reference.shape(0), size, sums.data(), products.data());
    }
    if (!done) throw std::bad_alloc();
}

void measure_any(const InputArray& reference, const std::vector<InputArray>& lanes, const Doubles& sums,
                 const Doubles& products, bool by_definition) {
    if (lanes.empty() || lanes.size() > kMostLanes) throw nb::value_error("between 1 and 16 lanes");
    per_sample(reference);
    for (const InputArray& lane : lanes)
        if (lane.dtype() != reference.dtype() || lane.size() != reference.size())
            throw nb::value_error("lanes must agree with the reference in type and size");
    const std::size_t rows = reference.shape(0) * lanes.size();
    if (sums.size() != rows * kSumFields || products.size() != rows * lanes.size())
        throw nb::value_error("the arrays for the results have the wrong size");
    if (reference.dtype() == nb::dtype<float>()) measure<float>(reference, lanes, sums, products, by_definition);
    else if (reference.dtype() == nb::dtype<double>()) measure<double>(reference, lanes, sums, products, by_definition);
    else throw nb::type_error("expected arrays of float32 or float64");
}

}  // namespace

void bind_measure(nb::module_& module) {
    module.def("similarity", &measure_any, nb::arg("reference").noconvert(), nb::arg("lanes").noconvert(),
               nb::arg("sums").noconvert(), nb::arg("products").noconvert(), "by_definition"_a);
}

}  // namespace gfpq::python

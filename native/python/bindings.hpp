// Shared by the files of the Python module. Every function takes arrays as they are (no conversion, no copy), releases
// the interpreter lock while it computes, and leaves all policy to Python.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>

#include "codec.hpp"

namespace gfpq::python {

namespace nb = nanobind;

using InputArray = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using OutputArray = nb::ndarray<nb::c_contig, nb::device::cpu>;

inline const Grid& grid_or_raise(unsigned bits) {
    const Grid* grid = grid_of(bits);
    if (grid == nullptr) throw nb::value_error("bits must be 8 or 16");
    return *grid;
}

/// Calls work(pointer to float or double) with the interpreter lock released.
template <class Array, class Work>
auto with_elements(const Array& array, Work&& work) {
    if (array.dtype() == nb::dtype<float>()) {
        const nb::gil_scoped_release unlocked;
        return work(static_cast<const float*>(array.data()));
    }
    if (array.dtype() == nb::dtype<double>()) {
        const nb::gil_scoped_release unlocked;
        return work(static_cast<const double*>(array.data()));
    }
    throw nb::type_error("expected an array of float32 or float64");
}

void bind_codec(nb::module_& module);
void bind_measure(nb::module_& module);
void bind_evidence(nb::module_& module);
void bind_arrays(nb::module_& module);
void bind_engine(nb::module_& module);
void bind_evidence_room(nb::module_& module);

}  // namespace gfpq::python

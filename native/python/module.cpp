#include "bindings.hpp"

NB_MODULE(_native, module) {
    module.doc() = "The quantizer and the measuring kernels; `gfpq_inspect.quantize` is their typed door.";
    gfpq::python::bind_codec(module);
    gfpq::python::bind_measure(module);
    gfpq::python::bind_evidence(module);
    gfpq::python::bind_arrays(module);
    gfpq::python::bind_evidence_room(module);
    gfpq::python::bind_engine(module);
}

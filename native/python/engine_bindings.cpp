#include <nanobind/stl/vector.h>

#include <memory>
#include <vector>

#include "../ort/run.hpp"
#include "../ort/tap_histograms.hpp"
#include "bindings.hpp"
#include "similarity.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;
using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Coefficients = nb::ndarray<const std::int32_t, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;

/// Whoever begins a run keeps the arrays alive until it has ended it.
std::int64_t begin(std::size_t samples, const Coefficients& deltas, const Doubles& sums, const Doubles& products,
                   const Doubles& evidence, const Doubles& magnitudes, const std::vector<Floats>& captures,
                   const ort::EvidenceRoom* room) {
    const std::size_t points = deltas.size();
    if (samples == 0) throw nb::value_error("a run has at least one sample");
    if (sums.size() % (samples * kSumFields) != 0 || products.size() % samples != 0 ||
        evidence.size() != points * ort::kEvidenceFields || magnitudes.size() != samples * points)
        throw nb::value_error("the arrays for the results have the wrong size");
    auto run = std::make_shared<ort::Run>();
    run->samples = samples;
    run->deltas = deltas.data();
    run->points = points;
    run->sums = sums.data();
    run->sum_slots = sums.size() / (samples * kSumFields);
    run->products = products.data();
    run->product_slots = products.size() / samples;
    run->evidence = evidence.data();
    run->magnitudes = magnitudes.data();
    run->room = room;
    for (const Floats& one : captures) run->captures.push_back({one.data(), one.size()});
    return ort::begin_run(std::move(run));
}

}  // namespace

void bind_engine(nb::module_& module) {
    module.def("begin_run", &begin, "samples"_a, nb::arg("deltas").noconvert(), nb::arg("sums").noconvert(),
               nb::arg("products").noconvert(), nb::arg("evidence").noconvert(), nb::arg("magnitudes").noconvert(),
               nb::arg("captures").noconvert(), nb::arg("room").none() = nb::none());
    module.def("end_run", &ort::end_run, "number"_a);
    module.attr("EACH_SAMPLE") = ort::kEachSample;
    module.attr("EVIDENCE_FIELDS") = static_cast<std::size_t>(ort::kEvidenceFields);
}

}  // namespace gfpq::python

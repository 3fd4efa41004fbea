#include <memory>

#include "../ort/tap_histograms.hpp"
#include "bindings.hpp"

namespace gfpq::python {
namespace {

using namespace nb::literals;
using Doubles = nb::ndarray<double, nb::c_contig, nb::device::cpu>;
using Counts = nb::ndarray<std::uint32_t, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<std::int32_t, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<std::int64_t, nb::c_contig, nb::device::cpu>;
using Digests = nb::ndarray<std::uint64_t, nb::c_contig, nb::device::cpu>;

/// Whoever makes a room keeps the arrays alive as long as it is used.
void make(ort::EvidenceRoom* room, std::size_t stride, std::size_t most_values, const Doubles& tables,
          const Counts& counts, const Counts& cells, const Numbers& exponents, const Doubles& worst,
          const Digests& digests, const Doubles& points, const Codes& codes) {
    const std::size_t places = exponents.size();
    if (stride == 0 || most_values == 0) throw nb::value_error("a stride and a number of values are at least one");
    if (tables.size() % ort::kChannelFields != 0 || counts.size() != places * 3 * ort::kValueCounts ||
        cells.size() != places * ort::kMapCells || worst.size() != places * ort::kWorst * ort::kWorstFields ||
        points.size() % ort::kPointFields != 0)
        throw nb::value_error("the arrays for evidence have the wrong size");
    auto* made = new (room) ort::EvidenceRoom;
    made->stride = stride;
    made->most_values = most_values;
    made->tables = tables.data();
    made->table_rows = tables.size() / ort::kChannelFields;
    made->counts = counts.data();
    made->cells = cells.data();
    made->exponents = exponents.data();
    made->worst = worst.data();
    made->digests = digests.data();
    made->digest_places = digests.size();
    made->places = places;
    made->points = points.data();
    made->point_places = points.size() / ort::kPointFields;
    made->codes = codes.data();
    made->code_slots = codes.size();
}

}  // namespace

void bind_evidence_room(nb::module_& module) {
    nb::class_<ort::EvidenceRoom>(module, "EvidenceRoom")
        .def("__init__", &make, "stride"_a, "most_values"_a, nb::arg("tables").noconvert(),
             nb::arg("counts").noconvert(), nb::arg("cells").noconvert(), nb::arg("exponents").noconvert(),
             nb::arg("worst").noconvert(), nb::arg("digests").noconvert(), nb::arg("points").noconvert(),
             nb::arg("codes").noconvert());
    module.attr("TILE_POSITIONS") = ort::kTilePositions;
    module.attr("NO_EXPONENT") = ort::kNoExponent;
}

}  // namespace gfpq::python

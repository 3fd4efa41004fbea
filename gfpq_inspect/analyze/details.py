"""Evidence of each layer as the report shows it (spec: metrics, section 5): plain values, keyed by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.channels import PointTable, Table, column, step_histogram, steps_of
from gfpq_inspect.analyze.density import shown
from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.findings.case import Case, filters_of, main_weight
from gfpq_inspect.analyze.histograms import cropped
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of, kernels
from gfpq_inspect.quantize.kernels import SUM_FIELDS, CodeStatistics, FloatArray
from gfpq_inspect.quantize.number_format import Counts

_OUTLIER_OCTAVES = 4.0
_MOST_CHANNELS = 2048
_MOST_BARS = 256
_PARTS_OF_OCTAVE = 16
_MOST_PARTS = 512

Numbers = Sequence[float | None]


def layer_details(case: Case, identities: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Everything that is known of each row beyond its scores.

    Args:
        case: What was measured.
        identities: Sample names.

    Returns:
        Row key to evidence; the keys are those of reports/README.md.
    """
    details: dict[str, dict[str, Any]] = {}
    pair = "tuned" if case.second is not None else "both"
    for index, row in enumerate(case.rows):
        entry: dict[str, Any] = {}
        found = next(
            ((name, case.evidence.rows[index, name]) for name in (pair, "both") if (index, name) in case.evidence.rows),
            None,
        )
        if found is not None:
            entry["channels"] = channel_evidence(found[1])
        histograms = case.evidence.histograms.get(index)
        if histograms is not None:
            lane = "tuned" if case.second is not None and row.side != "first" else "both"
            edges, counts = cropped(histograms.counts[:2])
            entry["values"] = [
                _values("Output values", row.key, "output", edges, {"float": counts[0], lane: counts[1]})
            ]
            edges, counts = cropped(histograms.counts[2:])
            entry["errors"] = {"edges": edges, "counts": {lane: counts[0]}}
            cells = None if histograms.density is None else shown(histograms.density)
            if cells is not None:
                entry["density"] = cells
            entry["worst"] = [
                {
                    "sample": identities[one.sample] if one.sample < len(identities) else str(one.sample),
                    "index": list(one.place),
                    "float": _short(one.reference),
                    "quantized": _short(one.other),
                }
                for one in histograms.worst
            ]
        if entry:
            details[row.key] = entry
    _add_format_evidence(case, details)
    return details


def with_evidence(
    details: Mapping[str, Any], evidence: Mapping[str, Mapping[str, Any]], samples: int, share: float
) -> dict[str, Any]:
    """Add the evidence of rows to what is known already.

    Args:
        details: What is known.
        evidence: Row key to evidence.
        samples: How many it was taken from.
        share: Share of the tiles of a large tensor that histograms were made of.
    """
    layers = dict(details.get("layers", {}))
    for key, entry in evidence.items():
        layers[key] = {**layers.get(key, {}), **entry}
    return {**details, "layers": layers, "evidence_samples": samples, "evidence_share": share}


def channel_evidence(table: Table) -> dict[str, Any]:
    """SQNR and range of every channel, dead and outlier ones named; long tensors keep their first channels."""
    table = table[:_MOST_CHANNELS]
    signal, error, maxima = column(table, "xx"), column(table, "dd"), column(table, "max_x")
    with np.errstate(all="ignore"):
        sqnr = np.where((signal > 0) & (error > 0), 10 * np.log10(signal / error), np.nan)
        octaves = np.log2(maxima.max() / maxima)
    live = maxima > 0
    return {
        "sqnr_db": _shorts(sqnr, 2),
        "mean_error": _shorts(column(table, "d") / np.maximum(column(table, "count"), 1)),
        "maximum": _shorts(maxima),
        "headroom_octaves": _shorts(octaves, 3),
        "dead": [int(index) for index in np.flatnonzero(~live)],
        "outlier": [int(index) for index in outliers(maxima)],
    }


def outliers(maxima: NDArray[np.float64]) -> NDArray[np.int64]:
    """Channels that are four octaves or more above the median of those that live, float64 [channels]."""
    live = maxima[maxima > 0]
    if live.size < 2:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(maxima >= np.median(live) * 2**_OUTLIER_OCTAVES)


def _add_format_evidence(case: Case, details: dict[str, dict[str, Any]]) -> None:
    """What each quantized layer reads and holds: codes, flushed and saturated shares, floor and excess."""
    for side, model in case.models.items():
        readers: dict[str, list[list[Any]]] = {}
        for _, point, table in case.points(side):
            tensor = case.value_rows.get((side, point.value), point.value)
            entry = _data_row(tensor, point, table)
            for key in point.layers:
                readers.setdefault(key, []).append(entry)
                into = details.setdefault(case.row_key(side, key), {})
                if table.histogram.size and (side is case.judged_side or "codes" not in into):
                    into["codes"] = codes_evidence(tensor, point, table.histogram)
        for layer in model.layers:
            rows = [*readers.get(layer.key, ()), *_weight_rows(case, side, layer)]
            if rows:
                into = details.setdefault(case.row_key(side, layer.key), {})
                title = f"Quantized tensors of the {side.value} model ({case.view})"
                into.setdefault("tables", []).append({"title": title, "columns": list(_COLUMNS), "rows": rows})


_COLUMNS = (
    "tensor",
    "role",
    "format",
    "SQNR dB",
    "floor dB",
    "below the floor dB",
    "flushed %",
    "snapped %",
    "beyond %",
    "codes used",
    "dead channels",
    "octaves, largest to smallest channel",
)


def _data_row(tensor: str, point: Point, table: PointTable) -> list[Any]:
    signal, error = column(table.channels, "xx").sum(), column(table.channels, "dd").sum()
    floor = _decibel(table.signal, table.floor_error)
    finite = max(1, table.finite)
    shares = (table.flushed / max(1, table.nonzero), table.snapped / finite, table.beyond / finite)
    return _row(
        tensor,
        "data",
        point.format,
        levels=(_decibel(signal, error), floor),
        shares=shares,
        histogram=table.histogram,
        maxima=column(table.channels, "max_x"),
    )


def _weight_rows(case: Case, side: Side, layer: Layer) -> list[list[Any]]:
    """A row for each quantized weight of a layer, by the filters that share its coefficient."""
    rows = []
    for name, entry in case.experiment.weights.of_layer(side, layer).items():
        stored = as_floating(entry.stored)
        shares, histogram = _weight_codes(entry, stored)
        sums = kernels.similarity(stored.reshape(1, -1), [as_floating(entry.quantized).reshape(1, -1)])[0][0, 0]
        error, signal = float(sums[SUM_FIELDS.index("sum_dd")]), float(sums[SUM_FIELDS.index("sum_xx")])
        maxima = np.zeros(0)
        if name == main_weight(layer):
            filters = filters_of(case.models[side], layer, stored, stored.dtype.type)
            maxima = np.abs(np.maximum(filters.max(1), -filters.min(1)))  # magnitudes of all would be another copy
        floor = kernels.floor_db(stored, entry.bits) if isinstance(entry.format, Gfpq) else None
        levels = (_decibel(signal, error), floor)
        rows.append(
            _row(
                name,
                "weight",
                entry.format,
                levels=levels,
                shares=shares,
                histogram=histogram,
                maxima=maxima,
            )
        )
    return rows


def _weight_codes(entry: QuantizedWeight, stored: FloatArray) -> tuple[tuple[float, float, float], NDArray[np.int64]]:
    """Shares flushed, snapped and beyond of a weight, and how often it has each code."""
    if isinstance(entry.format, Gfpq):
        codes = kernels.code_statistics(stored, entry.bits, entry.delta)
        return _shares(codes), codes.histogram
    quantized = as_floating(entry.quantized)
    counts = entry.format.counts(stored, quantized, entry.delta)
    return _shares(counts), step_histogram(quantized, steps_of(entry.format, entry.delta))


def _shares(codes: CodeStatistics | Counts) -> tuple[float, float, float]:
    finite = max(1, codes.finite)
    return codes.flushed / max(1, codes.nonzero), codes.snapped / finite, codes.beyond / finite


def _row(
    tensor: str,
    role: str,
    number_format: NumberFormat,
    *,
    levels: tuple[float | None, float | None],
    shares: tuple[float, float, float],
    histogram: NDArray[np.int64],
    maxima: NDArray[np.float64],
) -> list[Any]:
    live = maxima[maxima > 0]
    used = int(np.count_nonzero(histogram))
    excess = levels[1] - levels[0] if levels[0] is not None and levels[1] is not None else None
    return [
        tensor,
        role,
        number_format.name,
        _short(levels[0], 2),
        _short(levels[1], 2),
        _short(excess, 2),
        *(_short(100 * share) for share in shares),
        f"{used} of {_codes_of(histogram)}" if histogram.size else None,
        int(maxima.size - live.size),
        _short(float(np.log2(live.max() / live.min())), 2) if live.size else None,
    ]


def _codes_of(histogram: NDArray[np.int64]) -> int:
    """Codes that there are: zero is one, whatever its sign."""
    return 2 * int(histogram.shape[1]) - 1


def codes_evidence(tensor: str, point: Point, histogram: NDArray[np.int64]) -> dict[str, Any]:
    """Use of every code, int64 [2, codes]; 16 bit is shown by sixteenths of an octave, from the first that is used.

    Formats of equal steps show every magnitude, in steps.
    """
    positive, negative = histogram
    grid = gfpq_of(point.bits if isinstance(point.format, Gfpq) else 8)
    width = 1 if len(positive) <= _MOST_BARS else grid.steps_per_octave // _PARTS_OF_OCTAVE
    used = np.flatnonzero(positive + negative) if width > 1 else np.zeros(0, dtype=np.int64)
    first, last = (int(used[0]) // width * width, int(used[-1]) + 1) if used.size else (0, len(positive))
    while -(-(last - first) // width) > _MOST_PARTS:
        width *= 2
        first = first // width * width
    parts = grid.steps_per_octave // width
    fraction = {1: "octave", 16: "octave and sixteenth"}.get(parts, f"octave and {parts}th part")
    return {
        "tensor": tensor,
        "bits": point.bits,
        "codes_used": int(np.count_nonzero(histogram)),
        "codes_total": _codes_of(histogram),
        "binned_by": "code" if width == 1 else fraction,
        "first_code": first,
        "codes_a_bar": width,
        "positive": _joined(positive[first:last], width),
        "negative": _joined(negative[first:last], width),
    }


def _joined(counts: NDArray[np.int64], width: int) -> list[int]:
    return [int(counts[start : start + width].sum()) for start in range(0, len(counts), width)]


def _values(title: str, tensor: str, role: str, edges: list[float], counts: dict[str, list[int]]) -> dict[str, Any]:
    return {"title": title, "tensor": tensor, "role": role, "edges": edges, "counts": counts}


def _decibel(signal: float, error: float) -> float | None:
    if not (0 < signal < math.inf and 0 < error < math.inf):
        return None
    return 10 * (math.log10(signal) - math.log10(error))  # the quotient of energies may leave the range of a double


def _short(value: float | None, decimals: int | None = None) -> float | None:
    """A number with the digits that a chart shows; None for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), decimals) if decimals is not None else float(f"{value:.5g}")


def _shorts(values: NDArray[np.float64], decimals: int | None = None) -> list[float | None]:
    """As `_short`, of many values."""
    listed = values.tolist()
    if decimals is None:
        short: list[float | None] = [float(f"{value:.5g}") for value in listed]
    else:
        short = [round(value, decimals) for value in listed]
    if not np.isfinite(values).all():
        short = [value if math.isfinite(known) else None for value, known in zip(short, listed, strict=True)]
    return short

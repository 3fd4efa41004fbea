"""Does one filter set the range of a whole weight? (spec: decision tree, G6 c and e)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gfpq_inspect.analyze.findings.case import Array, Case, filters_of, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Layer

_GAP_OCTAVES = 3.0
_GAP_OCTAVES_DEPTHWISE = 4.5
"""Distance to the next filter from which one stands alone. Depthwise filters differ more in healthy networks."""

_HARMED_DB = 26.0
"""SQNR of a single filter below which its range was taken away: rounding in range never falls below 33.1 dB."""

_HARMED_SHARE = 0.5
_FEW_VALUES = 4


@dataclass(frozen=True)
class FilterRange:
    """How the filters of one weight share its range."""

    row: str
    filter: int
    gap_octaves: float
    median_octaves: float
    harmed: float
    flushed: float

    @property
    def stands_alone(self) -> bool:
        """Whether it is the only one of its size."""
        return self.gap_octaves >= _GAP_OCTAVES


def filter_range(row: str, stored: Array, quantized: Array) -> FilterRange | None:
    """Relate the filters of one weight, [filters, values] as stored and quantized; None where there is one filter."""
    largest = np.maximum(stored.max(1), -stored.min(1)).astype(np.float64)
    live = largest > 0
    if live.sum() < 2:
        return None
    order = np.argsort(-largest, kind="stable")
    top = largest[order[0]]
    others = live.copy()
    others[order[0]] = False
    # Sums without copies in double: weights may take hundreds of megabytes.
    energy = np.einsum("fv,fv->f", stored, stored, dtype=np.float64)
    error = np.array([np.square(q.astype(np.float64) - s).sum() for q, s in zip(quantized, stored, strict=True)])
    with np.errstate(divide="ignore"):
        sqnr = 10 * np.log10(energy[others] / error[others])
    nonzero = vanished = 0
    for index in np.flatnonzero(others):
        there = stored[index] != 0
        nonzero += int(np.count_nonzero(there))
        vanished += int(np.count_nonzero(there & (quantized[index] == 0)))
    return FilterRange(
        row=row,
        filter=int(order[0]),
        gap_octaves=float(np.log2(top / largest[order[1]])),
        median_octaves=float(np.log2(top / np.median(largest[others]))),
        harmed=float((sqnr < _HARMED_DB).mean()),
        flushed=float(vanished / max(1, nonzero)),
    )


def ranges_of(case: Case, side: Side) -> list[tuple[Layer, FilterRange]]:
    """Filter ranges of every quantized weight of a model."""
    if case.bits is None or case.models[side].quantizes_itself:
        return []
    listed = []
    for layer in case.models[side].layers:
        name = main_weight(layer)
        if name is None or layer.quantization is None or not layer.quantization.weights:
            continue
        entry = case.experiment.weights.get(side, name, layer.quantization.bits or case.bits)
        model = case.models[side]
        width = np.float32 if entry.stored.dtype == np.float32 else np.float64
        stored, quantized = (filters_of(model, layer, array, width) for array in (entry.stored, entry.quantized))
        found_range = filter_range(case.row_key(side, layer.key), stored, quantized)
        if found_range is not None:
            listed.append((layer, found_range))
    return listed


def run(case: Case) -> Outcome:
    """Look for weights whose range one filter sets."""
    if case.bits is None:
        return not_applicable("a bit width")
    listed = [(side, layer, entry) for side in case.models for layer, entry in ranges_of(case, side)]
    if not listed:
        return not_applicable("a layer with quantized weights")
    alone = []
    for side, layer, entry in listed:
        depthwise = layer.group > 1 and entry is not None
        limit = _GAP_OCTAVES_DEPTHWISE if depthwise else _GAP_OCTAVES
        if entry.gap_octaves >= limit:
            alone.append((side, entry))
    if not alone:
        widest = max(listed, key=lambda item: item[2].gap_octaves)
        return passed(
            f"No filter of {layers_text(len(listed), 'quantized weight')} stands alone; the largest gap is "
            f"2^{widest[2].gap_octaves:.1f} at '{widest[2].row}'."
        )
    # Where quantizing did the harm: weights that were stored on the grid already show the gap but no loss.
    alone.sort(key=lambda item: (-item[1].harmed, -item[1].flushed, -item[1].gap_octaves))
    side, worst = alone[0]
    harmful = worst.harmed >= _HARMED_SHARE or worst.flushed > 0.05
    severity = "error" if worst.harmed >= _HARMED_SHARE and worst.gap_octaves >= 5 else "warning" if harmful else "note"
    measured = (
        f"Filter {worst.filter} of '{worst.row}' ({side.value} model) is 2^{worst.gap_octaves:.1f} times the next "
        f"largest; {100 * worst.flushed:.1f} % of the other filters' weights become zero, {100 * worst.harmed:.0f} % "
        f"of those filters fall below {_HARMED_DB:g} dB."
    )
    rows: list[tuple[Cell, ...]] = [
        (e.row, s.value, e.filter, e.gap_octaves, e.median_octaves, 100 * e.flushed, 100 * e.harmed) for s, e in alone
    ]
    columns = (
        "layer",
        "model",
        "filter",
        "octaves above the next",
        "octaves above the median",
        "flushed %",
        "harmed %",
    )
    return found(severity, measured, layers=[entry.row for _, entry in alone], columns=columns, rows=rows)


CHECK = Check(
    id="outlier-filter",
    group=Group.TENSOR,
    title="Filters share the range of their weight",
    failure="One filter sets the range of a whole weight",
    why=(
        "A weight has one coefficient, taken from its largest value. A filter that is 2^k larger than the others "
        "leaves them 8 - k octaves of the 8-bit grid: at k = 4 a tenth of a Gaussian filter becomes zero, at k = 6 "
        "a half."
    ),
    remedy=(
        "Equalize the layer with the one behind it (gfpq-inspect remedy tries this), prune or retrain the filter, "
        "or give the layer 16 bit (name it _hp). After folding, look at the filter's BatchNorm deviation first."
    ),
    how=(
        "Largest magnitude of each filter; a filter stands alone when it is 3 octaves above the next (4.5 in "
        "grouped convolutions, whose filters differ more). Flushed: non-zero weights of the other filters that "
        "quantize to zero. Harmed: other filters whose own SQNR is below 26 dB."
    ),
    run=run,
)

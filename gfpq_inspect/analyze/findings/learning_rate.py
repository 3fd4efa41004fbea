"""Was the learning rate too small to move any code? (spec: decision tree, G7 c)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gfpq_inspect.analyze.findings.case import Array, Case, initializers_of, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize import kernels

_HALF_STEP = 0.022
_MOVED = 0.001


def run(case: Case) -> Outcome:
    """Compare the float weights at the start and at the end, and their codes."""
    if case.bits is None or (case.master is None and len(case.snapshots) < 2):
        return not_applicable("--master or --snapshots: the weights that training moved, in float")
    start, what = case.first, "the first model"
    end, until = case.master, "the float master"
    if end is None:
        start, what = case.snapshots[0].model, f"'{case.snapshots[0].name}'"
        end, until = case.snapshots[-1].model, f"'{case.snapshots[-1].name}'"
    rows: list[tuple[Cell, ...]] = []
    moved_floats = moved_codes = flipped = total = 0
    for layer, one, other, bits in _pairs(start, end, case.bits):
        change = float(np.sqrt(((other - one) ** 2).sum() / max(float((one**2).sum()), 1e-30)))
        largest = max(kernels.largest_magnitude(one)[0], kernels.largest_magnitude(other)[0])
        delta = kernels.coefficient_of(largest, bits)
        share = float((kernels.apply(one, bits, delta) != kernels.apply(other, bits, delta)).mean())
        rows.append((case.row_key_of_first(layer.key), change, 100 * share))
        moved_floats += change > 0
        moved_codes += share > 0
        flipped += round(share * one.size)
        total += one.size
    if not rows:
        return not_applicable("weights of the same shape in both")
    largest_change = max(float(row[1] or 0) for row in rows)
    text = f"From {what} to {until}"
    if moved_floats and flipped <= _MOVED * total and largest_change < _HALF_STEP:
        measured = (
            f"{text} {moved_floats} of {layers_text(len(rows), 'weight')} moved, by at most "
            f"{100 * largest_change:.2g} %, and {flipped} of {total} codes changed."
        )
        columns = ("layer", "relative change", "codes changed %")
        return found("warning", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)
    return passed(
        f"{text} codes changed in {moved_codes} of {layers_text(len(rows), 'weight')}; the largest move is "
        f"{100 * largest_change:.2g} %."
    )


def _pairs(start: Model, end: Model, bits: int) -> Iterator[tuple[Layer, Array, Array, int]]:
    """Weights of layers of the same name and shape."""
    later = {layer.name: layer for layer in end.layers}
    first, second = initializers_of(start), initializers_of(end)
    for layer in start.layers:
        other = later.get(layer.name)
        names = main_weight(layer), main_weight(other) if other is not None else None
        if layer.quantization is None or names[0] not in first or names[1] not in second:
            continue
        assert names[0] is not None
        assert names[1] is not None
        arrays = [array_of(tensors[name]) for tensors, name in ((first, names[0]), (second, names[1]))]
        if arrays[0].shape == arrays[1].shape:
            one, two = (np.ascontiguousarray(array, dtype=np.float32) for array in arrays)
            yield layer, one, two, layer.quantization.bits or bits


CHECK = Check(
    id="learning-rate",
    group=Group.FINE_TUNING,
    title="Training moved codes",
    failure="The learning rate was too small for codes to move",
    why=(
        "A weight keeps its code until it moved half a step, 2.2 % at 8 bit. Updates below that change nothing that "
        "is deployed, however often they are made on weights that are then rounded."
    ),
    remedy="Raise the learning rate or train longer, on a float master; if the loss still falls, it is only early.",
    how=(
        "|change| / |weights| and the share of codes that differ, both quantized with one coefficient: below 2.2 % "
        "everywhere and at most 0.1 % of the codes."
    ),
    run=run,
)

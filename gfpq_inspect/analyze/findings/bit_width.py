"""Is the second model quantized with the bit width of the run? (spec: decision tree, G3 and G7 f)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.kernels import FloatArray

_START = 1 << 16
"""Values that are looked at before all are."""

_FEW = 3
"""A tensor of fewer different magnitudes may lie on any grid by chance."""


def stored_width(array: FloatArray) -> int | None:
    """The bit width of the grid that a tensor lies on, or None for one that is not quantized.

    Every value of the 8-bit grid lies on the 16-bit grid too, so the coarser one is tried first.
    """
    start = array.reshape(-1)[:_START]
    # Sorting all of a large matrix only to learn that it holds more than a few values takes seconds and gigabytes.
    if np.unique(np.abs(start[start != 0])).size < _FEW and np.unique(np.abs(array[array != 0])).size < _FEW:
        return None
    return next((bits for bits in (8, 16) if kernels.on_grid(array, bits)), None)


def widths(case: Case, side: Side) -> list[tuple[str, int, int | None]]:
    """Row, wanted and stored bit width of every quantized weight."""
    assert case.bits is not None
    listed = []
    for layer in case.models[side].layers:
        name = main_weight(layer)
        if name is None or layer.quantization is None or not layer.quantization.weights:
            continue
        entry = case.experiment.weights.get(side, name, layer.quantization.bits or case.bits)
        working = (
            np.ascontiguousarray(entry.stored, dtype=np.float32) if entry.stored.dtype == np.float16 else entry.stored
        )
        listed.append((case.row_key(side, layer.key), entry.bits, stored_width(working)))
    return listed


def run(case: Case) -> Outcome:
    """Compare the grid that weights lie on with the one that the run asks for."""
    if case.bits is None:
        return not_applicable("a bit width")
    side = case.judged_side
    if case.models[side].quantizes_itself:
        return not_applicable("a model that is quantized to GFPQ; this one brings its own format")
    listed = [entry for entry in widths(case, side) if entry[2] is not None]
    if not listed:
        return not_applicable("a model whose weights are quantized already")
    stored = {width for _, _, width in listed}
    wrong = [(row, wanted, width) for row, wanted, width in listed if wanted != width]
    if not wrong or len(stored) > 1:
        what = (
            f"the {listed[0][1]}-bit grid that was asked for"
            if not wrong
            else "grids of several widths, see mixed widths"
        )
        return passed(f"{layers_text(len(listed), 'quantized weight')} of the {side.value} model lie on {what}.")
    rows: list[tuple[Cell, ...]] = [(row, wanted, width) for row, wanted, width in wrong]
    measured = (
        f"{len(wrong)} of {layers_text(len(listed), 'quantized weight')} of the {side.value} model lie on the "
        f"{wrong[0][2]}-bit grid, while this run simulates {wrong[0][1]} bit."
    )
    columns = ("layer", "bits of the run", "bits of the weights")
    return found("error", measured, layers=[row for row, _, _ in wrong], columns=columns, rows=rows)


CHECK = Check(
    id="bit-width",
    group=Group.CONFIGURATION,
    title="Bit width",
    failure="The weights were quantized with another bit width",
    why=(
        "8 bit has 16 steps an octave over 8 octaves, 16 bit has 128 over 11. A network that was fine-tuned for one "
        "width and runs with the other is not the network that was trained: 16-bit weights lose their gain at 8 "
        "bit, and 8-bit weights at 16 bit cost twice the bandwidth for nothing."
    ),
    remedy=(
        "Quantize the weights with the width that the compiler is told (compile_mode: 0 is 8 bit, 1 is 16 bit, 2 is "
        "16 bit for layers named _hp), or run the comparison with --bits of that width."
    ),
    how=(
        "For u = S log2|w| of the non-zero weights, a weight lies on the grid when every u is within 0.0001 of a whole "
        "number and their range is one that a coefficient covers; S = 16 (8 bit) is tried before S = 128 (16 bit)."
    ),
    run=run,
)

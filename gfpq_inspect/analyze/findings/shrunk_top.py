"""Did repeated quantization lower the top of the grid? (spec: decision tree, G6 m)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.quantize import gfpq_of

_STEPS = 3
_EQUAL = 0.9


def run(case: Case) -> Outcome:
    """Compare weights on the grid with the first model's, quantized once."""
    if case.second is None or case.bits is None or case.second.quantizes_itself:
        return not_applicable("a second model and a bit width")
    rows: list[tuple[Cell, ...]] = []
    looked = 0
    for pair in case.weight_pairs:
        one, other = pair.first.quantization, pair.second.quantization
        if one is None or other is None or not one.weights or not other.weights:
            continue
        original = case.experiment.weights.get(Side.FIRST, one.weights[0], one.bits or case.bits)
        tuned = case.experiment.weights.get(Side.SECOND, other.weights[0], other.bits or case.bits)
        if not tuned.on_grid or original.quantized.shape != tuned.stored.shape:
            continue
        looked += 1
        tops = np.abs(original.quantized).max(), np.abs(tuned.stored).max()
        steps = round(gfpq_of(tuned.bits).steps_per_octave * float(np.log2(tops[0] / tops[1]))) if tops[1] > 0 else 0
        with np.errstate(all="ignore"):
            equal = np.isclose(original.quantized, tuned.stored, rtol=1e-5, atol=0)
        below = np.abs(original.quantized) <= tops[1]
        if 1 <= steps <= _STEPS and equal[below].all() and equal.mean() >= _EQUAL:
            rows.append((pair.row, steps, 100 * (1 - float(equal.mean()))))
    if not looked:
        return not_applicable("weights of a second model that lie on the grid")
    if not rows:
        return passed(f"The top of none of {layers_text(looked, 'quantized weight')} was lowered.")
    measured = (
        f"The largest value of {len(rows)} of {layers_text(looked, 'weight')} lies 1 to 3 steps below the first "
        f"model's, first '{rows[0][0]}'; the rest is equal."
    )
    columns = ("layer", "steps", "values that differ %")
    return found("warning", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


CHECK = Check(
    id="shrunk-top",
    group=Group.TENSOR,
    title="Top of the grid after quantizing again",
    failure="Quantizing again lowered the top of the grid",
    why=(
        "The coefficient is floor(S log2 max) - T. A maximum that lies on the grid may fall just below it in "
        "float32, and each INIT on quantized data then takes a step off the top: up to 4 % of the largest values, "
        "again and again."
    ),
    remedy="Quantize once, from the float values; where it must be repeated use APPLY with the stored parameter.",
    how=(
        "Weights on the grid whose largest value is 1 to 3 steps below the first model's, quantized once, all "
        "values below that top being equal."
    ),
    run=run,
    direct=False,  # a loop that overwrites its master lowers tops as well, and is the cause
)

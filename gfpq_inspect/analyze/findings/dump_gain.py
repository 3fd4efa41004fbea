"""Is a tensor of the dump right but for a factor? (spec: decision tree, G6 j)."""

from __future__ import annotations

import math

from gfpq_inspect.analyze.dumps.views import View, views
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.metrics import TINY_ELEMENTS

_COSINE = 0.995
_GAIN = 0.01
_UNKNOWN_GAIN = 0.1
"""Quantizing alone may do as much where no simulation tells how much, or where there are only a few values."""
_FACTORS = {
    4096.0: "fixed-point numbers that were not divided by 4096",
    1 / 4096: "numbers that were divided by 4096 twice",
    256.0: "256",
    1 / 256: "1/256",
    255.0: "255",
    1 / 255: "1/255",
    128.0: "128",
    1 / 128: "1/128",
}


def run(case: Case) -> Outcome:
    """Look for tensors with a cosine near 1 and a gain that is not, where it begins."""
    if case.dump is None:
        return not_applicable("a dump")
    seen = views(case)
    gains = {view.row: gain for view in seen if (gain := _gain(case, view)) is not None}
    rows: list[tuple[Cell, ...]] = []
    for view in seen:
        gain = gains.get(view.row)
        if gain is None:
            continue
        index = case.row_index.get(view.row)
        inputs = case.rows[index].inputs if index is not None else ()
        if not any(key in gains and abs(gains[key] / gain - 1) < 3 * _GAIN for key in inputs):
            rows.append((view.row, view.reading.tensor.name, gain, view.cosine, _known(gain)))
    if not rows:
        return passed("No tensor of the dump is right but for a factor.")
    worst = max(rows, key=lambda row: abs(math.log(abs(float(row[2] or 1)))))
    known = f" ({worst[4]})" if worst[4] else ""
    measured = (
        f"'{worst[0]}' of the dump is {worst[2]:.5g} times what it is compared with{known}, with a cosine of "
        f"{worst[3]:.4f}; so begin {layers_text(len(rows))}, {len(gains)} have it."
    )
    columns = ("layer", "tensor of the dump", "gain", "cosine", "near")
    severity = "error" if not 0.9 < float(worst[2] or 0) < 1.1 else "warning"
    return found(severity, measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _gain(case: Case, view: View) -> float | None:
    """The gain where it is off and neither the tensor's own error nor the simulation explains it."""
    cosine, fit = view.cosine, view.fit
    if cosine < _COSINE or not math.isfinite(fit.gain) or fit.gain <= 0 or abs(fit.gain - 1) <= _GAIN:
        return None
    simulated = case.scores(view.row, "both")
    known = simulated is not None and simulated.cosine is not None and simulated.norm_ratio is not None
    limit = _GAIN if known and view.reference.size >= TINY_ELEMENTS else _UNKNOWN_GAIN
    # Least squares through the origin, from the pooled scores: x y / x x.
    expected = (simulated.cosine or 0) * (simulated.norm_ratio or 0) if simulated is not None and known else 1.0
    return fit.gain if min(abs(fit.gain - 1), abs(expected / fit.gain - 1)) > limit else None


def _known(gain: float) -> str:
    near = min(_FACTORS, key=lambda factor: abs(math.log(factor / gain)))
    return _FACTORS[near] if abs(math.log(near / gain)) < 0.02 else ""


CHECK = Check(
    id="dump-gain",
    group=Group.TENSOR,
    title="Gain of the dump",
    failure="A tensor of the dump is right but for a factor",
    why="A cosine does not see a factor: a wrong divisor (4096), a scale that was applied twice, a wrong coefficient.",
    remedy="Find the factor: divide fixed-point numbers by 4096 once, check data_scale, and the layer's coefficient.",
    how=(
        "Least-squares gain off 1 by over 1 % (10 % without a simulation, or of less than 64 values) at a cosine of "
        "0.995 or more, which neither our simulation nor a layer that it reads has."
    ),
    run=run,
    direct=False,
)

"""Is the error of a layer mostly a shift of its channels' means? (spec: decision tree, G6 i)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.channels import column
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.result import Verdict

_SHARE = 0.5
_RELATIVE = 0.03
_FEWEST = 64
_MANY = 0.25
_SEVERAL = 3


def run(case: Case) -> Outcome:
    """Split the error of every bad layer into the shift of its channels' means and the rest."""
    name = case.quantization_comparison
    rows: list[tuple[Cell, ...]] = []
    looked = 0
    for row in case.rows:
        table, scores = case.channels(row.key, name), row.scores.get(name)
        if table is None or scores is None or scores.cosine is None or column(table, "count").min() < _FEWEST:
            continue
        looked += 1
        if scores.cosine >= case.threshold:
            continue
        count = column(table, "count")
        shift = column(table, "d") / count
        error = float(column(table, "dd").sum())
        share = float((count * shift**2).sum()) / error if error > 0 else 0.0
        rms = np.sqrt(column(table, "xx") / count)
        large = float((np.abs(shift) > _RELATIVE * rms).mean())
        if share > _SHARE:
            rows.append((row.key, scores.cosine, 100 * share, 100 * large))
    if not looked:
        return not_applicable("layers of at least 64 values a channel, quantized")
    if not rows:
        return passed(f"In none of {layers_text(looked)} is a bad score mostly a shift of means.")
    measured = (
        f"{rows[0][2]:.0f} % of the error of '{rows[0][0]}' are shifts of its channels' means; so in "
        f"{layers_text(len(rows))}."
    )
    columns = ("layer", "cosine", "share of the shift %", "channels shifted by over 3 % of their rms, %")
    outputs = {row.key for row in case.rows if row.is_output}
    bad = sum(row.verdict is Verdict.FLAGGED for row in case.rows)
    matters = (len(rows) >= _SEVERAL and len(rows) > _MANY * bad) or any(row[0] in outputs for row in rows)
    return found(
        "warning" if matters else "note", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows
    )


CHECK = Check(
    id="bias-shift",
    group=Group.TENSOR,
    title="Means of channels",
    failure="Quantization shifts the means of channels",
    why="A shift of the mean is the one part of the error that costs nothing to take back: a bias does it.",
    remedy="Correct the biases by the mean error of each channel (gfpq-inspect remedy tries this), or fine-tune them.",
    how=(
        "sum of n (mean error)^2 over channels, divided by the sum of squared errors, in layers below the "
        "threshold: over one half."
    ),
    run=run,
    direct=False,
)

"""Is a tensor of the dump so small that 20.12 leaves only a few steps of it? (spec: decision tree, G6 g)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.dumps.views import views
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.inputs.dumps.values import relative_error

_QUANTUM = 1 / 4096
_STEPS = 64
_BAD = 0.02


def run(case: Case) -> Outcome:
    """Compare the largest magnitude of every network output with the quantum of the dump."""
    if case.dump is None:
        return not_applicable("a dump")
    heads = [view for view in views(case) if view.is_output]
    if not heads:
        return not_applicable("a dump of a network output")
    rows: list[tuple[Cell, ...]] = []
    for view in heads:
        largest = float(np.abs(view.reference).max(initial=0.0))
        error = relative_error(view.reference, view.values)
        if 0 < largest < _STEPS * _QUANTUM and error > _BAD and view.reference.size > 1:
            rows.append((view.row, largest, largest / _QUANTUM, error, view.cosine))
    if not rows:
        return passed(f"No output of the dump is both below {_STEPS} steps of 1/4096 and off by more than 2 %.")
    measured = (
        f"'{rows[0][0]}' never exceeds {rows[0][1]:.3g}, {rows[0][2]:.1f} steps of 1/4096, and is off by "
        f"{100 * float(rows[0][3] or 0):.1f} %."
    )
    columns = ("output", "largest value", "steps of 1/4096", "relative error", "cosine")
    return found("warning", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


CHECK = Check(
    id="dump-small-head",
    group=Group.TENSOR,
    title="Outputs of the dump are large enough for 20.12",
    failure="An output of the dump is a few steps of 20.12 only",
    why="Values come out in steps of 1/4096; an output of a few steps is mostly rounding, whatever its cosine says.",
    remedy="Scale the last layer up and divide after reading it on the host.",
    how="Largest magnitude of each output in float below 64 steps of 1/4096 (0.0156), with a relative error above 2 %.",
    run=run,
)

"""Did values of the dump leave the range of 20.12 fixed point? (spec: decision tree, G6 h)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.dumps.views import views, whole
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.inputs.dumps.text import HIGHEST

_LIMIT = 2.0**19
_AT_LIMIT = HIGHEST * (1 - 1e-6)


def run(case: Case) -> Outcome:
    """Count values at the ends of the range, and values that the network makes beyond them."""
    if case.dump is None:
        return not_applicable("a dump")
    rows: list[tuple[Cell, ...]] = []
    highest = 0.0
    for view in views(case):
        saturated, largest = 0, 0.0
        for values in whole(case, view):
            magnitudes = np.abs(values[np.isfinite(values)])
            largest = max(largest, float(magnitudes.max(initial=0.0)))
            saturated += int(np.count_nonzero((magnitudes >= _AT_LIMIT) & (magnitudes <= _LIMIT * (1 + 1e-6))))
        reference = view.reference.astype(np.float64)
        beyond = np.abs(reference) >= _LIMIT
        wrapped = int(np.count_nonzero(beyond & (np.sign(reference) != np.sign(view.values)))) if beyond.any() else 0
        highest = max(highest, largest)
        if saturated or wrapped or (beyond.any() and largest < _LIMIT):
            rows.append((view.row, saturated, int(beyond.sum()), wrapped, largest))
    if not rows:
        return passed(f"No value of the dump reaches the end of 20.12, 524288; the largest is {highest:.5g}.")
    saturated_values, beyond_values, flipped = (sum(int(row[column] or 0) for row in rows) for column in (1, 2, 3))
    measured = (
        f"{layers_text(len(rows), 'tensor')} left the range of 20.12, '{rows[0][0]}' first: {saturated_values} values "
        f"of the dump stand at 524288, the network makes {beyond_values} beyond it, {flipped} changed their sign."
    )
    columns = ("layer", "values at the limit", "beyond it in the network", "changed sign", "largest in the dump")
    return found("error", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


CHECK = Check(
    id="dump-overflow",
    group=Group.TENSOR,
    title="The dump stays in the range of 20.12",
    failure="Values of the dump overflow 20.12 fixed point",
    why="The chip keeps 20 bits before and 12 behind the point: 524288 and more saturates or wraps.",
    remedy="Scale the network so that its features stay below 524288: normalise its input, or divide the weights.",
    how="Magnitudes of 524287.5 to 524288 in the dump, in all samples; magnitudes from 2^19 on in the float network.",
    run=run,
)

"""Does the dump hold tensors that say nothing: one value everywhere, or NaN? (spec: decision tree, G6 l)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.channels import by_channel
from gfpq_inspect.analyze.dumps.views import View, views, whole
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed


def run(case: Case) -> Outcome:
    """Look for NaN, infinities and constants where the network has none."""
    if case.dump is None:
        return not_applicable("a dump")
    rows: list[tuple[Cell, ...]] = []
    for view in views(case):
        bad = sum(int(np.count_nonzero(~np.isfinite(values))) for values in whole(case, view))
        if bad and np.isfinite(view.reference).all():
            rows.append((view.row, view.reading.tensor.name, f"{bad} values are NaN or infinite"))
        elif (told := _constant(view)) is not None:
            rows.append((view.row, view.reading.tensor.name, told))
    if not rows:
        return passed("Every tensor of the dump is finite and varies where the network's does.")
    measured = f"{layers_text(len(rows), 'tensor')} of the dump say nothing: '{rows[0][0]}': {rows[0][2]}."
    columns = ("layer", "tensor of the dump", "what it holds")
    return found("error", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _constant(view: View) -> str | None:
    """What is constant in the dump and not in the network."""
    if view.values.size < 2 or not float(np.ptp(view.reference)) > 0:
        return None
    if float(np.ptp(view.values)) == 0:
        value = float(view.values.ravel()[0])
        return f"{value:.5g} in all {view.values.size} values"
    x, y = by_channel(view.reference), by_channel(view.values)
    if x.shape[1] > 1 and np.ptp(x, axis=1).any() and not np.ptp(y, axis=1).any():
        return "one value in each channel"
    return None


CHECK = Check(
    id="dump-constant",
    group=Group.TENSOR,
    title="Tensors of the dump hold something",
    failure="Tensors of the dump are constant or not finite",
    why="One value everywhere, or NaN, is a layer that never ran or a file that was written too early.",
    remedy="Dump the layer again; where it stays so, look at what the layer reads and at its coefficient on the board.",
    how="NaN and infinities in all samples; a single value, or one a channel, where the float network's tensor varies.",
    run=run,
)

"""Do the values of the dump lie in the order that the network has them in? (spec: decision tree, G0)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.views import GOOD, View, views
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.inputs.dumps.layout import squeezed
from gfpq_inspect.inputs.dumps.values import cosine

Array = NDArray[Any]

_SURE = 0.99
_BETTER = 0.02
_REVERSED = "with its channels in reverse order"


def run(case: Case) -> Outcome:
    """Read every bad tensor in other orders."""
    if case.dump is None:
        return not_applicable("a dump")
    seen = views(case)
    rows: list[tuple[Cell, ...]] = []
    fed = {case.value_rows.get((Side.FIRST, entry.value)) for entry in case.first.inputs}
    for view in seen:
        own = view.cosine
        if own >= GOOD:
            continue
        # Images in another channel order are fed wrongly, not stored wrongly: see the check of the input.
        orders = [entry for entry in _orders(view) if entry[0] != _REVERSED or view.row not in fed]
        best = max(((cosine(view.reference, other), how) for how, other in orders), default=None)
        if best is not None and best[0] >= _SURE and best[0] > own + _BETTER:
            rows.append((view.row, view.reading.tensor.name, own, best[1], best[0]))
    if not rows:
        moved = [view for view in seen if view.reading.layout.how]
        told = f"; {layers_text(len(moved), 'tensor')} needed it: {moved[0].reading.layout.how}" if moved else ""
        return passed(f"No tensor of the dump would fit better in another order of its values{told}.")
    measured = (
        f"{layers_text(len(rows), 'tensor')} of the dump lie in another order: '{rows[0][0]}' has a cosine of "
        f"{rows[0][2]:.4f} as it is and {rows[0][4]:.4f} {rows[0][3]}."
    )
    columns = ("layer", "tensor of the dump", "cosine as it is", "order that fits", "cosine then")
    return found("error", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _orders(view: View) -> Iterator[tuple[str, Array]]:
    """The dump's values read in other orders."""
    values, shape = view.values, view.reference.shape
    flat = np.ascontiguousarray(values).ravel()
    matrix = squeezed(shape)
    if len(matrix) == 2:
        yield "transposed", flat.reshape(matrix[::-1]).T
    if len(shape) != 4 or len(matrix) < 2 or shape[0] != 1:
        return
    channels, height, width = shape[1:]
    yield "with height and width exchanged", flat.reshape(channels, width, height).transpose(0, 2, 1)
    yield "read as NHWC", flat.reshape(height, width, channels).transpose(2, 0, 1)
    yield "read as NWHC", flat.reshape(width, height, channels).transpose(2, 1, 0)
    yield _REVERSED, values[:, ::-1]
    yield "upside down", values[:, :, ::-1]
    yield "mirrored", values[:, :, :, ::-1]


CHECK = Check(
    id="dump-layout",
    group=Group.COMPARABILITY,
    title="Order of the dump's values",
    failure="The dump's values lie in another order than the network's",
    why=(
        "The same values in another order score like noise. nnie_mapper writes results of inner products transposed, "
        "and frameworks differ in NCHW and NHWC."
    ),
    remedy="Write the tensors as NCHW without padding, or state their real shape (in the file's name, or as .npy).",
    how=(
        "Every tensor below a cosine of 0.98 is read transposed, as NHWC, with height and width exchanged, reversed; "
        "0.99 or more names the order."
    ),
    run=run,
)

"""Is a tensor all zero? (spec: decision tree, G6 f and l)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, passed
from gfpq_inspect.analyze.result import Status


def run(case: Case) -> Outcome:
    """Read the statuses of all rows."""
    rows: list[tuple[Cell, ...]] = []
    silent = []
    for row in case.rows:
        for name, scores in row.scores.items():
            if scores.status is Status.TEST_ZERO and not name.startswith(("local", "inherited", "fresh")):
                rows.append((row.key, row.type, name))
            elif scores.status is Status.BOTH_ZERO and row.key not in silent:
                silent.append(row.key)
    if rows:
        keys = list(dict.fromkeys(str(row[0]) for row in rows))
        measured = (
            f"{layers_text(len(keys))} are all zero although the float network's are not, first '{keys[0]}' "
            f"({rows[0][2]})."
        )
        return found("error", measured, layers=keys, columns=("layer", "type", "comparison"), rows=rows)
    if silent:
        measured = (
            f"{layers_text(len(silent))} are all zero in the float network too, first '{silent[0]}': harmless here."
        )
        return found("note", measured, layers=silent, title="Some layers are zero in every network")
    return passed("No layer is all zero.")


CHECK = Check(
    id="dead-tensor",
    group=Group.TENSOR,
    title="Tensors that are not all zero",
    failure="A layer is all zero once quantized",
    why="A tensor of zeros carries nothing on; everything that reads only it is lost.",
    remedy=(
        "Look at the layer before: a coefficient far too large, weights that were not loaded, a ReLU whose input "
        "moved below zero. Export or calibrate it again."
    ),
    how="Layers whose tensor is all zero in a quantized or tuned lane and not in its reference, over all samples.",
    run=run,
)

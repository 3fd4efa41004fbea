"""Does every tensor of the dump stand under the name of its layer? (spec: decision tree, G0)."""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.analyze.dumps.views import GOOD, View, views
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.inputs.dumps.values import cosine

_SURE = 0.99
_BETTER = 0.05


def run(case: Case) -> Outcome:
    """List tensors without a partner, files that cannot be read, and tensors that hold what another should."""
    dump = case.dump
    if dump is None:
        return not_applicable("a dump")
    seen = views(case)
    swapped = _swapped(seen)
    if swapped:
        first = swapped[0]
        measured = (
            f"{layers_text(len(swapped), 'tensor')} of the dump fit another layer: '{first[0]}' has a cosine of "
            f"{first[2]:.4f} with its own layer and {first[4]:.4f} with '{first[3]}'."
        )
        return found(
            "error",
            measured,
            layers=[str(row[0]) for row in swapped],
            columns=("layer", "tensor of the dump", "cosine", "fits the layer", "cosine there"),
            rows=swapped,
            title="Tensors of the dump stand under names of other layers",
        )
    lost = _lost(case)
    if not lost:
        return passed(f"All {layers_text(len(seen), 'tensor')} that are compared stand under a layer's name.")
    measured = (
        f"{layers_text(len(lost), 'tensor')} of the dump could not be compared, {len(seen)} could; the first is "
        f"'{lost[0][0]}': {lost[0][1]}."
    )
    columns = ("tensor of the dump", "reason", "nearest")
    severity = "error" if len(lost) > len(seen) else "warning"
    return found(severity, measured, layers=[str(row[0]) for row in lost], columns=columns, rows=lost)


def _lost(case: Case) -> list[tuple[Cell, ...]]:
    dump = case.dump
    assert dump is not None
    rows: list[tuple[Cell, ...]] = []
    if dump.match is not None:
        rows += [
            (case.row_key_of_first(entry.layer), entry.reason, "")
            for entry in dump.match.broken
            if not entry.understood
        ]
        rows += [(entry.tensor.name, entry.reason, entry.nearest) for entry in dump.match.left if not entry.understood]
    if dump.pairs is not None:
        rows += [(first.name, reason, "") for first, _, reason in dump.pairs.broken]
        rows += [(left.tensor.name, left.reason, left.nearest) for _, left in dump.pairs.left if not left.understood]
    return rows


def _swapped(seen: Sequence[View]) -> list[tuple[Cell, ...]]:
    """Tensors that do not fit their own layer and fit another whose own tensor does not fit it either."""
    bad = [view for view in seen if view.cosine < GOOD]
    rows: list[tuple[Cell, ...]] = []
    for view in bad:
        others = [
            (cosine(other.reference, view.values), other)
            for other in bad
            if other is not view and other.reference.size == view.values.size
        ]
        best = max(others, key=lambda entry: entry[0], default=None)
        if best is not None and best[0] >= _SURE and best[0] > view.cosine + _BETTER:
            rows.append((view.row, view.reading.tensor.name, view.cosine, best[1].row, best[0]))
    return rows


CHECK = Check(
    id="dump-names",
    group=Group.COMPARABILITY,
    title="Tensors of the dump belong to layers",
    failure="Tensors of the dump could not be compared",
    why=(
        "What is not compared is not judged, and a tensor under another layer's name gets a score that means nothing."
    ),
    remedy=(
        "Give the files the names of their layers ('/' and other special characters as '_'; _report, _hp and _cpu do "
        "not count), and dump damaged files again. The nearest layer is listed beside each."
    ),
    how=(
        "Names equal, plain, of blobs, or cut off; files that only number layers by order and size. A tensor below a "
        "cosine of 0.98 is compared with every other layer of its size that is below it too; 0.99 names its place."
    ),
    run=run,
)

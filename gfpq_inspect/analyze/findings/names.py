"""Do the layers of both models belong together? (spec: decision tree, G0)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.result import LayerRow, Status

_MANY = 0.2
_SIZED_BY_CONTENT = frozenset(
    {"DetectionOutput", "Proposal", "Compress", "NonMaxSuppression", "NonZero", "Unique", "Loop", "If"}
)


def run(case: Case) -> Outcome:
    """Count layers without a counterpart, and pairs that do not rest on names."""
    if case.pairing is None:
        return not_applicable("a second model")
    lost = [row for row in case.rows if row.status is Status.UNMATCHED and not row.understood]
    shapes = [row for row in case.rows if row.status is Status.SHAPE_MISMATCH and not _sized_by_content(case, row)]
    by_place = [pair for pair in case.pairing.pairs if "graph order" in pair.reason]
    rows: list[tuple[Cell, ...]] = [(row.key, row.side, row.type, row.reason) for row in [*lost, *shapes]]
    if rows:
        measured = (
            f"{layers_text(len(lost), 'layer output')} without a counterpart, {len(shapes)} with another shape, of "
            f"{len(case.rows)}; {layers_text(len(case.pairing.pairs), 'pair')} in all."
        )
        severity = "error" if len(rows) > _MANY * len(case.rows) else "warning"
        columns = ("layer", "model", "type", "reason")
        return found(severity, measured, layers=[row.key for row in [*lost, *shapes]], columns=columns, rows=rows)
    if by_place:
        return passed(
            f"{len(by_place)} of {layers_text(len(case.pairing.pairs), 'pair')} rest on place and type, not on names."
        )
    return passed(f"All {layers_text(len(case.pairing.pairs), 'pair')} rest on names; what is left over is understood.")


def _sized_by_content(case: Case, row: LayerRow) -> bool:
    """Whether the output of a layer, or of one that it reads, has as many entries as were found in the input."""
    if row.type in _SIZED_BY_CONTENT:
        return True
    inputs = [case.rows[case.row_index[key]] for key in row.inputs if key in case.row_index]
    return any(entry.status is Status.SHAPE_MISMATCH and _sized_by_content(case, entry) for entry in inputs)


CHECK = Check(
    id="names",
    group=Group.COMPARABILITY,
    title="Layers of both models belong together",
    failure="Layers of the two models have no counterpart",
    why=(
        "What is not compared is not judged; a layer that is paired with the wrong one gets a score that means nothing."
    ),
    remedy=(
        "Compare two forms of the same network. Names may differ by _hp, _report and _cpu and by special "
        "characters; a layer that was really renamed, left out or split is best given its old name in the prototxt."
    ),
    how=(
        "Layers are paired by name, by plain name, by output name, then by place between paired neighbours of equal "
        "type."
    ),
    run=run,
    direct=False,
)

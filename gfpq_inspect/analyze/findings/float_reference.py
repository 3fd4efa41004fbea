"""Does the float network itself work? (spec: decision tree, G1)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import LayerRow, Status
from gfpq_inspect.models.model import LayerKind

_MISSING = "is missing and was filled"


def run(case: Case) -> Outcome:
    """Look for NaN, for outputs that never change, and for weights that were made up."""
    broken = [row for row in case.rows if any(s.nonfinite_reference for s in row.scores.values())]
    if broken:
        counts: list[tuple[Cell, ...]] = [
            (row.key, row.type, max(s.nonfinite_reference for s in row.scores.values())) for row in broken
        ]
        measured = f"{layers_text(len(broken))} of the float network hold NaN or infinity, first '{broken[0].key}'."
        columns = ("layer", "type", "values that are not finite")
        title = "The float network computes NaN or infinity"
        return found("error", measured, layers=[row.key for row in broken], columns=columns, rows=counts, title=title)
    missing = _made_up(case)
    if missing:
        measured = f"{layers_text(len(missing))} have no stored weights and run with fill values, first '{missing[0]}'."
        return found("error", measured, layers=missing, title="Weights of the float network are missing")
    batch = [
        case.row_key(Side.FIRST, layer.key)
        for layer in case.first.layers
        if any("statistics of the batch" in note for note in layer.notes)
    ]
    if batch:
        measured = f"{layers_text(len(batch))} normalise by the batch instead of stored statistics, first '{batch[0]}'."
        title, remedy = "BatchNorm does not use its stored statistics", "Set use_global_stats: true in the TEST phase."
        return found("error", measured, layers=batch, title=title, remedy=remedy)
    outputs = [row for row in case.rows if row.is_output and row.side != "second" and _computes(case, row)]
    silent = [row for row in outputs if _is_silent(case, row)]
    if outputs and len(silent) == len(outputs):
        measured = f"No output of the float network depends on the sample: {', '.join(row.key for row in silent[:3])}."
        title = "The float network gives the same for every sample"
        return found("error", measured, layers=[row.key for row in silent], title=title)
    return passed(
        f"The float network computes finite values, and {len(outputs) - len(silent)} of {len(outputs)} outputs vary."
    )


def _made_up(case: Case) -> list[str]:
    return [
        case.row_key(Side.FIRST, layer.key)
        for layer in case.first.layers
        if any(_MISSING in note for note in layer.notes)
    ]


def _computes(case: Case, row: LayerRow) -> bool:
    layer = next((one for one in case.first.layers if one.key == row.layer), None)
    return (
        layer is not None and layer.kind is LayerKind.COMPUTE and bool(layer.inputs) and row.type != "DetectionOutput"
    )


def _is_silent(case: Case, row: LayerRow) -> bool:
    """The same tensor for every sample, or all zero; one sample alone can only show the second."""
    index = case.row_index[row.key]
    zero = any(s.status in (Status.REF_ZERO, Status.BOTH_ZERO) for s in row.scores.values())
    constant = case.evidence.samples > 1 and index in case.evidence.first_tensors and index not in case.evidence.varying
    return zero or constant


CHECK = Check(
    id="float-reference",
    group=Group.FLOAT_REFERENCE,
    title="The float network works",
    failure="The float network is broken",
    why="Every score compares with the float network. When that is broken, no score means anything.",
    remedy=(
        "Run the float network in its own framework on the same samples first. NaN points at a diverged training or "
        "a wrong variance; missing weights at a prototxt and a caffemodel that do not belong together; equal "
        "outputs at dead layers or at an input that never reaches them."
    ),
    how=(
        "Values that are not finite in the float lane; notes of weights that were filled; outputs equal for all "
        "samples."
    ),
    run=run,
)

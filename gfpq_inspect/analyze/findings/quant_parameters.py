"""Were Quant layers updated by training? (guide section 6, point 3)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, initializers_of, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import LayerKind, Model
from gfpq_inspect.models.tensors import array_of

Blobs = list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]


def _parameters(model: Model) -> dict[str, Blobs]:
    """Parameters of the Quant layers by layer name."""
    tensors = initializers_of(model)
    return {
        layer.name: [array_of(tensors[name]).astype(np.float64) for name in layer.weights if name in tensors]
        for layer in model.layers
        if layer.kind is LayerKind.QUANT and layer.weights
    }


def _change(before: Blobs, after: Blobs) -> float:
    """Largest difference."""
    same = [(a, b) for a, b in zip(before, after, strict=False) if a.shape == b.shape and a.size]
    return max((float(np.abs(a - b).max()) for a, b in same), default=0.0)


def _widened(before: Blobs, after: Blobs) -> bool:
    """Whether UPDATE made the coefficient larger, as it may: [is it set, coefficient], in whole numbers."""
    if any(
        len(blobs) != 1 or blobs[0].size != 2 or not np.array_equal(blobs[0], np.rint(blobs[0]))
        for blobs in (before, after)
    ):
        return False
    (unset, one), (held, other) = before[0].reshape(-1), after[0].reshape(-1)
    return bool(held == 1.0 and unset in (0.0, 1.0) and (unset == 0.0 or other >= one))


def run(case: Case) -> Outcome:
    """Compare the parameters of Quant layers between what is known of the training."""
    stages = [(entry.name, entry.model) for entry in case.snapshots]
    if case.master is not None:
        stages.append(("the master", case.master))
    if case.second is not None:
        stages.append(("the second model", case.second))
    known = [(name, _parameters(model)) for name, model in stages]
    known = [(name, parameters) for name, parameters in known if parameters]
    if len(known) < 2:
        return not_applicable("Quant layers with parameters in two stages of training (--snapshots or --master)")
    (start, before), (end, after) = known[0], known[-1]
    shared = [name for name in before if name in after]
    rows: list[tuple[Cell, ...]] = []
    for name in shared:
        change = _change(before[name], after[name])
        if change > 0 and not _widened(before[name], after[name]):
            rows.append((case.row_key(Side.SECOND, name), change))
    if not rows:
        return passed(f"Training left the parameters of {layers_text(len(shared), 'Quant layer')} to their statistics.")
    measured = (
        f"From '{start}' to '{end}' the parameters of {len(rows)} of {layers_text(len(shared), 'Quant layer')} changed."
    )
    return found(
        "warning", measured, layers=[str(row[0]) for row in rows], columns=("layer", "largest change"), rows=rows
    )


CHECK = Check(
    id="quant-parameters",
    group=Group.FINE_TUNING,
    title="Parameters of Quant layers",
    failure="Training updated Quant layers",
    why=(
        "What a Quant layer stores is a statistic, made by INIT and UPDATE. A solver that also adds gradients to it "
        "makes noise."
    ),
    remedy="Set lr_mult: 0 and decay_mult: 0 for all parameters of Quant layers.",
    how=(
        "Largest difference of each Quant layer's parameters between the first and the last stage that is known; a "
        "coefficient that grew by whole steps is UPDATE's doing and is right."
    ),
    run=run,
)

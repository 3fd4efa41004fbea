"""Did training move the statistics of BatchNorm? (guide section 6, point 3; spec: decision tree, G7 d)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, Statistics, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side

_ROUNDING = 1e-5
"""Change, in deviations, that storing the statistics in another way may make."""

_NOTABLE = 0.01
_LARGE = 0.1


def drift_of(first: Statistics, second: Statistics) -> tuple[float, float]:
    """How far statistics moved: root mean squares of the means' shift in deviations, and of ln of the ratio."""
    with np.errstate(all="ignore"):
        shift = (second.mean - first.mean) / first.deviation
        ratio = np.log(second.deviation / first.deviation)
    shift, ratio = shift[np.isfinite(shift)], ratio[np.isfinite(ratio)]
    return _rms(shift), _rms(ratio)


def _rms(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def moved_layers(case: Case) -> tuple[list[tuple[str, float, float]], int]:
    """Row, shift and ratio of every BatchNorm layer that moved, largest first; and how many both models have."""
    moved, total = [], 0
    for one, other in case.layer_pairs:
        first, second = case.statistics(Side.FIRST, one), case.statistics(Side.SECOND, other)
        if first is None or second is None or first.mean.shape != second.mean.shape:
            continue
        total += 1
        shift, ratio = drift_of(first, second)
        if max(shift, ratio) > _ROUNDING:
            moved.append((case.row_key(Side.FIRST, one.key), shift, ratio))
    moved.sort(key=lambda entry: -max(entry[1:]))
    return moved, total


def run(case: Case) -> Outcome:
    """Compare the stored statistics of both models."""
    if case.second is None:
        return not_applicable("a second, fine-tuned model")
    moved, total = moved_layers(case)
    if not total:
        return not_applicable("BatchNorm layers in both models")
    if not moved:
        return passed(f"The statistics of all {layers_text(total, 'BatchNorm layer')} are the first model's.")
    row, shift, ratio = moved[0]
    largest = max(shift, ratio)
    severity = "error" if largest >= _LARGE else "warning" if largest >= _NOTABLE else "note"
    measured = (
        f"{len(moved)} of {layers_text(total, 'BatchNorm layer')} have other statistics than in the first model; "
        f"most of all '{row}': means moved by {shift:.2g} deviations, deviations changed by "
        f"{100 * np.expm1(ratio):.2g} % (root mean square)."
    )
    rows: list[tuple[Cell, ...]] = []
    for key, moved_by, changed in moved:
        scores = case.scores(key, "drift")
        rows.append((key, moved_by, changed, scores.cosine if scores else None))
    columns = ("layer", "shift of means (deviations)", "ln of the deviations' ratio", "cosine (drift)")
    return found(severity, measured, layers=[entry[0] for entry in moved], columns=columns, rows=rows)


CHECK = Check(
    id="batch-norm-statistics",
    group=Group.FINE_TUNING,
    title="BatchNorm statistics",
    failure="Training moved the statistics of BatchNorm",
    why=(
        "BatchNorm's mean and deviation are statistics, not learned parameters. When fine-tuning with quantized "
        "data and small batches goes on updating them, they follow the noise of quantization, and the folded kernel "
        "that the chip runs is built from other numbers than the ones that were trained with."
    ),
    remedy=(
        "Freeze them while fine-tuning: use_global_stats: true and lr_mult: 0 for all three blobs of each BatchNorm "
        "layer, or fold BatchNorm and Scale into the convolutions before fine-tuning. Restore the float model's "
        "statistics."
    ),
    how=(
        "For each BatchNorm layer that both models have: root mean square over channels of (mean2 - mean1) / "
        "deviation1, and of ln(deviation2 / deviation1). Below 0.01 it is a note, from 0.1 on an error."
    ),
    run=run,
)

"""Is a folded convolution compared with an unfolded one? (spec: decision tree, G0)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.channels import Table, column
from gfpq_inspect.analyze.findings.case import Case, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.inputs_seen import never_trained
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.pair import canonical_type

_EXPLAINED = 0.999
_GAIN = 0.05
_CHANNELS = 0.5
_AFFINE = frozenset({"BatchNorm", "Scale", "Bias"})


def affine_fit(table: Table) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], float]:
    """Gain of every channel in y = gain x + offset, and the share of y's variance that the fit explains in all."""
    count = np.maximum(column(table, "count"), 1)
    mean_x, mean_y = column(table, "x") / count, column(table, "y") / count
    var_x = column(table, "xx") / count - mean_x**2
    var_y = column(table, "yy") / count - mean_y**2
    cross = column(table, "xy") / count - mean_x * mean_y
    with np.errstate(all="ignore"):
        gain = np.where(var_x > 1e-12 * np.maximum(mean_x**2, 1e-30), cross / var_x, np.nan)
    rest = np.maximum(var_y - np.nan_to_num(gain) * cross, 0.0)
    total = float(np.maximum(var_y, 0).sum())
    return gain, 1.0 - float(rest.sum()) / total if total > 0 else 0.0


def run(case: Case) -> Outcome:
    """Fit the second model's weighted layers by the first's, a gain and an offset a channel."""
    if case.second is None:
        return not_applicable("a second model")
    counts = {side: _affine_layers(case, side) for side in case.models}
    if counts[Side.FIRST] == counts[Side.SECOND]:
        return passed("Both models have as many BatchNorm, Scale and Bias layers.")
    rows: list[tuple[Cell, ...]] = []
    looked = 0
    for one, other in case.layer_pairs:
        if main_weight(one) is None or main_weight(other) is None:
            continue
        key = case.row_key(Side.FIRST, one.key)
        table, scores = case.channels(key, "drift"), case.scores(key, "drift") or case.scores(key, "total")
        if table is None or scores is None or scores.cosine is None:
            continue
        looked += 1
        gain, explained = affine_fit(table)
        known = np.isfinite(gain)
        differing = float((np.abs(gain[known] - 1) > _GAIN).mean()) if known.any() else 0.0
        if scores.cosine < 0.99 and explained > _EXPLAINED and differing > _CHANNELS:
            rows.append((key, scores.cosine, explained, float(np.nanmin(gain)), float(np.nanmax(gain))))
    if not rows:
        return passed(
            f"The models differ in BatchNorm, Scale and Bias layers; {layers_text(looked, 'weighted layer')} agree."
        )
    measured = (
        f"In {len(rows)} of {layers_text(looked, 'weighted layer')} a gain and an offset a channel explain the whole "
        f"difference; the first model has {counts[Side.FIRST]} BatchNorm, Scale and Bias layers, the second "
        f"{counts[Side.SECOND]}."
    )
    columns = ("layer", "cosine", "explained by the fit", "smallest gain", "largest gain")
    return found("error", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _affine_layers(case: Case, side: Side) -> int:
    """BatchNorm, Scale and Bias layers that do something; one of mean 0 and deviation 1 is what folding left."""
    neutral = sum(never_trained(statistics) for _, statistics in case.batch_norms(side))
    return sum(canonical_type(layer) in _AFFINE for layer in case.models[side].layers) - neutral


CHECK = Check(
    id="folded-unfolded",
    group=Group.COMPARABILITY,
    title="Folded and unfolded layers",
    failure="A folded convolution is compared with an unfolded one",
    why=(
        "A convolution with BatchNorm and Scale folded in computes what the other model has only after its Scale "
        "layer. Compared with the bare convolution it looks wrong, and nothing is."
    ),
    remedy="Compare with --fold, or give the folded layer the name of the layer whose output it computes.",
    how=(
        "Least squares y = gain x + offset for each channel of each weighted layer of models that differ in the "
        "number of BatchNorm, Scale and Bias layers; more than 99.9 % of the variance explained, with most gains "
        "off 1 by over 5 %."
    ),
    run=run,
)

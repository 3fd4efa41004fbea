"""Is a filter of the second model a multiple of the first's? (spec: decision tree, G6 c and e)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, WeightPair, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.filters import LOW_RESIDUAL, filter_gains

_FACTOR = 1.4
"""Gain, either way, from which a filter counts as scaled: training that keeps a filter's shape moves it far less."""

_LARGEST_SHARE = 0.25
"""Share of scaled filters up to which single filters are blamed; more of them is folding, or another network."""


def scaled_filters(pair: WeightPair) -> list[tuple[int, float]]:
    """Filters that are a multiple of their original, with the factor; empty where too many are."""
    gains = filter_gains(pair)
    alike = (gains.residual <= LOW_RESIDUAL) & (gains.gain > 0)
    scaled = alike & ((gains.gain >= _FACTOR) | (gains.gain <= 1 / _FACTOR))
    count = int(scaled.sum())
    if count > max(1, _LARGEST_SHARE * len(scaled)) or count == len(scaled):
        return []
    return [(int(index), float(gains.gain[index])) for index in np.flatnonzero(scaled)]


def run(case: Case) -> Outcome:
    """Look for single filters with another length than in the first model."""
    if case.second is None:
        return not_applicable("a second model")
    if not case.weight_pairs:
        return not_applicable("layers with weights of the same shape in both models")
    rows: list[tuple[Cell, ...]] = []
    strongest = 0.0
    for pair in case.weight_pairs:
        for index, factor in scaled_filters(pair):
            scores = case.scores(pair.row, "total")
            rows.append((pair.row, index, factor, float(np.log2(factor)), scores.cosine if scores else None))
            strongest = max(strongest, abs(float(np.log2(factor))))
    if not rows:
        return passed(f"No filter of {layers_text(len(case.weight_pairs), 'weight')} is a multiple of its original.")
    rows.sort(key=lambda row: -abs(float(row[3] or 0.0)))
    worst = rows[0]
    layers = list(dict.fromkeys(str(entry[0]) for entry in rows))
    measured = (
        f"Filter {worst[1]} of '{worst[0]}' is {worst[2]:.4g} times (2^{worst[3]:.2f}) the first model's, while the "
        f"others of the layer kept their length; {layers_text(len(rows), 'filter')} in {layers_text(len(layers))} in "
        "all."
    )
    severity = "error" if strongest >= 1 else "warning"
    columns = ("layer", "filter", "factor", "log2 of the factor", "cosine of the layer (total)")
    return found(severity, measured, layers=layers, columns=columns, rows=rows)


CHECK = Check(
    id="scaled-filter",
    group=Group.TENSOR,
    title="Filters keep their length",
    failure="A filter of the second model is a multiple of its original",
    why=(
        "All filters of a layer share one coefficient. A filter that is 2^k longer than it was takes k octaves of "
        "the grid from all others, and what it computes is wrong unless the layers behind it were scaled back."
    ),
    remedy=(
        "Find what scaled it: a fold that divided by a wrong deviation, an export that mixed up channels, an "
        "equalization that was undone on one side only. Export the layer again."
    ),
    how=(
        "For each filter, gain = sum(first * second) / sum(first^2) and the relative length of what that leaves "
        "over. A filter counts when the rest is below 25 % and the gain beyond 1.4 either way, in no more than a "
        "quarter of the layer's filters."
    ),
    run=run,
)

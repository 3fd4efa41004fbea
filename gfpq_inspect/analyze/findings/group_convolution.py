"""Are only grouped convolutions bad? (spec: decision tree, G6 k)."""

from __future__ import annotations

import statistics

from gfpq_inspect.analyze.findings.case import Case, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side

_OTHERS = 0.995


def run(case: Case) -> Outcome:
    """Compare grouped with plain convolutions, each run alone."""
    grouped: list[tuple[float, str, int]] = []
    plain: list[float] = []
    for layer in case.first.layers:
        if main_weight(layer) is None:
            continue
        key = case.row_key(Side.FIRST, layer.key)
        scores = case.scores(key, "local_data")
        if scores is None or scores.cosine is None:
            continue
        if layer.group > 1:
            grouped.append((scores.cosine, key, layer.group))
        else:
            plain.append(scores.cosine)
    if not grouped:
        return not_applicable("grouped convolutions, with the error of each layer alone (--isolate)")
    bad = sorted(entry for entry in grouped if entry[0] < case.threshold)
    others = statistics.median(plain) if plain else 1.0
    if not bad or others < _OTHERS:
        return passed(
            f"{layers_text(len(grouped), 'grouped convolution')}, run alone, keep a cosine of {min(grouped)[0]:.4f} "
            "or more."
        )
    measured = (
        f"{len(bad)} of {layers_text(len(grouped), 'grouped convolution')} fall below {case.threshold:g} when run "
        f"alone, '{bad[0][1]}' to {bad[0][0]:.4f}; plain ones keep {others:.4f} (median)."
    )
    rows: list[tuple[Cell, ...]] = [(key, group, cosine) for cosine, key, group in bad]
    columns = ("layer", "groups", "cosine alone, data quantized")
    return found("warning", measured, layers=[entry[1] for entry in bad], columns=columns, rows=rows)


CHECK = Check(
    id="group-convolution",
    group=Group.TENSOR,
    title="Grouped convolutions",
    failure="Grouped convolutions lose more than others",
    why=(
        "The groups of a convolution read different channels and yet share one coefficient; a small group loses its "
        "range."
    ),
    remedy="Give each group its own input coefficient (--group-coefficients), or the layer 16 bit (name it _hp).",
    how=(
        "Cosine of each layer alone with quantized data: grouped ones below the threshold, the median of the others "
        "at 0.995 or more."
    ),
    run=run,
)

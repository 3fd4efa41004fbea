"""Is a tensor right but for a factor? (spec: decision tree, G6 j)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.batch_norm import moved_layers
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, passed
from gfpq_inspect.analyze.findings.scaled_filter import scaled_filters
from gfpq_inspect.analyze.result import LayerRow

_COSINE = 0.995
_GAIN = 0.1
_TRAINED_GAIN = 0.3
"""Healthy training changes the gain of single layers, by some ten percent."""
_NAMES = {"both": "quantization", "tuned": "quantization", "drift": "the second model", "total": "the second model"}


def run(case: Case) -> Outcome:
    """Look for layers with a cosine near 1 and a gain that is not, whose inputs have a gain of 1."""
    names = [case.quantization_comparison] if case.bits is not None else []
    if case.second is not None and not moved_layers(case)[0] and not any(scaled_filters(p) for p in case.weight_pairs):
        names.append("drift" if case.bits is not None else "total")
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        for row in case.rows:
            most = _GAIN if _NAMES[name] == "quantization" else _TRAINED_GAIN
            gain = _gain(row, name, most)
            if gain is not None and not any(
                _gain(case.rows[case.row_index[key]], name, most) for key in row.inputs if key in case.row_index
            ):
                scores = row.scores[name]
                rows.append((row.key, _NAMES[name], gain, scores.cosine, scores.residual_db))
    if not rows:
        return passed("No layer is right but for a factor.")
    measured = (
        f"'{rows[0][0]}' is {rows[0][2]:.4g} times its reference with a cosine of {rows[0][3]:.4f}; so begin "
        f"{layers_text(len(rows))}."
    )
    columns = ("layer", "by", "gain", "cosine", "residual dB")
    return found("warning", measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


def _gain(row: LayerRow, name: str, most: float) -> float | None:
    """The gain where it alone is wrong."""
    scores = row.scores.get(name)
    if scores is None or scores.gain is None or scores.cosine is None or scores.cosine < _COSINE:
        return None
    offset_free = scores.norm_ratio is None or abs(scores.norm_ratio - 1) > most
    return scores.gain if abs(scores.gain - 1) > most and offset_free else None


CHECK = Check(
    id="gain-error",
    group=Group.TENSOR,
    title="Gain of layers",
    failure="A layer is right but for a factor",
    why=(
        "A cosine does not see a factor. It is a wrong divisor (4096), a scale that was applied twice, or units "
        "that differ."
    ),
    remedy="Find the factor in the export, in data_scale or in what reads the output, and take it out on one side.",
    how=(
        "Layers with a cosine of at least 0.995 whose least-squares gain and norm ratio are off 1 by over 10 % "
        "(between two models 30 %), while those of the layers that they read are not."
    ),
    run=run,
    direct=False,
)

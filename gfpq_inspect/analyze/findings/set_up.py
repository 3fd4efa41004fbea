"""Are most layers bad? Then the set-up is at fault, not the number format (spec: decision tree, G5)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, tensors_seen
from gfpq_inspect.analyze.result import LayerRow, Verdict
from gfpq_inspect.analyze.verdict import passes

_SHARE = 0.5
_FEWEST = 4
_PILING = "Most layers are flagged, by errors that pile up"
_ALIKE = 0.01
"""Relative distance of weights up to which they are the same but for quantization; training moves them further."""

_CANCEL = frozenset({"BatchNorm", "BatchNormalization", "BN", "Scale", "Bias", "Eltwise", "Add", "Sub", "Sum", "Power"})
"""Layers that may subtract most of what they read, and make much of a small difference; no difference begins there."""

_AGREES = 0.9995
"""Cosine from which a layer's inputs are the same: a subtraction behind them makes much of a small difference."""


def run(case: Case) -> Outcome:
    """Count flagged layers, and tell a wrong set-up from errors that pile up."""
    judged = [row for row in case.rows if row.verdict is not Verdict.NOT_JUDGED]
    if len(judged) < _FEWEST:
        return not_applicable(f"at least {_FEWEST} judged layers")
    bad = [row for row in judged if row.verdict is Verdict.FLAGGED]
    measured = f"{len(bad)} of {len(judged)} judged layers are flagged ({100 * len(bad) / len(judged):.0f} %)."
    if len(bad) <= _SHARE * len(judged):
        return passed(measured)
    layers = [row.key for row in bad[:20]]
    name = "drift" if case.bits is not None and case.second is not None else "total"
    differing = [row for row in bad if _fails(case, row, name)]
    if len(differing) > _SHARE * len(judged):
        origin = next((row for row in differing if _begins(case, row, name)), None)
        if origin is not None:
            text = f"{measured} Both networks differ in float already, first at '{origin.key}', whose inputs agree."
            return found("error", text, layers=[origin.key, *layers])
        text = f"{measured} Both networks differ in float already, more and more along the network, as after training."
        return found("note", text, layers=layers, title="Most layers drifted")
    alone = [score for row in judged if (score := _local(row)) is not None]
    if not alone:
        worst = min((one.sqnr_db for one in tensors_seen(case)), default=0.0)
        if worst < HARMED_DB:
            return found("error", f"{measured} A single tensor loses all but {worst:.1f} dB.", layers=layers)
        text = (
            f"{measured} Every tensor of data alone keeps {worst:.1f} dB or more: errors pile up, as --isolate would "
            "show."
        )
        return found("note", text, layers=layers, title=_PILING)
    if sum(score < case.threshold for score in alone) > _SHARE * len(alone):
        return found("error", f"{measured} Most are bad by themselves.", layers=layers)
    text = f"{measured} Most layers are good by themselves: errors pile up along the network."
    return found("note", text, layers=layers, title=_PILING)


def _fails(case: Case, row: LayerRow, comparison: str) -> bool:
    scores = row.scores.get(comparison)
    return row.cause == "unmatched" or (scores is not None and not passes(scores, case.threshold))


def _agrees(case: Case, row: LayerRow, comparison: str) -> bool:
    scores = row.scores.get(comparison)
    if scores is None or scores.cosine is None:
        return row.cause != "unmatched"
    return scores.cosine >= _AGREES and passes(scores, case.threshold)


def _begins(case: Case, row: LayerRow, comparison: str) -> bool:
    """The layer's inputs agree and its weights are alike, or have another shape, yet its outputs differ."""
    if row.type in _CANCEL:
        return False
    inputs = [case.rows[case.row_index[key]] for key in row.inputs if key in case.row_index]
    if any(not _agrees(case, entry, comparison) for entry in inputs):
        return False
    pair = next((pair for pair in case.weight_pairs if pair.row == row.key), None)
    if pair is None:
        return True
    scale = float(np.sqrt((pair.one**2).sum()))
    return float(np.sqrt(((pair.other - pair.one) ** 2).sum())) < _ALIKE * scale or _unlike(pair.one, pair.other)


def _unlike(
    one: np.ndarray[tuple[int, ...], np.dtype[np.float64]], other: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> bool:
    """Whether two weights have nothing to do with each other."""
    lengths = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return lengths == 0 or abs(float((one * other).sum())) < 0.5 * lengths


def _local(row: LayerRow) -> float | None:
    for name in ("local_tuned", "local_both"):
        if name in row.scores:
            return row.scores[name].cosine
    return None


CHECK = Check(
    id="set-up",
    group=Group.CONFIGURATION,
    title="Share of bad layers",
    failure="More than half of the layers are bad: suspect the set-up, not single layers",
    why=(
        "Quantization costs a layer or a branch; it seldom breaks most of a network at once. When it looks so, the two "
        "networks are fed differently, are not the same network, or were built with different settings."
    ),
    remedy=(
        "Check, in this order: do both files belong together; is the input preprocessed alike (mean, scale, channels); "
        "does the float network give right answers on these samples; which bit width and calibration images were used. "
        "Try --bits 16: if that is bad too, precision is not the cause."
    ),
    how=(
        "Flagged layers over judged layers. It is an error when most of them differ in float too and the difference "
        "begins at a layer whose inputs agree, or when most are bad by themselves; errors that only pile up are "
        "told apart."
    ),
    run=run,
    direct=False,
)

"""Judges rows, names the cause of every flag, and gives the verdict (spec: metrics, section 6).

With one model a layer is flagged on `both` against `float`, with two on `tuned` against `float`. The verdict counts the
flags that quantization caused, and every network output below the threshold; drift inside a fine-tuned network is shown
and does not count unless the person asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gfpq_inspect.analyze.lanes import judged_by_default
from gfpq_inspect.analyze.metrics import TINY_ELEMENTS
from gfpq_inspect.analyze.result import Comparison, Isolation, Judgement, LayerRow, Scores, Status, Verdict
from gfpq_inspect.errors import UsageError

GOOD_COSINE = 0.99
DEFAULT_THRESHOLD = 0.98
NORM_RATIO_RANGE = (0.9, 1.1)
_DUMP_COMPARISONS = frozenset({"total", "simulation", "reference"})


@dataclass(frozen=True)
class Rules:
    """How a run is judged.

    Attributes:
        comparison: What the flags stand on.
        threshold: Cosine below which a row is flagged.
        drift_counts: Whether a flag that only drift caused counts against the verdict.
        quantized: Whether anything was quantized.
        second: Whether there is a second model.
        dump: What a dump that takes part is compared with, see `dumps.comparison.DumpRole`; None without one.
    """

    comparison: Comparison
    threshold: float
    drift_counts: bool
    quantized: bool
    second: bool
    dump: str | None = None


def rules_for(
    judge: str, threshold: float, comparisons: Sequence[Comparison], *, second: bool, quantized: bool
) -> Rules:
    """Read `--judge`.

    Args:
        judge: 'default', 'total', or the name of a comparison or of its lane.
        threshold: Cosine, in (0, 1].
        comparisons: Those of the run.
        second: Whether there is a second model.
        quantized: Whether anything is quantized.

    Raises:
        UsageError: A name that this run does not have, or a threshold that is no cosine.
    """
    if not 0.0 < threshold <= 1.0:
        raise UsageError(f"the threshold {threshold:g} is no cosine: give a number above 0 and up to 1.")
    by_name = {entry.lane: entry for entry in comparisons} | {entry.name: entry for entry in comparisons}
    wanted = judged_by_default(second=second) if judge in ("default", "total") else judge
    if wanted not in by_name:
        names = ", ".join(["default", "total", *(entry.name for entry in comparisons if entry.name != "total")])
        raise UsageError(f"there is no comparison '{judge}' in this run; choose one of: {names}.")
    drift_counts = judge != "default" or not quantized
    return Rules(by_name[wanted], threshold, drift_counts, quantized, second)


def judge_rows(rows: Sequence[LayerRow], rules: Rules) -> list[LayerRow]:
    """Give every row its verdict and, where it is flagged, its cause."""
    return [_judge_row(row, rules) for row in rows]


def _judge_row(row: LayerRow, rules: Rules) -> LayerRow:
    if row.status is Status.SHAPE_MISMATCH or (row.status is Status.UNMATCHED and not row.understood):
        reason = row.reason[:1].upper() + row.reason[1:]
        return replace(row, verdict=Verdict.FLAGGED, cause="unmatched", cause_reason=f"{reason}.")
    if row.status is not Status.OK:
        return row
    scores = row.scores.get(rules.comparison.name)
    if scores is None or scores.status in (Status.NOT_FLOAT, Status.SKIPPED):
        return row
    if scores.status is Status.SHAPE_MISMATCH:
        # As many detections as are found: nothing to compare value by value, and no fault in itself.
        return replace(row, cause_reason=f"Cannot be scored: {scores.reason}.")
    if is_nonfinite(scores):
        return replace(row, verdict=Verdict.FLAGGED, cause="non-finite", cause_reason=_nonfinite_sentence(scores))
    if scores.cosine is None or (is_tiny(scores) and not row.is_output):
        return row
    if passes(scores, rules.threshold):
        watched = scores.cosine < max(GOOD_COSINE, rules.threshold)
        return replace(row, verdict=Verdict.WATCH if watched else Verdict.GOOD)
    cause, sentence = _cause(row, scores, rules)
    return replace(row, verdict=Verdict.FLAGGED, cause=cause, cause_reason=sentence)


def is_nonfinite(scores: Scores) -> bool:
    """Whether any value on either side was NaN or infinite."""
    return scores.nonfinite_reference > 0 or scores.nonfinite_test > 0


def is_tiny(scores: Scores) -> bool:
    """Whether all samples together hold too few values to judge."""
    return scores.status is Status.TINY or Status.TINY in scores.flags or scores.count < TINY_ELEMENTS


def passes(scores: Scores, threshold: float) -> bool:
    """Whether a score raises no flag of its own."""
    if is_nonfinite(scores):
        return False
    if scores.cosine is None or scores.cosine < threshold:
        return False
    low, high = NORM_RATIO_RANGE
    return scores.norm_ratio is None or low <= scores.norm_ratio <= high


def _nonfinite_sentence(scores: Scores) -> str:
    return f"{scores.reason[:1].upper()}{scores.reason[1:]}."


def _cause(row: LayerRow, scores: Scores, rules: Rules) -> tuple[str, str]:
    """What made the error, and a sentence for people."""
    what = _deficit(scores, rules.threshold)
    if rules.dump is not None and rules.comparison.name in _DUMP_COMPARISONS:
        return _cause_with_dump(row, what, rules)
    if not rules.quantized:
        return "drift", f"{what} Nothing was quantized: the networks differ in float."
    if rules.comparison.kind == "drift":
        return "drift", f"{what} Training changed this feature; quantization has no part in this comparison."
    if rules.comparison.name == "total":
        own = row.scores.get("tuned")
        if own is not None and passes(own, rules.threshold):
            cosine = f"{own.cosine:.4f}" if own.cosine is not None else "exact"
            sentence = (
                f"{what} Training moved this feature: the deployed second model keeps {cosine} against itself in float."
            )
            return "drift", sentence
        return _isolated(row.tuned_isolation, what)
    if rules.comparison.name in ("data", "tuned_data"):
        return "data", f"{what} Only data are quantized in this lane."
    if rules.comparison.name in ("weight", "tuned_weight"):
        return "weights", f"{what} Only weights are quantized in this lane."
    return _isolated(row.tuned_isolation if rules.comparison.name == "tuned" else row.isolation, what)


def _cause_with_dump(row: LayerRow, what: str, rules: Rules) -> tuple[str, str]:
    """Whether precision explains what a dump differs in: our simulation, or the float network, then does not differ."""
    if rules.dump == "both":
        return "dump", f"{what} The two dumps differ."
    tested = rules.dump == "tested"
    if rules.comparison.name == "total" and rules.quantized:
        witness = row.scores.get("both" if tested else "reference")
        if witness is not None and witness.cosine is not None:
            if tested and not passes(witness, rules.threshold):
                lost = f"Our simulation of the chip loses it too ({witness.cosine:.4f})."
                return _isolated(row.isolation, f"{what} {lost}")
            if not tested and passes(witness, rules.threshold):
                return _isolated(row.isolation, f"{what} In float the network agrees with the dump.")
            kept = f"Our simulation of the chip keeps {witness.cosine:.4f} here" if tested else ""
            differs = f"Already in float the network differs from the dump ({witness.cosine:.4f})"
            return "dump", f"{what} {kept or differs}: precision does not explain it."
    return "dump", f"{what} The dump differs from what is computed here."


def _deficit(scores: Scores, threshold: float) -> str:
    assert scores.cosine is not None
    if scores.cosine < threshold:
        return f"The cosine {scores.cosine:.4f} is below {threshold:g}."
    assert scores.norm_ratio is not None
    return (
        f"The cosine {scores.cosine:.4f} is fine, but the tensor's length is {scores.norm_ratio:.3f} of the reference."
    )


def _isolated(isolation: Isolation | None, what: str) -> tuple[str, str]:
    if isolation is None:
        return "mixed", f"{what} The shares of data and weights cannot be told apart here."
    shares = (
        f"data make {_percent(isolation.share_data)} of the error, weights {_percent(isolation.share_weight)}, "
        f"their interaction {_percent(isolation.interaction)}"
    )
    return isolation.dominant, f"{what} Quantized {shares}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def stopped_before_causes(judgement: Judgement) -> Judgement:
    """The verdict of a run that measured all samples and was stopped while it looked for causes."""
    told = f"{judgement.sentence} The run was stopped before causes were looked for."
    return replace(judgement, partial=True, sentence=told)


def judgement_of(rows: Sequence[LayerRow], rules: Rules, *, partial: bool) -> Judgement:
    """The verdict over all judged rows.

    Args:
        rows: Judged rows.
        rules: As they were judged.
        partial: The run was stopped before all samples were seen.
    """
    flagged = [row for row in rows if row.verdict is Verdict.FLAGGED]
    name = rules.comparison.name
    failed_outputs = [row.key for row in flagged if row.is_output and _is_below(row.scores.get(name), rules.threshold)]
    drifted = [row.key for row in flagged if row.cause == "drift" and not rules.drift_counts]
    drifted = [key for key in drifted if key not in failed_outputs]
    counted = [row for row in flagged if row.key not in drifted]
    few = [row.key for row in rows if row.is_output and _is_few(row, name)]
    judgement = Judgement(
        good=not counted,
        comparison=name,
        threshold=rules.threshold,
        sentence="",
        flagged=tuple(row.key for row in counted),
        drifted=tuple(drifted),
        failed_outputs=tuple(failed_outputs),
        few_values=tuple(few),
        partial=partial,
    )
    return replace(judgement, sentence=_sentence(judgement, rows, rules))


def _is_below(scores: Scores | None, threshold: float) -> bool:
    return scores is not None and (is_nonfinite(scores) or (scores.cosine is not None and scores.cosine < threshold))


def _is_few(row: LayerRow, comparison: str) -> bool:
    scores = row.scores.get(comparison)
    return scores is not None and row.verdict is not Verdict.NOT_JUDGED and is_tiny(scores)


def _sentence(judgement: Judgement, rows: Sequence[LayerRow], rules: Rules) -> str:
    judged = [row for row in rows if row.verdict is not Verdict.NOT_JUDGED]
    parts = [_good_part(judged, rules) if judgement.good else _bad_part(judgement, judged, rules)]
    if judgement.drifted:
        parts.append(
            f"{_count(len(judgement.drifted), 'layer')} drifted in training, which is shown and does not count."
        )
    for key in judgement.few_values:
        scores = next(row for row in rows if row.key == key).scores[judgement.comparison]
        parts.append(f"The output '{key}' was judged on {_count(scores.count, 'value')} only.")
    if judgement.partial:
        parts.append("The run was stopped early: not all samples were seen.")
    return " ".join(parts)


def _comparison_text(rules: Rules) -> str:
    return f"{rules.comparison.lane} against {rules.comparison.reference}"


def _good_part(judged: Sequence[LayerRow], rules: Rules) -> str:
    name = rules.comparison.name
    scored = [(row.scores[name].cosine, row.key) for row in judged if name in row.scores]
    cosines = [(cosine, key) for cosine, key in scored if cosine is not None]
    if not cosines:
        return "Good: nothing was flagged, but no layer could be judged."
    if all(name in row.scores and row.scores[name].status is Status.EXACT for row in judged):
        return f"Good: exactly equal in {_count(len(judged), 'layer')} ({_comparison_text(rules)})."
    worst, key = min(cosines)
    return (
        f"Good: no layer is lost to quantization ({_comparison_text(rules)}); "
        f"the lowest cosine is {worst:.4f} at '{key}'."
        if rules.quantized
        else f"Good: the lowest cosine is {worst:.4f} at '{key}' ({_comparison_text(rules)})."
    )


def _bad_part(judgement: Judgement, judged: Sequence[LayerRow], rules: Rules) -> str:
    by_key = {row.key: row for row in judged}
    causes: dict[str, int] = {}
    for key in judgement.flagged:
        cause = by_key[key].cause or "mixed"
        causes[cause] = causes.get(cause, 0) + 1
    listed = ", ".join(f"{count} {_CAUSE_TEXTS[cause]}" for cause, count in causes.items())
    flagged = f"{len(judgement.flagged)} of {_count(len(judged), 'layer')} flagged"
    text = f"Not good: {flagged} ({listed}; {_comparison_text(rules)})"
    worst = _worst(judgement.flagged, by_key, rules.comparison.name)
    if worst is not None:
        text += f"; the worst is '{worst[1]}' with a cosine of {worst[0]:.4f}"
    if judgement.failed_outputs:
        text += f"; {_count(len(judgement.failed_outputs), 'network output')} below {judgement.threshold:g}"
    return f"{text}."


_CAUSE_TEXTS: Mapping[str, str] = {
    "data": "by data",
    "weights": "by weights",
    "mixed": "by both",
    "drift": "by drift",
    "dump": "not by precision",
    "non-finite": "by NaN or infinity",
    "unmatched": "without a counterpart",
}


def _worst(keys: Sequence[str], rows: Mapping[str, LayerRow], comparison: str) -> tuple[float, str] | None:
    found = []
    for key in keys:
        scores = rows[key].scores.get(comparison)
        if scores is not None and scores.cosine is not None:
            found.append((scores.cosine, key))
    return min(found, default=None)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

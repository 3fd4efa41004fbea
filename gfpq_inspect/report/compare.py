"""Two results of the same network side by side: what became better, what became worse, what came and went."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gfpq_inspect.analyze.result import LayerRow, Result, Scores, Status, Verdict
from gfpq_inspect.report.text import plural

NOTICEABLE_DB = 0.5


@dataclass(frozen=True)
class Delta:
    """One layer in both results.

    Attributes:
        key: Row key.
        before: Scores in the baseline.
        after: Scores now.
        sqnr_change_db: Now minus before; None where either has no number.
        verdict_before: Verdict in the baseline.
        verdict_after: Verdict now.
    """

    key: str
    before: Scores
    after: Scores
    sqnr_change_db: float | None
    verdict_before: Verdict
    verdict_after: Verdict

    @property
    def direction(self) -> str:
        """'better', 'worse' or 'same'; below half a decibel is the same."""
        return self.direction_by(NOTICEABLE_DB)

    def direction_by(self, noticeable_db: float) -> str:
        """'better', 'worse' or 'same'; an exact layer is better than any decibels, one with NaN worse.

        Args:
            noticeable_db: Smallest change of the SQNR that counts.
        """
        before, after = quality_db(self.before), quality_db(self.after)
        if before is None or after is None or before == after or abs(after - before) < noticeable_db:
            return "same"
        return "better" if after > before else "worse"


@dataclass(frozen=True)
class Difference:
    """Two results compared.

    Attributes:
        comparison: Name of the comparison that both have and that is set side by side.
        deltas: Layers that both have, in network order.
        new: Keys that only the result has.
        gone: Keys that only the baseline has.
        sentences: The difference in words, the most important first.
    """

    comparison: str
    deltas: tuple[Delta, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    sentences: tuple[str, ...]


def quality_db(scores: Scores) -> float | None:
    """The SQNR where there is one; infinite for equal tensors, minus infinite for NaN and noise without a signal.

    None where nothing can be said: integers, layers that were skipped.
    """
    if scores.nonfinite_reference or scores.nonfinite_test or scores.status is Status.REF_ZERO:
        return -math.inf
    if scores.sqnr_db is None and scores.status in (Status.EXACT, Status.BOTH_ZERO):
        return math.inf
    return scores.sqnr_db


def common_comparison(result: Result, baseline: Result) -> str:
    """The comparison to set side by side: the judged one where the baseline has it, else one that both have."""
    names = [comparison.name for comparison in result.comparisons]
    others = {comparison.name for comparison in baseline.comparisons}
    for name in (result.judgement.comparison, baseline.judgement.comparison, "both", *names):
        if name in names and name in others:
            return name
    return result.judgement.comparison


def compare_results(result: Result, baseline: Result) -> Difference:
    """Set a result beside an earlier one; layers are paired by row key.

    Args:
        result: The new result.
        baseline: The earlier one.
    """
    name = common_comparison(result, baseline)
    before = {row.key: row for row in baseline.layers}
    deltas = tuple(
        delta_of(before[row.key], row, name)
        for row in result.layers
        if row.key in before and name in row.scores and name in before[row.key].scores
    )
    now = {row.key for row in result.layers}
    new = tuple(row.key for row in result.layers if row.key not in before)
    gone = tuple(row.key for row in baseline.layers if row.key not in now)
    sentences = (
        verdict_sentence(result, baseline),
        *change_sentences(deltas, new, gone),
        *setup_sentences(result, baseline),
    )
    return Difference(name, deltas, new, gone, sentences)


def delta_of(before: LayerRow, after: LayerRow, name: str) -> Delta:
    """One layer's change."""
    old, new = before.scores[name], after.scores[name]
    both = old.sqnr_db is not None and new.sqnr_db is not None
    change = round((new.sqnr_db or 0.0) - (old.sqnr_db or 0.0), 6) if both else None
    return Delta(after.key, old, new, change, before.verdict, after.verdict)


def verdict_sentence(result: Result, baseline: Result) -> str:
    """Whether the verdict changed."""
    words = {True: "passes", False: "fails"}
    now, then = result.judgement.good, baseline.judgement.good
    if now == then:
        flagged = plural(len(result.judgement.flagged), "flagged layer")
        return f"The verdict is unchanged: it {words[now]}; {flagged} now, {len(baseline.judgement.flagged)} before."
    return f"The verdict changed: it {words[now]} now and {'passed' if then else 'failed'} before."


def change_sentences(deltas: tuple[Delta, ...], new: tuple[str, ...], gone: tuple[str, ...]) -> list[str]:
    """How many layers moved, came and went."""
    better = sum(delta.direction == "better" for delta in deltas)
    worse = sum(delta.direction == "worse" for delta in deltas)
    found = [
        f"{plural(better, 'layer')} better and {worse} worse by {NOTICEABLE_DB:g} dB or more, "
        f"{len(deltas) - better - worse} the same."
    ]
    if new or gone:
        found.append(f"{plural(len(new), 'layer')} only in this result, {len(gone)} only in the baseline.")
    return found


def setup_sentences(result: Result, baseline: Result) -> list[str]:
    """What else differs between the two runs, without which a change of scores cannot be read."""
    pairs = (
        ("bit width", result.run.bits, baseline.run.bits),
        ("coefficients", result.run.coefficients, baseline.run.coefficients),
        ("view", result.run.view, baseline.run.view),
        ("judged comparison", result.judgement.comparison, baseline.judgement.comparison),
        ("threshold", result.judgement.threshold, baseline.judgement.threshold),
        ("samples", result.run.inputs.sample_count, baseline.run.inputs.sample_count),
        ("tool version", result.run.tool_version, baseline.run.tool_version),
    )
    found = [f"Different {what}: {now} now, {then} before." for what, now, then in pairs if now != then]
    if result.run.inputs.sha256 != baseline.run.inputs.sha256:
        found.append("Different input data: changes of scores mix the network's and the data's.")
    hashes = [{tuple(sorted(m.sha256.items())) for m in r.run.models} for r in (result, baseline)]
    if hashes[0] != hashes[1]:
        found.append("Different model files.")
    return found

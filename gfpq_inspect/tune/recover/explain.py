"""What was gained, in sentences, from the comparison that confirms it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gfpq_inspect.analyze.result import LayerRow, Result, Scores
from gfpq_inspect.analyze.task_result import LaneDecisions
from gfpq_inspect.tune.recover.samples import Split
from gfpq_inspect.tune.recover.session import Outcome


def error_share(scores: Scores | None) -> float | None:
    """Error energy as a share of the reference's energy."""
    if scores is None or scores.rel_l2 is None:
        return None
    return scores.rel_l2**2


def remaining(row: LayerRow) -> float | None:
    """Share of a row's error energy that is left: the tuned network against the given one, both quantized."""
    before, after = error_share(row.scores.get("both")), error_share(row.scores.get("total"))
    return after / before if before and after is not None else None


def left_over(result: Result) -> float:
    """Share of the error energy of all outputs that is left, each output's energy relative to its signal.

    0 where there was none.
    """
    before = after = 0.0
    for row in result.layers:
        share, energy = remaining(row), error_share(row.scores.get("both"))
        if row.is_output and share is not None and energy is not None:
            before, after = before + energy, after + share * energy
    return after / before if before else 0.0


def summary(outcome: Outcome, result: Result, split: Split) -> Iterator[str]:
    """Lines for the terminal.

    Args:
        outcome: What training came to.
        result: The comparison after it.
        split: Which sample did what.
    """
    yield (
        f"{len(split.train)} samples trained, {len(split.holdout)} watched, "
        f"{len(split.judged)} judged{'' if split.judged != split.holdout else ' (the same)'}."
    )
    if not outcome.improved:
        yield "Nothing better was found: these are the weights as given, quantized."
        yield from _why(result)
        yield from _accuracy(result)
        yield from _notes(outcome)
        return
    yield f"Kept: what '{outcome.stage}' gave. On the samples that judge:"
    totals = [0.0, 0.0]
    for row in result.layers:
        share, before = remaining(row), error_share(row.scores.get("both"))
        if not row.is_output or share is None or before is None:
            continue
        totals = [totals[0] + before, totals[1] + share * before]
        was, now = row.scores["both"], row.scores["total"]
        yield f"  output '{row.key}': {_text(was)} before, {_text(now)} after; {1 - share:.0%} of the error removed"
    if totals[0]:
        yield f"  all outputs: {1 - totals[1] / totals[0]:.0%} of the error energy that quantization added is removed."
        if totals[1] > totals[0] / 2:
            yield from _why(result)
    yield from _accuracy(result)
    yield from _notes(outcome)


def _notes(outcome: Outcome) -> Iterator[str]:
    for note in outcome.notes:
        yield f"note: {note}"


def _text(scores: Scores) -> str:
    db = "exact" if scores.sqnr_db is None else f"{scores.sqnr_db:.2f} dB"
    return db if scores.cosine is None else f"{db} (cosine {scores.cosine:.5f})"


def _why(result: Result) -> Iterator[str]:
    """What is left when half could not be removed: how much of it data alone cost, which no weights can take away."""
    for row in result.layers:
        data, total = error_share(row.scores.get("tuned_data")), error_share(row.scores.get("total"))
        if row.is_output and data is not None and total:
            yield (
                f"  output '{row.key}': rounding data alone leaves {data / total:.0%} of what remains "
                f"({-10 * math.log10(data) if data else math.inf:.1f} dB)"
            )
    flushed = [
        (one.flushed_share, one.layer)
        for one in result.coefficients
        if one.role == "data" and one.model == "second" and one.flushed_share and one.flushed_share > 0.05
    ]
    if flushed:
        shown = ", ".join(f"{layer} {share:.0%}" for share, layer in sorted(flushed, reverse=True)[:5])
        yield f"  underflow of data: {shown} of non-zero values become 0"
    yield from _cured(result)
    yield "  what data lose is not in the weights; gfpq-inspect remedy plans the layers that need 16 bit"


def _cured(result: Result) -> Iterator[str]:
    """What was measured with the layers that cost most at 16 bit."""
    cure = result.details.get("tuning", {}).get("cure")
    if not cure:
        return
    named = ", ".join(f"{layer} ({share:.0%})" for layer, share in zip(cure["layers"], cure["shares"], strict=True))
    yield f"  most of it enters where these layers read their data, as shares of what rounding data costs: {named}"
    yield f"  measured with these layers at 16 bit: {cure['removed']:.0%} of what remains is removed:"
    for output, known in cure["outputs"].items():
        now, then = known["tuned_db"], known["with_16_bit_db"]
        if now is not None and then is not None:
            yield f"    output '{output}': {now:.2f} dB now, {then:.2f} dB then ({then - now:+.2f} dB)"


def _accuracy(result: Result) -> Iterator[str]:
    names = {"float": "float", "both": "quantized before", "tuned": "quantized after"}
    for output in result.task.outputs if result.task is not None else ():
        found = [
            f"{names[one.lane]} {one.top1:.2%}" + (f" ({_loss(one)})" if one.loss_points is not None else "")
            for one in output.lanes
            if one.lane in names and one.top1 is not None
        ]
        if found:
            yield f"  right at '{output.output}': {', '.join(found)}"


def _loss(one: LaneDecisions) -> str:
    text = f"{one.loss_points:+.2f} points lost"
    if one.loss_interval is None:
        return text
    return f"{text}, 95 % interval {one.loss_interval.low:+.2f} to {one.loss_interval.high:+.2f}"

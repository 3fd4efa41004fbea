"""Holding one limit against one layer: the value, and a sentence about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gfpq_inspect.analyze.result import LayerRow, Scores, Spread, Status
from gfpq_inspect.analyze.task_result import Interval, LaneDecisions
from gfpq_inspect.gate.confidence import mean_margin
from gfpq_inspect.gate.settings import MEAN, MINIMUM, PERCENTILE, POOLED, TASK_METRICS, Limit
from gfpq_inspect.text import shortened

TITLES = {
    "cosine": "cosine",
    "sqnr_db": "SQNR",
    "norm_ratio": "norm ratio",
    "accuracy_loss_points": "top-1 loss",
    "top5_loss_points": "top-5 loss",
    "agreement": "agreement",
}
UNITS = {"sqnr_db": " dB", "accuracy_loss_points": " points", "top5_loss_points": " points"}
UNDEFINED_RATIOS = (Status.REF_ZERO, Status.BOTH_ZERO)


@dataclass(frozen=True)
class Held:
    """A limit held against a layer.

    Attributes:
        passed: None where there was nothing to hold it against.
        sentence: What was found; why nothing was where `passed` is None.
    """

    passed: bool | None
    sentence: str


@dataclass(frozen=True)
class Measured:
    """The smallest and the largest value that a limit looks at; the same one of a pooled score.

    Attributes:
        low: Held against the lower bound.
        high: Held against the upper bound.
        how: What it is, for people.
    """

    low: float
    high: float
    how: str


def hold_layer_limit(limit: Limit, row: LayerRow, scores: Scores | None) -> Held:
    """Hold a limit on a score against a row.

    Args:
        limit: On one of `LAYER_METRICS`.
        row: The row.
        scores: Its scores in the comparison that the limit names.
    """
    if scores is None:
        return Held(None, row.reason or "it has no scores in this comparison")
    if scores.status in (Status.NOT_FLOAT, Status.SKIPPED, Status.SHAPE_MISMATCH):
        return Held(None, scores.reason or "it was not scored")
    tiny = scores.status is Status.TINY or Status.TINY in scores.flags
    if tiny and not row.is_output and not (limit.layers or limit.types):
        return Held(None, scores.reason or "too few values to judge")
    measured = _pooled(limit.metric, scores) if limit.over == POOLED else _over_samples(limit, scores)
    return measured if isinstance(measured, Held) else _held(limit, measured)


def _held(limit: Limit, measured: Measured) -> Held:
    """Compare, and say what was found."""
    title, unit = TITLES[limit.metric], UNITS.get(limit.metric, "")
    how = f" ({measured.how})" if measured.how else ""
    if limit.low is not None and not measured.low >= limit.low:
        return Held(False, f"{title} {_number(measured.low, unit)}{how} is below {limit.low:g}{unit}")
    if limit.high is not None and not measured.high <= limit.high:
        return Held(False, f"{title} {_number(measured.high, unit)}{how} is above {limit.high:g}{unit}")
    shown = measured.low if limit.low is not None else measured.high
    bounds = [f"at least {limit.low:g}{unit}"] if limit.low is not None else []
    bounds += [f"at most {limit.high:g}{unit}"] if limit.high is not None else []
    return Held(True, f"{title} {_number(shown, unit)}{how}, {' and '.join(bounds)}")


def _number(value: float, unit: str = "") -> str:
    """A value with the digits that tell it from 1, and its unit."""
    if math.isinf(value):
        return "exact" if value > 0 else "without any signal"
    return f"{value:.6g}{unit}" if abs(1 - value) > 1e-4 else f"{value:.9g}{unit}"


def _pooled(metric: str, scores: Scores) -> Measured | Held:
    """A score over all samples together; an SQNR without noise is infinite, noise without a signal minus infinity."""
    if metric == "sqnr_db" and scores.sqnr_db is None:
        if scores.status in (Status.EXACT, Status.BOTH_ZERO):
            return Measured(math.inf, math.inf, "")
        if scores.status is Status.REF_ZERO:
            return Measured(-math.inf, -math.inf, "")
        if scores.max_abs_error == 0:
            return Measured(math.inf, math.inf, "")
    value = getattr(scores, metric)
    if value is not None:
        return Measured(value, value, "")
    if metric == "norm_ratio" and scores.status in UNDEFINED_RATIOS:
        if scores.status is Status.BOTH_ZERO:
            return Measured(1.0, 1.0, "both are all zero")
        return Held(False, "norm ratio is infinite: the reference is all zero, the lane is not")
    if scores.status is Status.NONFINITE:
        return Held(False, f"has no {TITLES[metric]}: {scores.reason}")
    return Held(None, scores.reason or f"it has no {TITLES[metric]}")


def _over_samples(limit: Limit, scores: Scores) -> Measured | Held:
    spread: Spread | None = getattr(scores, f"{limit.metric}_spread")
    if spread is None:
        if limit.metric == "sqnr_db" and scores.status in (Status.EXACT, Status.BOTH_ZERO):
            return Measured(math.inf, math.inf, "in every sample")
        if scores.nonfinite_reference or scores.nonfinite_test:
            return Held(False, f"has no {TITLES[limit.metric]} of a sample: {scores.reason}")
        return Held(None, f"no {TITLES[limit.metric]} of single samples: each has too few values, or there is one only")
    if limit.over == MEAN:
        return _mean(limit, spread)
    low: float | None
    high: float | None
    if limit.over == MINIMUM:
        low, high = spread.minimum, spread.maximum
        how = f"lowest of samples, at '{shortened(spread.minimum_sample or '', 60)}'"
        if limit.high is not None and low is not None and (limit.low is None or low >= limit.low):
            how = f"highest of samples, at '{shortened(spread.maximum_sample or '', 60)}'"
    else:
        assert limit.over == PERCENTILE
        assert limit.percentile is not None
        low = getattr(spread, f"percentile_{limit.percentile}")
        high = getattr(spread, f"percentile_{100 - limit.percentile}")
        how = f"percentile {limit.percentile} of samples"
    if low is None or (limit.high is not None and high is None):
        return Held(None, "the result was saved by an older version, without this figure; run the comparison again")
    return Measured(low, high if high is not None else low, how)


def _mean(limit: Limit, spread: Spread) -> Measured | Held:
    if spread.mean is None:
        return Held(None, "it has no mean over samples")
    if limit.confidence is None:
        count = f" of {spread.samples} samples" if spread.samples is not None else ""
        return Measured(spread.mean, spread.mean, f"mean{count}")
    if spread.deviation is None or spread.samples is None:
        return Held(None, "a confidence bound needs at least two samples, and a result with their deviation")
    margin = mean_margin(spread.deviation, spread.samples, limit.confidence)
    how = f"{100 * limit.confidence:g} % bound of the mean {_number(spread.mean)} of {spread.samples} samples"
    return Measured(spread.mean - margin, spread.mean + margin, how)


def hold_task_limit(limit: Limit, lane: LaneDecisions | None, samples: int) -> Held:
    """Hold a limit on accuracy or decisions against a lane of an output.

    Args:
        limit: On one of `TASK_METRICS`.
        lane: How the lane decides, or None where it was not measured.
        samples: Samples judged.
    """
    assert limit.metric in TASK_METRICS
    if lane is None:
        return Held(None, "the decisions of this lane were not measured")
    fields = {
        "accuracy_loss_points": (lane.loss_points, lane.loss_interval),
        "top5_loss_points": (lane.top5_loss_points, lane.top5_loss_interval),
        "agreement": (lane.agreement, lane.agreement_interval),
    }
    value, interval = fields[limit.metric]
    if value is None:
        few = "the output has five classes or fewer" if limit.metric == "top5_loss_points" else "there are no labels"
        return Held(None, few)
    how = f"{lane.lane} against {lane.reference}, {samples} samples"
    return _held(limit, _task_value(limit, value, interval, how))


def _task_value(limit: Limit, value: float, interval: Interval | None, how: str) -> Measured:
    if limit.confidence is None or interval is None:
        return Measured(value, value, how)
    return Measured(interval.low, interval.high, f"95 % bound of {_number(value)}; {how}")

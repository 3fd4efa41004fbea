"""What a gate was told: limits, allowances, a baseline. Plain data; `configuration` reads it from files."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LAYER_METRICS = ("cosine", "sqnr_db", "norm_ratio")
"""Scores of a layer; each has a spread over samples."""
TASK_METRICS = ("accuracy_loss_points", "top5_loss_points", "agreement")
"""Figures of an output that decides: top-1 and top-5 against the float lane in percentage points; share of decisions
that stay."""
METRICS = LAYER_METRICS + TASK_METRICS

POOLED, MEAN, MINIMUM, PERCENTILE = "pooled", "mean", "minimum", "percentile"
OVER = (POOLED, MEAN, MINIMUM, PERCENTILE)
PERCENTILES = (1, 5, 10, 25, 50)
"""Percentiles that a result keeps."""
TASK_CONFIDENCE = 0.95
"""Level of the intervals that a result keeps of decisions."""

ALWAYS_CHECKED = {
    "non-finite": "no NaN and no infinity in any lane that is judged",
    "unmatched": "every layer is compared, or its reason not to be is understood",
    "partial": "all samples were seen",
    "nothing-judged": "at least one layer is judged",
    "allow-expired": "no allowance is past its date",
}
BASELINE_CHECKED = {
    "regression": "no score is worse than the baseline by more than is allowed",
    "layer-gone": "every layer of the baseline is still compared",
    "model-changed": "the networks are those of the baseline",
    "data-changed": "the input is that of the baseline",
    "setup-changed": "format, coefficients, view and preprocessing are those of the baseline",
}
OTHER_CHECKED = {
    "verdict": "the comparison's own verdict is good",
    "finding": "no finding of the severity that was named, or a worse one",
}
LIMIT_CHECKED = {
    "cosine": "the cosine of a layer with its reference is at least its limit",
    "sqnr_db": "the signal-to-quantization-noise ratio of a layer is at least its limit",
    "norm_ratio": "the length of a layer's tensor over its reference's is within its limits",
    "accuracy_loss_points": "top-1 accuracy falls by no more than its limit",
    "top5_loss_points": "top-5 accuracy falls by no more than its limit",
    "agreement": "the share of decisions that stay is at least its limit",
}
RULES: dict[str, str] = LIMIT_CHECKED | BASELINE_CHECKED | ALWAYS_CHECKED | OTHER_CHECKED
"""Rule to what holds where it passes; the names that allowances, SARIF and JUnit use."""
ALLOWABLE = tuple(rule for rule in RULES if rule not in {"allow-expired", "nothing-judged", "partial"})

CHANGEABLE = ("first", "second", "data", "setup")
SEVERITIES = ("error", "warning")


@dataclass(frozen=True)
class Limit:
    """One bound on one metric for some layers.

    Attributes:
        place: Its key in the configuration, such as `gate.limits[2].cosine`.
        metric: One of `METRICS`.
        low: Smallest value that passes, or None.
        high: Largest value that passes, or None.
        layers: Patterns of layer names (`*`, `?`, `[...]`); empty for no condition.
        types: Layer types; empty for no condition.
        outputs: Network outputs only.
        over: 'pooled' over all samples, or their 'mean', 'minimum' or 'percentile'.
        percentile: One of `PERCENTILES` where `over` says so, else None.
        confidence: Judge the bound of the one-sided confidence interval of this level; None for the value itself.
        comparison: Name of the comparison, or '' for the one that the gate judges.
    """

    place: str
    metric: str
    low: float | None
    high: float | None
    layers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    outputs: bool = False
    over: str = POOLED
    percentile: int | None = None
    confidence: float | None = None
    comparison: str = ""

    @property
    def what(self) -> tuple[str, str, int | None, float | None, str]:
        """What is measured: of two limits on the same, the more specific one holds."""
        return (self.metric, self.over, self.percentile, self.confidence, self.comparison)

    @property
    def selector(self) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
        """Which layers are meant."""
        return (self.layers, self.types, self.outputs)

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """How specific it is: names before types before outputs before all."""
        return (bool(self.layers), bool(self.types), self.outputs)


@dataclass(frozen=True)
class Allowance:
    """Something that may fail until a day.

    Attributes:
        place: Its key in the configuration.
        what: Rules that may fail.
        layers: Patterns of layer names; empty for every layer.
        reason: Why.
        expires: The last day on which it holds.
    """

    place: str
    what: tuple[str, ...]
    layers: tuple[str, ...]
    reason: str
    expires: datetime.date


@dataclass(frozen=True)
class BaselineSettings:
    """The committed baseline and how much worse than it a score may be.

    Attributes:
        file: The baseline.
        allowed: Metric to the step that it may become worse by: cosine down, SQNR in dB down, norm ratio away from 1,
            losses in points up, agreement down.
        may_change: Which of 'first', 'second' (networks), 'data', 'setup' may differ from the baseline's.
    """

    file: Path
    allowed: Mapping[str, float]
    may_change: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateSettings:
    """A whole gate.

    Attributes:
        source: Where it was read, for messages: a file as the user knows it, or 'the configuration'.
        limits: In the order of the file.
        allow: Allowances.
        baseline: The baseline, or None.
        comparison: Comparison that is judged, or '' for the one that the result's verdict stands on.
        verdict: The comparison's own verdict must be good as well.
        findings: Severity from which findings fail ('error' or 'warning'), or ''.
        file: The file that it was read from, or None.
        folder: Folder that paths in it are relative to.
        compare: Arguments of the comparison by option name, as read.
    """

    source: str
    limits: tuple[Limit, ...] = ()
    allow: tuple[Allowance, ...] = ()
    baseline: BaselineSettings | None = None
    comparison: str = ""
    verdict: bool = False
    findings: str = ""
    file: Path | None = None
    folder: Path = Path()
    compare: Mapping[str, Any] = field(default_factory=dict)

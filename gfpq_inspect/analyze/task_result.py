"""What the network is for, judged: decisions, accuracy and metrics of the caller's own, for every lane.

Part of the result; plain frozen data like the rest of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TYPICAL_LOSS_POINTS = 0.5
"""Most networks lose less than this, in percentage points (guide, section 1)."""
DESIGNED_LOSS_POINTS = 1.0
"""The format is designed to lose no more than this, in percentage points (guide, section 1)."""


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval; in the unit of the figure beside it."""

    low: float
    high: float


@dataclass(frozen=True)
class LaneDecisions:
    """How one lane decides, against its reference, on the same samples.

    Attributes:
        lane: Lane that decides.
        reference: Lane that it is compared with.
        changed: Samples with another decision than the reference's.
        agreement: Share of samples with the same decision, 0 to 1.
        agreement_interval: Of `agreement` (Wilson).
        top1: Share of samples whose decision is the label; None without labels, as all that follows.
        top1_interval: Of `top1` (Wilson).
        top5: Share of samples whose label is among the five largest values; None with five classes or fewer.
        loss_points: 100 (top1 of the reference - top1), in percentage points; negative where the lane is better.
        loss_interval: Of `loss_points`, paired (Newcombe 1998, method 10), in points; None of the reference itself,
            as all that compares.
        top5_loss_points: As `loss_points`, for `top5`.
        top5_loss_interval: Of `top5_loss_points`.
        lost: Samples right in the reference and wrong here.
        gained: Samples wrong in the reference and right here.
        p_value: Exact McNemar test of `lost` against `gained`.
    """

    lane: str
    reference: str
    changed: int
    agreement: float
    agreement_interval: Interval
    top1: float | None = None
    top1_interval: Interval | None = None
    top5: float | None = None
    loss_points: float | None = None
    loss_interval: Interval | None = None
    top5_loss_points: float | None = None
    top5_loss_interval: Interval | None = None
    lost: int | None = None
    gained: int | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class ChangedDecision:
    """A sample that a lane decides otherwise than the float lane; classes are numbers from 0, -1 for none (NaN)."""

    sample: str
    lane: str
    old: int
    new: int
    label: int | None


@dataclass(frozen=True)
class TaskOutput:
    """Decisions at one network output.

    Attributes:
        output: Row key.
        classes: Values a sample.
        basis: Why its largest value is taken for a decision, one clause.
        lanes: Every lane that is fed from the start against `float`, `float` itself first.
        tuned_lanes: Lanes of the second model against `tuned_float`: what quantization alone changes there.
        loss: Where the judged lane's top-1 loss lies: 'below 0.5', 'within 1', 'beyond 1' (points), 'beyond 1, perhaps
            by chance' where the interval reaches below 0; '' without labels.
        sentence: What every report prints of it.
        changes: Changed decisions, by lane, then in sample order; at most 200 a lane.
        changes_left_out: Further ones.
    """

    output: str
    classes: int
    basis: str
    lanes: tuple[LaneDecisions, ...]
    tuned_lanes: tuple[LaneDecisions, ...]
    loss: str
    sentence: str
    changes: tuple[ChangedDecision, ...] = ()
    changes_left_out: int = 0

    def lane(self, name: str) -> LaneDecisions | None:
        """The lane of that name against `float`, or None."""
        return next((entry for entry in self.lanes if entry.lane == name), None)


@dataclass(frozen=True)
class TaskScore:
    """A metric of the caller's own, for every lane.

    Attributes:
        name: As it was asked for.
        better: 'higher' or 'lower'.
        unit: For people, '' for none.
        values: Lane to value; None where it is not finite.
        losses: Lane to how much worse than `float` it is, in the metric's unit; negative where it is better.
        loss_intervals: Lane to the interval of its loss, for metrics that are a mean over samples (normal
            approximation of the paired differences).
        sentence: What every report prints of it.
    """

    name: str
    better: str
    unit: str
    values: Mapping[str, float | None]
    losses: Mapping[str, float | None]
    loss_intervals: Mapping[str, Interval]
    sentence: str


@dataclass(frozen=True)
class Task:
    """Accuracy where labels are known, agreement of decisions where not, and metrics of the caller's own.

    Attributes:
        samples: Samples judged.
        labels: Where the labels come from, or None.
        judged_lane: Lane that the sentences and the verdict speak of.
        class_names: By class number, where labels were told by name; else ().
        outputs: Outputs that hold one value a class.
        scores: Metrics of the caller's own.
    """

    samples: int
    labels: str | None
    judged_lane: str
    class_names: tuple[str, ...]
    outputs: tuple[TaskOutput, ...]
    scores: tuple[TaskScore, ...] = ()

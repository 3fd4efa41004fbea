"""Task metrics of the caller's own: what counts for a detector, a speech recogniser, a super-resolution network.

A metric is one of two things, given to the Python interface, installed under the entry point group
`gfpq_inspect.task_metrics`, or named as `python:module:attribute`:

* a function of (outputs, sample) that gives a number, which is averaged over the samples;
* an object with `start()`, which gives one `TaskScore` a lane, for figures that are no mean (average precision, ...).

Either may have the attributes `better` ('higher' by default, or 'lower') and `unit`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.paired import Z_95
from gfpq_inspect.analyze.task_result import Interval
from gfpq_inspect.analyze.task_result import TaskScore as Scored
from gfpq_inspect.errors import UsageError
from gfpq_inspect.inputs.callables import PYTHON_PREFIX
from gfpq_inspect.inputs.labels import Labels

ENTRY_POINT_GROUP = "gfpq_inspect.task_metrics"
FLOAT = "float"

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
"""Row key of a network output to its tensor for one sample, [1, ...]."""


@dataclass(frozen=True)
class TaskSample:
    """Which sample a metric looks at.

    Attributes:
        index: Its place, from 0.
        identity: Its name: base file name, `file[index]`.
        label: Its true class, or None where labels were not given.
    """

    index: int
    identity: str
    label: int | None


@runtime_checkable
class TaskScore(Protocol):
    """One lane's score, sample by sample.

    One that also has `state()` (plain JSON values) and `restore(state)` survives `--resume`.
    """

    def add(self, outputs: Outputs, sample: TaskSample) -> None:
        """Look at the next sample; samples come in order."""
        ...

    def result(self) -> float:
        """The figure over all samples seen."""
        ...


@runtime_checkable
class TaskMetric(Protocol):
    """Makes a score for each lane."""

    def start(self) -> TaskScore:
        """A score that has seen nothing yet."""
        ...


SampleFunction: TypeAlias = Callable[[Outputs, TaskSample], float]
MetricLike: TypeAlias = "TaskMetric | SampleFunction"


class MeanScore:
    """The mean of a function over samples.

    Args:
        function: Gives a number a sample; one that is not finite is left out.
    """

    def __init__(self, function: SampleFunction) -> None:
        self._function = function
        self.values: list[float] = []

    def add(self, outputs: Outputs, sample: TaskSample) -> None:
        """See `TaskScore`."""
        self.values.append(float(self._function(outputs, sample)))

    def result(self) -> float:
        """The mean; NaN where no sample has a finite value."""
        finite = [value for value in self.values if math.isfinite(value)]
        return math.fsum(finite) / len(finite) if finite else math.nan

    def state(self) -> list[float | None]:
        """See `TaskScore`."""
        return [value if math.isfinite(value) else None for value in self.values]

    def restore(self, state: Sequence[float | None]) -> None:
        """See `TaskScore`."""
        self.values = [math.nan if value is None else value for value in state]


class MetricMeter:
    """Feeds the metrics, one score a lane.

    Args:
        metrics: Name to metric.
        labels: True classes, or None.
        identities: Sample names.
    """

    def __init__(self, metrics: Mapping[str, MetricLike], labels: Labels | None, identities: Sequence[str]) -> None:
        self._metrics = dict(metrics)
        self._labels = labels
        self._identities = identities
        self._scores: dict[str, dict[str, TaskScore]] = {name: {} for name in metrics}

    def add(self, first: int, samples: int, tensors: Mapping[tuple[str, str], Any]) -> None:
        """Add a batch; see `DecisionMeter.add`.

        Raises:
            UsageError: A metric failed.
        """
        lanes = list(dict.fromkeys(lane for _, lane in tensors))
        for lane in lanes if self._metrics else ():
            arrays = {output: array for (output, own), array in tensors.items() if own == lane}
            for index in range(samples):
                outputs = {output: _sample_of(array, index, samples) for output, array in arrays.items()}
                place = first + index
                label = self._labels.classes[place] if self._labels is not None else None
                self._add_sample(lane, outputs, TaskSample(place, self._identities[place], label))

    def _add_sample(self, lane: str, outputs: Outputs, sample: TaskSample) -> None:
        for name, metric in self._metrics.items():
            try:
                if lane not in self._scores[name]:
                    self._scores[name][lane] = started(metric)
                self._scores[name][lane].add(outputs, sample)
            except Exception as error:  # the caller's code may raise anything
                raise _failed(name, f"at the sample '{sample.identity}', lane {lane}", error) from error

    def state(self) -> dict[str, Any]:
        """Plain values from which `restore` goes on.

        Raises:
            UsageError: A metric of the caller's own cannot say its state.
        """
        return {
            name: {lane: _state_of(name, score) for lane, score in scores.items()}
            for name, scores in self._scores.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        for name, lanes in state.items():
            for lane, value in lanes.items():
                score: Any = started(self._metrics[name])
                score.restore(value)
                self._scores[name][lane] = score

    def result(self, judged_lane: str) -> tuple[Scored, ...]:
        """All metrics.

        Raises:
            UsageError: A metric failed.
        """
        return tuple(self._result(name, judged_lane) for name, scores in self._scores.items() if scores)

    def _result(self, name: str, judged_lane: str) -> Scored:
        metric, scores = self._metrics[name], self._scores[name]
        try:
            values = {lane: _finite(float(score.result())) for lane, score in scores.items()}
        except Exception as error:  # the caller's code may raise anything
            raise _failed(name, "over all samples", error) from error
        better, unit = str(getattr(metric, "better", "higher")), str(getattr(metric, "unit", ""))
        sign = -1.0 if better == "lower" else 1.0
        base = values.get(FLOAT)
        losses = {
            lane: None if base is None or value is None else sign * (base - value) for lane, value in values.items()
        }
        intervals = {
            lane: interval
            for lane, score in scores.items()
            if (interval := _mean_interval(scores.get(FLOAT), score, sign)) is not None
        }
        scored = Scored(name, better, unit, values, losses, intervals, "")
        return replace(scored, sentence=_sentence(scored, judged_lane))


def started(metric: MetricLike) -> TaskScore:
    """A score of a metric that has seen nothing yet."""
    return metric.start() if isinstance(metric, TaskMetric) else MeanScore(metric)


def find_metrics(names: Iterable[str]) -> dict[str, MetricLike]:
    """Metrics by name: installed ones, or `python:module:attribute`.

    Raises:
        UsageError: There is none of that name, it cannot be imported, or it is no metric.
    """
    found: dict[str, MetricLike] = {}
    for name in names:
        candidate = _imported(name) if name.startswith(PYTHON_PREFIX) else _installed(name)
        found[name] = checked(name, candidate)
    return found


def checked(name: str, candidate: Any) -> MetricLike:
    """Refuse what is no metric.

    Raises:
        UsageError: It can neither be called nor started, or is neither better higher nor lower.
    """
    metric: MetricLike = candidate() if isinstance(candidate, type) else candidate
    if not isinstance(metric, TaskMetric) and not callable(metric):
        raise UsageError(f"the task metric '{name}' is a {type(metric).__name__}; give a function or one with start().")
    better = getattr(metric, "better", "higher")
    if better not in ("higher", "lower"):
        raise UsageError(f"the task metric '{name}' says that {better!r} is better; it must be 'higher' or 'lower'.")
    return metric


def _installed(name: str) -> Any:
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none is installed"
        raise UsageError(f"there is no task metric '{name}' ({known}); install one, or give python:module:attribute.")
    try:
        return points[name].load()
    except Exception as error:  # a plug-in may raise anything
        raise _failed(name, "when it was loaded", error) from error


def _imported(name: str) -> Any:
    module, colon, attribute = name.removeprefix(PYTHON_PREFIX).rpartition(":")
    if not colon:
        raise UsageError(f"the task metric '{name}' is not understood; give python:module:attribute.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a module may raise anything
        raise _failed(name, "when it was imported", error) from error


def _failed(name: str, where: str, error: Exception) -> UsageError:
    return UsageError(f"the task metric '{name}' raised {type(error).__name__} {where}: {error}; correct it.")


def _state_of(name: str, score: Any) -> Any:
    if not hasattr(score, "state") or not hasattr(score, "restore"):
        raise UsageError(f"the task metric '{name}' cannot be resumed: its scores have no state() and restore().")
    return score.state()


def _sample_of(array: Any, index: int, samples: int) -> Any:
    if not isinstance(array, np.ndarray) or samples == 1 or not array.ndim or array.shape[0] % samples:
        return array
    length = array.shape[0] // samples
    return array[index * length : (index + 1) * length]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean_interval(reference: TaskScore | None, score: TaskScore, sign: float) -> Interval | None:
    """Of the loss of a mean: mean paired difference and 1.96 of its standard errors."""
    if not isinstance(reference, MeanScore) or not isinstance(score, MeanScore):
        return None
    differences = sign * (np.array(reference.values) - np.array(score.values))
    differences = differences[np.isfinite(differences)]
    if len(differences) < 2:
        return None
    middle, half = float(differences.mean()), Z_95 * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return Interval(middle - half, middle + half)


def _sentence(scored: Scored, lane: str) -> str:
    """What a report says of one metric."""

    def shown(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.6g}{f' {scored.unit}' if scored.unit else ''}"

    text = f"{scored.name}: float {shown(scored.values.get(FLOAT))}, {lane} {shown(scored.values.get(lane))}"
    loss, interval = scored.losses.get(lane), scored.loss_intervals.get(lane)
    if loss is not None:
        text += f", a loss of {loss:.4g}"
    if loss is not None and interval is not None:
        text += f" (95 % interval {interval.low:.4g} to {interval.high:.4g})"
    return f"{text}."

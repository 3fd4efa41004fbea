"""Metrics of the caller's own: a function of two tensors, called for every row, comparison and sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, TypeAlias

from gfpq_inspect.analyze.engine.interface import Array, Experiment, Measurement
from gfpq_inspect.analyze.engine.rows import LiveTensors, Measurer
from gfpq_inspect.analyze.engine.tensors import is_floating, sample_of
from gfpq_inspect.errors import UsageError

MetricFunction: TypeAlias = Callable[[Array, Array], float]
"""Takes a sample's reference and test tensor, both [1, ...] and of the same shape; gives a number."""


class CustomMeasurer:
    """Calls the functions on what another measurer sees.

    Args:
        inner: Measures the scores of the tool's own.
        experiment: Rows, lanes and comparisons.
        functions: Metric name to function.
    """

    def __init__(self, inner: Measurer, experiment: Experiment, functions: Mapping[str, MetricFunction]) -> None:
        self._inner = inner
        self._experiment = experiment
        self._functions = dict(functions)

    def empty(self, samples: int) -> Measurement:
        """See `Measurer`."""
        return self._inner.empty(samples)

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """See `Measurer`."""
        self._inner.capture(live, into)

    def measure(self, index: int, live: LiveTensors, samples: int, into: Measurement) -> None:
        """See `Measurer`; the functions come after the tool's own scores."""
        self._inner.measure(index, live, samples, into)
        row = self._experiment.rows[index]
        for column, comparison in enumerate(self._experiment.comparisons):
            lanes = [self._experiment.lane(name) for name in (comparison.reference, comparison.lane)]
            if any(lane.side not in row.values for lane in lanes):
                continue
            reference, test = (live[lane.name][lane.side, row.values[lane.side]] for lane in lanes)
            if not is_floating(reference) or not is_floating(test) or reference.shape != test.shape:
                continue
            for name, function in self._functions.items():
                values = into.custom.setdefault((name, index, column), [])
                for sample in range(samples):
                    parts = (sample_of(reference, sample, samples), sample_of(test, sample, samples))
                    values.append(_called(name, function, parts, row.key))


def _called(name: str, function: MetricFunction, parts: tuple[Array, Array], row: str) -> float:
    try:
        return float(function(*parts))
    except Exception as error:  # the caller's function may raise anything
        raise UsageError(
            f"the metric '{name}' raised {type(error).__name__} at '{row}': {error}; correct the function."
        ) from error


@dataclass
class _Spread:
    total: float = 0.0
    smallest: float = math.inf
    largest: float = -math.inf
    samples: int = 0
    undefined: int = 0


@dataclass
class CustomScores:
    """What the functions gave so far; memory does not grow with samples.

    Attributes:
        experiment: Rows and comparisons.
    """

    experiment: Experiment
    _found: dict[tuple[str, int, int], _Spread] = field(default_factory=dict)

    def add(self, measurement: Measurement) -> None:
        """Add the next batch; batches come in sample order."""
        for key, values in measurement.custom.items():
            spread = self._found.setdefault(key, _Spread())
            for value in values:
                if math.isfinite(value):
                    spread.total += value
                    spread.smallest = min(spread.smallest, value)
                    spread.largest = max(spread.largest, value)
                    spread.samples += 1
                else:
                    spread.undefined += 1

    def state(self) -> list[list[Any]]:
        """Plain values from which `restore` goes on."""
        return [[*key, *astuple(spread)] for key, spread in self._found.items()]

    def restore(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on from a state."""
        self._found = {(name, row, column): _Spread(*values) for name, row, column, *values in state}

    def result(self) -> dict[str, Any]:
        """Metric to comparison to row key to `mean`, `minimum`, `maximum`, `samples`, `undefined`.

        Values that are not finite are counted as undefined and left out of the rest, which is None where nothing is
        left.
        """
        plain: dict[str, Any] = {}
        for (name, row, column), spread in sorted(self._found.items()):
            comparison = self.experiment.comparisons[column].name
            rows = plain.setdefault(name, {}).setdefault(comparison, {})
            known = spread.samples > 0
            rows[self.experiment.rows[row].key] = {
                "mean": spread.total / spread.samples if known else None,
                "minimum": spread.smallest if known else None,
                "maximum": spread.largest if known else None,
                "samples": spread.samples,
                "undefined": spread.undefined,
            }
        return plain

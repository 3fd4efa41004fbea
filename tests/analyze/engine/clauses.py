"""What two engines must have in common on one batch with the same coefficients, clause by clause.

Engines with the same kernels (the merged and the layered one, in either layout) are equal bit for bit, which
`agreement` checks; here stands what holds whatever the kernels: blocked channels or the model's own nodes, ONNX Runtime
or PyTorch.

* Statuses are the same, EXACT where EXACT.
* Tensors of the float lane are within 1e-5 of each tensor's largest magnitude.
* A code differs only where its input lies within 1e-5 of a rounding threshold. This can be asked only as long as the
  inputs agree: behind the first code that differs, a step of 4.4 % (0.54 % at 16 bit) goes through the rest of a lane.
  Every layer is looked at all the same: the probes of single layers start from the float lane everywhere.
* Cosines of tensors of 4 096 elements or more are within 1e-6, as long as no code differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze import metrics
from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Experiment, Measurement
from gfpq_inspect.analyze.lanes import Lane, Side, reference_lane
from gfpq_inspect.analyze.result import Status
from gfpq_inspect.quantize import Gfpq, kernels
from gfpq_inspect.quantize.kernels import pool_sums

from .thresholds import distances

Array = NDArray[Any]

TENSOR = 1e-5
"""Of a tensor's largest magnitude."""
THRESHOLD = 1e-5
"""Of a rounding threshold."""
COSINE, ELEMENTS = 1e-6, 4096
LOGISTIC = 2.0**-22
"""Absolute: ONNX Runtime's logistic function is a quotient to which 0.5 is added; no smaller value is any better."""


@dataclass
class Figures:
    """What was found.

    Attributes:
        tensors: How many were compared; `tensor` is the largest difference, as a share of the largest magnitude.
        codes: How many were compared, of lanes and points that could be; `differing` of them differ.
        element: Largest distance of a differing code's input from a threshold, as a share of the threshold.
        magnitude: The same as a share of the tensor's largest magnitude.
        cosines: How many were compared; `cosine` is the largest difference.
    """

    tensors: int = 0
    tensor: float = 0.0
    codes: int = 0
    differing: int = 0
    element: float = 0.0
    magnitude: float = 0.0
    cosines: int = 0
    cosine: float = 0.0


@dataclass
class Pair:
    """Two measurements of one experiment.

    Attributes:
        experiment: With all floating-point rows handed out.
        one: What an engine found, and
        other: another one.
        deltas: Coefficients of both.
        cosine: Allowed difference of cosines.
        loose: Values that a logistic function gives: `LOGISTIC` is allowed besides, and nothing is said of scores.
        errors: Value to how far the other engine's float lane is from double precision: allowed besides, and nothing
            is said of cosines.
    """

    experiment: Experiment
    one: Measurement
    other: Measurement
    deltas: Sequence[Any]
    cosine: float = COSINE
    loose: frozenset[tuple[Side, str]] = frozenset()
    errors: Mapping[tuple[Side, str], float] = field(default_factory=dict)
    figures: Figures = field(default_factory=Figures)
    _apart: set[tuple[str, str]] = field(default_factory=set)
    _flipped: set[tuple[str, int]] = field(default_factory=set)

    def check(self) -> Figures:
        """Check all clauses."""
        assert self.one.samples == self.other.samples
        assert self.one.problems == self.other.problems
        assert self.one.captured.keys() == self.other.captured.keys()
        keys = {(side, value): row.key for row in self.experiment.rows for side, value in row.values.items()}
        for side, model in self.experiment.models.items():
            for layer in model.layers:
                for lane in self.experiment.lanes:
                    if lane.side is side:
                        self._follow(lane, layer.key, layer.inputs, layer.outputs)
                for value in layer.outputs:
                    if keys.get((side, value)) in self.experiment.captured:
                        self._value(side, value, keys[side, value])
        self._scores()
        return self.figures

    def _follow(self, lane: Lane, layer: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Where the two engines went apart before, they are apart from there on."""
        source = lane.fed_by or lane.name
        apart = any((source, value) in self._apart for value in inputs)
        if lane.quantizes_data:
            for index, point in enumerate(self.experiment.points):
                if point.side is lane.side and layer in point.layers and (source, index) in self._flipped:
                    apart = True
        if apart:
            self._apart.update((lane.name, value) for value in outputs)

    def _value(self, side: Side, value: str, key: str) -> None:
        for lane in self.experiment.lanes:
            if lane.side is not side or lane.fed_by is not None or (lane.name, value) in self._apart:
                continue
            one, other = (measured.captured[key, lane.name] for measured in (self.one, self.other))
            besides = self.errors.get((side, value), 0.0) + (LOGISTIC if (side, value) in self.loose else 0.0)
            if lane == reference_lane(side):
                self._tensor(one, other, key, besides)
            for index, point in enumerate(self.experiment.points):
                if (point.side, point.value) == (side, value) and self._codes(index, one, other, key, besides):
                    self._flipped.add((lane.name, index))

    def _tensor(self, one: Array, other: Array, where: str, besides: float) -> None:
        finite = np.isfinite(other)
        np.testing.assert_array_equal(np.isfinite(one), finite, err_msg=where)
        largest = float(np.abs(other[finite]).max(initial=0.0))
        difference = float(np.abs(one[finite].astype(np.float64) - other[finite]).max(initial=0.0))
        self.figures.tensors += 1
        if largest > 0 and not besides:
            self.figures.tensor = max(self.figures.tensor, difference / largest)
        assert difference <= TENSOR * largest + besides, (where, difference, largest)

    def _codes(self, index: int, one: Array, other: Array, key: str, besides: float) -> bool:
        """Whether codes differ at a point; each one that does must be near a threshold."""
        point = self.experiment.points[index]
        assert isinstance(point.format, Gfpq)
        any_differs = False
        for first, second, delta in self._parts(index, one, other):
            codes = [kernels.apply(np.ascontiguousarray(part), point.bits, delta) for part in (first, second)]
            differs = (codes[0] != codes[1]) & np.isfinite(second)
            self.figures.codes += first.size
            if not differs.any():
                continue
            any_differs = True
            here = np.minimum(*(distances(part[differs], point.format, delta) for part in (first, second)))
            inputs, largest = np.abs(second[differs]), float(np.abs(second[np.isfinite(second)]).max())
            self.figures.differing += int(differs.sum())
            self.figures.element = max(self.figures.element, float(here.max()))
            self.figures.magnitude = max(self.figures.magnitude, float((here * inputs).max()) / largest)
            # Sums in another order are as exact as their largest terms, not as what is left of them.
            near = (here <= THRESHOLD) | (here * inputs <= THRESHOLD * largest + besides)
            assert near.all(), (key, float(here.max()))
        return any_differs

    def _parts(self, index: int, one: Array, other: Array) -> list[tuple[Array, Array, int]]:
        """The tensors with their coefficient; sample by sample where each has its own."""
        given = self.deltas[index]
        if given is not EACH_SAMPLE:
            return [(one, other, int(given))]
        length, bits = len(other) // self.other.samples, self.experiment.points[index].bits
        parts = []
        for start in range(0, len(other), length):
            first, second = one[start : start + length], other[start : start + length]
            found = [kernels.coefficient_of(kernels.largest_magnitude(part)[0], bits) for part in (first, second)]
            if found[0] == found[1]:  # the largest magnitude itself may lie at the edge of a coefficient
                parts.append((first, second, found[1]))
        return parts

    def _scores(self) -> None:
        pooled = [pool_sums(measured.sums) for measured in (self.one, self.other)]
        cosines = [metrics.cosines(sums) for sums in pooled]
        for place, row in enumerate(self.experiment.rows):
            for column, comparison in enumerate(self.experiment.comparisons):
                names = {name: self.experiment.lane(name) for name in (comparison.lane, comparison.reference)}
                if (place, column) in self.one.problems or any(lane.side not in row.values for lane in names.values()):
                    continue
                sums = [each[place, column] for each in pooled]
                apart = any((name, row.values[lane.side]) in self._apart for name, lane in names.items())
                if apart:
                    continue
                values = [(lane.side, row.values[lane.side]) for lane in names.values()]
                if any(value in self.loose for value in values):
                    continue  # where it has reached 1 in one, it may be a bit below in the other
                statuses = [self._statuses(each) for each in sums]
                assert statuses[0] == statuses[1], (row.key, comparison.name, statuses)
                loose = any(self.errors.get(value) for value in values)
                if loose or metrics.field_of(sums[1], "count") < ELEMENTS:
                    continue
                difference = abs(float(cosines[0][place, column] - cosines[1][place, column]))
                self.figures.cosines += 1
                self.figures.cosine = max(self.figures.cosine, difference)
                assert difference <= self.cosine, (row.key, comparison.name, difference)

    @staticmethod
    def _statuses(sums: NDArray[np.float64]) -> set[Status]:
        scores = metrics.scores_of(sums)
        # Whether a line through the values leaves something beside rounding is a matter of rounding.
        return {scores.status, *scores.flags} - {Status.EXACT_AFFINE, Status.CONSTANT}


def logistic_values(models: Mapping[Side, Any]) -> frozenset[tuple[Side, str]]:
    """Values that a logistic function gives, and what only moves them or multiplies with them."""
    found: set[tuple[Side, str]] = set()
    for side, model in models.items():
        nodes = {node.name: node for node in model.graph.graph.node}
        for layer in model.layers:
            kinds = {nodes[name].op_type for name in layer.nodes}
            moved = kinds <= {"Reshape", "Transpose", "Concat", "Flatten", "Identity", "Slice", "Squeeze", "Unsqueeze"}
            reads = any((side, value) in found for value in layer.inputs)
            if "Sigmoid" in kinds or (moved and reads):
                found.update((side, value) for value in layer.outputs)
    return frozenset(found)

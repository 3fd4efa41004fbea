"""Measures the rows of one batch: which lanes against which, and what to do where there is nothing to score."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import (
    Array,
    Experiment,
    Measurement,
    PointEvidence,
    Row,
    RowProblem,
    RowState,
)
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.engine.tensors import as_floating, is_floating, stacked
from gfpq_inspect.analyze.lanes import Lane, Side
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.kernels import SUM_FIELDS

LiveTensors = Mapping[str, Mapping[Value, Array]]

_COUNT = SUM_FIELDS.index("count")
_UNEQUAL = SUM_FIELDS.index("unequal_bits")


@dataclass(frozen=True)
class Group:
    """Lanes that are measured against one reference, so that its tensor is read once.

    Attributes:
        reference: The reference lane.
        lanes: Lanes measured against it.
        columns: Their comparisons' indices.
        shares: Positions of the data, weight and both lane in `lanes`, and the model they belong to, or None.
    """

    reference: Lane
    lanes: tuple[Lane, ...]
    columns: tuple[int, ...]
    shares: tuple[Side, tuple[int, int, int]] | None


@dataclass(frozen=True)
class _Place:
    """A row in one group: its index, and the group's lanes whose model has it."""

    index: int
    row: Row
    group: Group
    members: list[int]


@dataclass(frozen=True)
class Target:
    """Where sums of one row go.

    Attributes:
        row: Index of the row.
        columns: Comparisons.
        places: For each of them, the position of its lane among the tensors that were compared.
        shares: Index of the model whose error is split, and the positions in `columns` of its data, weight and both
            lane; None where they are not all there.
    """

    row: int
    columns: list[int]
    places: list[int]
    shares: tuple[int, list[int]] | None

    def put(self, sums: NDArray[np.float64], products: NDArray[np.float64], into: Measurement) -> None:
        """Put sums and products of `kernels.similarity` there."""
        if self.places != list(range(sums.shape[1])):
            sums, products = sums[:, self.places], products[:, self.places][:, :, self.places]
        first, end = self.columns[0], self.columns[0] + len(self.columns)
        if self.columns == list(range(first, end)):  # neighbours, as they mostly are: a slice is copied far faster
            into.sums[:, self.row, first:end] = sums
        else:
            into.sums[:, self.row, self.columns] = sums
        if self.shares is not None:
            side, (data, weight, both) = self.shares
            into.isolation[:, self.row, side] = products[:, both, [data, weight, both]]


_ISOLATED = {Side.FIRST: ("data", "weight", "both"), Side.SECOND: ("tuned_data", "tuned_weight", "tuned")}


def groups_of(experiment: Experiment) -> list[Group]:
    """The comparisons of an experiment, by their reference."""
    groups = []
    for reference_name in dict.fromkeys(comparison.reference for comparison in experiment.comparisons):
        columns = [i for i, entry in enumerate(experiment.comparisons) if entry.reference == reference_name]
        lanes = tuple(experiment.lane(experiment.comparisons[column].lane) for column in columns)
        names = [lane.name for lane in lanes]
        reference = experiment.lane(reference_name)
        wanted = _ISOLATED[reference.side]
        shares = None
        if all(name in names for name in wanted):
            data, weight, both = (names.index(name) for name in wanted)
            shares = (reference.side, (data, weight, both))
        groups.append(Group(reference, lanes, tuple(columns), shares))
    return groups


class Measurer(Protocol):
    """Told of every row's tensors while they are there."""

    def empty(self, samples: int) -> Measurement:
        """A measurement of which nothing is known yet."""
        ...

    def measure(self, index: int, live: LiveTensors, samples: int, into: Measurement) -> None:
        """Look at one row in all lanes."""
        ...

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """Hand out the tensors that were asked for."""
        ...


class RowMeasurer:
    """Measures rows as soon as their tensors are there.

    Args:
        experiment: Rows, lanes and comparisons.
        constants: Values whose axis 0 does not count samples.
    """

    def __init__(self, experiment: Experiment, constants: Collection[Value]) -> None:
        self._experiment = experiment
        self._constants = constants
        self._groups = groups_of(experiment)

    def empty(self, samples: int) -> Measurement:
        """A measurement of which nothing is known yet."""
        experiment = self._experiment
        rows, columns = len(experiment.rows), len(experiment.comparisons)
        return Measurement(
            samples=samples,
            sums=np.zeros((samples, rows, columns, len(SUM_FIELDS))),
            isolation=np.zeros((samples, rows, len(Side), 3)),
            evidence=[PointEvidence() for _ in experiment.points],
        )

    def measure(self, index: int, live: LiveTensors, samples: int, into: Measurement) -> None:
        """Measure one row in all comparisons whose models have it."""
        row = self._experiment.rows[index]
        for group in self._groups:
            if group.reference.side not in row.values:
                continue
            members = [i for i, lane in enumerate(group.lanes) if lane.side in row.values]
            if members:
                self._measure_group(_Place(index, row, group, members), live, samples, into)

    def _measure_group(self, place: _Place, live: LiveTensors, samples: int, into: Measurement) -> None:
        index, row, group, members = place.index, place.row, place.group, place.members
        reference = _tensor(live, group.reference, row)
        tensors = [_tensor(live, group.lanes[member], row) for member in members]
        value = (group.reference.side, row.values[group.reference.side])
        counted = 1 if value in self._constants else samples
        scored = []
        for member, tensor in zip(members, tensors, strict=True):
            problem = self._problem(reference, tensor, counted)
            if problem is None:
                scored.append((member, tensor))
                continue
            into.problems[index, group.columns[member]] = problem
            if problem.state is RowState.NOT_FLOAT:
                self._count_equal(index, group.columns[member], reference, tensor, into)
        if not scored:
            return
        # Lanes that do not differ here share one array, and a shared array is read once.
        unique = list({id(tensor): tensor for _, tensor in scored}.values())
        position = {id(tensor): place for place, tensor in enumerate(unique)}
        positions = {member: place for place, (member, _) in enumerate(scored)}
        shares = None
        if group.shares is not None and all(member in positions for member in group.shares[1]):
            shares = list(Side).index(group.shares[0]), [positions[member] for member in group.shares[1]]
        target = Target(
            row=index,
            columns=[group.columns[member] for member, _ in scored],
            places=[position[id(tensor)] for _, tensor in scored],
            shares=shares,
        )
        self._keep(target, *self._similarity(reference, unique, counted), into)

    def _keep(self, target: Target, sums: Any, products: Any, into: Measurement) -> None:
        """Put what `_similarity` has found into the measurement."""
        target.put(sums, products, into)

    @staticmethod
    def _problem(reference: object, tensor: object, samples: int) -> RowProblem | None:
        return problem_of(reference, tensor, samples)

    def _similarity(self, reference: Array, tensors: Sequence[Array], samples: int) -> tuple[Any, Any]:
        """Sums and products of `kernels.similarity`, of floating-point tensors of one shape."""
        double = any(tensor.dtype == np.float64 for tensor in (reference, *tensors))
        arrays = [
            stacked(as_floating(tensor.astype(np.float64) if double else tensor), samples)
            for tensor in (reference, *tensors)
        ]
        return kernels.similarity(arrays[0], arrays[1:])

    @staticmethod
    def _count_equal(index: int, column: int, reference: Array, tensor: Array, into: Measurement) -> None:
        # Not by sample: nothing but the pooled share is made of it, and axis 0 need not count samples.
        into.sums[0, index, column, _COUNT] = reference.size
        into.sums[0, index, column, _UNEQUAL] = np.count_nonzero(reference != tensor)

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """Hand out the tensors that were asked for."""
        for row in self._experiment.rows:
            if row.key in self._experiment.captured:
                for lane in self._experiment.lanes:
                    if lane.side in row.values and lane.fed_by is None:
                        into.captured[row.key, lane.name] = _tensor(live, lane, row)


def _tensor(live: LiveTensors, lane: Lane, row: Row) -> Array:
    return live[lane.name][lane.side, row.values[lane.side]]


def problem_of(reference: object, tensor: object, samples: int) -> RowProblem | None:
    """Why two values cannot be scored, or None. Shapes are told as those of one of the stacked samples."""
    if not isinstance(reference, np.ndarray) or not isinstance(tensor, np.ndarray):
        return RowProblem(RowState.NOT_TENSOR, "the value is a sequence or map, not a tensor")
    if reference.shape != tensor.shape:
        one, other = (_shape_text(value.shape, samples) for value in (tensor, reference))
        return RowProblem(RowState.SHAPE_MISMATCH, f"shape {one} against {other} of the reference")
    if not is_floating(reference) or not is_floating(tensor):
        return RowProblem(RowState.NOT_FLOAT, f"{reference.dtype} against {tensor.dtype}")
    return None


def _shape_text(shape: tuple[int, ...], samples: int) -> str:
    if shape and shape[0] % samples == 0:
        shape = (shape[0] // samples, *shape[1:])
    return "x".join(map(str, shape)) or "scalar"

"""Evidence that the taps of a graph take while they measure: what is asked of them, where it goes, what it adds up to.

One sample fills one set of arrays; sets are added in the order of samples, so that no sum depends on who ran what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.analyze.channels import EXTREMES, FIELDS, PAIRS, SUMS, ChannelEvidence, PointTable
from gfpq_inspect.analyze.density import HALF, MOST_VALUES, Density
from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.merged.taps import Symbol, Tap
from gfpq_inspect.analyze.engine.merged.weave import Weaver
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.histograms import BINS, WORST, ValueHistograms, Worst
from gfpq_inspect.analyze.lanes import Side, reference_lane
from gfpq_inspect.quantize import gfpq_of

_POINT_FIELDS = ("finite", "nonzero", "flushed", "snapped", "beyond", "signal", "floor_error")
_MAX_X = FIELDS.index("max_x")


@dataclass(frozen=True)
class _PointPlace:
    """Where the evidence of one point lies: its table, its counts, and the table of the whole tensor or -1."""

    point: int
    table: int
    channels: int
    codes: int
    magnitudes: int
    whole: int


@dataclass
class EvidencePlan:
    """What the taps of a graph take, and where it goes.

    Attributes:
        pairs: (row index, name of the pair, first row of its table, channels).
        values: Row indices with histograms; the place is the position here.
        digests: Row indices whose float tensor is told from others.
        points: Points that are looked at.
        table_rows: Rows of all tables.
        codes: Counts of all codes.
        complete: Nothing that is evidence is left out.
    """

    pairs: list[tuple[int, str, int, int]] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)
    points: list[_PointPlace] = field(default_factory=list)
    table_rows: int = 0
    codes: int = 0
    complete: bool = True

    def table(self, channels: int) -> int:
        """Room for a table; its first row."""
        self.table_rows += channels
        return self.table_rows - channels


class SampleLooks:
    """What one sample gives.

    Args:
        plan: What is taken.
        points: Points of the experiment.
        stride: Tiles of which histograms look at one.
    """

    def __init__(self, plan: EvidencePlan, points: int, stride: int) -> None:
        places = len(plan.values)
        self.plan = plan
        self.tables = np.zeros((plan.table_rows, len(FIELDS)))
        self.counts = np.zeros((places, 3, 2 * BINS + 1), np.uint32)
        self.cells = np.zeros((places, 2 * HALF, 2 * HALF), np.uint32)
        self.exponents = np.zeros(places, np.int32)
        self.worst = np.zeros((places, WORST, 4))
        self.digests = np.zeros(len(plan.digests), np.uint64)
        self.points = np.zeros((points, len(_POINT_FIELDS)))
        self.codes = np.zeros(plan.codes, np.int64)
        self.room = _native.EvidenceRoom(
            stride,
            MOST_VALUES,
            self.tables,
            self.counts,
            self.cells,
            self.exponents,
            self.worst,
            self.digests,
            self.points,
            self.codes,
        )


class EvidenceSums:
    """Evidence of many samples.

    Args:
        experiment: What was run.
        shapes: (model, value) to the shape of one sample's tensor.
    """

    def __init__(self, experiment: Experiment, shapes: Mapping[Value, tuple[int, ...]]) -> None:
        self._experiment = experiment
        self._shapes = shapes
        self._all: SampleLooks | None = None
        self._counts: NDArray[np.int64] | None = None
        self._cells: NDArray[np.int64] | None = None
        self._worst: list[tuple[int, NDArray[np.float64]]] = []
        self._varying: NDArray[np.bool_] | None = None
        self._samples = 0

    def add(self, sample: int, one: SampleLooks) -> None:
        """Add the next sample's."""
        self._samples += 1
        self._worst.append((sample, one.worst))
        if self._all is None or self._counts is None or self._cells is None or self._varying is None:
            self._all = one
            self._counts, self._cells = one.counts.astype(np.int64), one.cells.astype(np.int64)
            self._varying = np.zeros(len(one.digests), bool)
            return
        known = self._all
        most = np.maximum(known.tables[:, -len(EXTREMES) :], one.tables[:, -len(EXTREMES) :])
        known.tables += one.tables
        known.tables[:, len(SUMS) :] = most
        known.points += one.points
        known.codes += one.codes
        self._counts += one.counts
        self._varying |= known.digests != one.digests
        if np.array_equal(known.exponents, one.exponents):
            self._cells += one.cells
            return
        for place, exponents in enumerate(zip(known.exponents, one.exponents, strict=True)):
            density = Density(_exponent(exponents[0]), self._cells[place])
            density.add(Density(_exponent(exponents[1]), one.cells[place].astype(np.int64)))
            self._cells[place] = density.cells
            known.exponents[place] = _native.NO_EXPONENT if density.exponent is None else density.exponent

    def result(self) -> ChannelEvidence:
        """All of it, as a pass for evidence gives it."""
        evidence = ChannelEvidence(samples=self._samples)
        if self._all is None or self._counts is None or self._cells is None or self._varying is None:
            return evidence
        known, plan = self._all, self._all.plan
        for row, name, first, channels in plan.pairs:
            evidence.rows[row, name] = known.tables[first : first + channels].copy()
        for place, row in enumerate(plan.values):
            density = Density(_exponent(known.exponents[place]), self._cells[place])
            evidence.histograms[row] = ValueHistograms(self._counts[place], self._worst_of(place, row), density)
        for place, row in enumerate(plan.digests):
            evidence.first_tensors[row] = known.digests[place].tobytes()
            if self._varying[place]:
                evidence.varying.add(row)
        for entry in plan.points:
            evidence.points[entry.point] = self._point(known, entry)
        return evidence

    @staticmethod
    def _point(known: SampleLooks, entry: _PointPlace) -> PointTable:
        channels = known.tables[entry.table : entry.table + entry.channels].copy()
        if entry.whole >= 0:
            channels[:, _MAX_X] = known.tables[entry.whole : entry.whole + entry.channels, _MAX_X]
        numbers: dict[str, Any] = dict(zip(_POINT_FIELDS, known.points[entry.point].tolist(), strict=True))
        for name in _POINT_FIELDS[:5]:
            numbers[name] = int(numbers[name])
        histogram = known.codes[entry.codes : entry.codes + 2 * entry.magnitudes].reshape(2, entry.magnitudes)
        return PointTable(channels, histogram.copy(), **numbers)

    def _worst_of(self, place: int, row: int) -> list[Worst]:
        values = self._experiment.rows[row].values
        shape = self._shapes[next((side, values[side]) for side in reversed(list(Side)) if side in values)]
        found = []
        for sample, worst in self._worst:
            for error, at, reference, other in worst[place]:
                if error > 0:
                    axes = tuple(int(axis) for axis in np.unravel_index(int(at), shape))[1:]
                    found.append(Worst(float(error), sample, axes, float(reference), float(other)))
        return sorted(found, key=lambda one: (-one.error, one.sample, one.place))[:WORST]


def _exponent(number: Any) -> int | None:
    return None if number == _native.NO_EXPONENT else int(number)


class LookingWeaver(Weaver):
    """Weaves a graph whose taps also take evidence; `plan` says which, once it is woven."""

    plan: EvidencePlan

    def _begin(self) -> None:
        self.plan = EvidencePlan()
        super()._begin()

    def _taken(self, index: int, taps: Mapping[str, tuple[Tap, int]]) -> None:
        row = self._experiment.rows[index]
        lanes = {lane.name: lane for side in self._lanes.values() for lane in side}
        whole: dict[Side, int] = {}
        shown: tuple[Tap, int, int] | None = None
        for name, (one, other) in PAIRS.items():
            if one not in lanes or other not in lanes:
                continue
            sides = lanes[one].side, lanes[other].side
            if any(side not in row.values for side in sides) or not self._alike(row.values, sides):
                continue
            found = [taps.get(self._symbol_of(lanes[lane], index).name) for lane in (one, other)]
            if found[0] is None or found[1] is None or found[0][0] is not found[1][0]:
                self.plan.complete = False
                continue
            tap, slots = found[0][0], (found[0][1], found[1][1])
            channels = self._channels((sides[0], row.values[sides[0]]))
            table = self.plan.table(channels)
            self.plan.pairs.append((index, name, table, channels))
            tap.evidence.append(("e", slots, (table,)))
            if name in ("both", "tuned"):
                whole[sides[0]] = table
                shown = tap, *slots
        if shown is not None:
            tap, *pair = shown
            tap.evidence.append(("h", tuple(pair), (len(self.plan.values),)))
            self.plan.values.append(index)
        for side, value in row.values.items():
            if (side, value) in self._ground.facts.floating and self._channels((side, value)):
                self._single(index, (side, value), taps, whole.get(side, -1))

    def _single(self, index: int, value: Value, taps: Mapping[str, tuple[Tap, int]], whole: int) -> None:
        """What is asked of the float lane's tensor alone."""
        side = value[0]
        symbol: Symbol = self._symbol_of(reference_lane(side), index)
        points = [place for key, place in self._points.items() if key[:2] == value]
        if side is not Side.FIRST and not points:
            return
        if symbol.name not in taps:
            self.plan.complete = False
            return
        tap, slot = taps[symbol.name]
        if side is Side.FIRST:
            tap.evidence.append(("d", (slot,), (len(self.plan.digests),)))
            self.plan.digests.append(index)
        for place in points:
            bits = self._experiment.points[place].bits
            magnitudes = gfpq_of(bits).highest_code + 1
            channels = self._channels(value)
            entry = _PointPlace(place, self.plan.table(channels), channels, self.plan.codes, magnitudes, whole)
            self.plan.codes += 2 * magnitudes
            self.plan.points.append(entry)
            tap.evidence.append(("k", (slot,), (place, bits, entry.table, entry.codes)))

    def _alike(self, values: Mapping[Side, str], sides: tuple[Side, Side]) -> bool:
        """Whether two lanes' tensors can be compared channel by channel."""
        facts = self._ground.facts
        entries = [(side, values[side]) for side in sides]
        shapes = [facts.shapes[entry] for entry in entries]
        return shapes[0] == shapes[1] and all(entry in facts.floating for entry in entries) and 0 not in shapes[0]

    def _channels(self, value: Value) -> int:
        shape = self._ground.facts.shapes[value]
        return 0 if 0 in shape else shape[1] if len(shape) > 1 else 1

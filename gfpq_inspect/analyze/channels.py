"""Evidence a channel and a code, gathered in a pass of its own over some of the samples (spec: metrics, section 5).

The scores of a run come from all samples, in one fused read; what stands here needs several more reads of every tensor,
so it is taken from as many samples as a stated budget allows, spread evenly over the set. Memory holds sums a channel
and counts a code, never tensors, and does not grow with samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Array, Experiment, Measurement, PointEvidence
from gfpq_inspect.analyze.engine.quantizer import coefficient_for, delta_of
from gfpq_inspect.analyze.engine.rows import LiveTensors
from gfpq_inspect.analyze.engine.tensors import as_floating, is_floating
from gfpq_inspect.analyze.histograms import ValueHistograms, histograms
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.tiles import sampled
from gfpq_inspect.quantize import NumberFormat, kernels
from gfpq_inspect.quantize.stored import CODE_RANGES, StoredQuantization
from gfpq_inspect.quantize.uniform import Steps, Uniform

SUMS = ("count", "x", "xx", "y", "yy", "xy", "d", "dd", "zeros_x", "zeros_y")
EXTREMES = ("max_x", "max_y")
FIELDS = SUMS + EXTREMES
"""Columns of a table of channels. x is the reference, y the other, d = y - x; `max` is of magnitudes."""

PAIRS: Mapping[str, tuple[str, str]] = {
    "both": ("float", "both"),
    "tuned": ("tuned_float", "tuned"),
    "drift": ("float", "tuned_float"),
    "dump": ("float", "dump"),
    "dumps": ("first_dump", "second_dump"),
}
"""Name of a table of channels to the lanes that it compares."""

_MAX_X = FIELDS.index("max_x")
_MOST_CODES = 256

_COUNT = kernels.SUM_FIELDS.index("count")
_SUMMED = [
    kernels.SUM_FIELDS.index(name)
    for name in ("count", "sum_x", "sum_xx", "sum_y", "sum_yy", "sum_xy", "sum_d", "sum_dd")
]
_MAXIMA = [kernels.SUM_FIELDS.index(name) for name in ("max_abs_x", "max_abs_y")]
"""Columns of the kernel's sums that stand first in a table, and those that stand last."""

Table = NDArray[np.float64]


@dataclass
class PointTable:
    """What quantizing does to one tensor by itself: the float lane's tensor against its quantized copy.

    Of GFPQ it is made of sampled tiles, as histograms are; the largest magnitudes of x are of all elements.

    Attributes:
        channels: float64 [channels, FIELDS].
        histogram: int64 [2, codes]: how often positive and negative values use each code; in formats other than GFPQ
            by magnitude in steps, and empty where a tensor has several scales, none, or more than 8 bits.
        nonzero: Elements that are not zero before quantization.
        flushed: Those that become zero.
        finite: Elements that were looked at, those that are not finite left out; the counts are among these.
        snapped: Above the top by less than a step.
        beyond: Above the top by a step or more.
        signal: sum x^2 as the floor counts it; GFPQ only, as
        floor_error: sum of squared errors of rounding alone.
    """

    channels: Table
    histogram: NDArray[np.int64]
    finite: int = 0
    nonzero: int = 0
    flushed: int = 0
    snapped: int = 0
    beyond: int = 0
    signal: float = 0.0
    floor_error: float = 0.0

    def add(self, other: PointTable) -> None:
        """Add what another sample showed."""
        self.channels = merge(self.channels, other.channels)
        if self.histogram.shape == other.histogram.shape:  # a scale of each sample's own may move the zero point
            self.histogram = self.histogram + other.histogram
        self.finite += other.finite
        self.nonzero += other.nonzero
        self.flushed += other.flushed
        self.snapped += other.snapped
        self.beyond += other.beyond
        self.signal += other.signal
        self.floor_error += other.floor_error


@dataclass
class ChannelEvidence:
    """Tables of channels of every row, and of every tensor that is quantized.

    Attributes:
        rows: (row index, pair name) to float64 [channels, FIELDS].
        points: Point index to what its coefficient does to the tensor.
        samples: Samples seen.
        dropped: Tables that were given up: the number of channels differs between samples.
        first_tensors: Row index to a digest of the first sample's float tensor.
        varying: Row indices whose float tensor differs between samples.
        histograms: Row index to histograms of the float and the deployed tensor, and the worst elements.
    """

    rows: dict[tuple[int, str], Table] = field(default_factory=dict)
    points: dict[int, PointTable] = field(default_factory=dict)
    samples: int = 0
    dropped: set[tuple[int, str]] = field(default_factory=set)
    first_tensors: dict[int, bytes] = field(default_factory=dict)
    varying: set[int] = field(default_factory=set)
    histograms: dict[int, ValueHistograms] = field(default_factory=dict)

    def add(self, other: ChannelEvidence) -> None:
        """Add the next sample's; samples must come in order."""
        for key, table in other.rows.items():
            known = self.rows.get(key)
            if known is None and key not in self.dropped:
                self.rows[key] = table
            elif known is not None and known.shape == table.shape:
                self.rows[key] = merge(known, table)
            elif known is not None:
                del self.rows[key]
                self.dropped.add(key)
        for index, point in other.points.items():
            if index in self.points and self.points[index].channels.shape == point.channels.shape:
                self.points[index].add(point)
            else:
                self.points.setdefault(index, point)
        for index, digest in other.first_tensors.items():
            if self.first_tensors.setdefault(index, digest) != digest:
                self.varying.add(index)
        for index, counted in other.histograms.items():
            if index in self.histograms:
                self.histograms[index].add(counted)
            else:
                self.histograms[index] = counted
        self.samples += other.samples

    def number(self, sample: int) -> None:
        """Say which sample of the set this is, where it holds a single one."""
        for counted in self.histograms.values():
            counted.worst = [replace(one, sample=sample) for one in counted.worst]


def merge(one: Table, other: Table) -> Table:
    """Merge two tables of channels: sums added, extremes widened."""
    merged = one + other
    extremes = len(SUMS)
    merged[:, extremes:] = np.maximum(one[:, extremes:], other[:, extremes:])
    return merged


def column(table: Table, name: str) -> NDArray[np.float64]:
    """One column, float64 [channels]."""
    values: NDArray[np.float64] = table[:, FIELDS.index(name)]
    return values


def by_channel(array: Array) -> Array:
    """The tensor as [channels, values]: axis 1 counts channels; tensors of fewer axes are one channel."""
    if array.ndim < 2:
        return array.reshape(1, -1)
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)


def channel_table(reference: Array, other: Array) -> Table:
    """Sums a channel of two tensors of the same shape, over pairs of finite elements.

    Returns:
        float64 [channels, FIELDS].
    """
    x = _working(reference)
    y = x if other is reference else _working(other)
    if x.dtype != y.dtype:
        x, y = x.astype(np.float64), y.astype(np.float64)
    sums = kernels.similarity(x, [y])[0][:, 0]
    count = sums[:, _COUNT]
    zeros = [x.shape[1] - np.count_nonzero(array, axis=1) for array in (x, y)]
    if (count < x.shape[1]).any():
        finite = np.isfinite(x) & np.isfinite(y)
        zeros = [((array == 0) & finite).sum(1) for array in (x, y)]
    table = np.empty((len(x), len(FIELDS)))
    table[:, : len(_SUMMED)] = sums[:, _SUMMED]
    table[:, len(_SUMMED) : len(SUMS)] = np.stack(zeros, axis=1)
    # Without a pair of finite values the kernel's maxima are -inf.
    table[:, len(SUMS) :] = np.maximum(sums[:, _MAXIMA], 0.0)
    return table


def _working(array: Array) -> Array:
    """The tensor as [channels, values], in a width that the kernels read."""
    return by_channel(as_floating(array))


def point_table(array: Array, bits: int, delta: int) -> PointTable:
    """What a coefficient does to one tensor."""
    working = as_floating(array)
    quantized = kernels.apply(working, bits, delta)
    codes = kernels.code_statistics(working, bits, delta)
    signal, error = _native.rounding_energy(working, bits)
    return PointTable(
        channels=channel_table(working, quantized),
        histogram=codes.histogram,
        finite=codes.finite,
        nonzero=codes.nonzero,
        flushed=codes.flushed,
        snapped=codes.snapped,
        beyond=codes.beyond,
        signal=signal,
        floor_error=error,
    )


def format_table(array: Array, number_format: NumberFormat, coefficient: Any) -> PointTable:
    """What a format other than GFPQ does to one tensor."""
    working = as_floating(array)
    if coefficient is None or coefficient is EACH_SAMPLE:
        coefficient = coefficient_for(number_format, working)
    quantized = number_format.apply(working, coefficient)
    counts = number_format.counts(working, quantized, coefficient)
    return PointTable(
        channels=channel_table(working, quantized),
        histogram=step_histogram(quantized, steps_of(number_format, coefficient)),
        finite=counts.finite,
        nonzero=counts.nonzero,
        flushed=counts.flushed,
        snapped=counts.snapped,
        beyond=counts.beyond,
    )


def steps_of(number_format: NumberFormat, coefficient: Any) -> Steps | None:
    """The one grid of equal steps that a tensor has, or None."""
    steps: Steps | None = None
    if isinstance(number_format, Uniform):
        steps = number_format.steps(coefficient)
    elif isinstance(number_format, StoredQuantization) and number_format.name in CODE_RANGES:
        steps = number_format.steps((1,)) if number_format.axis is None else None
    return steps if steps is not None and steps.scale.size == 1 and steps.highest - steps.lowest < _MOST_CODES else None


def step_histogram(quantized: Array, steps: Steps | None) -> NDArray[np.int64]:
    """How often a quantized tensor has each magnitude, in steps: int64 [2, magnitudes], positive, then negative."""
    if steps is None:
        return np.zeros((2, 0), dtype=np.int64)
    zero, scale = int(steps.zero_point.reshape(())), float(steps.scale.reshape(()))
    size = max(steps.highest - zero, zero - steps.lowest) + 1
    values = quantized[np.isfinite(quantized)].astype(np.float64) / scale
    codes = np.clip(np.rint(values), 1 - size, size - 1).astype(np.int64)
    counts = np.bincount(codes + size - 1, minlength=2 * size - 1)
    negative = counts[: size - 1][::-1]
    return np.stack([counts[size - 1 :], np.concatenate([[0], negative])])


@dataclass
class EvidenceMeasurement(Measurement):
    """What one sample gives in the pass for evidence."""

    channels: ChannelEvidence = field(default_factory=ChannelEvidence)


class ChannelMeasurer:
    """Takes the place of the engine's measurer of rows; one sample at a time.

    Args:
        experiment: Rows, lanes and points.
        deltas: Coefficient of every point, or None where each sample has its own.
        stride: Tiles of which histograms look at one.
    """

    def __init__(self, experiment: Experiment, deltas: Sequence[Any] | None, stride: int = 1) -> None:
        self._stride = stride
        self._experiment = experiment
        self._deltas = deltas
        lanes = {lane.name: lane for lane in experiment.lanes}
        self._pairs = {
            name: (lanes[one], lanes[other]) for name, (one, other) in PAIRS.items() if one in lanes and other in lanes
        }
        self._points: dict[tuple[Side, str], list[int]] = {}
        for index, point in enumerate(experiment.points):
            self._points.setdefault((point.side, point.value), []).append(index)
        self._float = {
            side: next(lane.name for lane in experiment.lanes if lane.side is side)
            for side in experiment.models
            if any(lane.side is side for lane in experiment.lanes)
        }

    def empty(self, samples: int) -> EvidenceMeasurement:
        """A measurement of which nothing is known yet."""
        nothing = np.zeros((0, 0, 0, 0))
        return EvidenceMeasurement(
            samples=samples,
            sums=nothing,
            isolation=nothing,
            evidence=[PointEvidence() for _ in self._experiment.points],
            channels=ChannelEvidence(samples=samples),
        )

    def measure(self, index: int, live: LiveTensors, samples: int, into: Measurement) -> None:  # noqa: ARG002  (the engine's interface)
        """Add one row: a table for every pair of lanes that has it, and what its coefficients do."""
        assert isinstance(into, EvidenceMeasurement)
        row = self._experiment.rows[index]
        tables = into.channels
        for name, (one, other) in self._pairs.items():
            if one.side in row.values and other.side in row.values:
                x, y = (
                    live[one.name][one.side, row.values[one.side]],
                    live[other.name][other.side, row.values[other.side]],
                )
                if is_floating(x) and is_floating(y) and x.shape == y.shape and x.size:
                    tables.rows[index, name] = channel_table(x, y)
                    if name in ("both", "tuned"):
                        tables.histograms[index] = histograms(x, y, 0, self._stride)
        for side, value in row.values.items():
            array = live[self._float[side]][side, value]
            if not is_floating(array) or not array.size:
                continue
            if side is Side.FIRST:
                tables.first_tensors[index] = hashlib.blake2b(array.tobytes(), digest_size=8).digest()
            for place in self._points.get((side, value), ()):
                point = self._experiment.points[place]
                if point.own_format is not None:
                    coefficient = None if self._deltas is None else self._deltas[place]
                    tables.points[place] = format_table(array, point.own_format, coefficient)
                    continue
                working = as_floating(array)
                given = EACH_SAMPLE if self._deltas is None else self._deltas[place]
                delta = delta_of(working, point.bits) if given is EACH_SAMPLE else int(given)
                table = point_table(sampled(working, self._stride).swapaxes(0, 1), point.bits, delta)
                whole = tables.rows.get((index, "both" if side is Side.FIRST else "tuned"))
                if whole is not None:
                    table.channels[:, _MAX_X] = whole[:, _MAX_X]
                tables.points[place] = table

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """Nothing is handed out."""

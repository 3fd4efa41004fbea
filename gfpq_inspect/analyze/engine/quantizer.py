"""Quantized copies of tensors within one batch, and the evidence that quantizing them leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Array, PointEvidence
from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.lanes import Lane, Side, deployed_lane
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of, kernels
from gfpq_inspect.quantize.kernels import FloatArray
from gfpq_inspect.quantize.number_format import range_of


class Quantizer:
    """Quantizes tensors of one batch: one copy for all readers with the same bit width.

    Args:
        points: (model, value, bits) to the column of its coefficient.
        formats: Format of every point.
        deltas: Coefficient of every point (or `EACH_SAMPLE`), or None to make one from each sample.
        samples: Samples in the batch.
        constants: Values whose axis 0 does not count samples.
        evidence: One a point, filled as the deployed lanes are quantized.
        seen: Points whose evidence is taken elsewhere.
    """

    def __init__(
        self,
        points: Mapping[tuple[Side, str, int], int],
        formats: Sequence[NumberFormat],
        deltas: Sequence[Any] | None,
        *,
        samples: int,
        constants: Collection[tuple[Side, str]],
        evidence: Sequence[PointEvidence],
        seen: Collection[int] = (),
    ) -> None:
        self._points = points
        self._formats = formats
        self._deltas = deltas
        self._samples = samples
        self._constants = constants
        self._evidence = evidence
        self._copies: dict[tuple[Side, str], dict[tuple[int, int], tuple[Array, Array]]] = {}
        self._seen = set(seen)

    def quantized(self, lane: Lane, name: str, bits: int, array: Array) -> Array:
        """The quantized copy of a lane's tensor, of the same dtype."""
        point = self._points[lane.side, name, bits]
        samples = 1 if (lane.side, name) in self._constants else self._samples
        copies = self._copies.setdefault((lane.side, name), {})
        entry = copies.get((id(array), bits))
        if entry is None:
            # The source is kept beside its copy, so that its identity cannot be taken by another array.
            entry = copies[id(array), bits] = (array, self._quantize(point, array, samples))
        if lane == deployed_lane(lane.side) and point not in self._seen:
            self._seen.add(point)
            self._take_evidence(point, array, entry[1], samples)
        return entry[1]

    def forget(self, side: Side, name: str) -> None:
        """Drop the copies of a tensor."""
        self._copies.pop((side, name), None)

    def _fixed(self, point: int) -> bool:
        """Whether one coefficient serves the whole batch."""
        return self._deltas is not None and self._deltas[point] is not EACH_SAMPLE

    def _quantize(self, point: int, array: Array, samples: int) -> Array:
        number_format = self._formats[point]
        working = as_floating(array)
        result = np.empty_like(working)
        if self._fixed(point):
            assert self._deltas is not None
            number_format.apply(working, self._deltas[point], out=result)
        else:
            for source, target in zip(sample_parts(working, samples), sample_parts(result, samples), strict=True):
                number_format.apply(source, coefficient_for(number_format, source), out=target)
        return result if result.dtype == array.dtype else result.astype(array.dtype)

    def _take_evidence(self, point: int, array: Array, copy: Array, samples: int) -> None:
        number_format, evidence = self._formats[point], self._evidence[point]
        before, after = as_floating(array), as_floating(copy)
        if self._fixed(point):
            assert self._deltas is not None
            evidence.add(point_evidence(before, after, number_format, self._deltas[point]))
            return
        for source, target in zip(sample_parts(before, samples), sample_parts(after, samples), strict=True):
            evidence.add(point_evidence(source, target, number_format, coefficient_for(number_format, source)))


def sample_parts(array: FloatArray, samples: int) -> list[FloatArray]:
    """Each sample's part, as a view of the same rank: channels keep their axis."""
    if samples > 1 and array.ndim and array.shape[0] % samples == 0:
        length = array.shape[0] // samples
        return [array[index * length : (index + 1) * length] for index in range(samples)]
    return [array]


def coefficient_for(number_format: NumberFormat, array: FloatArray) -> Any:
    """The coefficient that a tensor gives by itself."""
    if isinstance(number_format, Gfpq):
        return delta_of(array, number_format.bits)
    return number_format.of_range(*range_of(array))


def point_evidence(
    before: FloatArray, after: FloatArray, number_format: NumberFormat, coefficient: Any
) -> PointEvidence:
    """What quantizing did to a tensor, in any format."""
    if isinstance(number_format, Gfpq):
        return evidence_of(before, after, number_format.bits, coefficient)
    counts = number_format.counts(before, after, coefficient)
    finite = np.isfinite(before) & np.isfinite(after)
    values = np.where(finite, before, 0).astype(np.float64).ravel()
    error = np.where(finite, after, 0).ravel() - values
    return PointEvidence(
        counts.finite,
        counts.nonzero,
        counts.snapped,
        counts.beyond,
        counts.flushed,
        kernels.largest_magnitude(before)[0],
        signal=float(values @ values),
        error=float(error @ error),
    )


def delta_of(row: FloatArray, bits: int) -> int:
    """Coefficient of one sample's tensor."""
    return kernels.coefficient_of(kernels.largest_magnitude(row)[0], bits)


def evidence_of(before: FloatArray, after: FloatArray, bits: int, delta: int) -> PointEvidence:
    """What quantizing did to a tensor, from the tensor and its quantized copy.

    Counting is several times faster than `kernels.code_statistics`, which also counts every code.
    """
    magnitude, nonfinite = kernels.largest_magnitude(before)
    if nonfinite:
        counts = kernels.code_statistics(before, bits, delta)
        return PointEvidence(
            counts.finite, counts.nonzero, counts.snapped, counts.beyond, counts.flushed, magnitude, delta, delta
        )
    grid = gfpq_of(bits)
    top, above = grid.value(grid.highest_code, delta), grid.value(grid.highest_code + 1, delta)
    nonzero = kernels.nonzero_count(before)
    over = _count_from(before, np.nextafter(before.dtype.type(top), np.inf), magnitude)
    # The smallest number of the array's type that is a step above: a rounded limit would count its lower neighbour.
    limit = before.dtype.type(above)
    beyond = _count_from(before, float(limit if float(limit) >= above else np.nextafter(limit, np.inf)), magnitude)
    return PointEvidence(
        finite=before.size,
        nonzero=nonzero,
        snapped=over - beyond,
        beyond=beyond,
        flushed=nonzero - kernels.nonzero_count(after),
        magnitude=magnitude,
        delta_low=delta,
        delta_high=delta,
    )


def _count_from(array: FloatArray, limit: float, magnitude: float) -> int:
    """Elements whose magnitude is at or above a limit."""
    if magnitude < limit:
        return 0
    return int(np.count_nonzero(array >= limit)) + int(np.count_nonzero(array <= -limit))

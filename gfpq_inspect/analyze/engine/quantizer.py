"""Quantized copies of tensors within one batch, and the evidence that quantizing them leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gfpq_inspect.analyze.engine.interface import Array, PointEvidence
from gfpq_inspect.analyze.engine.tensors import as_floating, stacked
from gfpq_inspect.analyze.lanes import Lane, Side, deployed_lane
from gfpq_inspect.quantize import gfpq_of, kernels
from gfpq_inspect.quantize.kernels import FloatArray


class Quantizer:
    """Quantizes tensors of one batch: one copy for all readers with the same bit width.

    Args:
        points: (model, value, bits) to the column of its coefficient.
        deltas: Coefficient of every point, or None to make one from each sample.
        samples: Samples in the batch.
        constants: Values whose axis 0 does not count samples.
        evidence: One a point, filled as the deployed lanes are quantized.
    """

    def __init__(
        self,
        points: Mapping[tuple[Side, str, int], int],
        deltas: Sequence[int] | None,
        samples: int,
        constants: Collection[tuple[Side, str]],
        evidence: Sequence[PointEvidence],
    ) -> None:
        self._points = points
        self._deltas = deltas
        self._samples = samples
        self._constants = constants
        self._evidence = evidence
        self._copies: dict[tuple[Side, str], dict[tuple[int, int], tuple[Array, Array]]] = {}
        self._seen: set[int] = set()

    def quantized(self, lane: Lane, name: str, bits: int, array: Array) -> Array:
        """The quantized copy of a lane's tensor, of the same dtype."""
        point = self._points[lane.side, name, bits]
        samples = 1 if (lane.side, name) in self._constants else self._samples
        copies = self._copies.setdefault((lane.side, name), {})
        entry = copies.get((id(array), bits))
        if entry is None:
            # The source is kept beside its copy, so that its identity cannot be taken by another array.
            entry = copies[id(array), bits] = (array, self._quantize(point, bits, array, samples))
        if lane == deployed_lane(lane.side) and point not in self._seen:
            self._seen.add(point)
            self._take_evidence(point, bits, array, entry[1], samples)
        return entry[1]

    def forget(self, side: Side, name: str) -> None:
        """Drop the copies of a tensor."""
        self._copies.pop((side, name), None)

    def _quantize(self, point: int, bits: int, array: Array, samples: int) -> Array:
        working = as_floating(array)
        result = np.empty_like(working)
        if self._deltas is not None:
            kernels.apply(working, bits, self._deltas[point], out=result)
        else:
            for source, target in zip(stacked(working, samples), stacked(result, samples), strict=True):
                kernels.apply(source, bits, delta_of(source, bits), out=target)
        return result if result.dtype == array.dtype else result.astype(array.dtype)

    def _take_evidence(self, point: int, bits: int, array: Array, copy: Array, samples: int) -> None:
        before, after = as_floating(array), as_floating(copy)
        if self._deltas is not None:
            self._evidence[point].add(evidence_of(before, after, bits, self._deltas[point]))
            return
        for source, target in zip(stacked(before, samples), stacked(after, samples), strict=True):
            self._evidence[point].add(evidence_of(source, target, bits, delta_of(source, bits)))


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
    nonzero = int(np.count_nonzero(before))
    over = _count_from(before, np.nextafter(before.dtype.type(top), np.inf), magnitude)
    beyond = _count_from(before, above, magnitude)
    return PointEvidence(
        finite=before.size,
        nonzero=nonzero,
        snapped=over - beyond,
        beyond=beyond,
        flushed=nonzero - int(np.count_nonzero(after)),
        magnitude=magnitude,
        delta_low=delta,
        delta_high=delta,
    )


def _count_from(array: FloatArray, limit: float, magnitude: float) -> int:
    """Elements whose magnitude is at or above a limit."""
    if magnitude < limit:
        return 0
    return int(np.count_nonzero(array >= limit)) + int(np.count_nonzero(array <= -limit))

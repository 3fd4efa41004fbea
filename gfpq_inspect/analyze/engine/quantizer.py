"""Quantized copies of tensors within one batch, and the evidence that quantizing them leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import POINT_FIELDS, Array
from gfpq_inspect.analyze.engine.tensors import as_floating, stacked
from gfpq_inspect.analyze.lanes import Lane, Side, deployed_lane
from gfpq_inspect.quantize import kernels


class Quantizer:
    """Quantizes tensors of one batch: one copy for all readers with the same bit width.

    Args:
        points: (model, value, bits) to the column of its coefficient.
        deltas: Coefficient of every point, or None to make one from each sample.
        samples: Samples in the batch.
        constants: Values whose axis 0 does not count samples.
        evidence: float64 [samples, points, POINT_FIELDS], filled as the deployed lanes are quantized.
    """

    def __init__(
        self,
        points: Mapping[tuple[Side, str, int], int],
        deltas: Sequence[int] | None,
        samples: int,
        constants: Collection[tuple[Side, str]],
        evidence: NDArray[np.float64],
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
            self._take_evidence(point, bits, array, samples)
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

    def _take_evidence(self, point: int, bits: int, array: Array, samples: int) -> None:
        for index, row in enumerate(stacked(as_floating(array), samples)):
            delta = self._deltas[point] if self._deltas is not None else delta_of(row, bits)
            self._evidence[index, point] = _evidence(row, bits, delta)
        if samples < self._samples:
            self._evidence[1:, point] = self._evidence[0, point]


def delta_of(row: Array, bits: int) -> int:
    """Coefficient of one sample's tensor."""
    return kernels.coefficient_of(kernels.largest_magnitude(row)[0], bits)


def _evidence(row: Array, bits: int, delta: int) -> list[float]:
    counts = kernels.code_statistics(row, bits, delta)
    found = {"magnitude": kernels.largest_magnitude(row)[0], "delta": delta}
    return [float(found[name] if name in found else getattr(counts, name)) for name in POINT_FIELDS]

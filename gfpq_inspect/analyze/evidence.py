"""Rows of evidence: what the coefficient of each quantized tensor is and what it does (spec: metrics, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.analyze.engine.interface import POINT_FIELDS, Point
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import Coefficient
from gfpq_inspect.analyze.weights import QuantizedWeight, WeightTable
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import kernels

_INDEX = {name: index for index, name in enumerate(POINT_FIELDS)}
_STEPS_PER_OCTAVE = {8: 16, 16: 128}
_HIGHEST_CODE = {8: 127, 16: 1407}


def grid_ends(bits: int, delta: int) -> tuple[float, float]:
    """Largest and smallest magnitude of a grid: value(T) and value(0) (spec: gfpq, section 1)."""
    steps = _STEPS_PER_OCTAVE[bits]
    return 2.0 ** ((delta + _HIGHEST_CODE[bits]) / steps), 2.0 ** (delta / steps)


class EvidencePool:
    """What was seen at every point, over all samples, in bounded memory.

    Args:
        points: Number of points.
    """

    def __init__(self, points: int) -> None:
        self._sums = np.zeros((points, len(POINT_FIELDS)))
        self.magnitude = np.zeros(points)
        self.delta_low = np.full(points, np.iinfo(np.int32).max, dtype=np.int64)
        self.delta_high = np.full(points, np.iinfo(np.int32).min, dtype=np.int64)

    def add(self, samples: NDArray[np.float64]) -> None:
        """Add the evidence of samples, [N, points, POINT_FIELDS]; all counts are whole numbers, so order is nothing."""
        if samples.size:
            self._sums += samples.sum(axis=0)
            self.magnitude = np.maximum(self.magnitude, samples[..., _INDEX["magnitude"]].max(axis=0))
            delta = samples[..., _INDEX["delta"]].astype(np.int64)
            self.delta_low = np.minimum(self.delta_low, delta.min(axis=0))
            self.delta_high = np.maximum(self.delta_high, delta.max(axis=0))

    def share(self, point: int, name: str, of: str) -> float | None:
        """One count as a share of another."""
        whole = self._sums[point, _INDEX[of]]
        return float(self._sums[point, _INDEX[name]] / whole) if whole else None


def data_coefficients(
    points: Sequence[Point],
    pool: EvidencePool,
    deltas: Sequence[int] | None,
    magnitudes: Sequence[float] | None,
    names: Mapping[tuple[Side, str], str],
) -> list[Coefficient]:
    """A row for every layer and tensor that it reads quantized.

    Args:
        points: The points.
        pool: Evidence from the lane that simulates the deployment.
        deltas: Calibrated coefficients, or None where each sample has its own.
        magnitudes: Largest magnitudes that the calibration saw, or None.
        names: Tensor names for people.
    """
    rows = []
    for index, point in enumerate(points):
        calibrated = deltas[index] if deltas is not None else None
        low = high = calibrated
        if low is None or high is None:
            low, high = int(pool.delta_low[index]), int(pool.delta_high[index])
        top, _ = grid_ends(point.bits, high)
        _, bottom = grid_ends(point.bits, low)
        rows += [
            Coefficient(
                layer=layer,
                tensor=names.get((point.side, point.value), point.value),
                role="data",
                model=point.side.value,
                bits=point.bits,
                delta=calibrated,
                delta_low=low,
                delta_high=high,
                block=_native.pack_parameters(calibrated).hex() if calibrated is not None else None,
                maximum=float(magnitudes[index] if magnitudes is not None else pool.magnitude[index]),
                grid_top=top,
                grid_bottom=bottom,
                snapped_share=pool.share(index, "snapped", "finite"),
                beyond_share=pool.share(index, "beyond", "finite"),
                flushed_share=pool.share(index, "flushed", "nonzero"),
            )
            for layer in point.layers
        ]
    return rows


def weight_coefficients(models: Mapping[Side, Model], weights: WeightTable, bits: int | None) -> list[Coefficient]:
    """A row for every layer and weight that it quantizes."""
    if bits is None:
        return []
    rows = []
    for side, model in models.items():
        for layer in model.layers:
            if layer.quantization is None:
                continue
            for name in layer.quantization.weights:
                entry = weights.get(side, name, layer.quantization.bits or bits)
                rows.append(_weight_row(layer.key, side, entry))
    return rows


def _weight_row(layer: str, side: Side, entry: QuantizedWeight) -> Coefficient:
    stored = entry.stored if entry.stored.dtype in (np.float32, np.float64) else entry.stored.astype(np.float32)
    statistics = kernels.code_statistics(stored, entry.bits, entry.delta)
    top, bottom = grid_ends(entry.bits, entry.delta)
    return Coefficient(
        layer=layer,
        tensor=entry.initializer,
        role="weight",
        model=side.value,
        bits=entry.bits,
        delta=entry.delta,
        delta_low=entry.delta,
        delta_high=entry.delta,
        block=_native.pack_parameters(entry.delta).hex(),
        maximum=entry.magnitude,
        grid_top=top,
        grid_bottom=bottom,
        snapped_share=statistics.snapped / statistics.finite if statistics.finite else None,
        beyond_share=statistics.beyond / statistics.finite if statistics.finite else None,
        flushed_share=statistics.flushed / statistics.nonzero if statistics.nonzero else None,
        on_grid=entry.on_grid,
    )

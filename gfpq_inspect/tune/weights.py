"""Quantizing one weight tensor for good, so that nobody who quantizes it again moves it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import Problem, QuantizationError
from gfpq_inspect.quantize import gfpq_of, kernels
from gfpq_inspect.quantize.kernels import CodeStatistics


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A weight tensor on the grid.

    Attributes:
        values: float32; every element is a grid value of `delta`. APPLY with `delta` changes nothing.
        bits: 8 or 16.
        delta: The coefficient.
        maximum: Largest magnitude before.
        statistics: What `delta` did to the tensor.
        sqnr_db: Signal over error in dB; None without signal or without error.
        was_on_grid: The tensor was quantized already and kept its values.
        reinit_delta: The coefficient that INIT gives `values`. It is lower than `delta` where the top of the grid,
            rounded to float32, lies a hair below the grid point: `floor` then drops a step (spec: nnie, S1).
    """

    values: NDArray[np.float32]
    bits: int
    delta: int
    maximum: float
    statistics: CodeStatistics
    sqnr_db: float | None
    was_on_grid: bool
    reinit_delta: int

    @property
    def saturated_share(self) -> float:
        """Share of elements above the top of the grid, which were lowered to it."""
        counts = self.statistics
        return (counts.snapped + counts.beyond) / counts.finite if counts.finite else 0.0

    @property
    def underflow_share(self) -> float:
        """Share of non-zero elements that became zero."""
        return self.statistics.flushed / self.statistics.nonzero if self.statistics.nonzero else 0.0

    @property
    def steps_lost_on_reinit(self) -> int:
        """Steps by which INIT on `values` would lower the top of the grid."""
        return self.delta - self.reinit_delta


def quantize_tensor(
    weight: NDArray[np.float32], bits: int, *, settle: bool = False, layer: str = "", file: str | None = None
) -> QuantizedTensor:
    """Quantize a weight tensor.

    A tensor that lies on the grid already keeps its coefficient: INIT on it might lower the top, and with it every
    value there. The coefficient is then the one whose grid ends at the largest magnitude.

    Args:
        weight: float32, any shape.
        bits: 8 or 16.
        settle: Lower the coefficient until INIT on the result gives it again, so that a tool that measures the maximum
            anew gets the same grid; costs the top one to three steps, and those weights their saturation.
        layer: For messages.
        file: For messages.

    Raises:
        QuantizationError: Something is not finite.
    """
    magnitude, nonfinite = kernels.largest_magnitude(weight)
    if nonfinite:
        what = f"{nonfinite} of its {weight.size} weights are not finite"
        remedy = "take the weights of a training that did not diverge"
        raise QuantizationError(str(Problem(what, file, layer or None, remedy=remedy)))
    kept = _kept_coefficient(weight, bits, magnitude)
    delta = kernels.coefficient_of(magnitude, bits) if kept is None else kept
    values = _apply(weight, bits, delta)
    while settle and _init(values, bits) < delta:
        delta = _init(values, bits)
        values = _apply(weight, bits, delta)
    return QuantizedTensor(
        values,
        bits,
        delta,
        magnitude,
        kernels.code_statistics(weight, bits, delta),
        _sqnr_db(weight, values),
        kept is not None and delta == kept,
        _init(values, bits),
    )


def _kept_coefficient(weight: NDArray[np.float32], bits: int, magnitude: float) -> int | None:
    """Return the coefficient that leaves a quantized tensor as it is; None where it is not quantized yet."""
    if magnitude == 0.0 or not kernels.on_grid(weight, bits):
        return None
    grid = gfpq_of(bits)
    delta = round(grid.steps_per_octave * math.log2(magnitude)) - grid.highest_code
    if not grid.lowest_coefficient <= delta <= grid.highest_coefficient:
        return None
    # A negative value at the very bottom, or values a hair off the grid, would move: then it is not what we wrote.
    return delta if np.array_equal(_apply(weight, bits, delta), weight) else None


def _apply(weight: NDArray[np.float32], bits: int, delta: int) -> NDArray[np.float32]:
    return np.asarray(kernels.apply(weight, bits, delta), np.float32)


def _init(values: NDArray[np.float32], bits: int) -> int:
    return kernels.coefficient_of(kernels.largest_magnitude(values)[0], bits)


def _sqnr_db(before: NDArray[np.float32], after: NDArray[np.float32]) -> float | None:
    reference = before.astype(np.float64)
    signal, error = float((reference**2).sum()), float(((after - reference) ** 2).sum())
    return 10 * math.log10(signal / error) if signal and error else None

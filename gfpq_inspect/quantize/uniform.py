"""Formats with equal steps: int8 and uint8, with scale and zero point from the smallest and largest value seen.

Rules, all of them those of ONNX QuantizeLinear: code = round_half_to_even(x / scale) + zero_point, cut off at the ends;
value = (code - zero_point) * scale; scale is float32, and the arithmetic is that of the tensor.

* `int8`: symmetric, one scale a tensor: scale = max(|low|, |high|) / 127, zero point 0, codes -127 ... 127 (-128 is not
  used, so that a value and its negative are treated alike); data and weights.
* `int8-per-channel`: data as `int8`; weights with one scale an output channel.
* `uint8`: asymmetric, one scale a tensor: the range is widened to hold zero, scale = (high - low) / 255,
  zero_point = round_half_to_even(-low / scale), codes 0 ... 255; data and weights.

A tensor without a value other than zero gets the scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.quantize.kernels import FloatArray
from gfpq_inspect.quantize.number_format import Counts, range_of

_FIT_TOLERANCE = 1e-3
"""Steps by which a weight may miss the grid and still count as quantized: float32 scales leave less than that."""


@dataclass(frozen=True)
class Range:
    """The coefficient of a format that is made from a range: finite values lie between `low` and `high`."""

    low: float
    high: float

    @property
    def magnitude(self) -> float:
        """The larger magnitude."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Steps:
    """A grid of equal steps.

    Attributes:
        scale: Width of a step, float32, [] or of a shape that broadcasts to the tensor's.
        zero_point: Code of zero, float32, of the same shape.
        lowest: Smallest code.
        highest: Largest code.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.float32]
    lowest: int
    highest: int

    def codes(self, array: FloatArray) -> FloatArray:
        """Codes as whole numbers of the array's type; NaN stays NaN."""
        zero_point = self.zero_point.astype(array.dtype)
        codes = array / self.scale.astype(array.dtype)
        np.rint(codes, out=codes)
        codes += zero_point
        result: FloatArray = np.clip(codes, self.lowest, self.highest, out=codes)
        return result

    def apply(self, array: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Quantize and dequantize."""
        values = self.codes(array)
        values -= self.zero_point.astype(array.dtype)
        scale = self.scale.astype(array.dtype)
        result: FloatArray = np.multiply(values, scale, out=values if out is None else out)
        return result

    def extent(self) -> tuple[float, float]:
        """Smallest step and largest magnitude, over all channels."""
        reach = np.maximum(self.highest - self.zero_point, self.zero_point - self.lowest) * self.scale
        return float(self.scale.min()), float(reach.max())

    def counts(self, before: FloatArray, after: FloatArray) -> Counts:
        """Beyond: more than half a step outside the grid. Nothing is ever snapped."""
        finite = np.isfinite(before)
        low = (self.lowest - self.zero_point - 0.5) * self.scale.astype(np.float64)
        high = (self.highest - self.zero_point + 0.5) * self.scale.astype(np.float64)
        nonzero = finite & (before != 0)
        return Counts(
            finite=int(np.count_nonzero(finite)),
            nonzero=int(np.count_nonzero(nonzero)),
            snapped=0,
            beyond=int(np.count_nonzero(finite & ((before < low) | (before > high)))),
            flushed=int(np.count_nonzero(nonzero & (after == 0))),
        )


def symmetric(low: Any, high: Any, highest: int = 127) -> Steps:
    """A grid from -highest to highest steps around zero; `low` and `high` may hold a value a channel."""
    magnitude = np.maximum(np.abs(low), np.abs(high))
    scale = np.asarray(np.where(magnitude > 0, magnitude / highest, 1.0), np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    return Steps(scale, np.zeros_like(scale), -highest, highest)


def asymmetric(low: float, high: float) -> Steps:
    """A grid of 256 steps from low to high, moved so that zero lies on it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 if high > low else 1.0)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    zero_point = np.float32(np.clip(np.rint(-np.float64(low) / np.float64(scale)), 0, 255))
    return Steps(np.asarray(scale), np.asarray(zero_point), 0, 255)


@dataclass(frozen=True)
class Uniform:
    """A format of equal steps; see the module for its rules.

    Attributes:
        name: As in `--format`.
        bits: Bits of a code.
        signed: Symmetric around zero; otherwise the range decides where zero lies.
        channelwise: Weights have a scale an output channel.
    """

    name: str
    bits: int = 8
    signed: bool = True
    channelwise: bool = False

    def of_range(self, low: float, high: float) -> Range:
        """See `NumberFormat`."""
        return Range(low, high)

    def wider(self, one: Range, other: Range) -> Range:
        """See `NumberFormat`."""
        return Range(min(one.low, other.low), max(one.high, other.high))

    def steps(self, coefficient: Range | Steps) -> Steps:
        """The grid of a coefficient."""
        if isinstance(coefficient, Steps):
            return coefficient
        make = symmetric if self.signed else asymmetric
        return make(coefficient.low, coefficient.high)

    def apply(self, array: FloatArray, coefficient: Range | Steps, out: FloatArray | None = None) -> FloatArray:
        """See `NumberFormat`."""
        return self.steps(coefficient).apply(array, out)

    def quantize_weight(self, array: FloatArray, channel_axis: int | None) -> tuple[FloatArray, Range | Steps]:
        """See `NumberFormat`."""
        coefficient: Range | Steps = Range(*range_of(array))
        if self.channelwise and channel_axis is not None and array.ndim > 1:
            others = tuple(axis for axis in range(array.ndim) if axis != channel_axis % array.ndim)
            coefficient = symmetric(array.min(others, keepdims=True), array.max(others, keepdims=True))
        return self.apply(array, coefficient), coefficient

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:
        """Whether all values are whole multiples of one step (a step a channel), at most so many as there are codes.

        The step is looked for among the parts of the smallest distance between two values in use.
        """
        if self.channelwise and channel_axis is not None and array.ndim > 1:
            return all(self._fits(part) for part in np.moveaxis(array, channel_axis, 0))
        return self._fits(array)

    def _fits(self, array: FloatArray) -> bool:
        values = np.unique(array.astype(np.float64))
        span = (1 << self.bits) - 1
        if values.size <= 1 or values.size > span + 1:
            return values.size <= 1
        distances = np.diff(np.unique(np.append(values, 0.0)))
        # Two neighbours may be the same code with another last bit.
        distances = distances[distances > _FIT_TOLERANCE * np.abs(values).max() / span]
        if not distances.size:
            return False
        # The smallest distance is a step, or a few of them where few codes are in use.
        return any(self._on_steps(values, distances.min() / count) for count in range(1, 9))

    def _on_steps(self, values: NDArray[np.float64], step: float) -> bool:
        """Whether all values are codes times a step near the given one."""
        near = np.rint(values / step)
        step = float(values @ near / (near @ near)) if near.any() else step
        codes = values / step
        largest = float(np.abs(codes).max())
        span = (1 << self.bits) - 1
        reach = largest < span // 2 + 0.5 if self.signed else codes[-1] - codes[0] < span + 0.5
        misses = float(np.abs(codes - np.rint(codes)).max())
        return bool(reach and misses <= _FIT_TOLERANCE * max(1.0, largest / 16))

    def extent(self, coefficient: Range | Steps) -> tuple[float, float]:
        """See `NumberFormat`."""
        return self.steps(coefficient).extent()

    def counts(self, before: FloatArray, after: FloatArray, coefficient: Range | Steps) -> Counts:
        """See `NumberFormat`."""
        return self.steps(coefficient).counts(before, after)


INT8 = Uniform("int8")
INT8_PER_CHANNEL = Uniform("int8-per-channel", channelwise=True)
UINT8 = Uniform("uint8", signed=False)

"""Quantizations that a model brings itself: the scale and zero point of its QuantizeLinear and DequantizeLinear nodes.

The arithmetic is that of ONNX Runtime's kernels for unfused nodes, bit for bit: x / scale in the tensor's own type,
rounded half to even, moved by the zero point, cut off, and back. Float8 types round as ONNX's cast does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.quantize.kernels import FloatArray
from gfpq_inspect.quantize.number_format import Counts, range_of
from gfpq_inspect.quantize.small_float import round_to_float
from gfpq_inspect.quantize.uniform import Range, Steps, asymmetric

CODE_RANGES: dict[str, tuple[int, int]] = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int2": (-2, 1),
    "uint2": (0, 3),
    "int32": (-(2**31), 2**31 - 1),
}
"""Smallest and largest code of each integer type."""

FLOAT_TYPES: dict[str, tuple[int, int, float]] = {
    "float8e4m3fn": (3, -6, 448.0),
    "float8e4m3fnuz": (3, -7, 240.0),
    "float8e5m2": (2, -14, 57344.0),
    "float8e5m2fnuz": (2, -15, 57344.0),
}
"""Mantissa bits, smallest exponent and largest number of each float8 type."""

_BITS = {"int16": 16, "uint16": 16, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "int32": 32}


@dataclass(frozen=True)
class StoredQuantization:
    """A `NumberFormat` whose coefficient is fixed: what data look like makes no difference.

    Attributes:
        name: The element type as ONNX spells it: 'int8', 'uint8', 'float8e4m3fn'.
        scale: float32, [] or one a channel or block.
        zero_point: float32 whole numbers, of the same shape.
        axis: Axis of the channels or blocks, None for one scale a tensor.
        block: Elements along `axis` that share a scale; 0 for a scale a channel.
        saturate: False where float8 values beyond the largest become NaN.
    """

    name: str
    scale: NDArray[np.float32] = field(compare=False)
    zero_point: NDArray[np.float32] = field(compare=False)
    axis: int | None = None
    block: int = 0
    saturate: bool = True

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return _BITS.get(self.name, 8)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two that quantize alike."""
        return (self.name, self.axis, self.block, self.saturate, self.scale.tobytes(), self.zero_point.tobytes())

    def of_range(self, low: float, high: float) -> None:  # noqa: ARG002  (part of the protocol)
        """Nothing is learnt from data."""
        return

    def wider(self, one: None, other: None) -> None:  # noqa: ARG002  (part of the protocol)
        """See `of_range`."""
        return

    def steps(self, shape: tuple[int, ...]) -> Steps:
        """The grid for a tensor of this shape."""
        lowest, highest = CODE_RANGES.get(self.name, (0, 0))
        return Steps(self._spread(self.scale, shape), self._spread(self.zero_point, shape), lowest, highest)

    def _spread(self, values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
        if self.axis is None or not values.ndim:
            return values.reshape(())
        axis = self.axis % len(shape)
        if self.block:
            return np.repeat(values, self.block, axis)[tuple(slice(0, size) for size in shape)]
        return values.reshape([-1 if place == axis else 1 for place in range(len(shape))])

    def apply(
        self,
        array: FloatArray,
        coefficient: object = None,  # noqa: ARG002  (part of the protocol)
        out: FloatArray | None = None,
    ) -> FloatArray:
        """See `NumberFormat`."""
        steps = self.steps(array.shape)
        if self.name not in FLOAT_TYPES:
            return steps.apply(array, out)
        mantissa, exponent, largest = FLOAT_TYPES[self.name]
        scale: FloatArray = steps.scale if array.dtype == np.float32 else steps.scale.astype(np.float64)
        scaled: FloatArray = np.divide(array, scale)
        values = round_to_float(scaled, mantissa, exponent, largest)
        if not self.saturate:
            unbounded = round_to_float(scaled, mantissa, exponent, float("inf"))
            values[np.abs(unbounded) > largest] = np.nan
        result: FloatArray = np.multiply(values, scale, out=values if out is None else out)
        return result

    def quantize_weight(
        self,
        array: FloatArray,
        channel_axis: int | None,  # noqa: ARG002  (part of the protocol)
    ) -> tuple[FloatArray, None]:
        """See `NumberFormat`; the model says itself which axis has scales."""
        return self.apply(array), None

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:  # noqa: ARG002  (part of the protocol)
        """Whether quantizing changes nothing."""
        return bool(np.array_equal(self.apply(array), array))

    def extent(self, coefficient: object = None) -> tuple[float, float]:  # noqa: ARG002  (part of the protocol)
        """See `NumberFormat`; over all channels."""
        if self.name in FLOAT_TYPES:
            mantissa, exponent, largest = FLOAT_TYPES[self.name]
            return float(self.scale.min()) * 2.0 ** (exponent - mantissa), float(self.scale.max()) * largest
        lowest, highest = CODE_RANGES[self.name]
        return Steps(self.scale, self.zero_point, lowest, highest).extent()

    def counts(
        self,
        before: FloatArray,
        after: FloatArray,
        coefficient: object = None,  # noqa: ARG002  (part of the protocol)
    ) -> Counts:
        """See `NumberFormat`."""
        steps = self.steps(before.shape)
        if self.name in FLOAT_TYPES:
            largest = int(FLOAT_TYPES[self.name][2])
            steps = Steps(steps.scale, steps.zero_point, -largest, largest)
        return steps.counts(before, after)


@dataclass(frozen=True)
class DynamicUint8:
    """DynamicQuantizeLinear: uint8 with a scale and zero point from each sample's own tensor; see ONNX for the rule."""

    name: str = "uint8-dynamic"
    bits: int = 8

    def of_range(self, low: float, high: float) -> Range:
        """See `NumberFormat`."""
        return Range(low, high)

    def wider(self, one: Range, other: Range) -> Range:
        """See `NumberFormat`."""
        return Range(min(one.low, other.low), max(one.high, other.high))

    def steps(self, coefficient: Range) -> Steps:
        """The grid; in float32 as the operator computes it."""
        low, high = np.float32(min(coefficient.low, 0.0)), np.float32(max(coefficient.high, 0.0))
        if high == low:
            return asymmetric(0.0, 0.0)
        scale = (high - low) / np.float32(255)
        zero_point = np.clip(np.rint(-low / scale), np.float32(0), np.float32(255))
        return Steps(np.asarray(scale, np.float32), np.asarray(zero_point, np.float32), 0, 255)

    def apply(self, array: FloatArray, coefficient: Range, out: FloatArray | None = None) -> FloatArray:
        """See `NumberFormat`."""
        return self.steps(coefficient).apply(array, out)

    def quantize_weight(
        self,
        array: FloatArray,
        channel_axis: int | None,  # noqa: ARG002  (part of the protocol)
    ) -> tuple[FloatArray, Range]:
        """See `NumberFormat`."""
        coefficient = Range(*range_of(array))
        return self.apply(array, coefficient), coefficient

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:  # noqa: ARG002  (part of the protocol)
        """See `NumberFormat`."""
        return bool(np.array_equal(self.apply(array, Range(*range_of(array))), array))

    def extent(self, coefficient: Range) -> tuple[float, float]:
        """See `NumberFormat`."""
        return self.steps(coefficient).extent()

    def counts(self, before: FloatArray, after: FloatArray, coefficient: Range) -> Counts:
        """See `NumberFormat`."""
        return self.steps(coefficient).counts(before, after)

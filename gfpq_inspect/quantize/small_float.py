"""8-bit floating point, scaled a tensor: fp8-e4m3 and fp8-e5m2.

Values are divided by a float32 scale that brings the largest magnitude to the largest number of the format, rounded to
the nearest representable number (ties to an even mantissa), cut off at the largest one, and multiplied again. Numbers
below the smallest normal one are subnormal, as in IEEE 754. e4m3 is ONNX's FLOAT8E4M3FN (no infinities, largest 448),
e5m2 its FLOAT8E5M2 (largest 57344); both saturate. NaN stays NaN. Data and weights alike; a tensor of zeros gets the
scale 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gfpq_inspect.quantize.kernels import FloatArray
from gfpq_inspect.quantize.number_format import Counts, range_of
from gfpq_inspect.quantize.uniform import Range

_FIT_TOLERANCE = 1e-5


def round_to_float(array: FloatArray, mantissa_bits: int, smallest_exponent: int, largest: float) -> FloatArray:
    """Round to the nearest number of a small floating-point format, ties to even, cut off at `largest`.

    Args:
        array: float32 or float64.
        mantissa_bits: Stored bits of the mantissa.
        smallest_exponent: Exponent of the smallest normal number, 2^smallest_exponent.
        largest: Largest finite number of the format.

    Returns:
        A new array of the same type.
    """
    values = np.clip(array, -largest, largest)
    exponent = np.frexp(values)[1] - 1
    step = np.maximum(exponent, smallest_exponent) - mantissa_bits
    result: FloatArray = np.ldexp(np.rint(np.ldexp(values, -step)), step)
    return result


@dataclass(frozen=True)
class SmallFloat:
    """An 8-bit floating-point format with one scale a tensor; see the module.

    Attributes:
        name: As in `--format`.
        bits: Bits of a number.
        mantissa_bits: Stored bits of the mantissa.
        smallest_exponent: Exponent of the smallest normal number.
        largest: Largest finite number.
    """

    name: str
    bits: int
    mantissa_bits: int
    smallest_exponent: int
    largest: float

    def of_range(self, low: float, high: float) -> Range:
        """See `NumberFormat`."""
        return Range(low, high)

    def wider(self, one: Range, other: Range) -> Range:
        """See `NumberFormat`."""
        return Range(min(one.low, other.low), max(one.high, other.high))

    def scale(self, coefficient: Range) -> float:
        """What the largest number of the format stands for, divided by that number."""
        magnitude = coefficient.magnitude
        scale = np.float32(magnitude / self.largest) if magnitude > 0 else np.float32(1.0)
        return max(float(scale), float(np.finfo(np.float32).tiny))

    def apply(self, array: FloatArray, coefficient: Range, out: FloatArray | None = None) -> FloatArray:
        """See `NumberFormat`."""
        scale = array.dtype.type(self.scale(coefficient))
        values = round_to_float(array / scale, self.mantissa_bits, self.smallest_exponent, self.largest)
        return np.multiply(values, scale, out=values if out is None else out)

    def quantize_weight(self, array: FloatArray, channel_axis: int | None) -> tuple[FloatArray, Range]:  # noqa: ARG002  (part of the protocol)
        """See `NumberFormat`; one scale for the whole weight."""
        coefficient = Range(*range_of(array))
        return self.apply(array, coefficient), coefficient

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:  # noqa: ARG002  (part of the protocol)
        """Whether some scale puts every value on a number of the format.

        The largest magnitude then is one of the format's mantissas times a power of two, so each of those is tried.
        """
        magnitude = Range(*range_of(array)).magnitude
        if magnitude == 0:
            return True
        for mantissa in range(1 << self.mantissa_bits, 2 << self.mantissa_bits):
            # Only the topmost binade is tried: lower ones differ in subnormal numbers alone.
            top = self.largest
            number = mantissa * 2.0 ** (np.floor(np.log2(top)) - self.mantissa_bits)
            if number > top:
                continue
            scaled = array.astype(np.float64) * (number / magnitude)
            rounded = round_to_float(scaled, self.mantissa_bits, self.smallest_exponent, self.largest)
            if np.all(np.abs(scaled - rounded) <= _FIT_TOLERANCE * np.abs(scaled)):
                return True
        return False

    def extent(self, coefficient: Range) -> tuple[float, float]:
        """Smallest subnormal and largest number, scaled."""
        scale = self.scale(coefficient)
        return scale * 2.0 ** (self.smallest_exponent - self.mantissa_bits), scale * self.largest

    def counts(self, before: FloatArray, after: FloatArray, coefficient: Range) -> Counts:
        """Beyond: more than half a step above the largest number."""
        finite = np.isfinite(before)
        nonzero = finite & (before != 0)
        top_step = 2.0 ** (np.floor(np.log2(self.largest)) - self.mantissa_bits)
        limit = self.scale(coefficient) * (self.largest + top_step / 2)
        return Counts(
            finite=int(np.count_nonzero(finite)),
            nonzero=int(np.count_nonzero(nonzero)),
            snapped=0,
            beyond=int(np.count_nonzero(finite & (np.abs(before) > limit))),
            flushed=int(np.count_nonzero(nonzero & (after == 0))),
        )


FP8_E4M3 = SmallFloat("fp8-e4m3", 8, mantissa_bits=3, smallest_exponent=-6, largest=448.0)
FP8_E5M2 = SmallFloat("fp8-e5m2", 8, mantissa_bits=2, smallest_exponent=-14, largest=57344.0)

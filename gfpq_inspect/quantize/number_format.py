"""What a number format is: the few things that the rest of the package asks of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gfpq_inspect.quantize.kernels import FloatArray


@dataclass(frozen=True)
class Counts:
    """What quantizing did to the elements of a tensor.

    Attributes:
        finite: Finite elements; the counts below are among these.
        nonzero: Those that are not zero.
        snapped: Lowered to the top of the grid by less than a step.
        beyond: Cut off: further outside the grid than rounding explains.
        flushed: Not zero, but zero once quantized.
    """

    finite: int
    nonzero: int
    snapped: int
    beyond: int
    flushed: int


@runtime_checkable
class NumberFormat(Protocol):
    """What the rest of the package asks of a number format; a plug-in brings an object with these attributes.

    A *coefficient* is whatever the format needs to know of a tensor before it can quantize it: GFPQ's whole number, or
    the range that a scale and a zero point are made from. Nobody but the format looks inside.
    """

    @property
    def name(self) -> str:
        """Unique, lower case: 'gfpq8', 'int8-per-channel'."""
        ...

    @property
    def bits(self) -> int:
        """Bits of one stored element."""
        ...

    def of_range(self, low: float, high: float) -> Any:
        """The coefficient for data whose finite values lie between `low` and `high`, both reached."""
        ...

    def wider(self, one: Any, other: Any) -> Any:
        """The coefficient that covers what both cover; associative, so that samples may be merged in any grouping."""
        ...

    def apply(self, array: FloatArray, coefficient: Any, out: FloatArray | None = None) -> FloatArray:
        """Quantize and dequantize float32 or float64, any shape; `out` may be `array` itself."""
        ...

    def quantize_weight(self, array: FloatArray, channel_axis: int | None) -> tuple[FloatArray, Any]:
        """Quantize a weight by its own values; `channel_axis` counts the output channels where that makes sense.

        Returns:
            The quantized weight, same shape and type, and its coefficient.
        """
        ...

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:
        """Whether a weight lies on a grid of this format already, so that it is used as it is stored."""
        ...

    def extent(self, coefficient: Any) -> tuple[float, float]:
        """Smallest non-zero and largest magnitude that the coefficient can represent."""
        ...

    def counts(self, before: FloatArray, after: FloatArray, coefficient: Any) -> Counts:
        """What quantizing did to a tensor."""
        ...


def range_of(array: FloatArray) -> tuple[float, float]:
    """Smallest and largest finite value; (0.0, 0.0) where there is none."""
    if not array.size:
        return 0.0, 0.0
    low, high = float(array.min()), float(array.max())
    if math.isfinite(low) and math.isfinite(high):
        return low, high
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)

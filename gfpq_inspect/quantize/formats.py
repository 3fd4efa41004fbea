"""Number formats: a format is a small object that knows its grid, its coefficient and its codes.

`FORMATS` holds the formats of this package by name; further ones come from the entry points of the group
`gfpq_inspect.formats`, each naming an object with the attributes of `NumberFormat`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.kernels import CodeStatistics, FloatArray, GridFit
from gfpq_inspect.quantize.number_format import Counts, NumberFormat
from gfpq_inspect.quantize.small_float import FP8_E4M3, FP8_E5M2
from gfpq_inspect.quantize.uniform import INT8, INT8_PER_CHANNEL, UINT8

ENTRY_POINT_GROUP = "gfpq_inspect.formats"


@dataclass(frozen=True)
class Gfpq:
    """GFPQ: magnitudes 2^((coefficient + code) / S), sign and zero apart (spec: the grid).

    Attributes:
        name: 'gfpq8' or 'gfpq16'.
        bits: 8 or 16.
        steps_per_octave: S.
        highest_code: T. Positive values use codes 0 ... T, negative values 1 ... T.
        lowest_coefficient: Coefficients made from data are clamped to this ...
        highest_coefficient: ... and this.
    """

    name: str
    bits: int
    steps_per_octave: int
    highest_code: int
    lowest_coefficient: int
    highest_coefficient: int

    @property
    def octaves(self) -> float:
        """Octaves between the smallest and the largest magnitude."""
        return self.highest_code / self.steps_per_octave

    @property
    def largest_relative_error(self) -> float:
        """Largest relative rounding error inside the range: 2^(1 / (2 S)) - 1 (0.0219 for 8 bit)."""
        return float(2.0 ** (1.0 / (2 * self.steps_per_octave)) - 1.0)

    def value(self, code: int, coefficient: int) -> float:
        """The magnitude of a code; `code` may be T + 1, the first that is out of reach."""
        return math.pow(2.0, (coefficient + code) / self.steps_per_octave)

    def coefficient(self, magnitude: float) -> int:
        """floor(S * log2(m)) - T, clamped; 0.0 counts as 1e-6, infinity gives the upper end."""
        return kernels.coefficient_of(magnitude, self.bits)

    def apply(self, array: FloatArray, coefficient: int, out: FloatArray | None = None) -> FloatArray:
        """Quantize and dequantize float32 or float64, as `kernels.apply`."""
        return kernels.apply(array, self.bits, coefficient, out)

    def of_range(self, low: float, high: float) -> int:
        """The coefficient for the larger magnitude."""
        return self.coefficient(max(abs(low), abs(high)))

    def wider(self, one: int, other: int) -> int:
        """The larger one: it covers both (UPDATE)."""
        return max(one, other)

    def quantize_weight(self, array: FloatArray, channel_axis: int | None) -> tuple[FloatArray, int]:  # noqa: ARG002  (part of the protocol)
        """Quantize per tensor, whatever the channels (INIT on the tensor itself)."""
        coefficient = self.coefficient(kernels.largest_magnitude(array)[0])
        return self.apply(array, coefficient), coefficient

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:  # noqa: ARG002  (part of the protocol)
        """Whether every value lies on a grid, as `kernels.on_grid`."""
        return kernels.on_grid(array, self.bits)

    def extent(self, coefficient: int) -> tuple[float, float]:
        """Magnitudes of code 0 and of code T."""
        return self.value(0, coefficient), self.value(self.highest_code, coefficient)

    def counts(self, before: FloatArray, after: FloatArray, coefficient: int) -> Counts:  # noqa: ARG002  (part of the protocol)
        """As `kernels.code_statistics`."""
        found = kernels.code_statistics(before, self.bits, coefficient)
        return Counts(found.finite, found.nonzero, found.snapped, found.beyond, found.flushed)

    def magnitudes(self, coefficient: int) -> NDArray[np.float64]:
        """Magnitudes of codes 0 ... T, float64 [T + 1]."""
        return np.array([self.value(code, coefficient) for code in range(self.highest_code + 1)])

    def statistics(self, array: FloatArray, coefficient: int) -> CodeStatistics:
        """Codes and counts of a tensor, as `kernels.code_statistics`."""
        return kernels.code_statistics(array, self.bits, coefficient)

    def floor_db(self, array: FloatArray) -> float | None:
        """SQNR of rounding alone, in dB, as `kernels.floor_db`."""
        return kernels.floor_db(array, self.bits)

    def grid_fit(self, array: FloatArray, tolerance: float = kernels.GRID_TOLERANCE) -> GridFit:
        """Whether the tensor is quantized already, as `kernels.grid_fit`."""
        return kernels.grid_fit(array, self.bits, tolerance)


GFPQ8 = Gfpq("gfpq8", 8, 16, 127, -511, 511)
GFPQ16 = Gfpq("gfpq16", 16, 128, 1407, -4095, 4095)

FORMATS: dict[str, NumberFormat] = {
    each.name: each for each in (GFPQ8, GFPQ16, INT8, INT8_PER_CHANNEL, UINT8, FP8_E4M3, FP8_E5M2)
}
"""The formats of this package."""


@cache
def all_formats() -> dict[str, NumberFormat]:
    """The formats of this package and of installed plug-ins, by name.

    Raises:
        QuantizationError: A plug-in offers something that is no format, or takes a name that is taken.
    """
    formats = dict(FORMATS)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        candidate = entry_point.load()
        if not isinstance(candidate, NumberFormat):
            raise QuantizationError(f"the plug-in '{entry_point.value}' is no number format; see NumberFormat.")
        if candidate.name in formats:
            raise QuantizationError(
                f"the plug-in '{entry_point.value}' takes the name '{candidate.name}' of another format; remove it."
            )
        formats[candidate.name] = candidate
    return formats


def gfpq_of(bits: int) -> Gfpq:
    """The GFPQ format of 8 or 16 bit.

    Raises:
        QuantizationError: Any other width.
    """
    for known in (GFPQ8, GFPQ16):
        if known.bits == bits:
            return known
    raise QuantizationError(f"GFPQ has 8 and 16 bit, not {bits!r}; give bits=8 or bits=16.")


def format_named(name: str) -> NumberFormat:
    """The format of this name, of this package or of a plug-in.

    Raises:
        QuantizationError: There is none, or a plug-in is broken.
    """
    formats = all_formats()
    if name not in formats:
        raise QuantizationError(f"there is no number format '{name}'; there are {', '.join(sorted(formats))}.")
    return formats[name]


@dataclass(frozen=True)
class FunctionFormat:
    """A format of the caller's own that is nothing but a function from an array to its quantized copy.

    It is called with each sample's tensor of each quantized layer, and with each weight; it must not write to them.

    Attributes:
        function: Takes and gives a float32 or float64 array of the same shape.
        name: For reports.
        bits: Bits of a code, for the record; 0 where nobody says.
    """

    function: Callable[[FloatArray], FloatArray]
    name: str = "custom"
    bits: int = 0

    def of_range(self, low: float, high: float) -> None:  # noqa: ARG002  (part of the protocol)
        """The function sees the values themselves."""
        return

    def wider(self, one: None, other: None) -> None:  # noqa: ARG002  (part of the protocol)
        """See `of_range`."""
        return

    def apply(
        self,
        array: FloatArray,
        coefficient: object = None,  # noqa: ARG002  (part of the protocol)
        out: FloatArray | None = None,
    ) -> FloatArray:
        """See `NumberFormat`.

        Raises:
            QuantizationError: The function fails, or gives another shape.
        """
        try:
            values = np.asarray(self.function(array))
        except Exception as error:  # the caller's function may raise anything
            raise QuantizationError(
                f"the quantizer '{self.name}' raised {type(error).__name__}: {error}; correct the function."
            ) from error
        if values.shape != array.shape:
            raise QuantizationError(
                f"the quantizer '{self.name}' made {values.shape} of an array of shape {array.shape}; keep the shape."
            )
        result = np.empty_like(array) if out is None else out
        result[...] = values
        return result

    def quantize_weight(
        self,
        array: FloatArray,
        channel_axis: int | None,  # noqa: ARG002  (part of the protocol)
    ) -> tuple[FloatArray, None]:
        """See `NumberFormat`."""
        return self.apply(array), None

    def fits(self, array: FloatArray, channel_axis: int | None) -> bool:  # noqa: ARG002  (part of the protocol)
        """Whether the function changes nothing."""
        return bool(np.array_equal(self.apply(array), array))

    def extent(self, coefficient: object) -> tuple[float, float]:  # noqa: ARG002  (part of the protocol)
        """Unknown: zero and zero."""
        return 0.0, 0.0

    def counts(
        self,
        before: FloatArray,
        after: FloatArray,
        coefficient: object,  # noqa: ARG002  (part of the protocol)
    ) -> Counts:
        """What can be told without knowing the grid."""
        finite = np.isfinite(before)
        nonzero = finite & (before != 0)
        flushed = int(np.count_nonzero(nonzero & (after == 0)))
        return Counts(int(np.count_nonzero(finite)), int(np.count_nonzero(nonzero)), 0, 0, flushed)

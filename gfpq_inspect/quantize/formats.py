"""Number formats: a format is a small object that knows its grid, its coefficient and its codes.

`FORMATS` holds the formats of this package by name; further ones come from the entry points of the group
`gfpq_inspect.formats`, each naming an object with the attributes of `NumberFormat`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.kernels import CodeStatistics, FloatArray, GridFit

ENTRY_POINT_GROUP = "gfpq_inspect.formats"


@runtime_checkable
class NumberFormat(Protocol):
    """What the rest of the package asks of a number format."""

    @property
    def name(self) -> str:
        """Unique, lower case: 'gfpq8'."""
        ...

    @property
    def bits(self) -> int:
        """Bits of one stored element."""
        ...

    def coefficient(self, magnitude: float) -> int:
        """The coefficient for a tensor whose largest finite magnitude this is."""
        ...

    def apply(self, array: FloatArray, coefficient: int, out: FloatArray | None = None) -> FloatArray:
        """Quantize and dequantize."""
        ...

    def magnitudes(self, coefficient: int) -> NDArray[np.float64]:
        """Every positive value of the grid, ascending, float64 [codes]."""
        ...

    def statistics(self, array: FloatArray, coefficient: int) -> CodeStatistics:
        """What the coefficient does to the tensor."""
        ...

    def floor_db(self, array: FloatArray) -> float | None:
        """SQNR of rounding alone, in dB; None without signal or without error."""
        ...

    def grid_fit(self, array: FloatArray, tolerance: float = kernels.GRID_TOLERANCE) -> GridFit:
        """Whether the tensor is quantized already."""
        ...


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

FORMATS: dict[str, NumberFormat] = {GFPQ8.name: GFPQ8, GFPQ16.name: GFPQ16}
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

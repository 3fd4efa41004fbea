"""The typed door to the native kernels: plain functions on NumPy arrays, no policy about what is allowed.

Arrays are float32 or float64. They are read where they are when they are C-contiguous; anything else is copied once.
Every function releases the interpreter lock. Results depend neither on threads nor on how samples are batched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native

Float = np.float32 | np.float64
FloatArray = NDArray[np.float32] | NDArray[np.float64]
MergeRule = Literal["add", "max", "min", "first"]

MERGE_RULES: dict[str, MergeRule] = {
    "count": "add",
    "sum_x": "add",
    "sum_y": "add",
    "sum_xx": "add",
    "sum_yy": "add",
    "sum_xy": "add",
    "sum_d": "add",
    "sum_dd": "add",
    "sum_abs_d": "add",
    "max_abs_d": "max",
    "max_abs_x": "max",
    "max_abs_y": "max",
    "min_x": "min",
    "max_x": "max",
    "min_y": "min",
    "max_y": "max",
    "nonfinite_x": "add",
    "nonfinite_y": "add",
    "first_nonfinite": "first",
    "unequal_bits": "add",
}
"""Columns of a row of sums, and how two rows become one. x is the reference, y the lane, d = y - x.

All but `nonfinite_*`, `first_nonfinite` and `unequal_bits` are over pairs of two finite numbers. Without such a pair
the minima are +inf and the maxima of x and y -inf, so that merging needs no special case. `first_nonfinite` is the flat
index inside its sample of the first element that is not finite on either side, -1 where there is none; merging keeps
the first.
"""

SUM_FIELDS: tuple[str, ...] = tuple(MERGE_RULES)
"""Names of the columns, in order."""

GRID_TOLERANCE = 1e-4
"""Largest distance from a grid point, in steps, that counts as on it; other values pass with a chance of 0.02 %."""

_SMALL_ROW = 8192
"""Elements of a row below which a call a row takes longer than reading it."""
_FIRST_LOOK = 1 << 12
"""Values that tell of most tensors that they are not quantized."""

MOST_LANES = 16
"""Largest number of lanes that `similarity` takes in one call."""

_ADDED = np.array([rule == "add" for rule in MERGE_RULES.values()])
_LOWERED = np.array([rule == "min" for rule in MERGE_RULES.values()])
_FIRST = SUM_FIELDS.index("first_nonfinite")


@dataclass(frozen=True)
class CodeStatistics:
    """What one coefficient does to one tensor (spec: evidence of the format).

    Attributes:
        bits: Bit width.
        delta: Coefficient.
        finite: Finite elements; everything below counts among these.
        nonfinite: Infinities and NaN.
        zeros: Elements that are zero before quantization.
        nonzero: The other finite elements.
        flushed: Non-zero elements that become zero.
        snapped: Elements with a magnitude strictly between value(T) and value(T + 1), lowered by `floor`.
        beyond: Elements with a magnitude at or above value(T + 1): not possible after INIT on the same data.
        histogram: int64 [2, T + 1]: how often each code is used by positive and by negative values.
    """

    bits: int
    delta: int
    finite: int
    nonfinite: int
    zeros: int
    flushed: int
    snapped: int
    beyond: int
    histogram: NDArray[np.int64]

    @property
    def nonzero(self) -> int:
        """Finite elements that are not zero before quantization."""
        return self.finite - self.zeros


@dataclass(frozen=True)
class GridFit:
    """How a tensor lies on the grid, whatever its coefficient.

    Attributes:
        nonzero: Finite elements that are not zero.
        share: Share of these within `GRID_TOLERANCE` steps of a grid point; 1.0 where there are none.
        largest_residual: Largest distance from a grid point, in steps.
        span: Steps from the smallest to the largest magnitude.
        fits: True when every element lies on the grid and the span is one that a coefficient can cover.
    """

    nonzero: int
    share: float
    largest_residual: float
    span: int
    fits: bool


def _contiguous(array: FloatArray) -> FloatArray:
    return cast(FloatArray, np.asarray(array, order="C"))


def similarity(
    reference: FloatArray, lanes: Sequence[FloatArray], *, by_definition: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums that tell how alike each lane and the reference are, a row per sample and lane; one read of every buffer.

    Sums are made in an order that depends on the index alone: in double from the first product on, but for chunks of
    24576 float32 elements or more, which are summed in float32 within tiles. There sums of squares are within 1e-8 of
    their exact value, `sum_xy` and products relative to the root of the squares' sums, `sum_x`, `sum_y` and `sum_d`
    relative to the sum of magnitudes. For lanes that equal the reference bit for bit `sum_dd` is exactly 0 and
    `sum_xx`, `sum_yy`, `sum_xy` are the same number, so that sum_xy / sqrt(sum_xx * sum_yy) is exactly 1.

    Args:
        reference: [N, ...]; axis 0 counts samples.
        lanes: 1 to 16 arrays of the same shape and type.
        by_definition: Use plain loops, one element after the other (tests).

    Returns:
        float64 [N, K, F] with the columns `SUM_FIELDS`, and float64 [N, K, K]: sum(d_i * d_j) over the elements that
        are finite in the reference and in both lanes.

    Raises:
        ValueError: Shapes differ, no axis 0, or a number of lanes out of range.
        TypeError: Not all float32 or all float64.
    """
    if reference.ndim == 0:
        raise ValueError("axis 0 must count samples")
    if any(lane.shape != reference.shape for lane in lanes):
        raise ValueError("every lane must have the shape of the reference")
    contiguous = [_contiguous(lane) for lane in lanes]
    samples, count = reference.shape[0], len(contiguous)
    sums = np.empty((samples, count, len(SUM_FIELDS)))
    products = np.empty((samples, count, count))
    _native.similarity(_contiguous(reference), contiguous, sums, products, by_definition)
    return sums, products


def merge_sums(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge rows of sums as `MERGE_RULES` says.

    Args:
        first: [..., F].
        second: [..., F], broadcastable.

    Returns:
        New rows: sums and counts added, extremes widened, the first `first_nonfinite` that is not -1 kept.
    """
    extremes = np.where(_LOWERED, np.minimum(first, second), np.maximum(first, second))
    merged: NDArray[np.float64] = np.where(_ADDED, first + second, extremes)
    merged[..., _FIRST] = np.where(first[..., _FIRST] >= 0, first[..., _FIRST], second[..., _FIRST])
    return merged


def pool_sums(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Merge rows [N, ..., F] over axis 0, one after the other, so that batching changes no digit.

    Raises:
        ValueError: There is no row.
    """
    if rows.shape[0] == 0:
        raise ValueError("nothing to pool")
    pooled = rows[0].copy()
    for row in rows[1:]:
        pooled = merge_sums(pooled, row)
    return cast(NDArray[np.float64], pooled)


def largest_magnitude(array: FloatArray) -> tuple[float, int]:
    """Largest finite magnitude (0.0 where there is none) and the count of elements that are not finite."""
    largest, nan_count, infinity_count, _ = _native.largest_magnitude(_contiguous(array))
    return largest, nan_count + infinity_count


def largest_magnitudes(rows: FloatArray) -> NDArray[np.float64]:
    """`largest_magnitude` of every row of [N, ...], float64 [N]; small rows are looked at all at once."""
    flat = rows.reshape(rows.shape[0], -1)
    if 0 < flat.shape[1] <= _SMALL_ROW < flat.size:
        extremes = np.stack([flat.max(axis=1), flat.min(axis=1)]).astype(np.float64)
        found: NDArray[np.float64] = np.abs(extremes).max(axis=0)
        if np.isfinite(found).all():  # both extremes hand a NaN on
            return found
    return np.array([largest_magnitude(row)[0] for row in flat])


def coefficient_of(magnitude: float, bits: int) -> int:
    """The coefficient for a largest magnitude: floor(S * log2(m)) - T, clamped to the range of the grid.

    0.0 counts as 1e-6 (the original's rule), infinity gives the upper end of the range.

    Raises:
        ValueError: `bits` is not 8 or 16, or the magnitude is negative or NaN.
    """
    if math.isnan(magnitude) or magnitude < 0:
        raise ValueError(f"a magnitude is not negative and not NaN, got {magnitude}")
    return _native.coefficient_from_magnitude(magnitude, bits)


def apply(array: FloatArray, bits: int, delta: int, out: FloatArray | None = None) -> FloatArray:
    """Quantize and dequantize with a given coefficient (APPLY).

    Args:
        array: float32 or float64, any shape.
        bits: 8 or 16.
        delta: Coefficient, used as it is.
        out: C-contiguous array of the same shape and type; may be `array` itself. New memory when None.

    Returns:
        `out`, or a new C-contiguous array.

    Raises:
        ValueError: Bad bits, or `out` does not fit.
    """
    source = _contiguous(array)
    if out is None:
        out = np.empty_like(source)
    elif out.shape != array.shape or out.dtype != array.dtype or not out.flags.c_contiguous:
        raise ValueError("out must be C-contiguous, with the shape and type of the array")
    _native.apply(source, out, bits, delta)
    return out


def code_statistics(array: FloatArray, bits: int, delta: int) -> CodeStatistics:
    """Count codes, zeros, flushed, snapped and beyond-calibration elements in one pass.

    Raises:
        ValueError: Bad bits.
    """
    highest_code = {8: 127, 16: 1407}.get(bits, 0)
    histogram = np.zeros((2, highest_code + 1), dtype=np.int64)
    counts = _native.code_statistics(_contiguous(array), bits, delta, histogram)
    finite, nonfinite, zeros, flushed, snapped, beyond = counts
    return CodeStatistics(bits, delta, finite, nonfinite, zeros, flushed, snapped, beyond, histogram)


def channel_magnitudes(array: FloatArray) -> NDArray[np.float64]:
    """Largest finite magnitude of each channel of [N, C, ...], float64 [C].

    Raises:
        ValueError: The array has fewer than two axes.
    """
    if array.ndim < 2:
        raise ValueError("channels need an array of [N, C, ...]")
    output = np.zeros(array.shape[1])
    _native.channel_magnitudes(_contiguous(array), output)
    return output


def grid_fit(array: FloatArray, bits: int, tolerance: float = GRID_TOLERANCE) -> GridFit:
    """Tell whether a tensor is quantized already, whatever its coefficient.

    With u = S * log2|w| for the finite non-zero elements: every |u - round(u)| within the tolerance, and
    max(u) - min(u) <= T. Values stored as float16 need a tolerance near 1e-2.

    Raises:
        ValueError: Bad bits.
    """
    nonzero, within, largest, lowest, highest = _native.grid_residual(_contiguous(array), bits, tolerance)
    highest_code = {8: 127, 16: 1407}[bits]
    span = int(highest - lowest)
    share = within / nonzero if nonzero else 1.0
    return GridFit(nonzero, share, largest, span, fits=within == nonzero and span <= highest_code)


def on_grid(array: FloatArray, bits: int, tolerance: float = GRID_TOLERANCE) -> bool:
    """True when the tensor is quantized already (see `grid_fit`); an all-zero tensor is."""
    source = _contiguous(array)
    # Where a few values lie off the grid, the others need no look; of a weight as trained, hardly any lies on it.
    start = source.reshape(-1)[:_FIRST_LOOK]
    if start.size < source.size and not grid_fit(start, bits, tolerance).fits:
        return False
    return grid_fit(source, bits, tolerance).fits


def nonzero_count(array: FloatArray) -> int:
    """Elements that are not zero; several times faster than counting them without the comparison."""
    return int(np.count_nonzero(array != 0))


def floor_db(array: FloatArray, bits: int) -> float | None:
    """SQNR in dB that rounding alone costs this tensor: every magnitude to the nearest step of a grid without ends.

    Returns:
        10 log10(sum x^2 / sum (x - x_rounded)^2) over finite elements; None for a tensor without signal or without
        error (all zero, or all on the grid).

    Raises:
        ValueError: Bad bits.
    """
    signal, error = _native.rounding_energy(_contiguous(array), bits)
    if signal == 0.0 or error == 0.0:
        return None
    return 10.0 * math.log10(signal / error)

"""Quantize and dequantize arrays of any library: the functions that users call.

What every function does with awkward input:

* Infinities and NaN: `nonfinite="error"` (the default) raises an error that counts them. `nonfinite="count"` goes on:
  they are left out of the maximum, +inf and -inf saturate, NaN becomes 0; the count stands in the parameter, which must
  then be given, so that nothing goes unseen.
* All zeros, or nothing at all: the coefficient is that of the magnitude 1e-6 and the result is zero; the parameter
  says `all_zero`. An empty array leaves the parameter's coefficient alone.
* float16 and bfloat16 are computed in float32; the results are rounded back. Integers are refused.

Arrays on a GPU stay there (see `cuda`), with the same results; that needs the extra 'cuda'.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import arrays, cuda, kernels
from gfpq_inspect.quantize.arrays import ArrayLike
from gfpq_inspect.quantize.formats import gfpq_of
from gfpq_inspect.quantize.kernels import FloatArray
from gfpq_inspect.quantize.param import GfpqParam, Mode

NonfinitePolicy = Literal["error", "count"]

ZERO_CODE = {8: 0x80, 16: 0x8000}
"""The code of zero: the sign of a magnitude that negative values do not have."""


class Codes(NamedTuple):
    """A tensor as the chip stores it.

    Attributes:
        codes: uint8 (8 bit) or uint16 (16 bit): the sign in the highest bit, the code below it; 0x80 or 0x8000 is zero,
            0x00 the smallest positive value.
        param: The coefficient that goes with them.
    """

    codes: NDArray[np.uint8] | NDArray[np.uint16]
    param: GfpqParam


def coefficient(array: ArrayLike, bits: int = 8, *, nonfinite: NonfinitePolicy = "error") -> int:
    """The coefficient that INIT gives a tensor: floor(S * log2(max |x|)) - T, clamped to the range of the format.

    Args:
        array: Floating-point array of NumPy or of any library that speaks DLPack.
        bits: 8 or 16.
        nonfinite: 'count' leaves infinities and NaN out.

    Returns:
        The coefficient; -77 for the numbers 0 to 9 at 8 bit.

    Raises:
        QuantizationError: Bad bits, no floating-point array, or something is not finite.
    """
    if arrays.is_on_cuda(array):
        return cuda.coefficient(array, bits, nonfinite=nonfinite)
    gfpq_of(bits)
    return _observe(arrays.take(array).elements, bits, nonfinite, GfpqParam())


def quantize_dequantize(
    array: ArrayLike,
    bits: int = 8,
    mode: Mode | int = Mode.INIT,
    param: GfpqParam | None = None,
    out: ArrayLike | None = None,
    *,
    nonfinite: NonfinitePolicy = "error",
) -> Any:
    """Round every element to the grid, as the vendor's library does, bit for bit.

    Args:
        array: Floating-point array of NumPy or of any library that speaks DLPack, any shape and strides.
        bits: 8 or 16.
        mode: INIT takes the coefficient from the data, UPDATE the larger one of that and the stored one, APPLY_ONLY the
            stored one.
        param: Where the coefficient is read from and stored; needed by UPDATE and APPLY_ONLY.
        out: Where the result goes, of the same shape; may be `array` itself. New memory when None.
        nonfinite: What infinities and NaN do, see above.

    Returns:
        `out`, or an array of the same library, type and shape as `array`.

    Raises:
        QuantizationError: Bad bits, mode or parameter, no floating-point array, `out` does not fit, or something is not
            finite. Nothing is changed then.
    """
    if arrays.is_on_cuda(array):
        return cuda.quantize_dequantize(array, bits, mode, param, out, nonfinite=nonfinite)
    intake = arrays.take(array)
    target = arrays.Target(out, intake) if out is not None else None
    delta = _choose(intake.elements, bits, mode, param, nonfinite)
    if target is None:
        return intake.give_back(kernels.apply(intake.elements, bits, delta))
    if target.direct is not None:
        kernels.apply(intake.elements, bits, delta, out=target.direct)
    else:
        target.store(kernels.apply(intake.elements, bits, delta))
    return out


def quantize(
    array: ArrayLike,
    bits: int = 8,
    mode: Mode | int = Mode.INIT,
    param: GfpqParam | None = None,
    *,
    nonfinite: NonfinitePolicy = "error",
) -> Codes:
    """Quantize to the chip's integer codes; `dequantize` gives exactly what `quantize_dequantize` gives.

    Args:
        array: As for `quantize_dequantize`.
        bits: 8 or 16.
        mode: As for `quantize_dequantize`.
        param: As for `quantize_dequantize`; a new one is made when None.
        nonfinite: As for `quantize_dequantize`.

    Returns:
        The codes, of the shape of `array`, and the parameter.

    Raises:
        QuantizationError: As for `quantize_dequantize`.
    """
    param = param if param is not None else GfpqParam()
    if arrays.is_on_cuda(array):
        return Codes(cuda.encode(array, bits, mode, param, nonfinite=nonfinite), param)
    intake = arrays.take(array)
    delta = _choose(intake.elements, bits, mode, param, nonfinite)
    codes: NDArray[np.uint8] | NDArray[np.uint16]
    codes = np.empty(intake.shape, np.uint8) if bits == 8 else np.empty(intake.shape, np.uint16)
    _native.encode(intake.elements, codes, bits, delta)
    return Codes(codes, param)


def dequantize(
    codes: NDArray[np.uint8] | NDArray[np.uint16],
    param: GfpqParam,
    dtype: type[np.float32] | type[np.float64] = np.float32,
) -> FloatArray:
    """The values of the chip's integer codes.

    Args:
        codes: uint8 for 8 bit, uint16 for 16 bit, any shape.
        param: The coefficient that goes with them.
        dtype: float32 or float64.

    Returns:
        Values of the shape of `codes`.

    Raises:
        QuantizationError: Another type of codes or values, no coefficient, or patterns that are no code (16 bit
            uses 2 816 of 65 536).
    """
    if arrays.is_on_cuda(codes):
        return cast(FloatArray, cuda.decode(codes, param, dtype))
    if codes.dtype not in (np.uint8, np.uint16):
        raise QuantizationError(f"codes are uint8 (8 bit) or uint16 (16 bit), not {codes.dtype}.")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise QuantizationError(f"values are float32 or float64, not {np.dtype(dtype)}.")
    bits = 8 * codes.dtype.itemsize
    values = cast(FloatArray, np.empty(codes.shape, dtype))
    invalid = _native.decode(np.ascontiguousarray(codes), values, bits, param.required())
    if invalid:
        highest = gfpq_of(bits).highest_code
        raise QuantizationError(
            f"{invalid} of {codes.size} patterns are no code of {bits} bit (codes go up to {highest}); "
            "is the type of the codes right?"
        )
    return values


def _choose(
    elements: FloatArray, bits: int, mode: Mode | int, param: GfpqParam | None, nonfinite: NonfinitePolicy
) -> int:
    """The coefficient of a call; stores it as the mode says."""
    gfpq_of(bits)
    if mode not in list(Mode):
        raise QuantizationError(f"the mode is 0 (INIT), 1 (UPDATE) or 2 (APPLY_ONLY), not {mode!r}.")
    if mode != Mode.INIT and param is None:
        raise QuantizationError(f"mode {Mode(mode).name} needs a param with the stored coefficient.")
    if nonfinite == "count" and param is None:
        raise QuantizationError('nonfinite="count" needs a param, where the count is left.')
    stored = None if param is None or mode == Mode.INIT else param.required()
    seen = GfpqParam()
    from_data = _observe(elements, bits, nonfinite, seen)
    chosen = from_data
    if stored is not None:
        chosen = stored if mode == Mode.APPLY_ONLY else max(stored, from_data)
    if param is not None:
        if elements.size > 0:
            param.delta = chosen
        param.elements, param.nonfinite, param.all_zero = seen.elements, seen.nonfinite, seen.all_zero
    return chosen


def _observe(elements: FloatArray, bits: int, nonfinite: NonfinitePolicy, seen: GfpqParam) -> int:
    """The coefficient of a tensor, and what was seen of it."""
    if nonfinite not in ("error", "count"):
        raise QuantizationError(f"nonfinite is 'error' or 'count', not {nonfinite!r}.")
    largest, nan_count, infinity_count, _ = _native.largest_magnitude(elements)
    seen.elements = elements.size
    seen.nonfinite = nan_count + infinity_count
    seen.all_zero = largest == 0.0 and infinity_count == 0
    if seen.nonfinite and nonfinite == "error":
        raise QuantizationError(
            f"{seen.nonfinite} of {elements.size} elements are not finite "
            f"({nan_count} NaN, {infinity_count} infinite); "
            'mend the data, or pass nonfinite="count" to saturate infinities and take NaN for 0.'
        )
    if largest == 0.0 and infinity_count:
        largest = float("inf")
    return kernels.coefficient_of(largest, bits)

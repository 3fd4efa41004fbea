"""Quantize arrays that lie on a GPU, where they lie: the counterparts of the functions in `codec`.

CuPy arrays are taken as they are; PyTorch tensors and whatever else offers GPU memory through DLPack are taken without
a copy, and worked on in PyTorch's current stream where they are PyTorch's. What has to be copied: arrays that are not
C-contiguous, and float16 and bfloat16, which are widened to float32. The results have the same bits as on the CPU.

Everything here needs CuPy (the extra 'cuda') and a GPU; importing this module needs neither.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import cuda_kernels, kernels
from gfpq_inspect.quantize.formats import gfpq_of
from gfpq_inspect.quantize.param import GfpqParam, Mode

GpuArray = Any
"""A cupy.ndarray, or an array of another library on a CUDA device that speaks DLPack."""


def is_available() -> bool:
    """True when CuPy is installed and finds a GPU."""
    try:
        cuda_kernels.cupy()
    except Exception:  # whatever is wrong, `cuda_kernels.cupy` says it when it is needed
        return False
    return True


def coefficient(array: GpuArray, bits: int = 8, *, nonfinite: str = "error") -> int:
    """The coefficient that INIT gives a tensor; the same number as `codec.coefficient` on the CPU.

    Args:
        array: Floating-point array on a GPU.
        bits: 8 or 16.
        nonfinite: 'count' leaves infinities and NaN out, 'error' refuses them.

    Raises:
        MissingExtraError: CuPy is not installed.
        QuantizationError: No GPU, bad bits, no floating-point array, or something is not finite.
    """
    gfpq_of(bits)
    with _taken(array) as elements:
        return _observe(elements, bits, nonfinite, GfpqParam())


def quantize_dequantize(
    array: GpuArray,
    bits: int = 8,
    mode: Mode | int = Mode.INIT,
    param: GfpqParam | None = None,
    out: GpuArray | None = None,
    *,
    nonfinite: str = "error",
) -> GpuArray:
    """Round every element to the grid, on the GPU.

    The coefficient, and how many elements are not finite, are waited for; the result itself is not.

    Args:
        array: Floating-point array on a GPU, any shape and strides.
        bits: 8 or 16.
        mode: INIT takes the coefficient from the data, UPDATE the larger one of that and the stored one, APPLY_ONLY the
            stored one.
        param: Where the coefficient is read from and stored; needed by UPDATE and APPLY_ONLY.
        out: Array of the same library, shape and type, C-contiguous; may be `array` itself. New memory when None.
        nonfinite: 'error' refuses infinities and NaN; 'count' goes on and leaves their number in `param`.

    Returns:
        `out`, or an array of the same library, type and shape as `array`.

    Raises:
        MissingExtraError: CuPy is not installed.
        QuantizationError: No GPU, bad bits, mode or parameter, no floating-point array, `out` does not fit, or
            something is not finite. Nothing is changed then.
    """
    gfpq_of(bits)
    _check_mode(mode, param, nonfinite)
    with _taken(array) as elements:
        target = None if out is None else _target(out, array)
        delta = _choose(elements, bits, mode, param, nonfinite)
        if target is not None and target.dtype == elements.dtype:
            cuda_kernels.apply(elements, bits, delta, out=target)
        elif target is not None:
            target[...] = cuda_kernels.apply(elements, bits, delta).astype(target.dtype)
        else:
            out = _give_back(cuda_kernels.apply(elements, bits, delta), array)
    return out


def encode(
    array: GpuArray, bits: int, mode: Mode | int, param: GfpqParam, *, nonfinite: str = "error"
) -> cuda_kernels.CupyArray:
    """Quantize to the chip's integer codes, on the GPU; see `codec.quantize`.

    Args:
        array: Floating-point array on a GPU.
        bits: 8 or 16.
        mode: As for `quantize_dequantize`.
        param: Where the coefficient is read from and stored.
        nonfinite: As for `quantize_dequantize`.

    Returns:
        CuPy array of uint8 or uint16 in the shape of `array`.

    Raises:
        MissingExtraError: CuPy is not installed.
        QuantizationError: As for `quantize_dequantize`.
    """
    steps = gfpq_of(bits).steps_per_octave
    _check_mode(mode, param, nonfinite)
    with _taken(array) as elements:
        numeric = cuda_kernels.cupy()
        delta = _choose(elements, bits, mode, param, nonfinite)
        # In float64, where values of coefficients that float32 cannot hold do not underflow; the codes are the same.
        values = cuda_kernels.apply(elements.astype(np.float64), bits, delta)
        is_zero = values == 0
        magnitude = numeric.where(is_zero, 1.0, numeric.abs(values))
        codes = numeric.rint(steps * numeric.log2(magnitude)).astype(np.int64) - delta
        sign = 1 << (bits - 1)
        codes = numeric.where(is_zero, sign, codes + sign * (values < 0))
        return codes.astype(np.uint8 if bits == 8 else np.uint16)


def decode(codes: GpuArray, param: GfpqParam, dtype: type[np.float32] | type[np.float64]) -> cuda_kernels.CupyArray:
    """The values of the chip's integer codes, on the GPU; see `codec.dequantize`.

    Args:
        codes: CuPy array of uint8 (8 bit) or uint16 (16 bit).
        param: The coefficient that goes with them.
        dtype: float32 or float64.

    Returns:
        CuPy array of values in the shape of `codes`.

    Raises:
        MissingExtraError: CuPy is not installed.
        QuantizationError: Another type of codes or values, no coefficient, or patterns that are no code.
    """
    numeric = cuda_kernels.cupy()
    if codes.dtype not in (np.uint8, np.uint16):
        raise QuantizationError(f"codes are uint8 (8 bit) or uint16 (16 bit), not {codes.dtype}.")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise QuantizationError(f"values are float32 or float64, not {np.dtype(dtype)}.")
    bits = 8 * codes.dtype.itemsize
    highest, delta = gfpq_of(bits).highest_code, param.required()
    _, table = cuda_kernels.spell_out(bits, delta, delta + highest)
    sign = 1 << (bits - 1)
    magnitudes = (codes & (sign - 1)).astype(np.int64)
    invalid = int((magnitudes > highest).sum())
    if invalid:
        raise QuantizationError(
            f"{invalid} of {codes.size} patterns are no code of {bits} bit (codes go up to {highest}); "
            "is the type of the codes right?"
        )
    values = numeric.asarray(table)[magnitudes] * numeric.where(codes >= sign, -1.0, 1.0)
    return numeric.where(codes == sign, 0.0, values).astype(dtype)


def _choose(elements: Any, bits: int, mode: Mode | int, param: GfpqParam | None, nonfinite: str) -> int:
    """The coefficient of a call; stores it as the mode says."""
    stored = None if param is None or mode == Mode.INIT else param.required()
    seen = GfpqParam()
    chosen = _observe(elements, bits, nonfinite, seen)
    if stored is not None:
        chosen = stored if mode == Mode.APPLY_ONLY else max(stored, chosen)
    if param is not None:
        if elements.size > 0:
            param.delta = chosen
        param.elements, param.nonfinite, param.all_zero = seen.elements, seen.nonfinite, seen.all_zero
    return chosen


def _check_mode(mode: Mode | int, param: GfpqParam | None, nonfinite: str) -> None:
    if mode not in list(Mode):
        raise QuantizationError(f"the mode is 0 (INIT), 1 (UPDATE) or 2 (APPLY_ONLY), not {mode!r}.")
    if mode != Mode.INIT and param is None:
        raise QuantizationError(f"mode {Mode(mode).name} needs a param with the stored coefficient.")
    if nonfinite not in ("error", "count"):
        raise QuantizationError(f"nonfinite is 'error' or 'count', not {nonfinite!r}.")
    if nonfinite == "count" and param is None:
        raise QuantizationError('nonfinite="count" needs a param, where the count is left.')


def _observe(elements: Any, bits: int, nonfinite: str, seen: GfpqParam) -> int:
    """The coefficient of a tensor, and what was seen of it."""
    found = cuda_kernels.extremes(elements)
    seen.elements = int(elements.size)
    seen.nonfinite = found.nan_count + found.infinity_count
    seen.all_zero = found.largest == 0.0 and found.infinity_count == 0
    if seen.nonfinite and nonfinite == "error":
        raise QuantizationError(
            f"{seen.nonfinite} of {seen.elements} elements are not finite "
            f"({found.nan_count} NaN, {found.infinity_count} infinite); "
            'mend the data, or pass nonfinite="count" to saturate infinities and take NaN for 0.'
        )
    only_infinities = found.largest == 0.0 and found.infinity_count > 0
    return kernels.coefficient_of(float("inf") if only_infinities else found.largest, bits)


def _torch_of(array: Any) -> Any | None:
    """PyTorch, when the array is a tensor of it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else None


@contextmanager
def _taken(array: Any) -> Iterator[Any]:
    """The array as CuPy's, contiguous, float32 or float64, with its device and stream current."""
    numeric = cuda_kernels.cupy()
    torch = _torch_of(array)
    if torch is not None:
        if not array.is_cuda:
            raise QuantizationError("the tensor lies in CPU memory; bring it to the GPU, or quantize it on the CPU.")
        stream = torch.cuda.current_stream(array.device)
        with numeric.cuda.Device(array.device.index), cuda_kernels.stream(stream.cuda_stream):
            source = array.detach()
            yield _elements(numeric, source.float() if source.dtype == torch.bfloat16 else source)
        return
    if not isinstance(array, numeric.ndarray) and not hasattr(array, "__dlpack__"):
        raise QuantizationError(f"expected an array on a GPU, got {type(array).__name__}.")
    taken = array if isinstance(array, numeric.ndarray) else _from_dlpack(numeric, array)
    with taken.device:
        yield _elements(numeric, taken)


def _from_dlpack(numeric: Any, array: Any) -> Any:
    try:
        return numeric.from_dlpack(array)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise QuantizationError(
            f"{type(array).__name__} does not hand over GPU memory ({error}); is it on a CUDA device?"
        ) from error


def _elements(numeric: Any, array: Any) -> Any:
    taken = array if isinstance(array, numeric.ndarray) else _from_dlpack(numeric, array)
    if taken.dtype not in (np.float16, np.float32, np.float64):
        raise QuantizationError(
            f"GFPQ quantizes floating-point numbers, not {taken.dtype}; convert to float32 where that is meant."
        )
    wide = np.float32 if taken.dtype == np.float16 else taken.dtype
    return numeric.ascontiguousarray(taken, dtype=wide).reshape(taken.shape)


def _target(out: Any, array: Any) -> Any:
    """The caller's array for a result, as CuPy's."""
    if type(out) is not type(array):
        raise QuantizationError(f"out is a {type(out).__name__}, the array a {type(array).__name__}; make them agree.")
    if tuple(out.shape) != tuple(array.shape) or out.dtype != array.dtype:
        raise QuantizationError(
            f"out is {out.dtype} of the shape {tuple(out.shape)}, the array {array.dtype} of {tuple(array.shape)}; "
            "make them agree."
        )
    numeric = cuda_kernels.cupy()
    torch = _torch_of(out)
    if torch is not None and out.dtype == torch.bfloat16:
        raise QuantizationError("out cannot be bfloat16, which CuPy lacks; leave it away, or give float32.")
    target = out if isinstance(out, numeric.ndarray) else _from_dlpack(numeric, out.detach() if torch else out)
    if not target.flags.c_contiguous:
        raise QuantizationError("out is not C-contiguous; give a contiguous array.")
    return target


def _give_back(result: Any, array: Any) -> Any:
    """A result as an array of the library and type of the input."""
    torch = _torch_of(array)
    if torch is not None:
        return torch.from_dlpack(result).to(array.dtype)
    numeric = cuda_kernels.cupy()
    if isinstance(array, numeric.ndarray):
        return result.astype(array.dtype, copy=False)
    library: Any = sys.modules.get(type(array).__module__.partition(".")[0])
    narrow = result.astype(numeric.dtype(str(array.dtype)), copy=False)
    return library.from_dlpack(narrow) if hasattr(library, "from_dlpack") else narrow

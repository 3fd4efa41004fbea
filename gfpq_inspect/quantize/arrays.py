"""Arrays of other libraries, in and out, without a copy where there can be none.

NumPy arrays are taken as they are; PyTorch, JAX and every other library that speaks DLPack hands over its memory. What
has to be copied: arrays that are not C-contiguous (once, into C order), and float16 and bfloat16, which are widened to
float32, exactly, and whose results are rounded back, halves to even. Results stand outside automatic differentiation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize.kernels import FloatArray

_DLPACK_CPU = 1
_DLPACK_CUDA = (2, 13)  # its own memory, and memory that it shares with the host


@runtime_checkable
class DLPackArray(Protocol):
    """An array that hands its memory to other libraries."""

    def __dlpack__(self) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


ArrayLike = NDArray[Any] | DLPackArray
"""What the functions of this room take; the result is of the same library."""


@dataclass(frozen=True)
class Intake:
    """An array as the kernels take it.

    Attributes:
        elements: float32 or float64, C-contiguous.
        shape: Shape of the original.
        give_back: Makes an array of the original's library and type of a result in the type of `elements`.
    """

    elements: FloatArray
    shape: tuple[int, ...]
    give_back: Callable[[FloatArray], Any]


def is_on_gpu(array: object) -> bool:
    """True when the array's memory is not the host's."""
    if isinstance(array, np.ndarray) or not isinstance(array, DLPackArray):
        return False
    return array.__dlpack_device__()[0] != _DLPACK_CPU


def is_on_cuda(array: object) -> bool:
    """True when the array's memory is that of a CUDA GPU, so that `cuda` can work on it."""
    return is_on_gpu(array) and cast(DLPackArray, array).__dlpack_device__()[0] in _DLPACK_CUDA


def take(array: ArrayLike) -> Intake:
    """Take an array in.

    Raises:
        QuantizationError: It holds no floating-point numbers, lies on a GPU, or is no array.
    """
    if isinstance(array, np.ndarray):
        return _take_numpy(array)
    if isinstance(array, np.generic):
        return _take_numpy(np.asarray(array))
    if not isinstance(array, DLPackArray):
        raise QuantizationError(f"expected an array, got {type(array).__name__}; numpy.asarray makes one of numbers.")
    return _take_foreign(array)


class Target:
    """The caller's array for a result; any strides, any floating-point type.

    Args:
        out: NumPy array, or one of a library that speaks DLPack.
        intake: What the result is made from.

    Raises:
        QuantizationError: It is read-only, of another shape, or holds no floating-point numbers.
    """

    def __init__(self, out: ArrayLike, intake: Intake) -> None:
        self._is_bfloat16 = False
        if isinstance(out, np.ndarray):
            if not out.flags.writeable:
                raise QuantizationError("out is read-only; give a writable array.")
            self._view = out
        elif isinstance(out, DLPackArray):
            self._view, self._is_bfloat16 = _view(out, writable=True)
        else:
            raise QuantizationError(f"out must be an array, not {type(out).__name__}.")
        if self._view.shape != intake.shape:
            raise QuantizationError(f"out has the shape {self._view.shape}, the array {intake.shape}; make them agree.")
        if not self._is_bfloat16 and not _is_floating(self._view.dtype):
            raise QuantizationError(f"out holds {self._view.dtype}; give one of float16, bfloat16, float32 or float64.")
        self._elements = intake.elements

    @property
    def direct(self) -> FloatArray | None:
        """The memory itself where a kernel can write straight into it, else None."""
        view, elements = self._view, self._elements
        if self._is_bfloat16 or view.dtype != elements.dtype or not view.flags.c_contiguous:
            return None
        if np.may_share_memory(view, elements) and view.ctypes.data != elements.ctypes.data:
            return None
        return cast(FloatArray, view)

    def store(self, result: FloatArray) -> None:
        """Write a result, rounded to the type of the array."""
        if self._is_bfloat16:
            self._view[...] = _narrow_to_bfloat16(result.astype(np.float32, copy=False))
        else:
            self._view[...] = result.astype(self._view.dtype, copy=False)


def _is_floating(dtype: np.dtype[Any]) -> bool:
    return dtype.name in ("float16", "float32", "float64", "bfloat16")


def _take_numpy(array: NDArray[Any]) -> Intake:
    dtype = array.dtype
    if not _is_floating(dtype):
        raise QuantizationError(
            f"GFPQ quantizes floating-point numbers, not {dtype}; convert with astype('float32') where that is meant."
        )
    native = dtype.newbyteorder("=")
    wide = native if native in (np.float32, np.float64) else np.dtype(np.float32)
    elements = np.asarray(array, dtype=wide, order="C")
    return Intake(
        elements=cast(FloatArray, elements),
        shape=array.shape,
        give_back=lambda result: result.astype(dtype, copy=False),
    )


def _take_foreign(array: DLPackArray) -> Intake:
    view, is_bfloat16 = _view(array, writable=False)
    library = _library_of(array)
    if is_bfloat16:
        widened = (np.asarray(view, order="C").astype(np.uint32) << 16).view(np.float32)

        def give_back(result: FloatArray) -> Any:
            narrow = _narrow_to_bfloat16(cast(NDArray[np.float32], result)).view(np.int16)
            return library.from_dlpack(narrow).view(library.bfloat16) if library else result

        return Intake(widened, view.shape, give_back)
    intake = _take_numpy(view)
    if library is None:
        return intake
    return Intake(intake.elements, intake.shape, lambda result: library.from_dlpack(intake.give_back(result)))


def _view(array: DLPackArray, *, writable: bool) -> tuple[NDArray[Any], bool]:
    """The array's memory as a NumPy array, bfloat16 as its bits."""
    if is_on_gpu(array):
        raise QuantizationError("the array lies on a GPU that is not CUDA's; bring it to the host first.")
    try:
        return _native.as_numpy(array, writable)
    except (TypeError, BufferError, RuntimeError) as error:
        raise QuantizationError(
            f"{type(array).__name__} does not hand over its memory ({error}); make it dense and "
            "writable, or convert it to NumPy."
        ) from error


def _narrow_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round float32 to bfloat16, halves to even; NaN stays NaN."""
    bits = np.asarray(values, order="C").view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    quiet = np.where(np.isnan(values), np.uint32(0x7FC0), rounded)
    return quiet.astype(np.uint16)


def _library_of(array: object) -> Any | None:
    """The library of an array, when it makes arrays from DLPack; None otherwise (the result is then NumPy's)."""
    namespace = getattr(array, "__array_namespace__", None)
    library = namespace() if callable(namespace) else sys.modules.get(type(array).__module__.partition(".")[0])
    return library if hasattr(library, "from_dlpack") else None

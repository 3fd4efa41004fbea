"""Small views of tensors that the engine needs: by sample, as floating point."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.quantize.kernels import FloatArray

Array = NDArray[Any]


def is_floating(array: object) -> bool:
    """Whether scores have a meaning for it."""
    return isinstance(array, np.ndarray) and bool(np.issubdtype(array.dtype, np.floating))


def as_floating(array: Array) -> FloatArray:
    """The array in a width that the kernels read: float16 becomes float32."""
    if array.dtype in (np.float32, np.float64):
        return cast(FloatArray, np.ascontiguousarray(array))
    return np.ascontiguousarray(array, dtype=np.float32)


def stacked(array: FloatArray, samples: int) -> FloatArray:
    """The array with one row a sample: [samples, ...], or [1, ...] where axis 0 does not count samples."""
    if samples > 1 and array.ndim and array.shape[0] % samples == 0:
        return cast(FloatArray, array.reshape(samples, -1))
    return cast(FloatArray, array.reshape(1, -1))


def sample_of(array: Array, index: int, samples: int) -> Array:
    """One sample of a batch, as a batch of one; the whole array where axis 0 does not count samples."""
    if not isinstance(array, np.ndarray) or not array.ndim or array.shape[0] % samples:
        return array
    length = array.shape[0] // samples
    return array[index * length : (index + 1) * length]


_ALIGNMENT = 16
"""What every allocator here grants; a sample that lies inside a batch may start anywhere."""


def aligned(array: Array) -> Array:
    """The array, or a copy where it starts at an odd place: vectorised sums begin with what is left of a vector there.

    Without, a sample would give other last bits from inside a batch than alone.
    """
    if not isinstance(array, np.ndarray) or array.__array_interface__["data"][0] % _ALIGNMENT == 0:
        return array
    return array.copy()


def size_in_bytes(array: object) -> int:
    """Bytes of a tensor, 0 for anything else."""
    return array.nbytes if isinstance(array, np.ndarray) else 0


def sample_shape(array: object, samples: int) -> tuple[int, ...]:
    """Shape of one sample's tensor; () for anything that is no tensor."""
    if not isinstance(array, np.ndarray):
        return ()
    if samples > 1 and array.ndim and array.shape[0] % samples == 0:
        return (array.shape[0] // samples, *array.shape[1:])
    shape: tuple[int, ...] = array.shape
    return shape


def sample_digests(array: object, samples: int) -> tuple[bytes, ...]:
    """A digest of each sample's tensor, shape included."""
    if not isinstance(array, np.ndarray) or array.dtype == object:
        return (repr(array).encode(),)
    if samples > 1 and (not array.ndim or array.shape[0] % samples):
        return (b"axis 0 does not count samples",)
    return tuple(
        hashlib.blake2b(part.tobytes(), person=str(part.shape).encode()[:16]).digest()
        for part in (sample_of(array, index, samples) for index in range(samples))
    )

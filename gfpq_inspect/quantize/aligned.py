"""Arrays that start where a line of the cache starts: vectorised kernels read those fastest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_LINE = 64
"""Bytes of a line of the cache, and of the widest vector."""


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array whose values are not set, C-contiguous."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.empty(size + _LINE, np.uint8)
    start = -_address(room) % _LINE
    # Cut in two steps: an empty slice would point to the first byte of what it was cut from.
    return room[start:][:size].view(dtype).reshape(shape)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """A copy, C-contiguous."""
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def as_aligned(array: NDArray[Any]) -> NDArray[Any]:
    """The array itself where it is C-contiguous and starts right, else a copy."""
    if array.flags.c_contiguous and _address(array) % _LINE == 0:
        return array
    return aligned_copy(array)


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address

"""Keeps values that were read once at hand: in memory while they are few, else in temporary files, memory mapped."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

MEMORY_BYTES = 256 << 20
"""What all dumps of a run may keep in memory."""


class ValueStore:
    """Arrays that are read again and again.

    Args:
        budget_bytes: What may stay in memory.
    """

    def __init__(self, budget_bytes: int = MEMORY_BYTES) -> None:
        self._left = budget_bytes

    def keep(self, array: NDArray[Any]) -> NDArray[Any]:
        """Take an array over; it may be written to a temporary file that vanishes with the process."""
        if isinstance(array, np.memmap):
            return array
        if array.nbytes <= self._left:
            self._left -= array.nbytes
            return array
        with tempfile.TemporaryFile(prefix="gfpq-inspect-dump-") as stream:
            array.tofile(stream)
            stream.flush()
            # The map outlives the file's handle, and the file has no name.
            mapped: NDArray[Any] = np.memmap(stream, dtype=array.dtype, mode="r", shape=array.shape)
        return mapped

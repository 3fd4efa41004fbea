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
        stream = tempfile.TemporaryFile(prefix="gfpq-inspect-dump-")  # noqa: SIM115  (lives as long as the map)
        array.tofile(stream)
        stream.flush()
        mapped: NDArray[Any] = np.memmap(stream, dtype=array.dtype, mode="r", shape=array.shape)
        return mapped

"""Numbers that a device is still working on, fetched together at the end of a batch.

Waiting for each number where it is made would keep the device idle most of the time: it answers in microseconds, but
only once everything queued before is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.dlpack import from_dlpack

from gfpq_inspect.analyze.engine.interface import Measurement

Receiver = Callable[[list[NDArray[np.float64]]], None]


@dataclass
class Pending:
    """Arrays of float64 on their way to the host, with what is to be done with them there."""

    _arrays: list[torch.Tensor] = field(default_factory=list)
    _waiting: list[tuple[Receiver, list[tuple[int, ...]]]] = field(default_factory=list)

    def add(self, arrays: list[torch.Tensor], receive: Receiver) -> None:
        """Hand arrays over; `receive` gets them in NumPy once `fetch` is called."""
        self._arrays += [array.reshape(-1).double() for array in arrays]
        self._waiting.append((receive, [tuple(array.shape) for array in arrays]))

    def fetch(self) -> None:
        """Wait for all of them with one transfer, and hand them to their receivers in the order of `add`."""
        if not self._arrays:
            return
        flat = torch.cat(self._arrays).cpu().numpy()
        start = 0
        for receive, shapes in self._waiting:
            found = []
            for shape in shapes:
                size = int(np.prod(shape, dtype=np.int64))
                found.append(flat[start : start + size].reshape(shape))
                start += size
            receive(found)
        self._arrays.clear()
        self._waiting.clear()


@dataclass
class PendingMeasurement(Measurement):
    """A measurement some of whose numbers are still on the device.

    Attributes:
        pending: Those.
    """

    pending: Pending = field(default_factory=Pending)


def pending_of(measurement: Measurement) -> Pending:
    """Where numbers for a measurement of the PyTorch engine wait."""
    assert isinstance(measurement, PendingMeasurement)
    return measurement.pending


def as_tensor(array: Any) -> torch.Tensor:
    """A CuPy or NumPy array as a tensor on the same memory."""
    if isinstance(array, np.ndarray):
        return torch.from_numpy(array)
    return from_dlpack(array)

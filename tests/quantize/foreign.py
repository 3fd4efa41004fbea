"""A tiny array library that shares memory by DLPack and nothing else: a stand-in for those that are not installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

bfloat16 = "bfloat16"


class Tensor:
    """An array of this library; `location` is what DLPack calls the device type."""

    def __init__(self, memory: NDArray[Any], location: int = 1) -> None:
        self.memory = memory
        self.location = location

    def __dlpack__(self, **options: object) -> Any:
        return self.memory.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.location, 0)

    def __array_namespace__(self) -> Any:
        return sys.modules[__name__]


def from_dlpack(producer: Any) -> Tensor:
    """Wrap memory without a copy."""
    return Tensor(np.from_dlpack(producer))

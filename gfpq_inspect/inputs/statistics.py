"""What a network is really fed, in numbers: ranges, channels, and hints at preprocessing that went wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.inputs.preprocess import Preprocessing

FIRST_VALUES = 8


@dataclass(frozen=True)
class ChannelStatistics:
    """One channel over all samples; population standard deviation."""

    minimum: float
    maximum: float
    mean: float
    deviation: float


@dataclass
class InputStatistics:
    """One input over all samples, gathered as they stream by.

    Attributes:
        preprocessing: How its samples were made.
        samples: Samples seen.
        first: The first sample.
    """

    preprocessing: Preprocessing
    samples: int = 0
    first: NDArray[Any] | None = None
    _count: int = 0
    _minimum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _maximum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _grey: bool = True
    _constant: int = 0

    def add(self, sample: NDArray[Any]) -> None:
        """Take one sample."""
        channels = self._by_channel(sample).astype(np.float64)
        if self.first is None:
            self.first = np.array(sample)
            self._minimum, self._maximum = channels.min(1), channels.max(1)
            self._sum = np.zeros(len(channels))
            self._squares = np.zeros(len(channels))
        self.samples += 1
        self._count += channels.shape[1]
        self._minimum = np.minimum(self._minimum, channels.min(1))
        self._maximum = np.maximum(self._maximum, channels.max(1))
        self._sum += channels.sum(1)
        self._squares += (channels**2).sum(1)
        self._constant += bool(channels.min() == channels.max())
        shifted = channels - channels.mean(1, keepdims=True)
        spread = np.abs(shifted).max()
        self._grey = self._grey and bool(np.abs(shifted - shifted[0]).max() <= 0.02 * spread)

    def channels(self) -> list[ChannelStatistics]:
        """Each channel over all samples; one entry where the input has no channel axis."""
        means = self._sum / self._count
        deviations = np.sqrt(np.maximum(self._squares / self._count - means**2, 0))
        columns = (self._minimum, self._maximum, means, deviations)
        return [ChannelStatistics(*(float(column[index]) for column in columns)) for index in range(len(means))]

    def first_values(self) -> list[list[float]]:
        """The first numbers of each channel of the first sample."""
        if self.first is None:
            return []
        return [[float(value) for value in row[:FIRST_VALUES]] for row in self._by_channel(self.first)]

    def hints(self) -> list[str]:
        """What looks like a mistake, each one sentence with what to look at."""
        low, high = float(self._minimum.min()), float(self._maximum.max())
        largest = max(abs(low), abs(high))
        found = []
        if largest == 0:
            found.append("All values are zero.")
        elif largest < 1 / 255:
            found.append(f"The largest magnitude is {largest:.3g}: is the scale applied twice?")
        elif largest > 1000:
            found.append(f"The largest magnitude is {largest:.6g}: is a scale missing?")
        if self._constant and self.samples:
            found.append(f"{self._constant} of {self.samples} samples hold one value only.")
        if self._is_colour() and self._grey and largest > 0:
            found.append("All samples are grey: they cannot show a wrong channel order.")
        return found

    def _is_colour(self) -> bool:
        shape = self.preprocessing.sample_shape
        return len(shape) == 4 and self.preprocessing.image_channels == 3

    def _by_channel(self, sample: NDArray[Any]) -> NDArray[Any]:
        if sample.ndim == 4 and self.preprocessing.layout == "nhwc":
            sample = sample.transpose(0, 3, 1, 2)
        if sample.ndim == 4:
            return sample.transpose(1, 0, 2, 3).reshape(sample.shape[1], -1)
        return sample.reshape(1, -1)

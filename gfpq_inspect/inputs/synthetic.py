"""Seeded noise for a network without data: enough to see numbers move, never evidence of accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.inputs.preprocess import Preprocessing


@dataclass(frozen=True)
class SyntheticFeed:
    """Independent uniform noise, one generator a sample.

    Distribution: with a mean or a scale the noise stands for pixels, whole numbers 0 ... 255 drawn alike, which are
    then preprocessed; without, floats drawn uniformly from [-1, 1). Integer inputs get 0 or 1. Sample i of input j is
    drawn by PCG64 from the seed sequence (seed, j, i), so neither batch size nor count changes a sample.

    Attributes:
        preprocessing: Of the input.
        seed: The run's seed.
        position: The input's place in the network.
        count: Number of samples.
    """

    preprocessing: Preprocessing
    seed: int
    position: int
    count: int

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return tuple(f"synthetic[{index}]" for index in range(self.count))

    @property
    def description(self) -> str:
        """See `Feed`."""
        return f"seeded uniform noise, seed {self.seed}"

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        plan = self.preprocessing
        for index in range(self.count):
            generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, self.position, index])))
            yield plan.finished(self._draw(generator))

    def labels(self) -> None:
        """Noise has no class."""
        return

    def _draw(self, generator: np.random.Generator) -> NDArray[Any]:
        plan = self.preprocessing
        if plan.dtype.kind != "f":
            return generator.integers(0, 2, plan.sample_shape)
        if plan.mean is not None or plan.scale is not None:
            return generator.integers(0, 256, plan.sample_shape).astype(np.float32)
        return generator.random(plan.sample_shape, dtype=np.float32) * np.float32(2) - np.float32(1)

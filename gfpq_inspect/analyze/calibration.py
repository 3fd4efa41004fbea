"""Coefficients that cover a whole set (UPDATE): what each sample alone would give, made wider sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Engine, Feeds, Point
from gfpq_inspect.quantize import Gfpq
from gfpq_inspect.quantize.formats import FunctionFormat
from gfpq_inspect.quantize.stored import DynamicUint8


class Calibration:
    """Ranges of all points so far, and the coefficients that cover them; the order of the batches is nothing.

    Args:
        points: The points.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self.points = points
        # Smallest and largest value seen, and those of the sample whose largest magnitude is smallest.
        self._widest = np.tile([np.inf, -np.inf], (len(points), 1))
        self._least = np.tile([-np.inf, np.inf], (len(points), 1))

    @property
    def magnitudes(self) -> list[float]:
        """Largest magnitude that was seen at each point; 0 before anything was."""
        return [float(value) if np.isfinite(value) else 0.0 for value in np.abs(self._widest).max(axis=1)]

    def look(self, engine: Engine, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """What `add` wants of a batch; may be called in several threads.

        Returns:
            Smallest and largest value, float64 [samples, points, 2].
        """
        if all(isinstance(point.format, Gfpq) for point in self.points):
            magnitudes = engine.calibrate(feeds, samples)
            return np.stack([-magnitudes, magnitudes], axis=-1)
        return engine.ranges(feeds, samples)

    def add(self, ranges: NDArray[np.float64]) -> None:
        """Take in a batch, float64 [samples, points, 2]."""
        largest = np.abs(ranges).max(axis=2)
        least = np.take_along_axis(ranges, largest.argmin(axis=0)[None, :, None], axis=0)[0]
        smaller = np.abs(least).max(axis=1) < np.abs(self._least).max(axis=1)
        self._least = np.where(smaller[:, None], least, self._least)
        low, high = ranges[:, :, 0].min(axis=0), ranges[:, :, 1].max(axis=0)
        self._widest = np.stack([np.minimum(self._widest[:, 0], low), np.maximum(self._widest[:, 1], high)], axis=1)

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Arrays from which `restore` goes on."""
        return {"widest": self._widest, "least": self._least}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Go on from a state."""
        self._widest, self._least = state["widest"], state["least"]

    def result(self) -> list[Any]:
        """The coefficients, the model's own where it brings one; `EACH_SAMPLE` where the format has none for a set."""
        return [_chosen(point, self._covering(index, point)) for index, point in enumerate(self.points)]

    def _covering(self, index: int, point: Point) -> Any:
        """The coefficient that covers all samples."""
        # The widest is not enough: an all-zero sample counts as 1e-6 in GFPQ, the original's rule.
        chosen = point.format
        least, widest = (chosen.of_range(*map(float, found[index])) for found in (self._least, self._widest))
        return chosen.wider(least, widest)


def _chosen(point: Point, calibrated: Any) -> Any:
    if isinstance(point.format, DynamicUint8 | FunctionFormat):
        return EACH_SAMPLE
    return calibrated if point.coefficient is None else point.coefficient

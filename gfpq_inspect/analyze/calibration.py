"""Coefficients that cover a whole set (UPDATE): what each sample alone would give, made wider sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Engine, Feeds, Point
from gfpq_inspect.quantize import Gfpq, NumberFormat
from gfpq_inspect.quantize.formats import FunctionFormat
from gfpq_inspect.quantize.stored import DynamicUint8


@dataclass
class Calibration:
    """Coefficients of all points so far; the order of the batches is nothing.

    Attributes:
        points: The points.
        magnitudes: Largest magnitude that was seen at each.
        coefficients: Coefficient of each that covers what was seen; None before anything was.
    """

    points: Sequence[Point]
    magnitudes: list[float] = field(init=False)
    coefficients: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing seen yet."""
        self.magnitudes = [0.0] * len(self.points)
        self.coefficients = [None] * len(self.points)

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
        for index, point in enumerate(self.points):
            chosen = point.format
            self.magnitudes[index] = max(self.magnitudes[index], float(largest[:, index].max()))
            # The widest is not enough: an all-zero sample counts as 1e-6 in GFPQ, the original's rule.
            smallest = ranges[largest[:, index].argmin(), index]
            widest = (ranges[:, index, 0].min(), ranges[:, index, 1].max())
            for low, high in (smallest, widest):
                self.coefficients[index] = _wider(
                    chosen, self.coefficients[index], chosen.of_range(float(low), float(high))
                )

    def result(self) -> list[Any]:
        """The coefficients, the model's own where it brings one; `EACH_SAMPLE` where the format has none for a set."""
        return [_chosen(point, known) for point, known in zip(self.points, self.coefficients, strict=True)]


def _chosen(point: Point, calibrated: Any) -> Any:
    if isinstance(point.format, DynamicUint8 | FunctionFormat):
        return EACH_SAMPLE
    return calibrated if point.coefficient is None else point.coefficient


def _wider(chosen: NumberFormat, known: Any, found: Any) -> Any:
    return found if known is None else chosen.wider(known, found)

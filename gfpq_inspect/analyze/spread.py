"""One score over many samples in bounded memory: mean, deviation, extremes with their samples, percentiles.

All cells (rows and comparisons) are kept side by side in arrays, so that a batch costs a few array operations. Up to
`EXACT_SAMPLES` samples the values themselves are kept and the percentile is exact; beyond that they go into bins, and
a percentile is good to half a bin: 4.5 % of 1 - cosine, 0.125 dB of an SQNR, 0.55 % of a norm ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.metrics import added_in_order
from gfpq_inspect.analyze.result import Spread

EXACT_SAMPLES = 512
LOWER_PERCENTILES = (1, 5, 10, 25, 50)
UPPER_PERCENTILES = (75, 90, 95, 99)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Bins of a score; a larger score never lies in a lower bin.

    Attributes:
        count: Number of bins.
        bin_of: Scores to bin numbers, not yet held to the range.
        middle_of: Bin number to the score that it stands for.
    """

    count: int
    bin_of: Callable[[Values], Values]
    middle_of: Callable[[int], float]


_LOSS_OCTAVES = 56  # 1 - cosine from 2^-54, where a double cannot tell it from 0, to 2
_BINS_PER_OCTAVE = 8


def _cosine_bin(cosine: Values) -> Values:
    loss = np.maximum(1.0 - cosine, 2.0**-54)
    bins: Values = _LOSS_OCTAVES * _BINS_PER_OCTAVE - 1 - np.floor((np.log2(loss) + 54) * _BINS_PER_OCTAVE)
    return bins


def _cosine_middle(index: int) -> float:
    octave = (_LOSS_OCTAVES * _BINS_PER_OCTAVE - 1 - index + 0.5) / _BINS_PER_OCTAVE - 54
    return float(1.0 - 2.0**octave)


COSINE_SCALE = Scale(_LOSS_OCTAVES * _BINS_PER_OCTAVE, _cosine_bin, _cosine_middle)
DECIBEL_SCALE = Scale(1200, lambda decibel: np.floor((decibel + 60.0) * 4.0), lambda index: (index + 0.5) / 4.0 - 60.0)

_RATIO_BIN = 0.011  # of the natural logarithm; 1 200 bins reach from 0.0014 to 735
RATIO_SCALE = Scale(
    1200,
    lambda ratio: np.floor(np.log(np.maximum(ratio, 1e-9)) / _RATIO_BIN + 600.0),
    lambda index: math.exp((index + 0.5 - 600.0) * _RATIO_BIN),
)


class SpreadCollector:
    """Scores of `cells` cells, sample by sample, in sample order.

    Args:
        cells: Number of cells.
        scale: Bins for the time when there are too many samples to keep.
        upper: Whether large values are as telling as small ones, so that the upper half is told too.
    """

    def __init__(self, cells: int, scale: Scale, *, upper: bool = False) -> None:
        self._scale = scale
        self._upper = upper
        self._count = np.zeros(cells, dtype=np.int64)
        self._sum = np.zeros(cells)
        self._minimum = np.full(cells, np.inf)
        self._minimum_sample = np.full(cells, -1, dtype=np.int64)
        self._maximum = np.full(cells, -np.inf)
        self._maximum_sample = np.full(cells, -1, dtype=np.int64)
        # Sums about the first value: cosines differ in digits that squares about zero would lose.
        self._origin = np.full(cells, np.nan)
        self._shifted = np.zeros(cells)
        self._squares = np.zeros(cells)
        self._kept: list[Values] | None = []
        self._bins: NDArray[np.int32] | None = None
        self._samples = 0

    def add(self, scores: Values) -> None:
        """Add samples in order.

        Args:
            scores: float64 [samples, cells]; NaN where the score is undefined, which then counts for nothing.
        """
        if not len(scores):
            return
        defined = ~np.isnan(scores)
        self._count += defined.sum(axis=0)
        self._sum = added_in_order(self._sum, np.where(defined, scores, 0.0))
        first = np.take_along_axis(scores, defined.argmax(axis=0)[None], axis=0)[0]
        self._origin = np.where(np.isnan(self._origin), first, self._origin)
        distance = np.where(defined, scores - self._origin, 0.0)
        self._shifted = added_in_order(self._shifted, distance)
        self._squares = added_in_order(self._squares, distance * distance)
        self._minimum, self._minimum_sample = self._extreme(
            np.where(defined, scores, np.inf), self._minimum, self._minimum_sample
        )
        if self._upper:
            highest, self._maximum_sample = self._extreme(
                np.where(defined, -scores, np.inf), -self._maximum, self._maximum_sample
            )
            self._maximum = -highest
        self._samples += len(scores)
        self._remember(scores)

    def _extreme(
        self, values: Values, known: Values, known_sample: NDArray[np.int64]
    ) -> tuple[Values, NDArray[np.int64]]:
        """The smallest value of each cell so far and the first sample that has it."""
        place = values.argmin(axis=0)
        lowest = values[place, np.arange(values.shape[1])]
        better = lowest < known
        return np.where(better, lowest, known), np.where(better, place + self._samples, known_sample)

    def _remember(self, scores: Values) -> None:
        if self._kept is not None:
            self._kept.append(scores)
            if self._samples <= EXACT_SAMPLES:
                return
            self._bins = np.zeros((scores.shape[1], self._scale.count), dtype=np.int32)
            scores, self._kept = np.concatenate(self._kept), None
        assert self._bins is not None
        sample, cell = np.nonzero(~np.isnan(scores))
        places = np.clip(self._scale.bin_of(scores[sample, cell]), 0, self._scale.count - 1).astype(np.int64)
        # One flat index and the bins' own type: NumPy counts those twenty times as fast.
        np.add.at(self._bins.reshape(-1), cell * self._scale.count + places, np.int32(1))

    def spread(self, cell: int, identities: Sequence[str]) -> Spread | None:
        """The spread of one cell, or None where the score was never defined."""
        count = int(self._count[cell])
        if not count:
            return None
        minimum = float(self._minimum[cell])
        maximum = float(self._maximum[cell])
        percentiles = LOWER_PERCENTILES + (UPPER_PERCENTILES if self._upper else ())
        values = self._percentiles(cell, count, percentiles)
        return Spread(
            mean=float(self._sum[cell]) / count,
            minimum=minimum,
            minimum_sample=identities[int(self._minimum_sample[cell])],
            samples=count,
            deviation=self._deviation(cell, count),
            maximum=maximum if self._upper else None,
            maximum_sample=identities[int(self._maximum_sample[cell])] if self._upper else None,
            # The middle of a bin may lie beyond the values that are in it.
            **{
                f"percentile_{percent}": min(max(value, minimum), maximum) if self._upper else max(value, minimum)
                for percent, value in zip(percentiles, values, strict=True)
            },
        )

    def _deviation(self, cell: int, count: int) -> float | None:
        """Sample standard deviation: sqrt((sum d^2 - (sum d)^2 / n) / (n - 1)), d from the first value."""
        if count < 2:
            return None
        squares = float(self._squares[cell]) - float(self._shifted[cell]) ** 2 / count
        return math.sqrt(max(squares, 0.0) / (count - 1))

    def _percentiles(self, cell: int, count: int, percentiles: Sequence[int]) -> list[float]:
        """For each P the smallest value that at least P % of the samples do not exceed."""
        ranks = [max(1, math.ceil(percent * count / 100)) for percent in percentiles]
        if self._kept is not None:
            column = np.concatenate([scores[:, cell] for scores in self._kept])
            ordered = np.sort(column[~np.isnan(column)])
            return [float(ordered[rank - 1]) for rank in ranks]
        assert self._bins is not None
        counts = np.cumsum(self._bins[cell])
        return [self._scale.middle_of(int(np.searchsorted(counts, rank))) for rank in ranks]

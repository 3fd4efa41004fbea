"""Histograms of float and quantized values on the same edges, and the worst single elements, streamed.

Edges are logarithmic, four bins an octave over 64 octaves, the same for every tensor: they are known before the first
value is seen, so samples can be added, and they resolve small values as the number format does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS_PER_OCTAVE = 4
_LOWEST_OCTAVE = -40
_OCTAVES = 64
BINS = BINS_PER_OCTAVE * _OCTAVES
WORST = 8
_SHOWN_BINS = 64

Counts = NDArray[np.int64]


@dataclass(frozen=True, order=True)
class Worst:
    """One element that is far off; ordered by how far, then by place."""

    error: float
    sample: int
    place: tuple[int, ...]
    reference: float
    other: float


@dataclass
class ValueHistograms:
    """Counts of one row.

    Attributes:
        counts: int64 [3, 2 * BINS + 1]: reference, lane and error; negative values from large to small, zero (and what
            is below the lowest edge), positive values from small to large.
        worst: The elements that are furthest off, worst first.
    """

    counts: Counts
    worst: list[Worst] = field(default_factory=list)

    def add(self, other: ValueHistograms) -> None:
        """Add another sample's."""
        self.counts = self.counts + other.counts
        self.worst = sorted([*self.worst, *other.worst], key=lambda one: (-one.error, one.sample, one.place))[:WORST]


def count(array: NDArray[Any]) -> Counts:
    """Count finite values, int64 [2 * BINS + 1]."""
    values = array.reshape(-1)
    values = values[np.isfinite(values)]
    with np.errstate(divide="ignore"):
        octaves = np.log2(np.abs(values))
    bins = np.floor((np.maximum(octaves, _LOWEST_OCTAVE - 1) - _LOWEST_OCTAVE) * BINS_PER_OCTAVE).astype(np.int64)
    bins = np.minimum(bins, BINS - 1) + 1
    signed = np.where(bins <= 0, 0, np.where(values < 0, -bins, bins))
    return np.bincount(signed + BINS, minlength=2 * BINS + 1)


def histograms(reference: NDArray[Any], other: NDArray[Any], sample: int) -> ValueHistograms:
    """Histograms and worst elements of one sample's tensors of the same shape."""
    error = other - reference
    counts = np.stack([count(reference), count(other), count(error)])
    sizes = np.nan_to_num(np.abs(error), nan=0.0, posinf=0.0).reshape(-1)
    most = min(WORST, sizes.size)
    places = np.sort(np.argpartition(sizes, sizes.size - most)[sizes.size - most :])
    worst = [
        Worst(
            float(sizes[place]),
            sample,
            tuple(int(axis) for axis in np.unravel_index(place, reference.shape))[1:],
            float(reference.reshape(-1)[place]),
            float(other.reshape(-1)[place]),
        )
        for place in places
        if sizes[place] > 0
    ]
    return ValueHistograms(counts, sorted(worst, key=lambda one: (-one.error, one.place)))


def cropped(rows: Counts) -> tuple[list[float], list[list[int]]]:
    """Edges and counts of the bins that are used, joined until few enough for a chart.

    Args:
        rows: int64 [histograms, 2 * BINS + 1].

    Returns:
        Edges, ascending, and for each histogram as many counts as there are bins.
    """
    negative, zero, positive = rows[:, :BINS][:, ::-1], rows[:, BINS], rows[:, BINS + 1 :]
    used = np.flatnonzero((negative + positive).sum(0))
    if not used.size:
        return [-1.0, 1.0], [[int(value)] for value in zero]
    step = BINS_PER_OCTAVE
    first, last = int(used[0]) // step * step, -(-(int(used[-1]) + 1) // step) * step
    # Nine octaves of the grid and a few below: what is smaller counts as nearly zero.
    first = max(first, last - 14 * step)
    zero = zero + negative[:, :first].sum(1) + positive[:, :first].sum(1)
    width = 1
    while 2 * (last - first) // width > _SHOWN_BINS:
        width *= 2
    starts = list(range(first, last, width))
    edges = [2.0 ** (start / step + _LOWEST_OCTAVE) for start in [*starts, last]]

    def joined(side: Counts) -> list[int]:
        return [int(side[start : min(start + width, last)].sum()) for start in starts]

    counts = [[*joined(n)[::-1], int(z), *joined(p)] for n, z, p in zip(negative, zero, positive, strict=True)]
    return [*(-edge for edge in reversed(edges)), *edges], counts

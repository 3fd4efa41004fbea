"""Histograms of float and quantized values on the same edges, and the worst single elements, streamed.

Edges are logarithmic, four bins an octave over 64 octaves, the same for every tensor: they are known before the first
value is seen, so samples can be added, and they resolve small values as the number format does. An edge is 2^(k/4) cut
to seven bits behind the point: the upper half of a float32 then tells its bin, and a grid point at an edge is above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.density import Density, density
from gfpq_inspect.analyze.tiles import sampled

BINS_PER_OCTAVE = 4
_LOWEST_OCTAVE = -40
_OCTAVES = 64
BINS = BINS_PER_OCTAVE * _OCTAVES
WORST = 8
_SHOWN_BINS = 64
_HALVES = 1 << 16
_MANY = 1 << 17
"""Elements from which counting all 65 536 upper halves costs less than looking up each element's bin."""

_BLOCK = 1024

_STEPS = tuple(int(128 * 2 ** (k / BINS_PER_OCTAVE)) for k in range(BINS_PER_OCTAVE))
"""Edges within an octave, in 128ths."""

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
        density: Which values became which.
    """

    counts: Counts
    worst: list[Worst] = field(default_factory=list)
    density: Density | None = None

    def add(self, other: ValueHistograms) -> None:
        """Add another sample's."""
        self.counts = self.counts + other.counts
        if self.density is not None and other.density is not None:
            self.density.add(other.density)
        self.worst = sorted([*self.worst, *other.worst], key=lambda one: (-one.error, one.sample, one.place))[:WORST]


def count(array: NDArray[Any]) -> Counts:
    """Count finite values, int64 [2 * BINS + 1]."""
    bins = _bins_of_halves()
    halves = _float32(array).view(np.uint32) >> np.uint32(16)
    if halves.size < _MANY:
        return np.bincount(bins[halves], minlength=2 * BINS + 2)[: 2 * BINS + 1]
    used = np.bincount(halves, minlength=_HALVES)
    counts = np.zeros(2 * BINS + 2, dtype=np.int64)
    np.add.at(counts, bins, used)
    return counts[:-1]


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """The values in a row; a double that float32 does not hold becomes its largest."""
    if array.dtype == np.float64:
        most = np.finfo(np.float32).max
        array = np.where(np.isfinite(array), np.clip(array, -most, most), np.nan)
    return np.ascontiguousarray(array, dtype=np.float32).reshape(-1)


@cache
def _bins_of_halves() -> NDArray[np.int16]:
    """The bin of each upper half of a float32, int16 [65 536]; what is not finite goes to one more bin at the end."""
    halves = np.arange(_HALVES)
    exponent, steps = ((halves >> 7) & 255) - 127, 128 + (halves & 127)
    quarter = np.searchsorted(_STEPS, steps, side="right") - 1
    bins = np.minimum((exponent - _LOWEST_OCTAVE) * BINS_PER_OCTAVE + quarter, BINS - 1) + 1
    signed = np.where(bins <= 0, 0, np.where(halves >> 15, -bins, bins)) + BINS
    return np.where(exponent == 128, 2 * BINS + 1, signed).astype(np.int16)


def _edge(bin_: int) -> float:
    """Lower edge of a bin of magnitudes."""
    octave, quarter = divmod(bin_, BINS_PER_OCTAVE)
    return float(2.0 ** (octave + _LOWEST_OCTAVE) * _STEPS[quarter] / 128)


def bin_edges() -> NDArray[np.float64]:
    """Edges of the bins of `ValueHistograms`, ascending, float64 [2 * BINS + 2]; the middle two enclose zero."""
    positive = [_edge(bin_) for bin_ in range(BINS + 1)]
    return np.array([*(-edge for edge in reversed(positive)), *positive])


def histograms(reference: NDArray[Any], other: NDArray[Any], sample: int, stride: int = 1) -> ValueHistograms:
    """Histograms of sampled tiles, and the worst of all elements.

    Args:
        reference: One sample's tensor.
        other: Another of the same shape.
        sample: Which sample it is.
        stride: Tiles of which one is looked at.
    """
    error = other - reference
    x = sampled(reference, stride)
    y = x if other is reference else sampled(other, stride)
    one = count(x)
    counts = np.stack([one, one if other is reference else count(y), count(y - x)])
    sizes = np.abs(error).reshape(-1)
    if not np.isfinite(sizes.sum()):
        sizes = np.nan_to_num(sizes, nan=0.0, posinf=0.0)
    worst = [
        Worst(
            float(sizes[place]),
            sample,
            tuple(int(axis) for axis in np.unravel_index(place, reference.shape))[1:],
            float(reference.reshape(-1)[place]),
            float(other.reshape(-1)[place]),
        )
        for place in _largest(sizes)
        if sizes[place] > 0
    ]
    return ValueHistograms(counts, sorted(worst, key=lambda one: (-one.error, one.place)), density(x, y))


def _largest(sizes: NDArray[Any]) -> NDArray[np.int64]:
    """Places of the `WORST` largest values, of equal ones the first: they lie where blocks have the largest maxima."""
    blocks = sizes.size // _BLOCK
    places = np.arange(sizes.size)
    if blocks > 2 * WORST:
        maxima = sizes[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(1)
        # Blocks as large as the eighth largest may hold ties that come first.
        chosen = np.flatnonzero(maxima >= np.partition(maxima, blocks - WORST)[blocks - WORST])
        parts = [np.arange(block * _BLOCK, (block + 1) * _BLOCK) for block in chosen]
        places = np.concatenate([*parts, np.arange(blocks * _BLOCK, sizes.size)])
    most = min(WORST, places.size)
    if not most:
        return places
    least = np.partition(sizes[places], places.size - most)[places.size - most]
    places = places[sizes[places] >= least]
    order: NDArray[np.int64] = places[np.lexsort((places, -sizes[places]))]
    return order[:most]


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
    edges = [_edge(start) for start in [*starts, last]]

    def joined(side: Counts) -> list[int]:
        return [int(side[start : min(start + width, last)].sum()) for start in starts]

    counts = [[*joined(n)[::-1], int(z), *joined(p)] for n, z, p in zip(negative, zero, positive, strict=True)]
    return [*(-edge for edge in reversed(edges)), *edges], counts

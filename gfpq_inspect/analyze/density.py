"""How often each float value became which quantized value: a map of square cells, streamed.

Cells are equally wide and cover -2^e to 2^e, with e from the largest magnitude of the sample at hand. Maps of samples
with different e are merged by joining the cells of the finer one two by two, which is exact: cells lie in cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 32
"""Cells on either side of zero."""

MOST_VALUES = 1 << 13
"""Values of a sample that are looked at, evenly from the sampled tiles: a map of more says nothing new."""

Cells = NDArray[np.int64]


@dataclass
class Density:
    """A map.

    Attributes:
        exponent: It covers -2^exponent to 2^exponent; None where no value was finite and not zero.
        cells: int64 [2 * HALF, 2 * HALF], float values along axis 0 and quantized ones along axis 1, both ascending.
    """

    exponent: int | None
    cells: Cells

    def add(self, other: Density) -> None:
        """Add another sample's."""
        if self.exponent is None or (other.exponent is not None and other.exponent > self.exponent):
            self.cells = other.cells + _widened(self, other.exponent)
            self.exponent = other.exponent
        else:
            self.cells = self.cells + _widened(other, self.exponent)


def density(reference: NDArray[Any], other: NDArray[Any]) -> Density:
    """The map of one sample's tensors, of one shape."""
    stride = max(1, -(-reference.size // MOST_VALUES))
    values = np.stack([array.reshape(-1)[::stride].astype(np.float64) for array in (reference, other)])
    values = values[:, np.isfinite(values).all(axis=0)]
    largest = float(np.abs(values).max()) if values.size else 0.0
    if largest == 0.0:
        cells = np.zeros((2 * HALF, 2 * HALF), dtype=np.int64)
        cells[HALF, HALF] = values.shape[1]
        return Density(None, cells)
    exponent = math.frexp(largest)[1]
    places = np.floor(np.ldexp(values, -exponent) * HALF).astype(np.int64) + HALF
    places = np.clip(places, 0, 2 * HALF - 1)
    counts = np.bincount(places[0] * (2 * HALF) + places[1], minlength=(2 * HALF) ** 2)
    return Density(exponent, counts.reshape(2 * HALF, 2 * HALF))


def _widened(one: Density, exponent: int | None) -> Cells:
    """Its cells as those of a map that covers more."""
    if one.exponent is None or exponent is None or one.exponent == exponent:
        return one.cells
    shift = min(exponent - one.exponent, 2 * HALF)
    place = (np.arange(-HALF, HALF) >> shift) + HALF
    wide = np.zeros_like(one.cells)
    np.add.at(wide, (place[:, None], place[None, :]), one.cells)
    return wide


def shown(one: Density) -> dict[str, Any] | None:
    """Edges and counts for a chart, `counts[quantized][float]`, without the outer cells that hold nothing."""
    if one.exponent is None:
        return None
    used = np.flatnonzero(one.cells.any(axis=0) | one.cells.any(axis=1))
    first, last = int(used[0]), int(used[-1]) + 1
    edges = [math.ldexp(place - HALF, one.exponent) / HALF for place in range(first, last + 1)]
    return {"edges": edges, "counts": one.cells[first:last, first:last].T.tolist()}

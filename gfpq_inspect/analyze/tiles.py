"""Which elements of a tensor histograms are made of: of every few tiles one, the same in any engine and any layout.

The elements of one channel are cut into tiles of `TILE_POSITIONS`; of every `stride` tiles one is looked at, each time
the next one, so that no column of an image is always left out. Channels of fewer than `stride` tiles are looked at
whole. Sums by channel are not made of tiles, but of everything.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import _native

TILE_POSITIONS = _native.TILE_POSITIONS
"""Neighbouring elements of a channel that are looked at together."""

STRIDE = 8
"""Tiles of which one is looked at, unless all are asked for."""


@lru_cache(maxsize=256)
def sampled_positions(plane: int, stride: int) -> NDArray[np.int64] | None:
    """Positions within a channel of `plane` elements that are looked at; None for all of them."""
    tiles = -(-plane // TILE_POSITIONS)
    if stride == 1 or tiles < stride:
        return None
    tile = np.arange(plane) // TILE_POSITIONS
    return np.flatnonzero(tile % stride == tile // stride % stride)


def sampled(array: NDArray[Any], stride: int) -> NDArray[Any]:
    """The elements of a tensor that are looked at.

    Args:
        array: One sample's tensor; axis 1 counts channels, tensors of fewer axes are one channel.
        stride: Tiles of which one is looked at.

    Returns:
        [channels, images, positions], contiguous.
    """
    images, channels = array.shape[:2] if array.ndim > 1 else (1, 1)
    parts = array.reshape(images, channels, -1) if array.size else array.reshape(images, channels, 0)
    positions = sampled_positions(parts.shape[2], stride)
    if positions is not None:
        parts = parts[:, :, positions]
    return np.ascontiguousarray(np.moveaxis(parts, 1, 0))

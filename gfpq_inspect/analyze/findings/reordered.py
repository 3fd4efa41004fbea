"""Images as they would have been read with their channels in another order: the mean stays where it was subtracted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_CHANNELS = 3


def reordered(
    image: NDArray[np.float32], order: Sequence[int], preprocessing: Mapping[str, str]
) -> NDArray[np.float32]:
    """An image with another order of channels, before its mean was subtracted and it was scaled.

    Args:
        image: (value - mean) * scale, float32 [1, 3, H, W].
        order: Channel to take for each.
        preprocessing: What was subtracted and multiplied, as the input's facts tell it; a mean or scale that is no list
            of numbers moves with its channel.
    """
    taken = np.ascontiguousarray(image[:, list(order)])
    mean, scale = _numbers(preprocessing.get("mean")), _numbers(preprocessing.get("scale"))
    if mean is None and scale is None:
        return taken
    scale = np.ones(_CHANNELS) if scale is None or not scale.all() else scale
    mean = np.zeros(_CHANNELS) if mean is None else mean
    chosen = list(order)
    factor, shift = scale / scale[chosen], (mean[chosen] - mean) * scale
    result: NDArray[np.float32] = taken * _by_channel(factor) + _by_channel(shift)
    return result


def _by_channel(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(1, -1, 1, 1)


def _numbers(text: str | None) -> NDArray[np.float64] | None:
    """Three numbers, or one for all channels; None for anything else."""
    try:
        values = np.array([float(part) for part in (text or "").split(",")])
    except ValueError:
        return None
    if values.size not in (1, _CHANNELS) or not np.isfinite(values).all():
        return None
    return np.broadcast_to(values, (_CHANNELS,))

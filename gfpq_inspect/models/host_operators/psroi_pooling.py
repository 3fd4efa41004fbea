"""PSROIPooling (R-FCN): every bin of a region averages a channel group of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.host_operators.registry import Array, host_operator

_SMALLEST = np.float32(0.1)


@host_operator("PSROIPooling")
def psroi_pooling(attributes: Mapping[str, Any], inputs: Sequence[Array]) -> list[Array]:
    """Compute one PSROIPooling node.

    Args:
        attributes: `spatial_scale`, `output_dim`, `group_size`.
        inputs: Features (N, output_dim group_size^2, H, W) and regions (R, 5): image, x1, y1, x2, y2.

    Returns:
        One array (R, output_dim, group_size, group_size).

    Raises:
        ModelError: A region names an image that the batch does not have.
    """
    features, regions = inputs
    scale = np.float32(attributes["spatial_scale"])
    outputs, groups = int(attributes["output_dim"]), int(attributes["group_size"])
    count, _, height, width = features.shape
    result = np.zeros((len(regions), outputs, groups, groups), np.float32)
    for number, region in enumerate(regions):
        image = int(region[0])
        if not 0 <= image < count:
            raise ModelError(Problem(f"region {number} is in image {image} of a batch of {count}"))
        by_group = features[image].reshape(outputs, groups, groups, height, width)
        rows = _edges(region[2], region[4], scale, groups, height)
        columns = _edges(region[1], region[3], scale, groups, width)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom > top and right > left:
                    total = by_group[:, i, j, top:bottom, left:right].sum(axis=(1, 2), dtype=np.float32)
                    result[number, :, i, j] = total / np.float32((bottom - top) * (right - left))
    return [result]


def _edges(first: np.float32, last: np.float32, scale: np.float32, groups: int, size: int) -> list[tuple[int, int]]:
    """Return first and one past last index of each bin along one axis, held inside the image."""
    start = _round(first) * scale
    end = np.float32(_round(last) + np.float32(1)) * scale
    step = np.float32(max(np.float32(end - start), _SMALLEST) / np.float32(groups))
    edges = []
    for number in range(groups):
        low = int(np.floor(np.float32(np.float32(number) * step + start)))
        high = int(np.ceil(np.float32(np.float32(number + 1) * step + start)))
        edges.append((min(max(low, 0), size), min(max(high, 0), size)))
    return edges


def _round(value: np.float32) -> np.float32:
    """Round half away from zero, as C does."""
    return np.float32(np.copysign(np.floor(np.abs(value) + np.float32(0.5)), value))

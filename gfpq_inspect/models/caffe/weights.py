"""Stored weights: what a weight file holds, and whether a stored blob fits the shape that a layer wants."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.wire import Buffer

MAX_BLOB_AXES = 32
"""Caffe's own limit."""

MAX_BLOB_VALUES = 2**31 - 1
"""Caffe counts the values of a blob in a signed 32-bit integer."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredBlob:
    """One array of a weight file.

    Attributes:
        shape: As stored; four axes for a legacy header.
        values: Flat float32 values; a read-only view of the file where its bytes allow it.
        fault: Why the blob cannot be used (counts disagree, absurd size), or ''.
        note: How it was stored when that was not plain float32, or ''.
    """

    shape: tuple[int, ...]
    values: NDArray[np.float32]
    fault: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredLayer:
    """One layer of a weight file.

    Attributes:
        name: Layer name; untrusted text.
        blobs: Number of the blob (from 0) to the blob. HDF5 files leave out blobs that another layer owns.
        start: First byte of its message in a caffemodel.
        end: End of its message.
        version: Format of the message: 0 (V0), 1 (V1) or 2 (current).
    """

    name: str
    blobs: dict[int, StoredBlob]
    start: int = 0
    end: int = 0
    version: int = 2


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """All layers of a weight file, in file order; names can repeat.

    Attributes:
        path: The file as the user gave it.
        name: The network's name in the file.
        layers: In file order.
        kind: 'caffemodel' or 'HDF5'.
        notes: Formats met that a reader should know of.
        buffer: The mapped file of a caffemodel, for what else is in it; empty for HDF5.
    """

    path: str
    name: str
    layers: tuple[StoredLayer, ...]
    kind: str = "caffemodel"
    notes: tuple[str, ...] = ()
    buffer: Buffer = b""


def count_of(shape: tuple[int, ...]) -> int | None:
    """Return the number of values of a shape, or None when Caffe could not hold it."""
    if len(shape) > MAX_BLOB_AXES or any(dimension < 0 for dimension in shape):
        return None
    count = prod(shape)
    return count if count <= MAX_BLOB_VALUES else None


def fit_blob(blob: NDArray[np.float32], shape: tuple[int, ...]) -> tuple[NDArray[np.float32] | None, str | None]:
    """Give a stored blob the shape that its layer wants, where that only moves axes of one.

    Caffe compares shapes exactly, and legacy four-axis headers right-aligned, padded with 1 on the left. Other places
    for the ones are accepted here too, though Caffe would stop.

    Args:
        blob: As stored.
        shape: As the layer wants it.

    Returns:
        The blob as a view of that shape and a clause to note (None when there is nothing to say); (None, None) if it
        does not fit.
    """
    if blob.shape == shape:
        return blob, None
    if [size for size in blob.shape if size != 1] != [size for size in shape if size != 1]:
        return None, None
    width = max(blob.ndim, len(shape))
    aligned = (1,) * (width - blob.ndim) + blob.shape == (1,) * (width - len(shape)) + shape
    note = None if aligned else f"stored as {_text(blob.shape)}, read as {_text(shape)}, which Caffe itself refuses"
    return blob.reshape(shape), note


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"

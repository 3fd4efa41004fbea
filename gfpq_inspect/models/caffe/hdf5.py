"""Weights in HDF5 (`.caffemodel.h5`): groups `data/<layer>/<0, 1, ...>`, as Caffe snapshots them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gfpq_inspect.errors import MissingExtraError, ModelError, Problem
from gfpq_inspect.models.caffe.caffemodel import MAX_BLOBS, MAX_LAYERS
from gfpq_inspect.models.caffe.weights import StoredBlob, StoredLayer, StoredWeights, count_of

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_EXPANSION = 32
"""Decompressed weights may be so many times the file's size; Caffe itself does not compress."""
MAX_DEPTH = 16


def read_hdf5(path: Path) -> StoredWeights:
    """Read the weights of an HDF5 snapshot.

    Args:
        path: The file.

    Returns:
        Every layer of the file; blobs that another layer owns (shared parameters) are not in it.

    Raises:
        MissingExtraError: h5py is not installed.
        ModelError: The file is missing, damaged, or no Caffe snapshot.
    """
    try:
        import h5py  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading HDF5 weights", "hdf5") from error
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise ModelError(
                    Problem("has no group 'data'", file=str(path), remedy="give a snapshot that Caffe wrote")
                )
            reader = _Reader(path, path.stat().st_size * MAX_EXPANSION, h5py)
            layers = tuple(reader.layers(data, "", 0))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            Problem(f"cannot be read as HDF5 ({error})", file=str(path), remedy="copy or download it again")
        ) from error
    if not layers:
        raise ModelError(Problem("holds no layers at all", file=str(path), remedy="give the weights (.caffemodel.h5)"))
    return StoredWeights(str(path), "", layers, "HDF5", ("the weights are in HDF5 format",))


class _Reader:
    """Reads layer groups, keeping count of the bytes that they expand to."""

    def __init__(self, path: Path, budget: int, h5py: Any) -> None:
        self._path = path
        self._budget = budget
        self._h5py = h5py
        self._layers_left = MAX_LAYERS
        self._blobs_left = MAX_BLOBS

    def layers(self, group: Any, prefix: str, depth: int) -> Iterator[StoredLayer]:
        """Yield the layers below a group; a '/' in a layer's name makes groups within groups."""
        if depth > MAX_DEPTH:
            raise ValueError("groups are nested too deep")
        for name in group:
            child = group.get(name)
            if not isinstance(child, self._h5py.Group):
                continue
            self._layers_left -= 1
            if self._layers_left < 0:
                raise ValueError(f"it holds more than {MAX_LAYERS} layers")
            blobs = {}
            for number in sorted(int(key) for key in child if key.isascii() and key.isdigit() and len(key) < 6):
                dataset = child.get(str(number))
                if isinstance(dataset, self._h5py.Dataset):
                    blobs[number] = self._blob(dataset)
            groups = any(isinstance(child.get(key), self._h5py.Group) for key in child)
            if blobs or not groups:
                yield StoredLayer(prefix + name, blobs)
            if groups:
                yield from self.layers(child, f"{prefix}{name}/", depth + 1)

    def _blob(self, dataset: Any) -> StoredBlob:
        self._blobs_left -= 1
        if self._blobs_left < 0:
            raise ValueError(f"it holds more than {MAX_BLOBS} weight arrays")
        shape = tuple(int(size) for size in dataset.shape or ())
        empty = np.zeros(0, np.float32)
        if count_of(shape) is None:
            return StoredBlob(shape, empty, "its shape is one that Caffe could not hold")
        if dataset.dtype.kind != "f":
            return StoredBlob(shape, empty, f"it holds {dataset.dtype} values, not floating-point ones")
        self._budget -= max(dataset.nbytes, dataset.size * 4)
        if self._budget < 0:
            raise ValueError("its arrays are absurdly large for the size of the file")
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.asarray(dataset[()], dtype=np.float32).reshape(-1)
        note = "" if dataset.dtype.itemsize == 4 else f"stored as {dataset.dtype}"
        return StoredBlob(shape, values, note=note)

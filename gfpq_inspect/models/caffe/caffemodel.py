"""Caffemodels: the weights of every layer, read from the wire format in place.

Of a layer only what never differs between forks is taken: its name and its blobs. Field numbers of parameters mean
different things in different forks; `gfpq_inspect.models.caffe.binary_structure` reads them where there is no prototxt.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.blob import read_blob
from gfpq_inspect.models.caffe.message import decode_text
from gfpq_inspect.models.caffe.weights import StoredBlob, StoredLayer, StoredWeights
from gfpq_inspect.models.caffe.wire import Buffer, LimitError, WireError

MAX_LAYERS = 50_000
"""Layers of one file; the largest real networks have a few thousand."""
MAX_BLOBS = 65_536
"""Weight arrays of one file."""

_NET_NAME, _NET_OLD_LAYERS, _NET_LAYER = 1, 2, 100
# Version of the layer message: numbers of its name and of its blobs.
_NUMBERS = {0: (1, 50), 1: (4, 6), 2: (1, 7)}
_V1_INNER = 1

_NOT_CAFFE = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights", "fetch the real file with 'git lfs pull'"),
    (b"PK\x03\x04", "is a zip archive", "unpack it first"),
    (b"\x1f\x8b", "is a gzip archive", "unpack it first"),
    (b"<!DOCTYPE", "is an HTML page", "download the file itself"),
    (b"<html", "is an HTML page", "download the file itself"),
)


def open_buffer(path: Path) -> Buffer:
    """Map a file into memory; an empty file gives empty bytes.

    Raises:
        ModelError: It is missing or unreadable.
    """
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                return b""
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        what = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ModelError(Problem(what, file=str(path), remedy="check the path and its permissions")) from error


def read_caffemodel(path: Path) -> StoredWeights:
    """Read the weights of a caffemodel of any version, without copying them where the file allows it.

    Args:
        path: The file.

    Returns:
        Every layer of the file, with or without blobs.

    Raises:
        ModelError: The file is missing, empty, cut off, not a caffemodel, or beyond the stated limits.
    """
    return parse_caffemodel(open_buffer(path), str(path))


def parse_caffemodel(buffer: Buffer, path: str) -> StoredWeights:
    """Parse a caffemodel in memory; see `read_caffemodel`. `path` is for messages only."""
    head = bytes(buffer[:64])
    if not head:
        raise ModelError(Problem("is empty", file=path, remedy="give the weights (.caffemodel)"))
    for magic, what, remedy in _NOT_CAFFE:
        if head.startswith(magic):
            raise ModelError(Problem(what, file=path, remedy=remedy))
    try:
        return _Reader(buffer, path).read()
    except LimitError as error:
        raise too_large(error, path) from error
    except WireError as error:
        if _looks_like_text(head):
            raise ModelError(
                Problem("is text where weights are due", file=path, remedy="give the binary .caffemodel here")
            ) from error
        raise ModelError(
            Problem(
                f"is no caffemodel, or cut off: {error}",
                file=path,
                byte=error.byte,
                remedy="copy or download it again",
            )
        ) from error


def too_large(error: LimitError, path: str) -> ModelError:
    """Return the error for a file beyond one of the limits."""
    remedy = "check that this is a network"
    return ModelError(Problem(f"is larger than any network: {error}", path, byte=error.byte, remedy=remedy))


class _Reader:
    """One pass over a caffemodel."""

    def __init__(self, buffer: Buffer, path: str) -> None:
        self._buffer = buffer
        self._path = path
        self._layers: list[StoredLayer] = []
        self._blobs_left = MAX_BLOBS

    def read(self) -> StoredWeights:
        name = ""
        versions = set()
        for item in wire.fields(self._buffer, 0, len(self._buffer)):
            if item.wire != wire.LENGTH:
                continue
            if item.number == _NET_NAME:
                name = self._text(item.start, item.end)
            elif item.number in (_NET_OLD_LAYERS, _NET_LAYER):
                if len(self._layers) >= MAX_LAYERS:
                    raise LimitError(f"it holds more than {MAX_LAYERS} layers", item.start)
                layer = self._layer(item.start, item.end, 2 if item.number == _NET_LAYER else 1)
                self._layers.append(layer)
                versions.add(layer.version)
        self._check(versions)
        notes = self._notes(versions)
        return StoredWeights(self._path, name, tuple(self._layers), notes=notes, buffer=self._buffer)

    def _check(self, versions: set[int]) -> None:
        if not self._layers:
            raise ModelError(
                Problem("holds no layers at all", file=self._path, remedy="give the weights (.caffemodel)")
            )
        if 2 in versions and len(versions) > 1:
            raise ModelError(
                Problem(
                    "holds both 'layer' and 'layers' entries",
                    file=self._path,
                    remedy="upgrade the file with Caffe's upgrade_net_proto_binary",
                )
            )

    def _notes(self, versions: set[int]) -> tuple[str, ...]:
        old = {0: "V0", 1: "V1"}.get(min(versions))
        notes = [f"the weights are in the old {old} format"] if old else []
        kinds = sorted({blob.note for layer in self._layers for blob in layer.blobs.values() if blob.note})
        return (*notes, *(f"weights {kind}" for kind in kinds))

    def _layer(self, start: int, end: int, version: int) -> StoredLayer:
        outer = (start, end)
        if version == 1:
            for item in wire.fields(self._buffer, start, end):
                if item.number == _V1_INNER and item.wire == wire.LENGTH:
                    version, start, end = 0, item.start, item.end
        name_number, blob_number = _NUMBERS[version]
        name = ""
        blobs: dict[int, StoredBlob] = {}
        for item in wire.fields(self._buffer, start, end):
            if item.wire != wire.LENGTH:
                continue
            if item.number == name_number:
                name = self._text(item.start, item.end)
            elif item.number == blob_number:
                self._blobs_left -= 1
                if self._blobs_left < 0:
                    raise LimitError(f"it holds more than {MAX_BLOBS} weight arrays", item.start)
                blobs[len(blobs)] = read_blob(self._buffer, item.start, item.end)
        return StoredLayer(name, blobs, *outer, version)

    def _text(self, start: int, end: int) -> str:
        return decode_text(bytes(self._buffer[start:end]))


def _looks_like_text(head: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in head)

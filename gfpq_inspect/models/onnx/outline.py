"""An ONNX file without its large weights: read in place, so that they are never copied into a graph."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path

import onnx

from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.wire import WireField
from gfpq_inspect.models.tensors import SMALLEST_BYTES, can_stay, leave

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9


def outline(path: Path) -> tuple[onnx.ModelProto, str, frozenset[int]] | None:
    """Read a model whose large initializers stay in the file.

    Args:
        path: The file.

    Returns:
        The model, the SHA-256 of the file, and where in it the data lie that stayed; None where the file is not worth
        it or not what it should be, which is for the ordinary way of reading to say.
    """
    try:
        with path.open("rb") as stream:
            if path.stat().st_size < SMALLEST_BYTES:
                return None
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
                shortener = _Shortener(buffer, path)
                model = onnx.ModelProto.FromString(b"".join(shortener.model_parts()))
            return model, hashlib.file_digest(stream, "sha256").hexdigest(), frozenset(shortener.left)
    except Exception:  # protobuf promises no common class of its own; whatever it is, the ordinary way says it
        return None


class _Shortener:
    """Copies a model but for its large weights.

    Attributes:
        left: Where the data begin that were left out.
    """

    def __init__(self, buffer: mmap.mmap, path: Path) -> None:
        self._buffer = buffer
        self._path = path
        self.left: set[int] = set()

    def model_parts(self) -> list[bytes]:
        """All fields, that of the graph shortened."""
        parts = []
        before = 0
        for item in wire.fields(self._buffer, 0, len(self._buffer)):
            if item.number == _GRAPH and item.wire == wire.LENGTH:
                parts.append(_field(_GRAPH, b"".join(self._graph_parts(item))))
            else:
                parts.append(self._buffer[before : item.end])
            before = item.end
        return parts

    def _graph_parts(self, graph: WireField) -> list[bytes]:
        parts = []
        before = graph.start
        for item in wire.fields(self._buffer, graph.start, graph.end):
            large = item.number == _INITIALIZER and item.wire == wire.LENGTH and item.end - item.start > SMALLEST_BYTES
            shortened = self._shortened(item) if large else None
            parts.append(self._buffer[before : item.end] if shortened is None else _field(_INITIALIZER, shortened))
            before = item.end
        return parts

    def _shortened(self, tensor: WireField) -> bytes | None:
        """A tensor that says where its data lie; None where they cannot stay there."""
        parts, data = [], []
        before = tensor.start
        for item in wire.fields(self._buffer, tensor.start, tensor.end):
            if item.number == _RAW_DATA and item.wire == wire.LENGTH:
                data.append(item)
            elif item.end - item.start > SMALLEST_BYTES:
                return None
            else:
                parts.append(self._buffer[before : item.end])
            before = item.end
        if len(data) != 1:
            return None
        proto = onnx.TensorProto.FromString(b"".join(parts))
        size = data[0].end - data[0].start
        if proto.data_location == onnx.TensorProto.EXTERNAL or not can_stay(proto, size):
            return None
        leave(proto, self._path, data[0].start, size)
        self.left.add(data[0].start)
        return bytes(proto.SerializeToString())


def _field(number: int, content: bytes) -> bytes:
    """A field with its tag and its length."""
    head = bytearray()
    for value in (number << 3 | wire.LENGTH, len(content)):
        rest = value
        while rest > 0x7F:
            head.append(rest & 0x7F | 0x80)
            rest >>= 7
        head.append(rest)
    return bytes(head) + content

"""Writing Caffe files: caffemodels in the current format, and message trees as prototxt."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.files import write_atomically
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.schema import Field, MessageType, Parameters, enum_values, message_type

_NET_NAME, _NET_LAYER = 1, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BOTTOM, _LAYER_TOP, _LAYER_BLOBS = 1, 2, 3, 4, 7
_BLOB_DATA, _BLOB_SHAPE, _SHAPE_DIM = 5, 7, 1
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_COMMON_FIELDS = frozenset({"name", "type", "bottom", "top", "blobs"})


class WrittenLayer(NamedTuple):
    """One layer of a caffemodel to be written.

    Attributes:
        name: Layer name.
        type: Caffe's current type string.
        bottoms: Blob names.
        tops: Blob names.
        blobs: Weights in Caffe's order; written as float32 with their own shapes.
        message: The layer's parameters; fields that the schema has a number for are written too, so that the file can
            stand without a prototxt. Name, type, bottoms, tops and blobs in it are ignored.
    """

    name: str
    type: str
    bottoms: Sequence[str] = ()
    tops: Sequence[str] = ()
    blobs: Sequence[NDArray[np.floating]] = ()
    message: Message | None = None


def write_caffemodel(
    path: Path | str,
    name: str,
    layers: Iterable[WrittenLayer | tuple[str, str, Sequence[str], Sequence[str], Sequence[NDArray[np.floating]]]],
    *,
    overwrite: bool = False,
) -> None:
    """Write weights as Caffe's current binary format (NetParameter with `layer` #100, packed float data).

    Args:
        path: The file to write; whole or not at all.
        name: The network's name.
        layers: In the network's order; plain tuples are taken as `WrittenLayer`.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        OutputError: The file exists or cannot be written.
        ModelError: A parameter does not fit its schema.
    """
    write_atomically(Path(path), encode_caffemodel(name, layers), overwrite=overwrite)


def encode_caffemodel(
    name: str,
    layers: Iterable[WrittenLayer | tuple[str, str, Sequence[str], Sequence[str], Sequence[NDArray[np.floating]]]],
) -> bytes:
    """Return the bytes that `write_caffemodel` writes."""
    parts = [bytes_field(_NET_NAME, name.encode())]
    parts += [bytes_field(_NET_LAYER, _encode_layer(WrittenLayer(*layer))) for layer in layers]
    return b"".join(parts)


def _encode_layer(layer: WrittenLayer) -> bytes:
    parts = [bytes_field(_LAYER_NAME, layer.name.encode()), bytes_field(_LAYER_TYPE, layer.type.encode())]
    parts += [bytes_field(_LAYER_BOTTOM, blob.encode()) for blob in layer.bottoms]
    parts += [bytes_field(_LAYER_TOP, blob.encode()) for blob in layer.tops]
    parts += [bytes_field(_LAYER_BLOBS, _encode_blob(np.asarray(blob))) for blob in layer.blobs]
    if layer.message is not None:
        rest = {key: values for key, values in layer.message.fields.items() if key not in _COMMON_FIELDS}
        parts.append(encode_message(Message(rest), "LayerParameter"))
    return b"".join(parts)


def _encode_blob(blob: NDArray[np.generic]) -> bytes:
    shape = bytes_field(_SHAPE_DIM, b"".join(varint(dimension) for dimension in blob.shape))
    # ascontiguousarray would turn a scalar into one axis; the bytes are the same, the shape was taken before.
    data = np.ascontiguousarray(blob, dtype="<f4").tobytes()
    return bytes_field(_BLOB_DATA, data) + bytes_field(_BLOB_SHAPE, shape)


def encode_message(message: Message, schema: str) -> bytes:
    """Encode a message tree by the numbers of the schema; fields without a number are left out.

    Raises:
        ModelError: A value does not fit its field's type.
    """
    parameters = Parameters(message, schema)
    parts: list[bytes] = []
    for name in message:
        field = parameters.schema.fields.get(name)
        if field is None or not field.number:
            continue
        if message_type(field.type) is not None:
            subs = parameters.subs(name) if field.repeated else [parameters.sub(name)]
            parts += [bytes_field(field.number, encode_message(sub.message or Message(), field.type)) for sub in subs]
            continue
        value = parameters.get(name)
        for item in value if isinstance(value, list) else [value]:
            assert item is not None
            parts.append(_encode_scalar(field, parameters.schema, item))
    return b"".join(parts)


def _encode_scalar(field: Field, schema: MessageType, value: int | float | str) -> bytes:
    if field.type in ("float", "double"):
        code, wire = ("<f", _FIXED32) if field.type == "float" else ("<d", _FIXED64)
        return tag(field.number, wire) + struct.pack(code, value)
    if field.type in ("string", "bytes"):
        return bytes_field(field.number, str(value).encode())
    number = enum_values(schema.name, field.type)[value] if isinstance(value, str) else int(value)
    return tag(field.number, _VARINT) + varint(number)


def varint(value: int) -> bytes:
    """Encode an integer; negative ones as 64-bit two's complement."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire: int) -> bytes:
    """Encode a field's number and wire type."""
    return varint(number << 3 | wire)


def bytes_field(number: int, content: bytes) -> bytes:
    """Encode a field of bytes: a string, a message or packed numbers."""
    return tag(number, _LENGTH) + varint(len(content)) + content


def format_prototxt(message: Message, indent: int = 0) -> str:
    """Print a message tree in protobuf's text format, two spaces a level, one field a line."""
    pad = "  " * indent
    lines: list[str] = []
    for name, values in message.fields.items():
        for value in values:
            if isinstance(value, Message):
                lines.append(f"{pad}{name} {{\n{format_prototxt(value, indent + 1)}{pad}}}\n")
            else:
                lines.append(f"{pad}{name}: {_format_scalar(value)}\n")
    return "".join(lines)


def _format_scalar(scalar: Scalar) -> str:
    if scalar.kind != "string":
        return scalar.text
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    quoted = "".join(
        escapes.get(c) or (c if c.isprintable() else "".join(f"\\{byte:03o}" for byte in c.encode()))
        for c in scalar.text
    )
    return f'"{quoted}"'


def write_prototxt(path: Path | str, message: Message, *, overwrite: bool = False) -> None:
    """Write a message tree as a prototxt, whole or not at all.

    Raises:
        OutputError: The file exists or cannot be written.
    """
    write_atomically(Path(path), format_prototxt(message), overwrite=overwrite)


def tree(**fields: object) -> Message:
    """Build a message from Python values, for files that are written by a program.

    Strings become strings, numbers and bools their spelling, `Message` a sub-message, and lists repeat their field. An
    enum value is written `Scalar("MAX", "identifier")`.
    """
    message = Message()
    for name, value in fields.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Message | Scalar):
                message.add(name, item)
            elif isinstance(item, bool):
                message.add_text(name, "true" if item else "false", "identifier")
            elif isinstance(item, str):
                message.add_text(name, item)
            else:
                message.add_text(name, repr(item.item() if isinstance(item, np.generic) else item), "number")
    return message

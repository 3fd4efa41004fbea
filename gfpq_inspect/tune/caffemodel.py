"""Editing a caffemodel in place: new weights, tops and flags of some layers, every other byte as it was.

Fields that nobody here understands (parameters of forks, solver leftovers, gradients) are copied as they lie in the
file, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InternalError, ModelError, Problem
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.weights import StoredWeights
from gfpq_inspect.models.caffe.wire import Buffer, WireField
from gfpq_inspect.models.caffe.write import bytes_field, tag, varint

_NET_OLD_LAYERS, _NET_LAYER = 2, 100
_V1_INNER = 1
_BLOBS = {0: 50, 1: 6, 2: 7}  # by version of the layer
_TOPS = {0: None, 1: 3, 2: 4}  # V0 has them outside
_DATA, _DOUBLE_DATA, _SHAPE, _RAW_TYPE, _RAW_DATA = 5, 8, 7, 10, 12
_VALUE_FIELDS = frozenset({_DATA, _DOUBLE_DATA, _RAW_TYPE, _RAW_DATA})
_SHAPE_DIM = 1
_BIAS_TERM = {0: 4, 1: 2, 2: 2}  # by version: V0 has it in the layer itself, later ones in the parameter message
_PARAMETERS = {1: (10, 17), 2: (106, 117)}  # convolution_param, inner_product_param


@dataclass(frozen=True, eq=False)
class LayerEdit:
    """What changes in one stored layer.

    Attributes:
        blobs: Number of the blob to its new values, float32; a blob that the file has keeps its stored shape, a further
            one gets the shape of the array.
        tops: New names of the tops, or None to keep them.
        has_bias: Set the layer's `bias_term`.
        drop: Leave the layer out.
    """

    blobs: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    tops: tuple[str, ...] | None = None
    has_bias: bool = False
    drop: bool = False


def edit_caffemodel(stored: StoredWeights, edits: Mapping[int, LayerEdit]) -> bytes:
    """Return a caffemodel with some layers changed.

    Args:
        stored: The file, as read.
        edits: Position in `stored.layers` to the change.

    Returns:
        The new file.

    Raises:
        ModelError: The file is HDF5.
        InternalError: A blob has another number of values than the stored one, or blobs would have a gap.
    """
    if stored.kind != "caffemodel":
        what = "holds HDF5, which is read but not edited"
        raise ModelError(Problem(what, stored.path, remedy="save the weights as .caffemodel with Caffe"))
    buffer = stored.buffer
    parts: list[bytes] = []
    index, position = 0, 0
    for item in wire.fields(buffer, 0, len(buffer)):
        is_layer = item.number in (_NET_OLD_LAYERS, _NET_LAYER) and item.wire == wire.LENGTH
        edit = edits.get(index) if is_layer else None
        if edit is None:
            parts.append(bytes(buffer[position : item.end]))
        elif not edit.drop:
            parts.append(bytes_field(item.number, _edit_layer(buffer, item, stored.layers[index].version, edit)))
        index += is_layer
        position = item.end
    return b"".join(parts)


def _edit_layer(buffer: Buffer, item: WireField, version: int, edit: LayerEdit) -> bytes:
    if version == 0:
        return _edit_v0(buffer, item, edit)
    return _edit_fields(buffer, item, version, edit)


def _edit_v0(buffer: Buffer, item: WireField, edit: LayerEdit) -> bytes:
    """V0: weights lie in a message inside; tops outside."""
    parts, position = [], item.start
    tops = list(edit.tops) if edit.tops is not None else None
    for inner in wire.fields(buffer, item.start, item.end):
        if inner.number == _V1_INNER and inner.wire == wire.LENGTH:
            parts.append(
                bytes_field(_V1_INNER, _edit_fields(buffer, inner, 0, LayerEdit(edit.blobs, None, edit.has_bias)))
            )
        elif inner.number == 3 and tops:
            parts.append(bytes_field(3, tops.pop(0).encode()))
        else:
            parts.append(bytes(buffer[position : inner.end]))
        position = inner.end
    return b"".join(parts)


def _edit_fields(buffer: Buffer, item: WireField, version: int, edit: LayerEdit) -> bytes:
    blobs_number, top_number = _BLOBS[version], _TOPS[version]
    tops = list(edit.tops) if edit.tops is not None else None
    parts: list[bytes] = []
    position, blob, behind_blobs = item.start, 0, None
    for inner in wire.fields(buffer, item.start, item.end):
        raw = bytes(buffer[position : inner.end])
        position = inner.end
        if inner.wire != wire.LENGTH:
            is_flag = version == 0 and edit.has_bias and inner.number == _BIAS_TERM[0]
            parts.append(b"" if is_flag else raw)
        elif inner.number == blobs_number:
            values = edit.blobs.get(blob)
            parts.append(raw if values is None else bytes_field(inner.number, _edit_blob(buffer, inner, values)))
            blob += 1
            behind_blobs = len(parts)
        elif inner.number == top_number and tops:
            parts.append(bytes_field(inner.number, tops.pop(0).encode()))
        elif edit.has_bias and inner.number in _PARAMETERS.get(version, ()):
            parts.append(bytes_field(inner.number, _with_bias(buffer, inner, _BIAS_TERM[version])))
        else:
            parts.append(raw)
    new = [_new_blob(edit.blobs, number, blobs_number, version) for number in range(blob, _count(edit.blobs))]
    at = len(parts) if behind_blobs is None else behind_blobs
    return b"".join([*parts[:at], *new, *parts[at:]])


def _count(blobs: Mapping[int, NDArray[np.float32]]) -> int:
    return max(blobs, default=-1) + 1


def _new_blob(blobs: Mapping[int, NDArray[np.float32]], number: int, field_number: int, version: int) -> bytes:
    if number not in blobs:
        raise InternalError(f"blob {number} is missing before a new one")
    values = blobs[number]
    data = bytes_field(_DATA, values.astype("<f4").tobytes())
    if version == 2:
        return bytes_field(field_number, data + bytes_field(_SHAPE, _dimensions(values.shape)))
    header = (1, 1, 1, *values.shape)[-4:]
    legacy = b"".join(tag(axis, wire.VARINT) + varint(size) for axis, size in enumerate(header, start=1))
    return bytes_field(field_number, legacy + data)


def _dimensions(shape: tuple[int, ...]) -> bytes:
    return bytes_field(_SHAPE_DIM, b"".join(varint(size) for size in shape))


def _edit_blob(buffer: Buffer, item: WireField, values: NDArray[np.float32]) -> bytes:
    """Return a blob with other values; shape and everything else stay, the values become packed float32."""
    data = bytes_field(_DATA, np.ascontiguousarray(values, "<f4").tobytes())
    parts: list[bytes] = []
    position, placed = item.start, False
    while position < item.end:
        inner = next(wire.fields(buffer, position, item.end))
        after = inner.end
        if inner.number in _VALUE_FIELDS:
            if inner.wire in (wire.FIXED32, wire.FIXED64):  # old writers: one field a value
                after = wire.single_run(buffer, inner, item.end)
            parts += [] if placed else [data]
            placed = True
        else:
            parts.append(bytes(buffer[position:after]))
        position = after
    return b"".join(parts if placed else [*parts, data])


def _with_bias(buffer: Buffer, item: WireField, number: int) -> bytes:
    """Return a parameter message without its `bias_term`, whose default is true."""
    parts, position = [], item.start
    for inner in wire.fields(buffer, item.start, item.end):
        if inner.number != number or inner.wire != wire.VARINT:
            parts.append(bytes(buffer[position : inner.end]))
        position = inner.end
    return b"".join(parts)

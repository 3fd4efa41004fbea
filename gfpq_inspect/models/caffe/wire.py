"""Protobuf's wire format, read in place: tags, lengths and numbers of a buffer, nothing copied.

Nothing here knows Caffe. Every position is checked against the end of the enclosing message, so that a wrong length is
an error and never a read elsewhere.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
MAX_GROUP_DEPTH = 64
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}

Buffer: TypeAlias = "bytes | mmap.mmap"


class WireError(ValueError):
    """Bytes that are no protobuf message.

    Attributes:
        byte: Offset of the fault in the file.
    """

    def __init__(self, what: str, byte: int) -> None:
        super().__init__(what)
        self.byte = byte


class LimitError(WireError):
    """A message that is well formed but larger than any network."""


class WireField(NamedTuple):
    """One field of a message.

    Attributes:
        number: Field number.
        wire: Wire type.
        start: First byte of the content.
        end: End of the content.
        value: The number of a varint field, else 0.
    """

    number: int
    wire: int
    start: int
    end: int
    value: int


def read_varint(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """Return a varint (unsigned, 64 bits) and the position after it.

    Raises:
        WireError: It is cut off or longer than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise WireError("a number is cut off", position)
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise WireError("a number has more than ten bytes", position)


def fields(buffer: Buffer, start: int, end: int) -> Iterator[WireField]:
    """Yield the fields of the message that lies in [start, end).

    Raises:
        WireError: The bytes are no message.
    """
    position = start
    while position < end:
        at = position
        tag, position = read_varint(buffer, position, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag > 0xFFFF_FFFF:
            raise WireError(f"field number {number} does not exist", at)
        if wire == VARINT:
            value, after = read_varint(buffer, position, end)
            yield WireField(number, wire, position, after, value)
            position = after
        elif wire == LENGTH:
            length, content = read_varint(buffer, position, end)
            if length > end - content:
                raise WireError(f"a field of {length} bytes does not fit into the {end - content} that are left", at)
            yield WireField(number, wire, content, content + length, 0)
            position = content + length
        elif wire in _FIXED_SIZES:
            after = position + _FIXED_SIZES[wire]
            if after > end:
                raise WireError("a number is cut off", at)
            yield WireField(number, wire, position, after, 0)
            position = after
        elif wire == START_GROUP:
            after = _skip_group(buffer, position, end)
            yield WireField(number, wire, position, after, 0)
            position = after
        else:
            raise WireError(f"wire type {wire} is out of place", at)


def _skip_group(buffer: Buffer, position: int, end: int) -> int:
    """Return the position after the end tag of a group; groups are obsolete, nobody needs their content."""
    depth = 1
    while depth:
        at = position
        tag, position = read_varint(buffer, position, end)
        wire = tag & 7
        if wire == START_GROUP:
            depth += 1
            if depth > MAX_GROUP_DEPTH:
                raise WireError(f"groups are nested more than {MAX_GROUP_DEPTH} deep", at)
        elif wire == END_GROUP:
            depth -= 1
        elif wire == VARINT:
            _, position = read_varint(buffer, position, end)
        else:
            length = _FIXED_SIZES.get(wire, 0)
            if wire == LENGTH:
                length, position = read_varint(buffer, position, end)
            elif not length:
                raise WireError(f"wire type {wire} is out of place", at)
            if length > end - position:
                raise WireError("a field does not fit into its group", at)
            position += length
    return position


def signed(value: int) -> int:
    """Return a varint as the signed 64-bit number that protobuf stores in it."""
    return value - 2**64 if value >= 2**63 else value


def single_run(buffer: Buffer, item: WireField, end: int) -> int:
    """Return the end of a run of equal fixed-size fields, as old writers store a packed field.

    Args:
        buffer: The file.
        item: The run's first field, FIXED32 or FIXED64.
        end: End of the enclosing message.

    Returns:
        The position after the last field of the run; `run_values` reads what lies between.
    """
    tag = np.frombuffer(_tag_bytes(item.number << 3 | item.wire), np.uint8)
    stride = len(tag) + item.end - item.start
    limit = (end - item.end) // stride
    rows = np.frombuffer(buffer, np.uint8, limit * stride, item.end).reshape(limit, stride)
    count, step = 0, 64
    # Growing steps: a short run costs little, a long one is compared at memory speed.
    while count < limit:
        same = (rows[count : count + step, : len(tag)] == tag).all(axis=1)
        if not same.all():
            count += int(np.argmin(same))
            break
        count += len(same)
        step *= 4
    return item.end + count * stride


def run_values(buffer: Buffer, start: int, end: int, number: int, wire: int) -> bytes:
    """Return the values' bytes of a run whose first value starts at `start` and which ends at `end`."""
    size = _FIXED_SIZES[wire]
    stride = len(_tag_bytes(number << 3 | wire)) + size
    rows = np.frombuffer(buffer, np.uint8, end - start - size, start + size).reshape(-1, stride)
    return bytes(buffer[start : start + size]) + rows[:, stride - size :].tobytes()


def _tag_bytes(tag: int) -> bytes:
    out = bytearray()
    while tag > 0x7F:
        out.append(tag & 0x7F | 0x80)
        tag >>= 7
    out.append(tag)
    return bytes(out)

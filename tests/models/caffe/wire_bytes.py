"""Writing the wire format by hand, for files that no writer of ours would make."""

from __future__ import annotations


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def tag(number: int, wire: int) -> bytes:
    return varint(number << 3 | wire)


def number(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def chunk(field: int, *parts: bytes | str) -> bytes:
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return tag(field, 2) + varint(len(content)) + content


def layer(name: str, *blobs: bytes, kind: str = "Any", extra: bytes = b"") -> bytes:
    """A layer of the current format."""
    return chunk(100, chunk(1, name), chunk(2, kind), *(chunk(7, blob) for blob in blobs), extra)

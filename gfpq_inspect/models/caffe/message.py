"""A protobuf message without a schema: field names to lists of values, each value with its place in the file.

Text files are parsed to this tree and stay in it, so that fields of forks survive. Parameter messages found inside a
caffemodel are decoded to the same tree. Typed values come out through `gfpq_inspect.models.caffe.schema`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

ScalarKind: TypeAlias = Literal["string", "number", "identifier"]


@dataclass(frozen=True, slots=True)
class Scalar:
    r"""One value as its file spells it.

    Attributes:
        text: Decoded content of a string; spelling of a number (sign included, no spaces) or of an identifier.
            Bytes of a string that are not UTF-8 appear as `\xNN`.
        kind: How it was written.
        line: Line in the text file, from 1; None when it came from a binary.
        column: Column in that line, from 1; None when it came from a binary.
    """

    text: str
    kind: ScalarKind
    line: int | None = None
    column: int | None = None


@dataclass(slots=True)
class Message:
    """Fields by name, in the order of their first appearance; each holds its values in file order.

    Attributes:
        fields: Field name to values. A list is never empty.
        line: Line where the message's own field name stands; None at the root or in a binary.
        column: Column of that name.
    """

    fields: dict[str, list[Scalar | Message]] = field(default_factory=dict)
    line: int | None = None
    column: int | None = None

    def add(self, name: str, value: Scalar | Message) -> None:
        """Append one value to a field."""
        self.fields.setdefault(name, []).append(value)

    def add_text(self, name: str, text: str, kind: ScalarKind = "string") -> None:
        """Append one scalar at the place of this message."""
        self.add(name, Scalar(text, kind, self.line, self.column))

    def scalars(self, name: str) -> list[Scalar]:
        """Return the scalar values of a field, sub-messages left out."""
        return [value for value in self.fields.get(name, ()) if isinstance(value, Scalar)]

    def messages(self, name: str) -> list[Message]:
        """Return the sub-messages of a field, scalars left out."""
        return [value for value in self.fields.get(name, ()) if isinstance(value, Message)]

    def text(self, name: str, default: str = "") -> str:
        """Return the text of the first scalar of a field, or `default`."""
        scalars = self.scalars(name)
        return scalars[0].text if scalars else default

    def texts(self, name: str) -> list[str]:
        """Return the texts of all scalars of a field."""
        return [scalar.text for scalar in self.scalars(name)]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def copy(self) -> Message:
        """Return a copy whose field lists can change; the values themselves are shared."""
        return Message({name: list(values) for name, values in self.fields.items()}, self.line, self.column)


def decode_text(raw: bytes) -> str:
    r"""Decode the bytes of a protobuf string; bytes that are not UTF-8 become `\xNN`.

    Text and binary files go through this one function, so that a layer name compares equal in both.
    """
    return raw.decode("utf-8", errors="backslashreplace")

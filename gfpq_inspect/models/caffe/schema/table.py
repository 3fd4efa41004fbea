"""The schema's tables, parsed once when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from gfpq_inspect.errors import InternalError
from gfpq_inspect.models.caffe.schema import bvlc, forks, old_formats, ssd

SCALAR_TYPES = frozenset({"int32", "int64", "uint32", "uint64", "float", "double", "bool", "string", "bytes"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message.

    Attributes:
        name: Field name.
        number: Field number in a binary; 0 when forks disagree and it must never be taken from one.
        type: A scalar type, or the name of a message or of an enum.
        repeated: True for a list.
        required: True when Caffe refuses a message without it.
        default: Default as the schema spells it; None means the zero of the type.
    """

    name: str
    number: int
    type: str
    repeated: bool
    required: bool
    default: str | None


@dataclass(frozen=True)
class MessageType:
    """One message of the schema: fields by name and by number."""

    name: str
    fields: Mapping[str, Field]
    by_number: Mapping[int, Field]
    enums: Mapping[str, Mapping[str, int]]


class _Table:
    """All messages and enums of the schema."""

    def __init__(self) -> None:
        self._fields: dict[str, dict[str, Field]] = {}
        self._enums: dict[str, dict[str, dict[str, int]]] = {}
        for text in (bvlc.MESSAGES, old_formats.MESSAGES, ssd.MESSAGES, forks.MESSAGES):
            self._parse(text)
        self._top_level: dict[str, dict[str, int]] = {}
        for line in bvlc.TOP_LEVEL_ENUMS.split("\n"):
            if line.strip():
                name, values = _parse_enum(line.strip())
                self._top_level[name] = values
        self.messages = {
            name: MessageType(
                name, fields, {f.number: f for f in fields.values() if f.number}, self._enums.get(name, {})
            )
            for name, fields in self._fields.items()
        }

    def _parse(self, text: str) -> None:
        message, body = "", ""
        for line in [*text.split("\n"), "End"]:
            if line.startswith(" "):
                body += " " + line.strip()
            elif line:
                self._add(message, body)
                message, body = line.removesuffix("+"), ""

    def _add(self, message: str, body: str) -> None:
        for item in filter(None, (part.strip() for part in body.split(";"))):
            if item.startswith("enum "):
                name, values = _parse_enum(item)
                self._enums.setdefault(message, {})[name] = values
                continue
            declaration, _, default = item.partition("=")
            name, number, kind = declaration.split()
            self._fields.setdefault(message, {})[name] = Field(
                name=name,
                number=int(number),
                type=kind.rstrip("*!"),
                repeated=kind.endswith("*"),
                required=kind.endswith("!"),
                default=default or None,
            )

    def enum(self, message: str, name: str) -> Mapping[str, int]:
        own = self._enums.get(message, {}).get(name) or self._top_level.get(name)
        if own is not None:
            return own
        for enums in self._enums.values():
            if name in enums:
                return enums[name]
        raise InternalError(f"the Caffe schema has no enum {name}")


def _parse_enum(text: str) -> tuple[str, dict[str, int]]:
    name, _, values = text.removeprefix("enum ").partition("=")
    return name.strip(), {key: int(number) for key, _, number in (value.partition(":") for value in values.split())}


@cache
def _table() -> _Table:
    return _Table()


def message_type(name: str) -> MessageType | None:
    """Return the message of this name, or None when `name` is a scalar type, an enum, or unknown."""
    return _table().messages.get(name)


def enum_values(message: str, name: str) -> Mapping[str, int]:
    """Return the values of an enum by name, looked up in `message` first.

    Raises:
        InternalError: The schema has no such enum.
    """
    return _table().enum(message, name)

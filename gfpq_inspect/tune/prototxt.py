"""Editing a prototxt in place: where each field lies in the text, and changes that leave every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.text import MAX_BYTES, parse_text, tokens

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_bytes(path: Path) -> bytes:
    """Read a prototxt as it is.

    Raises:
        ModelError: It is missing, unreadable or too large.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            remedy = "give the .prototxt, not the weights"
            raise ModelError(Problem(f"is too large for a prototxt ({MAX_BYTES} bytes)", str(path), remedy=remedy))
        return path.read_bytes()
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
        raise ModelError(Problem(what, str(path), remedy="check the path and its permissions")) from error


@dataclass(slots=True)
class Entry:
    """One value of one field in the text.

    Attributes:
        name: Field name.
        start: Where the field's name begins; for a further value of a list, where the value begins.
        value_start: Where the value begins: a brace for a message.
        end: Behind the value.
        children: Fields of a message, in file order.
        is_message: Whether the value is a message.
        in_list: Whether it stands in `[ ]`.
    """

    name: str
    start: int
    value_start: int
    end: int
    children: list[Entry] = field(default_factory=list)
    is_message: bool = False
    in_list: bool = False

    def of(self, name: str) -> list[Entry]:
        """Return the values of one field of this message."""
        return [child for child in self.children if child.name == name]


class Source:
    """A prototxt as text, as a message tree, and where the one lies in the other.

    Args:
        raw: Bytes of the file.
        path: For messages.

    Attributes:
        text: The file without a byte-order mark; bytes that are not UTF-8 are surrogates.
        path: As given.
        root: The tree, as the reader gives it.
        entries: Top-level fields, in file order.
        newline: The file's own line ending.

    Raises:
        ModelError: The text breaks the grammar.
    """

    def __init__(self, raw: bytes, path: str) -> None:
        self.path = path
        self.root = parse_text(raw, path)
        self._mark = _BYTE_ORDER_MARK if raw.startswith(_BYTE_ORDER_MARK) else b""
        self.text = raw.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", errors="surrogateescape")
        self.newline = "\r\n" if "\r\n" in self.text else "\n"
        self.entries = _Layout(self.text).read()

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file.

        Raises:
            ModelError: It is missing or breaks the grammar.
        """
        return cls(read_bytes(path), str(path))

    def layers(self) -> Iterator[tuple[Entry, Message]]:
        """Yield place and content of each `layer` and `layers` entry, in file order.

        Raises:
            ModelError: Layers are written as a list, which these edits do not reach.
        """
        left = {name: iter(self.root.messages(name)) for name in ("layer", "layers")}
        for entry in self.entries:
            if entry.name not in left or not entry.is_message:
                continue
            message = next(left[entry.name])
            if entry.in_list:
                what = "the layers are written as a list in [ ]"
                remedy = "write them as separate layer { ... } entries"
                raise ModelError(Problem(what, self.path, line=message.line, column=message.column, remedy=remedy))
            yield entry, message

    def literal(self, entry: Entry) -> str:
        """Return a value as the file spells it."""
        return self.text[entry.value_start : entry.end]

    def encode(self, text: str) -> bytes:
        """Return edited text as bytes, with the file's byte-order mark if it had one."""
        return self._mark + text.encode("utf-8", errors="surrogateescape")

    def seal(self, text: str) -> bytes:
        """Return the edited file, complete."""
        return self.encode(text)

    def line_start(self, position: int) -> int:
        """Return where the line of a position begins."""
        return self.text.rfind("\n", 0, position) + 1

    def indent(self, position: int) -> str | None:
        """Return the blanks before a position when nothing else stands before it in its line, else None."""
        before = self.text[self.line_start(position) : position]
        return before if not before.strip(" \t") else None


class Edits:
    """Replacements in a text, applied together; they must not overlap."""

    def __init__(self) -> None:
        self._edits: list[tuple[int, int, str]] = []

    def __bool__(self) -> bool:
        return bool(self._edits)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put `text` in the place of [start, end)."""
        self._edits.append((start, end, text))

    def insert(self, position: int, text: str) -> None:
        """Put `text` before a position; several at one position keep their order."""
        self._edits.append((position, position, text))

    def apply(self, text: str) -> str:
        """Return the changed text."""
        parts, position = [], 0
        for start, end, replacement in sorted(self._edits, key=lambda edit: (edit[0], edit[1])):
            parts += [text[position:start], replacement]
            position = end
        return "".join(parts) + text[position:]

    def remove_entry(self, source: Source, entry: Entry) -> None:
        """Take a field out: with its lines when nothing else stands on them, else with one blank after it."""
        end = entry.end
        separator = re.compile(r"[ \t]*[,;]").match(source.text, end)
        end = separator.end() if separator else end
        rest = re.compile(r"[ \t]*\r?(?:\n|\Z)").match(source.text, end)
        if source.indent(entry.start) is not None and rest:
            self.replace(source.line_start(entry.start), rest.end(), "")
        else:
            blank = re.compile(r"[ \t]|\r?\n").match(source.text, end)
            self.replace(entry.start, blank.end() if blank and blank.group() in " \t" else end, "")


def with_suffix(literal: str, suffix: str) -> str:
    """Append plain characters to a string literal, inside its last quotation mark; its own spelling stays."""
    return literal[:-1] + suffix + literal[-1]


def respelled(literal: str, text: str) -> str | None:
    """Put other characters into a string literal, as many as it has; quotation marks and joints stay.

    Returns:
        The literal, or None where its characters cannot be told apart (escapes) or are not as many.
    """
    pieces = [literal[start:end] for kind, start, end in tokens(literal) if kind == "string"]
    if "\\" in literal or sum(len(piece) - 2 for piece in pieces) != len(text):
        return None
    parts, position, left = [], 0, text
    for piece in pieces:
        begin = literal.index(piece, position)
        count = len(piece) - 2
        parts += [literal[position : begin + 1], left[:count], piece[-1]]
        left, position = left[count:], begin + len(piece)
    return "".join(parts) + literal[position:]


def quoted(text: str) -> str:
    """Write a string literal."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else _octal(c)) for c in text) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", errors="surrogateescape"))


class _Layout:
    """Places of fields, from tokens that the parser has accepted already."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(tokens(text))
        self._at = 0

    def read(self) -> list[Entry]:
        found: list[Entry] = []
        while self._at < len(self._tokens):
            found += self._field()
        return found

    def _is(self, *symbols: str) -> bool:
        if self._at >= len(self._tokens):
            return False
        kind, start, end = self._tokens[self._at]
        return kind == "symbol" and self._text[start:end] in symbols

    def _take(self) -> tuple[str, int, int]:
        self._at += 1
        return self._tokens[self._at - 1]

    def _field(self) -> list[Entry]:
        _, start, end = self._take()
        name = self._text[start:end]
        if self._is(":"):
            self._take()
        found = []
        if self._is("["):
            self._take()
            while not self._is("]"):
                if self._is(","):
                    self._take()
                    continue
                found.append(self._value(name, None))
            self._take()
        else:
            found.append(self._value(name, start))
        if self._is(",", ";"):
            self._take()
        return found

    def _value(self, name: str, start: int | None) -> Entry:
        in_list = start is None
        if self._is("{", "<"):
            _, value_start, _ = self._take()
            children: list[Entry] = []
            while not self._is("}", ">"):
                children += self._field()
            _, _, end = self._take()
            begin = value_start if start is None else start
            return Entry(name, begin, value_start, end, children, is_message=True, in_list=in_list)
        kind, value_start, end = self._take()
        if kind == "symbol":  # a minus sign
            _, _, end = self._take()
        while kind == "string" and self._at < len(self._tokens) and self._tokens[self._at][0] == "string":
            _, _, end = self._take()
        return Entry(name, value_start if start is None else start, value_start, end, in_list=in_list)

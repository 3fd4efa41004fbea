"""Google's protobuf text format, read without a schema into a `Message` tree.

Accepted, as protobuf's C++ parser does: `field: value`, `message { }`, `message: { }`, `message < >`, `[a, b]` for
repeated fields of either kind, `,` or `;` after a field, `#` comments, strings in either quotation mark with C escapes,
neighbouring strings joined, `- 1` with a space, `1f`. Refused: `//` and `/* */` comments. What only a schema can tell
is left to `gfpq_inspect.models.caffe.schema`. A UTF-8 byte-order mark, which Caffe refuses, is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.caffe.message import Message, Scalar, ScalarKind, decode_text

MAX_DEPTH = 100
"""Nesting of messages; real networks need about five levels."""

MAX_BYTES = 256 * 2**20
"""Size of a text file; the largest real prototxts have about a megabyte."""

MIN_VALUE_LIMIT = 100_000
BYTES_A_VALUE = 8
"""A file may hold one value for so many bytes (but always `MIN_VALUE_LIMIT`): this bounds the memory of the tree."""

# Possessive repeats: nothing here needs backtracking, and its memory would grow with the file.
_SPACE = re.compile(r"(?:[ \t\r\v\f\n]++|#[^\n]*+)++")
_TOKEN = re.compile(
    r"(?P<identifier>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<number>0[xX][0-9A-Fa-f]+|0[0-9]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)"
    r"|(?P<string>\"(?:[^\"\\]++|\\.)*+\"|'(?:[^'\\]++|\\.)*+')"
    r"|(?P<symbol>[{}<>\[\]:;,\-])",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v",
    b"\\": b"\\", b"?": b"?", b"'": b"'", b'"': b'"',
}  # fmt: skip
_CLOSING = {"{": "}", "<": ">"}


def read_text(path: Path) -> Message:
    """Read a prototxt.

    Args:
        path: The file.

    Returns:
        The root message, as the file has it: no upgrades, no defaults.

    Raises:
        ModelError: The file is missing, unreadable, not text, or breaks the grammar; with line and column.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(
                Problem(
                    f"has {path.stat().st_size} bytes, a prototxt may have {MAX_BYTES}",
                    file=str(path),
                    remedy="give the .prototxt, not the weights",
                )
            )
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(
            Problem(f"cannot be read ({error.strerror})", file=str(path), remedy="check the path and its permissions")
        ) from error
    return parse_text(raw, str(path))


def parse_text(raw: bytes, path: str) -> Message:
    """Parse the bytes of a prototxt; see `read_text`. `path` is for messages only."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ModelError(Problem("is UTF-16 text", file=path, line=1, column=1, remedy="save it as UTF-8"))
    return _Parser(raw.removeprefix(b"\xef\xbb\xbf"), path).parse()


def tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind ('identifier', 'number', 'string', 'symbol'), start and end of each token; comments are left out.

    For programs that edit a file in place; the text must be one that `parse_text` accepts.
    """
    position = 0
    while True:
        space = _SPACE.match(text, position)
        position = space.end() if space else position
        match = _TOKEN.match(text, position)
        if match is None:
            return
        yield match.lastgroup or "", match.start(), match.end()
        position = match.end()


class _Parser:
    """One pass over the text; keeps the place of the current token."""

    def __init__(self, raw: bytes, path: str) -> None:
        # Bytes that are not UTF-8 survive as surrogates up to the string that holds them.
        self._text = raw.decode("utf-8", errors="surrogateescape")
        self._path = path
        self._position = 0
        self._line = 1
        self._line_start = 0
        self._values_left = max(MIN_VALUE_LIMIT, len(raw) // BYTES_A_VALUE)
        self._kind = ""
        self._token = ""
        self._token_line = 1
        self._token_column = 1
        self._advance()

    def parse(self) -> Message:
        root = Message()
        stack: list[tuple[Message, str, bool]] = [(root, "", False)]
        while stack:
            message, closing, in_list = stack[-1]
            if self._kind == "":
                if closing:
                    self._fail(f"the file ends inside a message that line {message.line} opens", f"add '{closing}'")
                stack.pop()
            elif closing and self._token == closing and self._kind == "symbol":
                stack.pop()
                self._advance()
                if in_list:
                    self._continue_list(stack, message)
                else:
                    self._skip_separator()
            else:
                self._field(stack)
        return root

    def _field(self, stack: list[tuple[Message, str, bool]]) -> None:
        """Read a field's name and its values; a sub-message is opened on the stack."""
        if self._kind != "identifier":
            self._fail(f"expected a field name, found {self._found()}", "write 'name: value' or 'name { ... }'")
        message = stack[-1][0]
        name, line, column = self._token, self._token_line, self._token_column
        self._advance()
        colon = self._accept(":")
        if self._is_symbol("{", "<"):
            self._open(stack, name, line, column, in_list=False)
            return
        if not colon:
            self._fail(f"expected ':' or '{{' after '{name}', found {self._found()}", "write 'name: value'")
        if not self._accept("["):
            message.add(name, self._scalar())
            self._skip_separator()
        elif self._accept("]"):
            self._skip_separator()
        elif self._is_symbol("{", "<"):
            self._open(stack, name, line, column, in_list=True)
        else:
            message.add(name, self._scalar())
            while self._accept(","):
                message.add(name, self._scalar())
            self._expect("]")
            self._skip_separator()

    def _open(
        self, stack: list[tuple[Message, str, bool]], name: str, line: int, column: int, *, in_list: bool
    ) -> None:
        if len(stack) > MAX_DEPTH:
            self._fail(f"messages are nested more than {MAX_DEPTH} deep", "check the braces")
        child = Message(line=line, column=column)
        self._count()
        stack[-1][0].add(name, child)
        stack.append((child, _CLOSING[self._token], in_list))
        self._advance()

    def _continue_list(self, stack: list[tuple[Message, str, bool]], done: Message) -> None:
        """After a message inside `[ ]`: open the next one, or end the list."""
        if self._accept(","):
            if not self._is_symbol("{", "<"):
                self._fail(f"expected '{{' in a list of messages, found {self._found()}", "write [{ ... }, { ... }]")
            parent = stack[-1][0]
            name = next(name for name, values in parent.fields.items() if values[-1] is done)
            self._open(stack, name, self._token_line, self._token_column, in_list=True)
        else:
            self._expect("]")
            self._skip_separator()

    def _scalar(self) -> Scalar:
        self._count()
        line, column = self._token_line, self._token_column
        if self._kind == "string":
            return Scalar(self._strings(), "string", line, column)
        sign = "-" if self._accept("-") else ""
        kind: ScalarKind
        if self._kind == "number":
            kind = "number"
        elif self._kind == "identifier":
            kind = "identifier"
        else:
            self._fail(f"expected a value, found {self._found()}", "write a number, a name or a string")
        text = self._token
        if sign and kind == "identifier" and text.lower() not in ("inf", "infinity", "nan"):
            self._fail(f"expected a number after '-', found {self._found()}", "remove the '-'")
        self._advance()
        return Scalar(sign + text, kind, line, column)

    def _strings(self) -> str:
        """Join neighbouring strings and undo their escapes."""
        parts: list[bytes] = []
        while self._kind == "string":
            content = self._token[1:-1].encode("utf-8", errors="surrogateescape")
            parts.append(_ESCAPE.sub(self._unescape, content) if b"\\" in content else content)
            self._advance()
        return decode_text(b"".join(parts))

    def _unescape(self, match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, short, long, other = match.groups()
        if octal is not None:
            return bytes([int(octal, 8) & 0xFF])
        if hexadecimal is not None:
            return bytes([int(hexadecimal, 16)])
        if other is not None:
            simple = _SIMPLE_ESCAPES.get(other)
            if simple is None:
                self._fail("a string has an escape that does not exist", "write a backslash as \\\\")
            return simple
        code = int(short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            self._fail("a string has an escape that is no character", "correct the \\u escape")
        return chr(code).encode()

    def _advance(self) -> None:
        """Move to the next token; `_kind` is '' at the end of the file."""
        space = _SPACE.match(self._text, self._position)
        if space is not None:
            self._count_lines(space.start(), space.end())
            self._position = space.end()
        self._token_line = self._line
        self._token_column = self._position - self._line_start + 1
        if self._position >= len(self._text):
            self._kind = self._token = ""
            return
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            self._lexical_error()
        self._kind, self._token = match.lastgroup or "", match.group()
        self._check_number(match.end())
        if self._kind == "string":
            self._count_lines(match.start(), match.end())
        self._position = match.end()

    def _check_number(self, end: int) -> None:
        if self._kind != "number":
            return
        token = self._token
        octal = len(token) > 1 and token[0] == "0" and token.isdigit()
        if octal and ("8" in token or "9" in token):
            self._fail(f"'{_short(token)}' starts with 0 but is not octal", "drop the leading zero")
        if self._text[end : end + 1] == ".":
            self._fail(f"'{_short(token)}.' is not a number", "correct the number")

    def _count_lines(self, start: int, end: int) -> None:
        newlines = self._text.count("\n", start, end)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rindex("\n", start, end) + 1

    def _lexical_error(self) -> NoReturn:
        character = self._text[self._position]
        if character in "\"'":
            self._fail("a string is never closed", f"add the closing {character}")
        if self._text.startswith(("//", "/*"), self._position):
            self._fail("comments with '/' are not part of the format", "start comments with '#'")
        shown = character if character.isprintable() else f"\\x{ord(character) & 0xFF:02x}"
        self._fail(f"unexpected character '{shown}'", "remove it; is this really a .prototxt?")

    def _is_symbol(self, *symbols: str) -> bool:
        return self._kind == "symbol" and self._token in symbols

    def _accept(self, symbol: str) -> bool:
        if not self._is_symbol(symbol):
            return False
        self._advance()
        return True

    def _expect(self, symbol: str) -> None:
        if not self._accept(symbol):
            self._fail(f"expected '{symbol}', found {self._found()}", "check commas and brackets")

    def _skip_separator(self) -> None:
        if self._is_symbol(",", ";"):
            self._advance()

    def _count(self) -> None:
        self._values_left -= 1
        if self._values_left < 0:
            self._fail("holds more values than a network of its size can", "check that this is a network")

    def _found(self) -> str:
        return f"'{_short(self._token)}'" if self._kind else "the end of the file"

    def _fail(self, what: str, remedy: str) -> NoReturn:
        raise ModelError(Problem(what, self._path, line=self._token_line, column=self._token_column, remedy=remedy))


def _short(text: str) -> str:
    printable = "".join(c if c.isprintable() else "?" for c in text[:40])
    return printable if len(text) <= 40 else printable + "..."

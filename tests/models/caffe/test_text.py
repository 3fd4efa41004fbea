"""The text format: what protobuf's C++ parser accepts and refuses, with places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.text import parse_text, read_text
from gfpq_inspect.models.caffe.write import format_prototxt


def plain(message: Message) -> dict[str, list[object]]:
    """Forget places: sub-messages as dicts, scalars as text."""
    return {
        name: [plain(value) if isinstance(value, Message) else value.text for value in values]
        for name, values in message.fields.items()
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": ["1"]}),
        ("a:1b:2", {"a": ["1"], "b": ["2"]}),
        ("m { a: 1 }", {"m": [{"a": ["1"]}]}),
        ("m: { a: 1 }", {"m": [{"a": ["1"]}]}),
        ("m < a: 1 >", {"m": [{"a": ["1"]}]}),
        ("m: < a: 1 > m {}", {"m": [{"a": ["1"]}, {}]}),
        ("a: 1, b: 2; c: 3", {"a": ["1"], "b": ["2"], "c": ["3"]}),
        ("m { a: 1, }, m { };", {"m": [{"a": ["1"]}, {}]}),
        ("a: [1, 2, 3]", {"a": ["1", "2", "3"]}),
        ("a: []", {}),
        ("m: [{a: 1}, <b: 2>] m [{c: [3]}]", None),
        ("m: [{a: 1}, <b: 2>] m: [{c: [3]}]", {"m": [{"a": ["1"]}, {"b": ["2"]}, {"c": ["3"]}]}),
        ("# first\na: 1 # second\n# last", {"a": ["1"]}),
        ("a: 'x' b: \"y\"", {"a": ["x"], "b": ["y"]}),
        ("a: 'it''s' \" joined\"", {"a": ["its joined"]}),
        (r'a: "\n\t\101\x41\\\"\'\?"', {"a": ["\n\tAA\\\"'?"]}),
        (r'a: "\u00e4\U0001F600"', {"a": ["ä😀"]}),
        ('a: "ä"', {"a": ["ä"]}),
        (r'a: "\303\244"', {"a": ["ä"]}),
        ("a: - 1 b: -inf c: -.5e-3", {"a": ["-1"], "b": ["-inf"], "c": ["-.5e-3"]}),
        (
            "a: 1e-2f b: 1. c: .1 d: 0x1F e: 017",
            {"a": ["1e-2f"], "b": ["1."], "c": [".1"], "d": ["0x1F"], "e": ["017"]},
        ),
        ("pool: MAX flag: true", {"pool": ["MAX"], "flag": ["true"]}),
        ("a: 1\r\nb: 2\r\n", {"a": ["1"], "b": ["2"]}),
        ("\ufeffa: 1", {"a": ["1"]}),
        ("a: 1 a: 2", {"a": ["1", "2"]}),
        ("", {}),
    ],
)
def test_accepted(text: str, expected: dict[str, list[object]] | None) -> None:
    if expected is None:
        with pytest.raises(ModelError):
            parse_text(text.encode(), "net.prototxt")
        return
    assert plain(parse_text(text.encode(), "net.prototxt")) == expected


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1 // no", "1:6", "comments with '/'"),
        ("/* no */ a: 1", "1:1", "comments with '/'"),
        ("a: 1\n  b 2", "2:5", "expected ':' or '{' after 'b', found '2'"),
        ("m {\n a: 1\n", "3:1", "ends inside a message that line 1 opens"),
        ("m { a: 1 >", "1:10", "expected a field name, found '>'"),
        ("}", "1:1", "expected a field name"),
        ("a: [1 2]", "1:7", "expected ']'"),
        ("a: [1, {}]", "1:8", "expected a value, found '{'"),
        ("m: [{}, 1]", "1:9", "in a list of messages"),
        ("a: 08", "1:4", "not octal"),
        ("a: 1.2.3", "1:4", "not a number"),
        ("a: -x", "1:5", "a number after '-'"),
        ('a: "open', "1:4", "never closed"),
        ('a: "\\q"', "1:4", "escape that does not exist"),
        ('a: "\\ud800"', "1:4", "no character"),
        ("a: \x01", "1:4", r"unexpected character '\x01'"),
        ("[a.b]: 1", "1:1", "expected a field name"),
        ("a {" * 101, "1:303", "nested more than 100"),
        ("ä: 1", "1:1", "unexpected character 'ä'"),
    ],
)
def test_refused_with_line_and_column(text: str, place: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_text(text.encode(), "net.prototxt")
    assert str(caught.value).startswith(f"net.prototxt:{place}: ")
    assert message in str(caught.value)


def test_strings_may_cross_lines_and_places_stay_right() -> None:
    message = parse_text(b'a: "x\ny"\n  b: 1', "f")
    assert message.text("a") == "x\ny"
    assert message.scalars("b")[0] == Scalar("1", "number", 3, 6)


def test_bytes_that_are_not_utf8_survive_visibly() -> None:
    assert parse_text(b'name: "\xff\xfe"', "f").text("name") == "\\xff\\xfe"
    assert parse_text(rb'name: "\377"', "f").text("name") == "\\xff"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfea\x00", "is UTF-16"), (None, "cannot be read"), (b"\x0a\x04net1\xa2\x06\x05", "unexpected|expected")],
)
def test_files_that_are_no_prototxt(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "net.prototxt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        read_text(path)
    assert str(path) in str(caught.value)


def test_values_are_limited_by_the_size_of_the_file() -> None:
    with pytest.raises(ModelError, match="more values than"):
        parse_text(b"a:[" + b"1," * 120_000 + b"1]", "f")


def test_every_real_prototxt_prints_and_reads_back(shared: Path) -> None:
    paths = sorted(shared.glob("models/**/*.prototxt")) + sorted(shared.glob("golden/caffe/*/*.prototxt"))
    assert len(paths) > 20
    for path in paths:
        message = read_text(path)
        assert plain(parse_text(format_prototxt(message).encode(), "again")) == plain(message)
        assert re.search(r"layers? \{", format_prototxt(message))

"""The result file: versioned JSON, the same bytes for the same result.

Layout (reports/README.md, reports/schema/result-1.schema.json): head, findings, the layer table in columns with one
table of strings, coefficients, timing; per-layer details stand last in a gzip block of their own, so that everything
else can be read without them.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gfpq_inspect.analyze.result import (
    SCHEMA_VERSION,
    Comparison,
    Coverage,
    Finding,
    Judgement,
    Result,
    Run,
    Task,
    Timing,
)
from gfpq_inspect.errors import InputError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.report.codec import DecodeError, decode, encode, plain
from gfpq_inspect.report.columns import (
    StringTable,
    decode_coefficients,
    decode_layers,
    encode_coefficients,
    encode_layers,
)

FORMAT = "gfpq-inspect result"
DETAILS_ENCODING = "gzip+base64"
DETAILS_LIMIT_BYTES = 1 << 30

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version to the step that makes a document of it one version newer; a reader applies them one after the other."""


def render_json(result: Result, *, timing: bool = True) -> str:
    """Write a result as text.

    Args:
        result: The result.
        timing: Whether to keep the block of everything that differs between two runs on the same input.

    Returns:
        ASCII JSON, one top-level member or table column a line.

    Raises:
        InternalError: The result breaks its contract (NaN, infinite, not plain).
    """
    document = to_document(result, timing=timing)
    lines = []
    for name, value in document.items():
        if name == "layers":
            lines.append(f'"layers":{{\n{layer_lines(value)}}}')
        else:
            lines.append(f"{dump(name)}:{dump(value)}")
    return "{" + ",\n".join(lines) + "}\n"


def layer_lines(table: dict[str, Any]) -> str:
    """Write the layer table with a line a column, so that text tools can show what differs."""
    parts = []
    for name, value in table.items():
        if name == "scores":
            lanes = (f"{dump(lane)}:{{\n{column_lines(columns)}}}" for lane, columns in value.items())
            parts.append('"scores":{\n' + ",\n".join(lanes) + "}")
        elif isinstance(value, dict):
            parts.append(f"{dump(name)}:{{\n{column_lines(value)}}}")
        else:
            parts.append(f"{dump(name)}:{dump(value)}")
    return ",\n".join(parts)


def column_lines(columns: dict[str, Any]) -> str:
    """Write columns with a line each."""
    return ",\n".join(f"{dump(name)}:{dump(values)}" for name, values in columns.items())


def dump(value: Any) -> str:
    """Write plain JSON without spaces; ASCII, so that no editor or transport changes a name."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def to_document(result: Result, *, timing: bool = True) -> dict[str, Any]:
    """Turn a result into the plain document that the schema describes."""
    strings = StringTable()
    layers = encode_layers(result.layers, strings)
    coefficients = encode_coefficients(result.coefficients, strings)
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "run": encode(Run, result.run, "run"),
        "comparisons": encode(tuple[Comparison, ...], result.comparisons, "comparisons"),
        "coverage": encode(Coverage, result.coverage, "coverage"),
        "judgement": encode(Judgement, result.judgement, "judgement"),
        "findings": encode(tuple[Finding, ...], result.findings, "findings"),
        "strings": strings.strings,
        "layers": layers,
        "coefficients": coefficients,
        "timing": encode(Timing | None, result.timing if timing else None, "timing"),
        "task": encode(Task | None, result.task, "task"),
        "details": pack_details(result.details),
    }


def pack_details(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compress the per-layer evidence; None where there is none."""
    if not details:
        return None
    content = dump_details(details).encode("ascii")
    packed = gzip.compress(content, compresslevel=9, mtime=0)
    return {"encoding": DETAILS_ENCODING, "bytes": len(content), "data": base64.b64encode(packed).decode("ascii")}


def dump_details(details: Mapping[str, Any]) -> str:
    """Write evidence as JSON; arrays and numbers of NumPy become plain.

    Raises:
        InternalError: Something in it is not finite or cannot be written; the place is named.
    """
    try:
        return json.dumps(details, allow_nan=False, separators=(",", ":"), default=lambda value: value.tolist())
    except (ValueError, TypeError, AttributeError):
        # The quick way cannot tell the place; the thorough one names it, or writes what the quick one could not.
        return dump(plain(details, "details"))


def unpack_details(block: Any) -> dict[str, Any]:
    """Inflate the per-layer evidence.

    Raises:
        DecodeError: The block is damaged, or inflates to something else than it says.
    """
    if block is None:
        return {}
    if not isinstance(block, dict) or block.get("encoding") != DETAILS_ENCODING:
        raise DecodeError("details", f"expected a block in {DETAILS_ENCODING}")
    size = block.get("bytes")
    if type(size) is not int or not 0 <= size <= DETAILS_LIMIT_BYTES:
        raise DecodeError("details.bytes", "expected the number of bytes of the inflated block")
    try:
        packed = base64.b64decode(block.get("data", ""), validate=True)
        # One byte more than announced is enough to notice a block that would fill the memory.
        content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, size + 1)
        if len(content) != size:
            raise DecodeError("details.data", f"inflates to another length than {size} bytes")
        details = json.loads(content, parse_constant=refuse_constant)
    except (TypeError, ValueError, binascii.Error, zlib.error) as error:
        raise DecodeError("details.data", f"is damaged ({type(error).__name__})") from error
    if not isinstance(details, dict):
        raise DecodeError("details.data", "does not hold an object")
    return details


def refuse_constant(name: str) -> float:
    """Refuse the NaN and Infinity that Python's parser would let through."""
    raise DecodeError("the file", f"holds {name}, which JSON does not know")


def from_document(document: Any, *, details: bool = True) -> Result:
    """Build a result from a plain document of any version up to this one.

    Args:
        document: Parsed JSON.
        details: Whether to inflate the per-layer evidence too.

    Raises:
        DecodeError: It is no result, or damaged.
    """
    document = upgraded(document)
    texts = decode(tuple[str, ...], required(document, "strings"), "strings")
    strings = StringTable(texts)
    return Result(
        run=decode(Run, required(document, "run"), "run"),
        comparisons=decode(tuple[Comparison, ...], required(document, "comparisons"), "comparisons"),
        coverage=decode(Coverage, required(document, "coverage"), "coverage"),
        judgement=decode(Judgement, required(document, "judgement"), "judgement"),
        layers=decode_layers(required(document, "layers"), strings),
        coefficients=decode_coefficients(required(document, "coefficients"), strings),
        findings=decode(tuple[Finding, ...], required(document, "findings"), "findings"),
        timing=decode(Timing | None, document.get("timing"), "timing"),
        task=decode(Task | None, document.get("task"), "task"),
        details=unpack_details(document.get("details")) if details else {},
    )


def required(document: dict[str, Any], name: str) -> Any:
    """Return a top-level member that every result file has."""
    if name not in document:
        raise DecodeError("the file", f"has no '{name}'")
    return document[name]


def upgraded(document: Any) -> dict[str, Any]:
    """Check what kind of document it is, and bring an older one up to this version."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DecodeError("the file", f"is JSON, but no {FORMAT}")
    version = document.get("schema_version")
    if type(version) is not int or version < 1:
        raise DecodeError("schema_version", "expected a whole number from 1")
    if version > SCHEMA_VERSION:
        raise DecodeError(
            "schema_version",
            f"the file has version {version}, this program reads up to {SCHEMA_VERSION}: install a newer gfpq-inspect",
        )
    newer: dict[str, Any] = document
    for older in range(version, SCHEMA_VERSION):
        newer = UPGRADES[older](newer)
    return newer


def parse_result(text: str | bytes, source: str, *, details: bool = True) -> Result:
    """Read a result from the content of a file.

    Args:
        text: The content.
        source: The file's name as the user gave it, for errors.
        details: Whether to inflate the per-layer evidence too.

    Raises:
        InputError: It is empty, not JSON, not a result, damaged, or of a newer version.
    """
    if not text.strip():
        raise InputError(f"{source}: is empty; write it again with gfpq-inspect compare --json")
    try:
        return from_document(json.loads(text, parse_constant=refuse_constant), details=details)
    except json.JSONDecodeError as error:
        place = f"{source}:{error.lineno}:{error.colno}"
        message = f"{place}: is not JSON ({error.msg}); a result is written by gfpq-inspect compare --json"
        raise InputError(message) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{source}: is not JSON; a result is written by gfpq-inspect compare --json") from error
    except DecodeError as error:
        where = "" if error.place == "the file" else f"{error.place}: "
        remedy = "" if "newer gfpq-inspect" in error.what else "; write it again with gfpq-inspect compare --json"
        raise InputError(f"{source}: {where}{error.what}{remedy}") from error


def read_result(path: Path, *, details: bool = True) -> Result:
    """Read a result file.

    Args:
        path: The file.
        details: Whether to inflate the per-layer evidence too.

    Raises:
        InputError: It cannot be read or used; the message names the place in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_result(content, str(path), details=details)


def write_result(result: Result, path: Path, *, overwrite: bool = False, timing: bool = True) -> None:
    """Write a result file, whole or not at all.

    Args:
        result: The result.
        path: The file.
        overwrite: Whether a file of that name may be replaced.
        timing: Whether to keep the timing block.

    Raises:
        OutputError: The file cannot be written, or exists and may not be replaced.
    """
    write_atomically(path, render_json(result, timing=timing), overwrite=overwrite)


def canonical(result: Result) -> Result:
    """Return a result as it comes back from its file: rounded scores, plain details.

    Renderers start here, so that a page made during the run and one made later from the file are the same bytes.
    """
    table = from_document(to_document(dataclasses.replace(result, details={})))
    return dataclasses.replace(table, details=json.loads(dump_details(result.details)))

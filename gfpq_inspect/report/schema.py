"""The JSON Schema of a result file, made from the contract's own types, so that the two cannot part."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from gfpq_inspect.analyze.result import (
    SCHEMA_VERSION,
    Coefficient,
    Comparison,
    Coverage,
    Finding,
    Isolation,
    Judgement,
    LayerRow,
    Run,
    Scores,
    Spread,
    Task,
    Timing,
)
from gfpq_inspect.report.codec import field_types, split_optional
from gfpq_inspect.report.columns import ROW_FIELDS, SCORE_FIELDS, SPREAD_FIELDS, is_text
from gfpq_inspect.report.jsonfile import DETAILS_ENCODING, FORMAT

Schema = dict[str, Any]


def result_schema() -> Schema:
    """Return the schema of result files of this version (JSON Schema, draft 2020-12)."""
    members: Schema = {
        "format": {"const": FORMAT},
        "schema_version": {"const": SCHEMA_VERSION},
        "run": value_schema(Run),
        "comparisons": value_schema(tuple[Comparison, ...]),
        "coverage": value_schema(Coverage),
        "judgement": value_schema(Judgement),
        "findings": value_schema(tuple[Finding, ...]),
        "strings": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Every text of the tables below, once; text columns hold indices into it.",
        },
        "layers": layers_schema(),
        "coefficients": table_schema(Coefficient, tuple(field_types(Coefficient))),
        "timing": value_schema(Timing | None),
        "task": value_schema(Task | None),
        "details": details_schema(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FORMAT,
        "description": "The whole analysis of one comparison; see reports/README.md. Members that a reader does not "
        "know are later additions and may be passed over.",
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in {"timing", "task", "details"}],
    }


def descriptions(cls: type) -> dict[str, str]:
    """Take the description of each field from the class docstring's list of attributes."""
    section = (inspect.getdoc(cls) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in found}


def value_schema(hint: Any) -> Schema:
    """Schema of a value of a declared type."""
    inner, optional = split_optional(hint)
    schema = plain_schema(inner)
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema


def plain_schema(hint: Any) -> Schema:
    """Schema of a value that is not null."""
    if dataclasses.is_dataclass(hint):
        return dataclass_schema(typing.cast(type, hint))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [plain_schema(member) for member in arguments]}
    if origin is tuple:
        return {"type": "array", "items": value_schema(arguments[0])}
    if origin in (Mapping, dict):
        return {"type": "object", "additionalProperties": value_schema(arguments[1])}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": names[hint]} if hint in names else {}


def dataclass_schema(cls: type) -> Schema:
    """Schema of an object with a member for each field."""
    texts = descriptions(cls)
    properties = {}
    for name, hint in field_types(cls).items():
        properties[name] = value_schema(hint) | ({"description": texts[name]} if name in texts else {})
    required = [field.name for field in dataclasses.fields(cls) if not has_default(field)]
    return {
        "type": "object",
        "description": (inspect.getdoc(cls) or "").split("\n\n")[0].replace("\n", " "),
        "properties": properties,
        "required": required,
    }


def has_default(field: dataclasses.Field[Any]) -> bool:
    """Whether a field may be left out."""
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def column_schema(cls: type, name: str, *, rows_may_be_absent: bool) -> Schema:
    """Schema of one column."""
    hint = field_types(cls)[name]
    inner, optional = split_optional(hint)
    item: Schema = plain_schema(inner)
    if is_text(hint):
        index = {"type": "integer", "minimum": 0}
        item = {"type": "array", "items": index} if typing.get_origin(inner) is tuple else index
    if optional or rows_may_be_absent:
        item = {"anyOf": [item, {"type": "null"}]}
    text = descriptions(cls).get(name, "")
    note = "Indices into `strings`." if is_text(hint) else ""
    description = " ".join(part for part in (text, note) if part)
    return {"type": "array", "items": item} | ({"description": description} if description else {})


def columns_schema(cls: type, names: tuple[str, ...], *, rows_may_be_absent: bool = False) -> Schema:
    """Schema of an object of columns; a column that holds only its default may be left out."""
    properties: Schema = {name: column_schema(cls, name, rows_may_be_absent=rows_may_be_absent) for name in names}
    required = [field.name for field in dataclasses.fields(cls) if field.name in names and not has_default(field)]
    if rows_may_be_absent:
        properties["present"] = {
            "type": "array",
            "items": {"enum": [0, 1]},
            "description": "1 for rows that are there; left out when all are.",
        }
    return {"type": "object", "properties": properties, "required": required}


def table_schema(cls: type, names: tuple[str, ...]) -> Schema:
    """Schema of a whole table."""
    count = {"type": "integer", "minimum": 0, "description": "Rows; every column has as many values."}
    return {
        "type": "object",
        "properties": {"count": count, "columns": columns_schema(cls, names)},
        "required": ["count", "columns"],
    }


def layers_schema() -> Schema:
    """Schema of the layer table."""
    schema = table_schema(LayerRow, ROW_FIELDS)
    lane = columns_schema(Scores, SCORE_FIELDS, rows_may_be_absent=True)
    for part in SPREAD_FIELDS:
        lane["properties"][part] = columns_schema(Spread, tuple(field_types(Spread)), rows_may_be_absent=True)
    isolation = columns_schema(Isolation, tuple(field_types(Isolation)), rows_may_be_absent=True)
    schema["properties"] |= {
        "scores": {
            "type": "object",
            "description": "Name of a comparison to its columns.",
            "additionalProperties": lane,
        },
        "isolation": isolation,
        "tuned_isolation": isolation,
    }
    return schema


def details_schema() -> Schema:
    """Schema of the compressed side block."""
    block = {
        "type": "object",
        "description": "Evidence a layer, a JSON object compressed by gzip; its members stand in reports/README.md.",
        "properties": {
            "encoding": {"const": DETAILS_ENCODING},
            "bytes": {"type": "integer", "minimum": 0, "description": "Length of the inflated JSON."},
            "data": {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/gzip"},
        },
        "required": ["encoding", "bytes", "data"],
    }
    return {"anyOf": [block, {"type": "null"}]}

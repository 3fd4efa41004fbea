"""Typed values out of a message that was read without a schema, by the rules of protobuf's text format."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TypeAlias

import numpy as np

from gfpq_inspect.errors import InternalError, ModelError, Problem
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.schema.table import SCALAR_TYPES, Field, MessageType, enum_values, message_type

Typed: TypeAlias = int | float | bool | str
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
# Which library computes a layer; forks have engines of their own, and none changes the result.
_ENGINE = "Engine"
_TRUE = frozenset({"true", "True", "t"})
_FALSE = frozenset({"false", "False", "f"})


class Parameters:
    """A parameter message seen through its schema.

    Args:
        message: The message, or None when the file does not have it (every value is then the default).
        schema: Name of its type in the schema.
        path: File, for messages.
        layer: Layer name, for messages.
    """

    def __init__(self, message: Message | None, schema: str, path: str = "", layer: str | None = None) -> None:
        found = message_type(schema)
        if found is None:
            raise InternalError(f"the Caffe schema has no message {schema}")
        self.message = message
        self.schema: MessageType = found
        self.path = path
        self.layer = layer

    @classmethod
    def of_layer(
        cls,
        layer_message: Message,
        field_name: str,
        schema: str | None = None,
        *,
        path: str = "",
        layer: str | None = None,
    ) -> Parameters:
        """Return a parameter message of a layer; see `NetLayer.parameters`."""
        declared = Parameters(layer_message, "LayerParameter", path, layer)
        if schema is None:
            known = declared.schema.fields.get(field_name)
            if known is None:
                raise InternalError(f"LayerParameter of the Caffe schema has no field {field_name}")
            schema = known.type
        return cls(declared._single_message(field_name), schema, path, layer)

    @property
    def present(self) -> bool:
        """Whether the file has the message at all."""
        return self.message is not None

    @property
    def line(self) -> int | None:
        """Line of the message in its file."""
        return self.message.line if self.message is not None else None

    def has(self, name: str) -> bool:
        """Return whether the file sets this field (known to the schema or not)."""
        return self.message is not None and name in self.message

    def get(self, name: str) -> Typed | list[Typed] | None:
        """Return a field's value as int, float (rounded to float32), bool, str, or enum name; a list if repeated.

        An unset field gives its default, else the zero of its type (for an enum its first value).

        Raises:
            ModelError: The file's text does not fit the field's type, or a singular field is given twice.
        """
        field = self._field(name)
        values = self.message.fields.get(name, []) if self.message is not None else []
        if field.repeated:
            return [self._typed(field, value) for value in values]
        if not values:
            return self._default(field)
        self._check_single(field, values)
        return self._typed(field, values[0])

    def integer(self, name: str) -> int:
        """Return an integer field."""
        value = self.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InternalError(f"{self.schema.name}.{name} is not an integer field")
        return value

    def number(self, name: str) -> float:
        """Return a float field, already rounded to float32."""
        value = self.get(name)
        if not isinstance(value, float):
            raise InternalError(f"{self.schema.name}.{name} is not a float field")
        return value

    def flag(self, name: str) -> bool:
        """Return a bool field."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise InternalError(f"{self.schema.name}.{name} is not a bool field")
        return value

    def string(self, name: str) -> str:
        """Return a string field, or the name of an enum field's value."""
        value = self.get(name)
        if not isinstance(value, str):
            raise InternalError(f"{self.schema.name}.{name} is not a string field")
        return value

    def integers(self, name: str) -> list[int]:
        """Return a repeated integer field."""
        value = self.get(name)
        if not isinstance(value, list):
            raise InternalError(f"{self.schema.name}.{name} is not repeated")
        return [int(item) for item in value]

    def numbers(self, name: str) -> list[float]:
        """Return a repeated float field."""
        value = self.get(name)
        if not isinstance(value, list):
            raise InternalError(f"{self.schema.name}.{name} is not repeated")
        return [float(item) for item in value]

    def sub(self, name: str) -> Parameters:
        """Return a singular sub-message; an absent one has only defaults.

        Raises:
            ModelError: It is given twice, or is a scalar.
        """
        field = self._field(name)
        return Parameters(self._single_message(name), field.type, self.path, self.layer)

    def subs(self, name: str) -> list[Parameters]:
        """Return a repeated sub-message.

        Raises:
            ModelError: A scalar stands among them.
        """
        field = self._field(name)
        values = self.message.fields.get(name, []) if self.message is not None else []
        return [Parameters(self._as_message(field, value), field.type, self.path, self.layer) for value in values]

    def unknown(self) -> tuple[str, ...]:
        """Return the names of set fields that the schema does not have, in file order."""
        if self.message is None:
            return ()
        return tuple(name for name in self.message if name not in self.schema.fields)

    def problem(self, what: str, remedy: str | None = None, field: str | None = None) -> Problem:
        """Return a problem at the place of a field, or of this message."""
        place: Message | Scalar | None = self.message
        if field is not None and self.message is not None and self.message.fields.get(field):
            place = self.message.fields[field][0]
        return Problem(
            what,
            file=self.path or None,
            layer=self.layer,
            line=place.line if place else None,
            column=place.column if place else None,
            remedy=remedy,
        )

    def problems(self) -> list[Problem]:
        """Return everything in this message that Caffe would refuse: types, repetition, missing required fields.

        Sub-messages are included; fields that the schema does not have are not (see `unknown`).
        """
        found: list[Problem] = []
        for name in self.message or ():
            field = self.schema.fields.get(name)
            if field is None or field.type == _ENGINE:
                continue
            try:
                if message_type(field.type) is None:
                    self.get(name)
                else:
                    for part in self.subs(name) if field.repeated else [self.sub(name)]:
                        found += part.problems()
            except ModelError as error:
                found += error.problems
        if self.message is not None:
            for field in self.schema.fields.values():
                if field.required and field.name not in self.message:
                    found.append(
                        self.problem(f"{self.schema.name} lacks its required field '{field.name}'", "add the field")
                    )
        return found

    def _field(self, name: str) -> Field:
        field = self.schema.fields.get(name)
        if field is None:
            raise InternalError(f"{self.schema.name} of the Caffe schema has no field {name}")
        return field

    def _error(self, value: Scalar | Message, what: str, remedy: str) -> ModelError:
        return ModelError(
            Problem(what, self.path or None, self.layer, line=value.line, column=value.column, remedy=remedy)
        )

    def _check_single(self, field: Field, values: list[Scalar | Message]) -> None:
        if len(values) > 1:
            raise self._error(
                values[1],
                f"'{field.name}' is given {len(values)} times, {self.schema.name} takes it once",
                "keep one of them (Caffe refuses the file)",
            )

    def _single_message(self, name: str) -> Message | None:
        field = self.schema.fields.get(name) or Field(name, 0, name, repeated=False, required=False, default=None)
        values = self.message.fields.get(name, []) if self.message is not None else []
        if not values:
            return None
        self._check_single(field, values)
        return self._as_message(field, values[0])

    def _as_message(self, field: Field, value: Scalar | Message) -> Message:
        if isinstance(value, Scalar):
            raise self._error(value, f"'{field.name}' is a value where a message is due", "write it as { ... }")
        return value

    def _typed(self, field: Field, value: Scalar | Message) -> Typed:
        if isinstance(value, Message):
            raise self._error(value, f"'{field.name}' is a message where a value is due", "write 'name: value'")
        try:
            return parse_scalar(value, field, self.schema.name)
        except ValueError as error:
            spelling = value.text if len(value.text) <= 60 else value.text[:57] + "..."
            raise self._error(value, f"'{field.name}: {spelling}' is not {error}", "correct the value") from error

    def _default(self, field: Field) -> Typed | None:
        if field.default is not None:
            kind = "string" if field.type in ("string", "bytes") else "number"
            if field.type == "bool" or field.type not in SCALAR_TYPES:
                kind = "identifier"
            return parse_scalar(Scalar(field.default, kind), field, self.schema.name)  # type: ignore[arg-type]  # kind
        if field.type in _RANGES:
            return 0
        if field.type in ("float", "double"):
            return 0.0
        if field.type == "bool":
            return False
        if field.type in ("string", "bytes"):
            return ""
        if message_type(field.type) is not None:
            return None
        return next(iter(enum_values(self.schema.name, field.type)))


def parse_scalar(scalar: Scalar, field: Field, message: str) -> Typed:
    """Turn a scalar's spelling into a value of a field's type, as protobuf's text format does.

    Raises:
        ValueError: It does not fit; the text says what was wanted, to follow "is not".
    """
    if field.type in _RANGES:
        return _parse_integer(scalar, *_RANGES[field.type], field.type)
    if field.type in ("float", "double"):
        value = _parse_float(scalar)
        with np.errstate(over="ignore"):
            return float(np.float32(value)) if field.type == "float" else value
    if field.type == "bool":
        return _parse_bool(scalar)
    if field.type in ("string", "bytes"):
        if scalar.kind != "string":
            raise ValueError("a string in quotation marks")
        return scalar.text
    return _parse_enum(scalar, message, field.type)


def _parse_integer(scalar: Scalar, low: int, high: int, name: str) -> int:
    text = scalar.text
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    try:
        if scalar.kind != "number" or len(digits) > 30:
            raise ValueError
        octal = len(digits) > 1 and digits.startswith("0") and digits[1] not in "xX"
        value = sign * (int(digits, 8) if octal else int(digits, 16 if digits[:2] in ("0x", "0X") else 10))
    except ValueError:
        raise ValueError("an integer") from None
    if not low <= value <= high:
        raise ValueError(f"within {name} ({low} to {high})")
    return value


def _parse_float(scalar: Scalar) -> float:
    text = scalar.text
    negative = text.startswith("-")
    digits = text.removeprefix("-")
    if digits.lower() in ("inf", "infinity", "nan"):
        value = float(digits)
    else:
        octal = len(digits) > 1 and digits.startswith("0") and digits.isdigit()
        if scalar.kind != "number" or octal or digits[:2] in ("0x", "0X"):
            raise ValueError("a decimal number")
        try:
            value = float(digits.rstrip("fF"))
        except ValueError:
            raise ValueError("a decimal number") from None
    return -value if negative else value


def _parse_bool(scalar: Scalar) -> bool:
    if scalar.kind == "identifier" and scalar.text in _TRUE | _FALSE:
        return scalar.text in _TRUE
    if scalar.kind == "number":
        try:
            return bool(_parse_integer(scalar, 0, 1, "bool"))
        except ValueError:
            pass
    raise ValueError("true or false")


def _parse_enum(scalar: Scalar, message: str, name: str) -> str:
    values = enum_values(message, name)
    if scalar.kind == "identifier" and scalar.text in values:
        return scalar.text
    if scalar.kind == "number":
        try:
            number = _parse_integer(scalar, -(2**31), 2**31 - 1, "int32")
        except ValueError:
            number = None
        for key, value in values.items():
            if value == number:
                return key
    shown = list(values) if len(values) <= 10 else get_close_matches(scalar.text, values, n=3, cutoff=0)
    raise ValueError(f"one of {', '.join(shown)}{'' if len(shown) == len(values) else ', ...'}")

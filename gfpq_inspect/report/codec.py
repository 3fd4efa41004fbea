"""Plain JSON values from typed dataclasses and back, strict in both directions.

The declared type of a field decides how its value is written and what is accepted when it is read, so that a damaged
file is refused with the place of the damage, and numbers of any library (NumPy scalars too) become plain numbers.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from gfpq_inspect.errors import GfpqError, InternalError


class DecodeError(GfpqError):
    """A value that does not have its declared type; the reader of the file turns it into an `InputError`.

    Args:
        place: Path inside the document, such as `run.models[0].name`.
        what: What is wrong with the value there.
    """

    def __init__(self, place: str, what: str) -> None:
        self.place, self.what = place, what
        super().__init__(f"{place}: {what}")


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Names and resolved types of a dataclass's fields, in order."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@functools.cache
def split_optional(hint: Any) -> tuple[Any, bool]:
    """Take `None` out of a union.

    Returns:
        The remaining type (a union where several remain) and whether `None` was in it.
    """
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not types.NoneType]
    remaining = members[0] if len(members) == 1 else functools.reduce(operator.or_, members)
    return remaining, len(members) != len(typing.get_args(hint))


def plain_number(value: Any, place: str) -> int | float:
    """Return a finite Python number.

    Raises:
        InternalError: It is NaN or infinite; the result's contract is None with a status instead.
    """
    if hasattr(value, "__index__"):
        return operator.index(value)
    number = float(value)
    if not math.isfinite(number):
        raise InternalError(f"{place} is {number}: a result holds None with a status instead")
    return number


def plain(value: Any, place: str) -> Any:
    """Make any nesting of mappings, sequences, arrays and numbers plain JSON.

    Args:
        value: Untyped evidence; NumPy arrays and scalars are welcome.
        place: Its path, for the error.

    Raises:
        InternalError: A number that is not finite, or a value that JSON cannot hold.
    """
    if value is None or isinstance(value, bool | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{place}.{key}") for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist(), place)
    if isinstance(value, Sequence):
        return [plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, int | float):
        return plain_number(value, place)
    raise InternalError(f"{place} is a {type(value).__name__}: a result holds plain values only")


def encode(hint: Any, value: Any, place: str) -> Any:
    """Write a value of a declared type as plain JSON.

    Args:
        hint: Declared type.
        value: The value.
        place: Its path, for errors.

    Raises:
        InternalError: The value breaks the contract.
    """
    return encoder(hint)(value, place)


@functools.cache
def encoder(hint: Any) -> Callable[[Any, str], Any]:
    """Build the writer of one declared type; built once, because a column calls it thousands of times."""
    inner, optional = split_optional(hint)
    if optional:
        write = encoder(inner)
        return lambda value, place: None if value is None else write(value, place)
    if dataclasses.is_dataclass(hint):
        members = {name: encoder(member) for name, member in field_types(typing.cast(type, hint)).items()}
        return lambda value, place: {
            name: member(getattr(value, name), f"{place}.{name}") for name, member in members.items()
        }
    origin = typing.get_origin(hint)
    if origin is tuple:
        item_writer = encoder(typing.get_args(hint)[0])
        return lambda value, place: [item_writer(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if origin in (Mapping, dict):
        value_writer = encoder(typing.get_args(hint)[1])
        return lambda value, place: {str(key): value_writer(item, f"{place}.{key}") for key, item in value.items()}
    if hint is bool:
        return lambda value, _: bool(value)
    if hint is int:
        return lambda value, _: operator.index(value)
    if hint is float:
        return lambda value, place: float(plain_number(value, place))
    if isinstance(hint, type) and issubclass(hint, str):
        return lambda value, _: str(value.value) if isinstance(value, Enum) else str(value)
    return plain


def decode(hint: Any, value: Any, place: str) -> Any:
    """Read a value of a declared type from plain JSON.

    Args:
        hint: Declared type.
        value: What the file holds.
        place: Its path, for errors.

    Raises:
        DecodeError: It does not have that type.
    """
    return decoder(hint)(value, place)


@functools.cache
def decoder(hint: Any) -> Callable[[Any, str], Any]:
    """Build the reader of one declared type; built once, because a column calls it thousands of times."""
    inner, optional = split_optional(hint)
    if optional:
        read = decoder(inner)
        return lambda value, place: None if value is None else read(value, place)
    if dataclasses.is_dataclass(hint):
        return functools.partial(decode_dataclass, hint)
    origin = typing.get_origin(hint)
    if origin is tuple:
        return functools.partial(decode_tuple, decoder(typing.get_args(hint)[0]))
    if origin in (Mapping, dict):
        return functools.partial(decode_mapping, decoder(typing.get_args(hint)[1]))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return functools.partial(decode_enum, hint)
    accepted = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(hint)
    if accepted is None:
        return lambda value, _place: value
    return functools.partial(decode_scalar, hint, accepted)


def decode_scalar(hint: type, accepted: tuple[type, ...], value: Any, place: str) -> Any:
    """Check a scalar's type; JSON's true is no number here."""
    if type(value) not in accepted:
        raise DecodeError(place, f"expected {hint.__name__}, found {describe(value)}")
    return hint(value)


def decode_enum(hint: type[Enum], value: Any, place: str) -> Enum:
    """Check that a word is one of the declared ones."""
    try:
        return hint(value)
    except ValueError:
        words = ", ".join(str(member.value) for member in hint)
        raise DecodeError(place, f"{describe(value)} is none of {words}") from None


def decode_tuple(read: Callable[[Any, str], Any], value: Any, place: str) -> tuple[Any, ...]:
    """Read a list of like values."""
    if not isinstance(value, list):
        raise DecodeError(place, f"expected a list, found {describe(value)}")
    return tuple(read(item, f"{place}[{index}]") for index, item in enumerate(value))


def decode_mapping(read: Callable[[Any, str], Any], value: Any, place: str) -> dict[str, Any]:
    """Read an object with like values."""
    if not isinstance(value, dict):
        raise DecodeError(place, f"expected an object, found {describe(value)}")
    return {key: read(item, f"{place}.{key}") for key, item in value.items()}


def decode_dataclass(hint: Any, value: Any, place: str) -> Any:
    """Read an object into a dataclass; unknown members are later additions and are passed over."""
    if not isinstance(value, dict):
        raise DecodeError(place, f"expected an object, found {describe(value)}")
    members = {
        name: decode(inner, value[name], f"{place}.{name}")
        for name, inner in field_types(hint).items()
        if name in value
    }
    for field in dataclasses.fields(hint):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and field.name not in members:
            raise DecodeError(place, f"'{field.name}' is missing")
    return hint(**members)


def describe(value: Any) -> str:
    """Name a JSON value shortly for an error; the value itself may be huge or hostile."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, bool | int | float):
        return str(value)[:40]
    return "a list" if isinstance(value, list) else "an object"

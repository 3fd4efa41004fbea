"""Tables of like dataclasses, column by column, with one table of strings for all of them.

A column whose every value is the field's default is left out; text stands as indices into the string table. For
1 500 layers this makes the layer table four times smaller than a list of objects, and a single column can be read
without touching the others.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Sequence
from typing import Any

from gfpq_inspect.analyze.result import Coefficient, Isolation, LayerRow, Scores, Spread
from gfpq_inspect.report.codec import DecodeError, decoder, describe, encode, encoder, field_types, split_optional

NESTED_ROW_FIELDS = ("scores", "isolation", "tuned_isolation")
SPREAD_FIELDS = ("cosine_spread", "sqnr_db_spread", "norm_ratio_spread")
COSINE_DECIMALS = 10
FIRST_SCORES = ("sqnr_db", "rel_l2", "norm_ratio")
FIRST_DIGITS, OTHER_DIGITS = 8, 5
SPREAD_DECIMALS, SPREAD_DIGITS = 7, 5


class StringTable:
    """Every different text once, in order of first use."""

    def __init__(self, strings: Sequence[str] = ()) -> None:
        self.strings = list(strings)
        self.positions = {text: index for index, text in enumerate(self.strings)}

    def index(self, text: str) -> int:
        """Return the position of a text, adding it if it is new."""
        position = self.positions.setdefault(text, len(self.strings))
        if position == len(self.strings):
            self.strings.append(text)
        return position

    def text(self, index: Any, place: str) -> str:
        """Return the text at a position.

        Raises:
            DecodeError: The position is no index into the table.
        """
        if type(index) is not int or not 0 <= index < len(self.strings):
            raise DecodeError(place, f"{describe(index)} is no index into the {len(self.strings)} strings")
        return self.strings[index]


def rounded(name: str, value: float | None, *, spread: bool = False) -> float | None:
    """Round a score to what its accumulators vouch for (relative error below 1e-8) and what a reader can use.

    Cosines keep ten decimals, because what matters is their distance from 1; the first scores eight significant digits,
    the others five; spreads over samples seven decimals and five digits.
    """
    if value is None:
        return None
    if name.startswith("cosine"):
        return round(float(value), SPREAD_DECIMALS if spread else COSINE_DECIMALS)
    digits = SPREAD_DIGITS if spread else FIRST_DIGITS if name in FIRST_SCORES else OTHER_DIGITS
    return float(f"{float(value):.{digits - 1}e}")


def round_scores(scores: Scores) -> Scores:
    """Return scores as a file holds them."""
    changes: dict[str, Any] = {}
    for name, hint in field_types(Scores).items():
        value = getattr(scores, name)
        if split_optional(hint)[0] is float:
            changes[name] = rounded(name, value)
        elif isinstance(value, Spread):
            changes[name] = round_spread(name, value)
    return dataclasses.replace(scores, **changes)


def round_spread(name: str, spread: Spread) -> Spread:
    """Return a spread as a file holds it; a deviation keeps digits, for of a cosine it may be far below 1e-7."""
    changes: dict[str, Any] = {}
    for part, hint in field_types(Spread).items():
        if split_optional(hint)[0] is float:
            value = getattr(spread, part)
            changes[part] = rounded(part if part == "deviation" else name, value, spread=True)
    return dataclasses.replace(spread, **changes)


def is_text(hint: Any) -> bool:
    """Whether a column of this type stands in the string table."""
    inner = split_optional(hint)[0]
    if typing.get_origin(inner) is tuple:
        inner = typing.get_args(inner)[0]
    return isinstance(inner, type) and issubclass(inner, str)


def default_of(cls: type, name: str) -> Any:
    """A field's default as plain JSON, or the `MISSING` mark where it has none."""
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    if field.default is dataclasses.MISSING:
        return dataclasses.MISSING
    return encode(field_types(cls)[name], field.default, name)


def encode_columns(
    cls: type, items: Sequence[Any], names: Sequence[str], strings: StringTable, place: str
) -> dict[str, list[Any]]:
    """Write the named fields of like dataclasses as columns.

    Args:
        cls: The dataclass.
        items: Its instances, or None for a row that has none: the row then holds null in every column.
        names: Fields to write.
        strings: Table that receives the text.
        place: Path for errors.

    Returns:
        Column name to values, without the columns that hold only their default.
    """
    columns: dict[str, list[Any]] = {}
    for name in names:
        hint = field_types(cls)[name]
        write, where = encoder(hint), f"{place}.{name}"
        values = [None if item is None else write(getattr(item, name), where) for item in items]
        default = default_of(cls, name)
        present = [value for item, value in zip(items, values, strict=True) if item is not None]
        if default is not dataclasses.MISSING and all(value == default for value in present):
            continue
        columns[name] = [indexed(value, strings) for value in values] if is_text(hint) else values
    return columns


def indexed(value: Any, strings: StringTable) -> Any:
    """Replace text, or each text of a list, by its position in the string table."""
    if value is None:
        return None
    return [strings.index(text) for text in value] if isinstance(value, list) else strings.index(value)


@dataclasses.dataclass(frozen=True)
class Columns:
    """A table as the file holds it.

    Attributes:
        columns: The object that holds the columns.
        count: Rows that each column must have.
        strings: Table that holds the text.
        place: Path in the document, for errors.
    """

    columns: Any
    count: int
    strings: StringTable
    place: str

    def __post_init__(self) -> None:
        if not isinstance(self.columns, dict):
            raise DecodeError(self.place, f"expected an object of columns, found {describe(self.columns)}")

    def inner(self, name: str) -> Columns:
        """The table that stands inside this one."""
        return Columns(self.columns[name], self.count, self.strings, f"{self.place}.{name}")


def decode_columns(cls: type, table: Columns, names: Sequence[str]) -> dict[str, list[Any]]:
    """Read columns back into lists of field values.

    Args:
        cls: The dataclass.
        table: What the file holds; columns of other names are later additions and are passed over.
        names: Fields to read.

    Returns:
        Field name to values; fields whose column was left out are absent.

    Raises:
        DecodeError: A column is missing, has another length, or holds a wrong value.
    """
    decoded: dict[str, list[Any]] = {}
    for name in names:
        where = f"{table.place}.{name}"
        if name not in table.columns:
            if default_of(cls, name) is dataclasses.MISSING:
                raise DecodeError(table.place, f"column '{name}' is missing")
            continue
        values = table.columns[name]
        if not isinstance(values, list) or len(values) != table.count:
            size = f"{len(values)} values" if isinstance(values, list) else describe(values)
            raise DecodeError(where, f"expected {table.count} values, found {size}")
        read = cell_reader(field_types(cls)[name], table.strings)
        decoded[name] = [read(value, where) for value in values]
    return decoded


def cell_reader(hint: Any, strings: StringTable) -> Callable[[Any, str], Any]:
    """Reader of one cell; text is looked up in the string table first."""
    read = decoder(hint)
    if not is_text(hint):
        return read
    if typing.get_origin(split_optional(hint)[0]) is tuple:

        def read_texts(value: Any, place: str) -> Any:
            if not isinstance(value, list):
                raise DecodeError(place, f"expected a list of string indices, found {describe(value)}")
            return read([strings.text(index, place) for index in value], place)

        return read_texts
    return lambda value, place: read(None if value is None else strings.text(value, place), place)


def encode_optional_table(
    cls: type, items: Sequence[Any], names: Sequence[str], strings: StringTable, place: str
) -> dict[str, Any]:
    """Write a table whose rows may be absent; `present` says which are there, and is left out when all are."""
    present = [int(item is not None) for item in items]
    table = {} if all(present) else {"present": present}
    return table | encode_columns(cls, items, names, strings, place)


def decode_optional_table(
    cls: type, table: Columns, names: Sequence[str], nested: dict[str, list[Any]] | None = None
) -> list[Any]:
    """Read a table whose rows may be absent.

    Args:
        cls: The dataclass.
        table: Its columns, with `present` where some rows are absent.
        names: Fields to read.
        nested: Field values that were read before (tables inside this one).

    Returns:
        An instance, or None, a row.
    """
    present = table.columns.get("present", [1] * table.count)
    if (
        not isinstance(present, list)
        or [type(flag) for flag in present] != [int] * table.count
        or not set(present) <= {0, 1}
    ):
        raise DecodeError(f"{table.place}.present", f"expected {table.count} values of 0 or 1")
    rows = [index for index, there in enumerate(present) if there]
    whole = {
        name: values
        for name, values in table.columns.items()
        if isinstance(values, list) and len(values) == table.count
    }
    for name, values in whole.items():
        if (
            any(value is not None and not there for value, there in zip(values, present, strict=True))
            and name != "present"
        ):
            raise DecodeError(f"{table.place}.{name}", "has a value in a row that is not present")
    kept = {name: [values[index] for index in rows] for name, values in whole.items()}
    fields = decode_columns(cls, dataclasses.replace(table, columns=table.columns | kept, count=len(rows)), names)
    fields |= {name: [values[index] for index in rows] for name, values in (nested or {}).items()}
    decoded: list[Any] = [None] * table.count
    for position, index in enumerate(rows):
        decoded[index] = cls(**{name: values[position] for name, values in fields.items()})
    return decoded


ROW_FIELDS = tuple(name for name in field_types(LayerRow) if name not in NESTED_ROW_FIELDS)
SCORE_FIELDS = tuple(name for name in field_types(Scores) if name not in SPREAD_FIELDS)


def encode_layers(rows: Sequence[LayerRow], strings: StringTable) -> dict[str, Any]:
    """Write the layer table: plain columns, one table of scores a comparison, one of each isolation."""
    names = dict.fromkeys(name for row in rows for name in row.scores)
    table: dict[str, Any] = {
        "count": len(rows),
        "columns": encode_columns(LayerRow, rows, ROW_FIELDS, strings, "layers"),
        "scores": {},
    }
    for name in names:
        place = f"layers.scores.{name}"
        scores = [round_scores(row.scores[name]) if name in row.scores else None for row in rows]
        table["scores"][name] = encode_optional_table(Scores, scores, SCORE_FIELDS, strings, place)
        for part in SPREAD_FIELDS:
            spreads = [getattr(score, part) if score is not None else None for score in scores]
            if any(spread is not None for spread in spreads):
                spread_names = tuple(field_types(Spread))
                encoded = encode_optional_table(Spread, spreads, spread_names, strings, f"{place}.{part}")
                table["scores"][name][part] = encoded
    for part in ("isolation", "tuned_isolation"):
        shares = [getattr(row, part) for row in rows]
        if any(share is not None for share in shares):
            table[part] = encode_optional_table(
                Isolation, shares, tuple(field_types(Isolation)), strings, f"layers.{part}"
            )
    return table


def decode_layers(table: Any, strings: StringTable) -> tuple[LayerRow, ...]:
    """Read the layer table.

    Raises:
        DecodeError: It is damaged; the place is named.
    """
    layers = Columns(table, row_count(table, "layers"), strings, "layers")
    fields = decode_columns(
        LayerRow, Columns(table.get("columns"), layers.count, strings, "layers.columns"), ROW_FIELDS
    )
    scores = Columns(table.get("scores", {}), layers.count, strings, "layers.scores")
    lanes = {name: decode_scores(scores.inner(name)) for name in scores.columns}
    for part in ("isolation", "tuned_isolation"):
        if part in table:
            fields[part] = decode_optional_table(Isolation, layers.inner(part), tuple(field_types(Isolation)))
    rows = []
    for index in range(layers.count):
        present = {name: score for name, lane in lanes.items() if (score := lane[index]) is not None}
        rows.append(LayerRow(scores=present, **{name: values[index] for name, values in fields.items()}))
    if len({row.key for row in rows}) != layers.count:
        raise DecodeError("layers.columns.key", "two rows have the same key")
    return tuple(rows)


def decode_scores(lane: Columns) -> list[Scores | None]:
    """Read one comparison's scores."""
    spreads = {
        part: decode_optional_table(Spread, lane.inner(part), tuple(field_types(Spread)))
        for part in SPREAD_FIELDS
        if part in lane.columns
    }
    return decode_optional_table(Scores, lane, SCORE_FIELDS, spreads)


def encode_coefficients(coefficients: Sequence[Coefficient], strings: StringTable) -> dict[str, Any]:
    """Write the table of coefficients."""
    names = tuple(field_types(Coefficient))
    columns = encode_columns(Coefficient, coefficients, names, strings, "coefficients")
    return {"count": len(coefficients), "columns": columns}


def decode_coefficients(table: Any, strings: StringTable) -> tuple[Coefficient, ...]:
    """Read the table of coefficients."""
    count = row_count(table, "coefficients")
    columns = Columns(table.get("columns"), count, strings, "coefficients.columns")
    fields = decode_columns(Coefficient, columns, tuple(field_types(Coefficient)))
    return tuple(Coefficient(**{name: values[index] for name, values in fields.items()}) for index in range(count))


def row_count(table: Any, place: str) -> int:
    """Read how many rows a table has."""
    count = table.get("count") if isinstance(table, dict) else None
    if type(count) is not int or count < 0:
        raise DecodeError(f"{place}.count", f"expected the number of rows, found {describe(count)}")
    return count

"""A table of a configuration, read key by key: every refusal names the file and the key, and what to write instead."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gfpq_inspect.errors import UsageError
from gfpq_inspect.text import visible

Read = TypeVar("Read")
NAMES = {
    bool: "true or false",
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "a table",
    list: "a list",
}


def described(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, bool):
        return f"{str(value).lower()}"
    if isinstance(value, str):
        return f"the text '{visible(value)}'"
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return f"{value}"


class Table:
    """One table.

    Args:
        values: What it holds.
        source: The file, for messages.
        path: Its own key, '' for the top.
    """

    def __init__(self, values: Any, source: str, path: str) -> None:
        self.source, self.path = source, path
        if not isinstance(values, Mapping):
            raise UsageError(f"{source}: {path} is {described(values)}; write a table")
        self.values: Mapping[str, Any] = values

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def place(self, key: str) -> str:
        """A key with the tables around it."""
        return f"{self.path}.{key}" if self.path else key

    def error(self, key: str, what: str) -> UsageError:
        """A refusal that names the file and the key."""
        return UsageError(f"{self.source}: {visible(self.place(key))} {what}")

    def only(self, known: Sequence[str]) -> None:
        """Refuse keys that have no meaning.

        Raises:
            UsageError: One is unknown; the nearest known one is named.
        """
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
                raise self.error(key, f"is no key that is known here: {hint}")

    def get(self, key: str, kind: type[Read], default: Read) -> Read:
        """A value of one type; the default where the key is absent.

        Raises:
            UsageError: It has another type.
        """
        if key not in self.values:
            return default
        value = self.values[key]
        if type(value) is not kind:
            raise self.error(key, f"is {described(value)}; write {NAMES.get(kind, kind.__name__)}")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """One of a few texts.

        Raises:
            UsageError: It is none of them.
        """
        value = self.get(key, str, default)
        if key in self.values and value not in choices:
            near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"choose {', '.join(choices)}"
            raise self.error(key, f"is {described(value)}: {hint}")
        return value

    def number(self, key: str, *, infinite: bool = False) -> float:
        """A number.

        Raises:
            UsageError: It is none, NaN, or infinite where that has no meaning.
        """
        return self.checked_number(key, self.values[key], infinite=infinite)

    def checked_number(self, key: str, value: Any, *, infinite: bool = False) -> float:
        """Check a value that stands under a key or in a list of it; see `number`."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, f"is {described(value)}; write a number")
        if math.isnan(value):
            raise self.error(key, "is NaN, which no value is above or below; write a number")
        if math.isinf(value) and not infinite:
            raise self.error(key, f"is {value}; write a finite number")
        return float(value)

    def texts(self, key: str, choices: Sequence[str] | None = None) -> tuple[str, ...]:
        """One text or a list of them; () where the key is absent.

        Raises:
            UsageError: It is something else, empty, or none of the choices.
        """
        if key not in self.values:
            return ()
        value = self.values[key]
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(text, str) for text in listed):
            raise self.error(key, f"is {described(value)}; write a text or a list of texts")
        if not listed or "" in listed:
            raise self.error(key, "is empty and would match nothing; leave it out, or name something")
        for text in listed:
            if choices is not None and text not in choices:
                near = difflib.get_close_matches(text, choices, n=1, cutoff=0.5)
                hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(choices)}"
                raise self.error(key, f"holds '{visible(text)}': {hint}")
        return tuple(listed)

    def date(self, key: str) -> datetime.date:
        """A day.

        Raises:
            UsageError: It is none.
        """
        value = self.values[key]
        if isinstance(value, str):
            try:
                return datetime.date.fromisoformat(value)
            except ValueError:
                pass
        if type(value) is not datetime.date:
            raise self.error(key, f"is {described(value)}; write a date, such as 2027-03-31")
        return value

    def required(self, key: str, read: Callable[[str], Read], why: str) -> Read:
        """A value that must be there.

        Raises:
            UsageError: It is not.
        """
        if key not in self.values:
            raise self.error(key, f"is missing: {why}")
        return read(key)

    def tables(self, key: str) -> list[Table]:
        """A list of tables; none where the key is absent.

        Raises:
            UsageError: It is something else.
        """
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, f"is {described(value)}; write [[{self.place(key)}]] once for each")
        return [Table(entry, self.source, f"{self.place(key)}[{number}]") for number, entry in enumerate(value, 1)]

    def table(self, key: str) -> Table:
        """A table; an empty one where the key is absent."""
        return Table(self.values.get(key, {}), self.source, self.place(key))

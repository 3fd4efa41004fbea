"""Groups of options that several commands share: one dataclass in the source, one option a field for the user.

Typer makes an option of every parameter of a function. A parameter whose type is a dataclass stands for all fields of
it; `with_option_groups` spreads them out in the signature that Typer reads, and puts them together again in the call.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

Returned = TypeVar("Returned")


def with_option_groups(command: Callable[..., Returned]) -> Callable[..., Returned]:
    """Spread parameters that are dataclasses of options out into their fields.

    Args:
        command: A command for Typer. A field must not be called like another parameter.

    Returns:
        The same command with a flat signature; keyword arguments only behind the first group.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {}
    flat: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind):
            groups[parameter.name] = typing.cast(type, kind)
            flat += option_parameters(groups[parameter.name])
        else:
            flat.append(parameter.replace(annotation=kind))
    # A positional argument of a group stands where the group does; Typer takes all by keyword anyway.
    flat = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in flat]

    @functools.wraps(command)
    def spread(**given: Any) -> Returned:
        for name, group in groups.items():
            given[name] = group(**{entry.name: given.pop(entry.name) for entry in dataclasses.fields(group)})
        return command(**given)

    spread.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]  # what inspect looks for
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in flat} | {"return": hints["return"]}
    del spread.__wrapped__  # its signature is not ours
    return spread


def option_parameters(group: type) -> list[inspect.Parameter]:
    """The fields of a group as parameters, in order."""
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            entry.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if entry.default is dataclasses.MISSING else entry.default,
            annotation=hints[entry.name],
        )
        for entry in dataclasses.fields(group)
    ]

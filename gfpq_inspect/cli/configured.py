"""Arguments of a comparison that stand in a gate's configuration, so that `gfpq-inspect gate` alone runs it all."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfpq_inspect.cli.comparison_options import ComparisonArguments
from gfpq_inspect.cli.option_groups import option_parameters
from gfpq_inspect.gate.table import Table

if TYPE_CHECKING:
    from gfpq_inspect.gate.settings import GateSettings

FIRST, SECOND = "float", "quant"
DATA_SUFFIXES = (".npy", ".npz", ".binaryproto")
NUMBERS = ("mean", "scale")
SAMPLES = ("input", "calibration")


def option_names() -> dict[str, str]:
    """Key of the configuration to field of `ComparisonArguments`: the option without its dashes."""
    names = {}
    for parameter in option_parameters(ComparisonArguments):
        declared = typing.get_args(parameter.annotation)[1]
        # Inside Annotated, Typer keeps the first name where a default would stand otherwise.
        words = [declared.default, *(declared.param_decls or ())]
        options = [word for word in words if isinstance(word, str) and word.startswith("--")]
        option = options[0].split("/")[0].removeprefix("--") if options else parameter.name.replace("_", "-")
        names[SECOND if parameter.name == "second" else option] = parameter.name
    return names


def configured_arguments(
    settings: GateSettings, first: Path | None, given: ComparisonArguments, explicit: Collection[str]
) -> tuple[Path | None, ComparisonArguments]:
    """Fill in from the configuration what the command line left open.

    Args:
        settings: The gate's settings.
        first: The float network of the command line, or None; with one the configured networks are not used.
        given: The other arguments.
        explicit: Fields of them that stand on the command line.

    Returns:
        The float network and all other arguments.

    Raises:
        UsageError: A key is unknown, or its value has the wrong type.
    """
    prefix = "tool.gfpq-inspect.compare" if settings.source.endswith("pyproject.toml") else "compare"
    names = option_names()
    values = {str(key).replace("_", "-"): value for key, value in settings.compare.items()}
    table = Table(values, settings.source, prefix)
    table.only((FIRST, *names))
    found: dict[str, Any] = {}
    hints = {parameter.name: parameter.annotation for parameter in option_parameters(ComparisonArguments)}
    for key in values:
        if key == FIRST:
            continue
        field = names[key]
        value = _value(table, key, typing.get_args(hints[field])[0], settings.folder)
        if field not in explicit and not (field == "second" and first is not None):
            found[field] = value
    if first is None and FIRST in table:
        first = settings.folder / table.get(FIRST, str, "")
    return first, dataclasses.replace(given, **found)


def _value(table: Table, key: str, hint: Any, folder: Path) -> Any:
    """One value as the command line would have given it."""
    kinds = set(typing.get_args(hint)) - {type(None)} or {hint}
    value = table.values[key]
    if bool in kinds:
        return table.get(key, bool, False)
    if int in kinds:
        return table.get(key, int, 0)
    if float in kinds:
        return table.number(key)
    if Path in kinds:
        return folder / table.get(key, str, "")
    if any(typing.get_origin(kind) is list for kind in kinds):
        return [_located(text, folder) if key in SAMPLES else text for text in table.texts(key)]
    if key in NUMBERS and isinstance(value, list):
        return ",".join(f"{table.checked_number(key, number):.17g}" for number in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.17g}" if isinstance(value, float) else str(value)
    text = table.get(key, str, "")
    # A text may be a file or not ('104,117,123', 'beside'); one that is there, or is called like one, is.
    is_file = text.lower().endswith(DATA_SUFFIXES) or (text and (folder / text).is_file())
    return str(folder / text) if is_file else text


def _located(text: str, folder: Path) -> str:
    """`[NAME=]FILE` with the file's folder; a name that holds '=' itself is told by the file that exists."""
    if "://" in text:
        return text
    name, equals, path = text.partition("=")
    if equals and not (folder / text).exists():
        return f"{name}={folder / path}"
    return str(folder / text)

"""Which limit holds for which layer, and the refusal of limits that match nothing or never decide anything."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from gfpq_inspect.analyze.result import LayerRow, Result
from gfpq_inspect.errors import UsageError
from gfpq_inspect.gate.settings import TASK_METRICS, Allowance, Limit
from gfpq_inspect.text import shortened

SHOWN_NAME = 60


def names_of(row: LayerRow) -> tuple[str, str, str]:
    """What a pattern may match: row key, layer name, layer key."""
    return (row.key, row.name, row.layer)


def matches(pattern: str, names: Sequence[str]) -> bool:
    """Whether a pattern matches a name; a name that holds `[` also matches itself."""
    return any(pattern == name or fnmatchcase(name, pattern) for name in names)


def selects(limit: Limit, row: LayerRow) -> bool:
    """Whether a limit's conditions hold for a row."""
    return (
        (not limit.layers or any(matches(pattern, names_of(row)) for pattern in limit.layers))
        and (not limit.types or row.type in limit.types)
        and (not limit.outputs or row.is_output)
    )


def assign(limits: Sequence[Limit], result: Result, source: str) -> list[tuple[Limit, ...]]:
    """Find the limits of every row: of those on the same thing the most specific, and of equal ones the last.

    Args:
        limits: In the order of the file.
        result: The result with its layers.
        source: The configuration, for messages.

    Returns:
        The limits that hold for each row, in the order of `Result.layers`.

    Raises:
        UsageError: A pattern or type matches no layer, or others replace a limit wherever it matches.
    """
    for limit in limits:
        _refuse_unmatched(limit, result, source)
    held: list[tuple[Limit, ...]] = []
    replaced: dict[Limit, Limit] = {}
    for row in result.layers:
        chosen: dict[object, Limit] = {}
        for limit in (entry for entry in limits if selects(entry, row)):
            earlier = chosen.get(limit.what)
            winner = limit if earlier is None or limit.rank >= earlier.rank else earlier
            if earlier is not None:
                replaced[earlier if winner is limit else limit] = winner
            chosen[limit.what] = winner
        held.append(tuple(chosen.values()))
    alive = {limit for limits_of_row in held for limit in limits_of_row}
    for limit in limits:
        if limit not in alive:
            raise UsageError(
                f"{source}: {limit.place} can never fail: wherever it matches, {replaced[limit].place} is more specific"
            )
    return held


def _refuse_unmatched(limit: Limit, result: Result, source: str) -> None:
    table = limit.place.rpartition(".")[0]
    for pattern in limit.layers:
        if not any(matches(pattern, names_of(row)) for row in result.layers):
            raise UsageError(f"{source}: {table}.layers: {_nothing(pattern, [row.name for row in result.layers])}")
    for kind in limit.types:
        if not any(row.type == kind for row in result.layers):
            kinds = sorted({row.type for row in result.layers})
            raise UsageError(f"{source}: {table}.types: '{kind}' is no layer's type; {_near(kind, kinds, 'there are')}")
    if not any(selects(limit, row) for row in result.layers):
        raise UsageError(f"{source}: {table} matches no layer: no layer fulfils all its conditions; it can never fail")
    if limit.metric in TASK_METRICS:
        _refuse_without_task(limit, result, source)


def _refuse_without_task(limit: Limit, result: Result, source: str) -> None:
    """A limit on accuracy needs labels, one on decisions an output that decides."""
    outputs = result.task.outputs if result.task is not None else ()
    if not outputs:
        raise UsageError(
            f"{source}: {limit.place} can never fail: no output of this network was judged by its decisions; "
            "give labels, or leave the limit out"
        )
    if limit.metric != "agreement" and result.task is not None and result.task.labels is None:
        raise UsageError(
            f"{source}: {limit.place} can never fail: the samples have no labels; give them, or use agreement"
        )
    by_key = {row.key: row for row in result.layers}
    if not any(entry.output in by_key and selects(limit, by_key[entry.output]) for entry in outputs):
        listed = ", ".join(f"'{shortened(entry.output, SHOWN_NAME)}'" for entry in outputs)
        raise UsageError(
            f"{source}: {limit.place} can never fail: it matches none of the outputs that decide, {listed}"
        )


def refuse_idle_allowances(allow: Sequence[Allowance], result: Result, further: Sequence[str], source: str) -> None:
    """Refuse allowances for layers that do not exist.

    Args:
        allow: The allowances.
        result: The result with its layers.
        further: Further names that count: layers of the baseline.
        source: The configuration, for messages.

    Raises:
        UsageError: A pattern matches none.
    """
    for allowance in allow:
        for pattern in allowance.layers:
            known = any(matches(pattern, names_of(row)) for row in result.layers)
            if not known and not matches(pattern, further):
                raise UsageError(
                    f"{source}: {allowance.place}.layers: {_nothing(pattern, [row.name for row in result.layers])}"
                )


def _nothing(pattern: str, names: Sequence[str]) -> str:
    hint = _near(pattern, names, "the network begins with")
    return f"'{pattern}' matches no layer and can never fail; {hint}"


def _near(text: str, known: Sequence[str], lead: str) -> str:
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{shortened(near[0], SHOWN_NAME)}'?"
    first = ", ".join(f"'{shortened(name, SHOWN_NAME)}'" for name in list(known)[:4])
    return f"{lead} {first}"

"""Collecting everything that is wrong with a network, so that it is shown together and not one a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice

from gfpq_inspect.errors import ModelError, Problem

MAX_TEXT = 400
MAX_PROBLEMS = 100
"""Problems kept; a file with more has one cause, and the first hundred show it."""


class Problems:
    """Problems in the order in which they were found, at most `MAX_PROBLEMS` of them."""

    def __init__(self) -> None:
        # A dict keeps the order and knows its members quickly.
        self._kept: dict[Problem, None] = {}
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def full(self) -> bool:
        """Whether further problems are only counted, so that nobody need word them with care."""
        return len(self._kept) >= MAX_PROBLEMS

    def add(self, problem: Problem) -> None:
        """Keep one problem; the same one twice counts once. Texts of absurd length are cut."""
        if self.full:
            self._more += problem not in self._kept
            return
        layer = _short(problem.layer) if problem.layer else None
        self._kept[replace(problem, what=_short(problem.what), layer=layer)] = None

    def extend(self, problems: Iterable[Problem]) -> None:
        """Keep several problems."""
        for problem in problems:
            self.add(problem)

    def found(self) -> tuple[Problem, ...]:
        """Return the problems by line (those without one at the end), and how many more there were."""
        ordered = sorted(self._kept, key=lambda problem: (problem.line is None, problem.line or 0, problem.column or 0))
        if self._more:
            ordered.append(Problem(f"and {self._more} further problems", file=ordered[0].file))
        return tuple(ordered)

    def raise_if_any(self) -> None:
        """Raise all problems as one error.

        Raises:
            ModelError: There is at least one problem.
        """
        if self._kept:
            raise ModelError(self.found())


def nearest(name: str, names: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` to append, or '' when nothing is near."""
    by_lower = {known.lower(): known for known in islice(names, 2000) if len(known) <= 200}
    near = get_close_matches(name.lower()[:200], by_lower, n=1, cutoff=0.6)
    return f" (did you mean '{by_lower[near[0]]}'?)" if near else ""


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."

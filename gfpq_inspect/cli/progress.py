"""Progress on standard error while a run is watched; nothing in a pipe or in CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

CURRENT_WIDTH = 32


class ShownProgress:
    """A bar for the phase at hand, with the time left and what is being worked on.

    Implements `analyze.progress.Progress`.
    """

    def __init__(self, display: RichProgress) -> None:
        self._display = display
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._display.console.print(text, markup=False, highlight=False)

    def phase(self, name: str, total: int) -> None:
        """See `Progress`."""
        if self._task is not None:
            self._display.remove_task(self._task)
        self._task = self._display.add_task(name, total=total, current="")

    def advance(self, count: int, current: str) -> None:
        """See `Progress`."""
        if self._task is not None:
            self._display.update(self._task, advance=count, current=_shortened(current))


class QuietProgress:
    """Progress that nobody watches."""

    def note(self, text: str) -> None:
        """See `Progress`."""

    def phase(self, name: str, total: int) -> None:
        """See `Progress`."""

    def advance(self, count: int, current: str) -> None:
        """See `Progress`."""


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[ShownProgress | QuietProgress]:
    """Show progress where a person watches: standard error is a terminal, this is not CI, and quiet was not asked."""
    if quiet or os.environ.get("CI", "").lower() == "true" or not sys.stderr.isatty():
        yield QuietProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield ShownProgress(display)


def _shortened(text: str) -> str:
    """Make a name from a model or a file safe and short enough for one line."""
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= CURRENT_WIDTH else printable[: CURRENT_WIDTH - 1] + "…"

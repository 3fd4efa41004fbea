"""Options of long runs: memory, and going on after an interruption."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gfpq_inspect.errors import OutputError, UsageError
from gfpq_inspect.files import check_writable

CHECKPOINT_SUFFIX = ".checkpoint"


@dataclass(frozen=True, kw_only=True)
class MemoryArguments:
    """What a run may use."""

    max_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Stay below this memory (500M, 2G): picks the batch, fewer workers too."),
    ] = None
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep what runs learn of the float network here, so that the next is cheaper."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ResumeArguments:
    """What is left of a run that does not come to its end, and how to go on with it."""

    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped; give the same command again.")
    ] = False
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep what is known so far here; by default beside the first output file."),
    ] = None


@dataclass(frozen=True)
class Kept:
    """Where a run keeps what is known so far.

    Attributes:
        path: The file, or None to keep nothing.
        resume: Whether to go on from it.
    """

    path: Path | None = None
    resume: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether there is a run to go on with; its outputs, which it left unfinished, may be replaced."""
        return self.resume and self.path is not None and self.path.exists()

    @property
    def advice(self) -> str:
        """How to go on, for the end of a message; empty where nothing was kept."""
        if self.path is None or not self.path.exists():
            return ""
        return f"; {self.path} keeps it: the same command with --resume goes on"

    def finished(self) -> None:
        """Forget what is known: all of it is in the outputs."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
                _remove_unfinished(self.path)


def kept(given: ResumeArguments, outputs: list[Path], *, force: bool) -> Kept:
    """Where to keep a run, refused before it starts where that makes no sense.

    Args:
        given: Options.
        outputs: The run's output files.
        force: Whether files may be replaced.

    Raises:
        UsageError: There is nothing to resume from.
        OutputError: An unfinished run would be lost.
    """
    path = given.checkpoint
    if path is None and outputs:
        path = outputs[0].with_name(outputs[0].name + CHECKPOINT_SUFFIX)
    if path is None:
        if given.resume:
            raise UsageError("--resume goes on with a run that had an output file; give --json, or --checkpoint FILE.")
        return Kept()
    if path.exists() and not given.resume and not force:
        raise OutputError(f"{path}: holds an unfinished run; --resume goes on with it, --force starts anew")
    check_writable(path, overwrite=True)
    return Kept(path, given.resume)


def _remove_unfinished(path: Path) -> None:
    """Files that a killed run left half written; `write_atomically` names them so."""
    for leftover in path.parent.glob(f".{path.name[:100]}.*.part"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """A request to terminate (what CI sends a job that takes too long) ends a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # Python's own answer to Ctrl-C raises KeyboardInterrupt, whatever the signal.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

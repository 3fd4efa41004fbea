"""Every error that the tool raises on purpose.

    GfpqError                      exit code 70 unless a subclass says otherwise
    |-- UserError                  exit code 2: the person at the keyboard can mend it
    |   |-- UsageError             options that contradict each other or have no meaning
    |   |-- InputError             arrays, images, labels, dumps, coefficient files
    |   |-- ModelError             a network or weight file; carries every problem found, not the first
    |   |-- QuantizationError      a bad bit width, a corrupt parameter block, non-finite data
    |   |-- OutputError            a file that cannot be written, or would be overwritten
    |   `-- MissingExtraError      an optional dependency; the message names the extra
    `-- InternalError              our bug

A message says what is wrong, where (file, layer, line, byte) and what to do. Only the command line turns errors
into exit codes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class GfpqError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 70


class UserError(GfpqError):
    """Something that the user can mend."""

    exit_code = 2


class UsageError(UserError):
    """Options or arguments that make no sense together."""


class InputError(UserError):
    """Input data (arrays, images, labels, dumps, coefficients) that cannot be used."""


class QuantizationError(UserError):
    """A bit width, coefficient or tensor that cannot be quantized."""


class OutputError(UserError):
    """An output file that cannot be written, or that exists already."""


class MissingExtraError(UserError):
    """An optional dependency is not installed.

    Args:
        feature: What the user asked for.
        extra: The extra of this package that brings it.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{feature} needs an optional package: pip install 'gfpq-inspect[{extra}]'")


class InternalError(GfpqError):
    """A state that the code rules out; a bug of ours."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file.

    Attributes:
        what: What is wrong, one clause without a full stop.
        file: Path as the user gave it.
        layer: Layer name, if the problem belongs to one.
        line: Line in a text file, from 1.
        column: Column in that line, from 1.
        byte: Offset in a binary file, from 0.
        remedy: What to do about it, one clause in the imperative without a full stop.
    """

    what: str
    file: str | None = None
    layer: str | None = None
    line: int | None = None
    column: int | None = None
    byte: int | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        """Render as one sentence: place, fault, remedy."""
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        if self.byte is not None:
            place += f" (byte {self.byte})"
        text = f"{place}: " if place else ""
        if self.layer is not None:
            text += f"layer '{self.layer}': "
        text += self.what
        return f"{text}; {self.remedy}." if self.remedy else f"{text}."


class ModelError(UserError):
    """A network or weight file that cannot be used; holds all problems found.

    Args:
        problems: One or more problems, in the order of the file.
    """

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

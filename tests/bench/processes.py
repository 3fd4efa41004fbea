"""Whole processes, measured from outside: wall time, processor time, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("measured.py")
PROGRAM = Path(sys.executable).with_name("gfpq-inspect")
"""The command that is measured: the one of this environment."""
MADE = (0, 1)
"""Exit codes of a comparison that was made: whether the verdict is good is not what is measured."""


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Attributes:
        wall_s: From its start to its end.
        processor_s: Of all its threads and of the processes that it started.
        peak_memory_mb: Largest resident set of the process, or of the largest that it started.
        exit_code: How it ended.
        timed_out: It was ended at the limit.
        said: The end of what it printed.
    """

    wall_s: float
    processor_s: float
    peak_memory_mb: float
    exit_code: int
    timed_out: bool
    said: str


def cost_of(
    command: Sequence[str | Path],
    *,
    limit_s: float = 3600.0,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        limit_s: It is ended after so many seconds.
        folder: Where it runs; here by default.
        environment: Variables beside those of this process.
    """
    with tempfile.TemporaryDirectory() as scratch:
        told, printed = Path(scratch) / "cost.json", Path(scratch) / "printed"
        with printed.open("wb") as stream:
            subprocess.run(
                [sys.executable, "-IS", LAUNCHER, told, str(limit_s), *command],
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                check=False,
            )
        text = printed.read_text("utf-8", errors="replace")
        return Cost(**json.loads(told.read_text("utf-8")), said=text[-2000:])


def comparison_cost(arguments: Sequence[str | Path]) -> Cost:
    """What `gfpq-inspect compare` costs as a whole process.

    Raises:
        RuntimeError: It did not compare.
    """
    cost = cost_of([PROGRAM, "compare", *arguments])
    if cost.exit_code not in MADE:
        raise RuntimeError(f"gfpq-inspect compare ended with {cost.exit_code}:\n{cost.said}")
    return cost

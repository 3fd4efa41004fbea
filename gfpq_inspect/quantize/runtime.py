"""How the native kernels run: which instructions they use, and on how many threads.

The environment decides first: GFPQ_INSTRUCTION_SET (reference, baseline, neon, avx2, avx512) and GFPQ_THREADS. Results
depend on neither.
"""

from __future__ import annotations

import os

from gfpq_inspect import _native
from gfpq_inspect.errors import UsageError


def instruction_set() -> str:
    """The kernel in use: 'reference', 'baseline', 'neon', 'avx2' or 'avx512'."""
    return _native.instruction_set()


def instruction_sets() -> tuple[str, ...]:
    """The kernels that this machine can run, slowest first."""
    return tuple(_native.instruction_sets())


def unusable_instruction_set() -> str | None:
    """What GFPQ_INSTRUCTION_SET asks for, when this machine cannot run it (the best one is then used instead)."""
    wanted = os.environ.get("GFPQ_INSTRUCTION_SET")
    return wanted if wanted is not None and wanted not in instruction_sets() else None


def set_instruction_set(name: str) -> None:
    """Force a kernel, for tests and comparisons.

    Raises:
        UsageError: This machine cannot run it.
    """
    if not _native.set_instruction_set(name):
        raise UsageError(f"this machine cannot run '{name}'; it has {', '.join(instruction_sets())}.")


def thread_limit() -> int:
    """Threads that a large array may use, the caller's included."""
    return _native.threads()


def set_thread_limit(limit: int | None) -> None:
    """Limit the threads; None goes back to GFPQ_THREADS or the processors that this process may use.

    Raises:
        UsageError: The limit is not positive.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"at least one thread is needed, not {limit}.")
    _native.set_threads(limit or 0)

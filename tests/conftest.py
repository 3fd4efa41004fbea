"""Fixtures that all tests share: recorded data, the project's own fixtures, tools of the system."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
IN_CI = os.environ.get("CI", "").lower() == "true"


def pytest_configure() -> None:
    """Let Ctrl-C reach programs that tests start: a shell's background jobs ignore it, and children inherit that."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of embedded networks and recorded data."""
    return ROOT / "fixtures"


@pytest.fixture(autouse=True)
def no_stated_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parallel test runs state a terminal's width for their workers; output in a pipe has none."""
    monkeypatch.delenv("COLUMNS", raising=False)


def shared_folder() -> Path | None:
    """The folder of recorded data and real networks outside the project, if there is one."""
    folder = Path(os.environ.get("GFPQ_INSPECT_SHARED", ROOT.parent / "shared"))
    return folder.resolve() if (folder / "models").is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """Recorded data and real networks; skips, saying so, where they are absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("real networks are absent: set GFPQ_INSPECT_SHARED to the folder that holds them")
    return folder


def require_tool(name: str, purpose: str) -> str:
    """Return the path of a program; without it skip with the reason, or fail where CI promises everything.

    Args:
        name: The program.
        purpose: What it is needed for, completing 'needed for ...'.

    Returns:
        The program's path.
    """
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not installed: needed for {purpose}"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return found

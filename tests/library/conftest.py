"""The drop-in library, built once without Python as a C++ user would build it, and installed below a folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILDS = ROOT / "build" / "tests"


def find_cmake() -> str:
    """CMake of the environment, else of the system."""
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which("cmake", path=os.pathsep.join([beside_python, os.environ.get("PATH", "")]))
    assert found is not None, "CMake is needed to build the library; make test installs it"
    return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one test process builds in a folder at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command: str | Path, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed; show what it said if it does not."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done


def build_library(name: str, *options: str) -> Path:
    """Configure, build and install `native/` below build/tests; what has not changed is not built again."""
    folder = BUILDS / name
    with locked(folder):
        prefix = folder / "prefix"
        run(find_cmake(), "-S", ROOT / "native", "-B", folder / "build", f"-DCMAKE_INSTALL_PREFIX={prefix}",
            "-DCMAKE_INSTALL_LIBDIR=lib", *options)  # fmt: skip
        run(find_cmake(), "--build", folder / "build", "--parallel", "2")
        run(find_cmake(), "--install", folder / "build")
    return prefix


@pytest.fixture(scope="session")
def prefix() -> Path:
    """Folder with include/, lib/ of the library for CPUs."""
    return build_library("library", "-DGFPQ_CUDA=OFF")

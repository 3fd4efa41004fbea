"""The Windows library, cross-compiled: what it exports, and the sample, run where Wine is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool

from .conftest import BUILDS, ROOT, build_library, run
from .test_gfpq_libs import check_sample_output
from .test_interface import INTERFACE

MINGW = "x86_64-w64-mingw32-g++-posix"


@pytest.fixture(scope="module")
def windows() -> Path:
    """Folder with include/, lib/ of the library for Windows."""
    require_tool(MINGW, "the Windows library")
    toolchain = ROOT / "native" / "cmake" / "mingw-w64.cmake"
    return build_library(
        "windows", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DGFPQ_CUDA=OFF", "-DGFPQ_PYTHON=OFF", "-DGFPQ_SAMPLES=ON"
    )


def test_exports_the_interface_and_nothing_else(windows: Path) -> None:
    listing = run("x86_64-w64-mingw32-objdump", "-p", windows / "lib" / "gfpq.dll").stdout
    names = listing.split("[Ordinal/Name Pointer] Table")[1]
    assert set(re.findall(r"(?m)^\s+\[ *\d+\] (?:\+base\[ *\d+\] +\w+ )?(\S+)$", names)) == INTERFACE


def test_needs_nothing_that_windows_does_not_bring(windows: Path) -> None:
    for name in ("lib/gfpq.dll", "../build/library/samples/sample.exe"):
        listing = run("x86_64-w64-mingw32-objdump", "-p", windows / name).stdout
        needed = set(re.findall(r"DLL Name: (\S+)", listing))
        assert {dll.lower() for dll in needed} <= {"kernel32.dll", "msvcrt.dll", "ucrtbase.dll", "gfpq.dll"}


def test_import_library_and_sample_exist(windows: Path) -> None:
    assert (windows / "lib" / "gfpq.lib").read_bytes().startswith(b"!<arch>\n")
    sample = BUILDS / "windows" / "build" / "library" / "samples" / "sample.exe"
    assert sample.read_bytes().startswith(b"MZ")
    listing = run("x86_64-w64-mingw32-objdump", "-p", sample).stdout
    assert "gfpq.dll" in listing


def test_sample_runs(windows: Path, tmp_path: Path) -> None:
    wine = shutil.which("wine64") or shutil.which("wine")
    if wine is None:
        pytest.skip("wine is not installed: needed to run the Windows sample")
    for path in (windows / "lib" / "gfpq.dll", BUILDS / "windows" / "build" / "library" / "samples" / "sample.exe"):
        shutil.copy(path, tmp_path)
    done = subprocess.run([wine, "sample.exe"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    check_sample_output(done.stdout)

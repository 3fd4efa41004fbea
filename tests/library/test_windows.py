"""The Windows library, cross-compiled: what it exports, and the sample, run where Wine is installed."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.native.recorded import recorded_calls

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


def run_in_wine(folder: Path, windows: Path, program: Path, *arguments: str) -> str:
    """Run a Windows program with gfpq.dll beside it; its output. Skips without Wine."""
    found = (shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/lib/wine") for name in ("wine64", "wine"))
    wine = next(filter(None, found), None)
    if wine is None:
        pytest.skip("wine is not installed: needed to run Windows programs")
    for path in (windows / "lib" / "gfpq.dll", program):
        if path.parent != folder:
            shutil.copy(path, folder)
    done = subprocess.run(
        [wine, program.name, *arguments],
        cwd=folder,
        env={**os.environ, "WINEDEBUG": "-all", "WINEPREFIX": str(folder / "wine")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_sample_runs(windows: Path, tmp_path: Path) -> None:
    sample = BUILDS / "windows" / "build" / "library" / "samples" / "sample.exe"
    check_sample_output(run_in_wine(tmp_path, windows, sample))


def test_recorded_calls(windows: Path, tmp_path: Path) -> None:
    """The bits of float64 come from the C library's log2 and pow, of which Windows has others."""
    program = tmp_path / "recorded.exe"
    source = Path(__file__).with_name("recorded.cpp")
    run(MINGW, "-static", source, f"-I{windows / 'include'}", windows / "lib" / "gfpq.lib", "-o", program)
    with (tmp_path / "calls.bin").open("wb") as file:
        for call in recorded_calls():
            file.write(
                struct.pack(
                    "<8I", call.data_in.itemsize, call.bits, call.mode, call.block_in is not None, call.code,
                    call.data_in.size, 0, 0,
                )
            )  # fmt: skip
            file.write((call.block_in or bytes(16)) + (call.block_out or bytes(16)))
            file.write(call.data_in.tobytes() + call.data_out.tobytes())
    output = run_in_wine(tmp_path, windows, program, "calls.bin")
    assert output.splitlines()[-1] == f"{len(recorded_calls())} calls, 0 different"

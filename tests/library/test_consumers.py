"""The installed library is found: by CMake, by pkg-config, from another folder, and by valgrind to be clean."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import require_tool

from .conftest import find_cmake, run

CONSUMER = """
#include <gfpq.hpp>
#include <cstdio>
int main() {
    float data[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    GFPQ_PARAM_ST param = {GFPQ_MODE_INIT, {0}};
    const int code = HI_GFPQ_QuantAndDeQuant(data, 10, GFPQ_BIT_WIDTH_8BIT, &param);
    GFPQ_INFO_ST info;
    HI_GFPQ_GetInfo(&info);
    std::printf("%d %.6f %u\\n", code, data[9], info.u32LibSoVer);
    return code;
}
"""
EXPECTED = "0 8.724062 1\n"


@pytest.fixture
def consumer(tmp_path: Path) -> Path:
    """A folder with a program that uses the library."""
    (tmp_path / "main.cpp").write_text(CONSUMER)
    return tmp_path


@pytest.mark.parametrize("target", ["gfpq", "gfpq_static"])
def test_find_package(prefix: Path, consumer: Path, target: str) -> None:
    (consumer / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(consumer CXX)\n"
        "find_package(gfpq 0.1 REQUIRED)\nadd_executable(consumer main.cpp)\n"
        f"target_link_libraries(consumer PRIVATE gfpq::{target})\n"
    )
    run(find_cmake(), "-S", consumer, "-B", consumer / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run(find_cmake(), "--build", consumer / "build")
    assert run(consumer / "build" / "consumer").stdout == EXPECTED


@pytest.mark.parametrize("moved", [False, True])
def test_pkg_config(prefix: Path, consumer: Path, moved: bool) -> None:
    require_tool("pkg-config", "the installed library's pkg-config file")
    if moved:
        prefix = Path(shutil.copytree(prefix, consumer / "another place", symlinks=True))
    environment = {"PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "gfpq", **environment).stdout.replace("\\ ", "\0").split()
    words = [flag.replace("\0", " ") for flag in flags]
    run("g++", consumer / "main.cpp", "-o", consumer / "consumer", *words)
    assert run(consumer / "consumer", LD_LIBRARY_PATH=str(prefix / "lib")).stdout == EXPECTED
    archive = run("pkg-config", "--static", "--libs-only-l", "gfpq", **environment).stdout
    assert "-lstdc++" in archive


def test_valgrind_finds_nothing(prefix: Path, tmp_path: Path) -> None:
    valgrind = require_tool("valgrind", "memory errors in the C library")
    program = tmp_path / "documented"
    source = Path(__file__).with_name("documented.cpp")
    run("g++", "-g", source, "-o", program, f"-L{prefix / 'lib'}", "-lgfpq", f"-Wl,-rpath,{prefix / 'lib'}")
    # valgrind knows no AVX-512: the library sees the processor that valgrind shows it and chooses accordingly.
    done = run(valgrind, "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", program)
    assert "ERROR SUMMARY: 0 errors" in done.stderr

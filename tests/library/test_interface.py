"""libgfpq takes the original's place: names, layouts, return codes, numbers, and what it says on errors."""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require_tool
from tests.native.recorded import RecordedCall, recorded_calls

from .conftest import ROOT, run

INTERFACE = {
    "HI_GFPQ_QuantAndDeQuant_PY",
    "HI_GFPQ_QuantAndDeQuant_GPU_PY",
    "_Z15HI_GFPQ_GetInfoP13_GFPQ_INFO_ST",
    "_Z23HI_GFPQ_QuantAndDeQuantPfjjP14_GFPQ_PARAM_ST",
    "_Z23HI_GFPQ_QuantAndDeQuantPdjjP14_GFPQ_PARAM_ST",
    "_Z27HI_GFPQ_QuantAndDeQuant_GPUPfjjP14_GFPQ_PARAM_STPvS2_",
    "_Z27HI_GFPQ_QuantAndDeQuant_GPUPdjjP14_GFPQ_PARAM_STPvS2_",
}
BAD_FORMAT, BAD_PARAMETERS, NOT_SUPPORTED = (code - 2**32 for code in (0xFFFF0005, 0xFFFF0006, 0xFFFF0011))


class Parameter(ctypes.Structure):
    """GFPQ_PARAM_ST as documented."""

    _fields_ = (("mode", ctypes.c_uint), ("buf", ctypes.c_ubyte * 16))


@pytest.fixture(scope="session")
def library(prefix: Path) -> ctypes.CDLL:
    """The shared library, opened by the name of its interface version."""
    return ctypes.CDLL(str(prefix / "lib" / "libgfpq.so.1"))


def exported(library: Path) -> set[str]:
    """Names that a shared library offers."""
    lines = run("nm", "-D", "--defined-only", library).stdout.splitlines()
    return {line.split()[-1] for line in lines}


def test_exports_the_interface_and_nothing_else(prefix: Path) -> None:
    assert exported(prefix / "lib" / "libgfpq.so.1") == INTERFACE


def test_soname_and_links(prefix: Path) -> None:
    dynamic = run("readelf", "-d", prefix / "lib" / "libgfpq.so").stdout
    assert "Library soname: [libgfpq.so.1]" in dynamic
    assert (prefix / "lib" / "libgfpq.so").resolve() == (prefix / "lib" / "libgfpq.so.1").resolve()
    assert not re.search(r"NEEDED.*python", dynamic)


def compile_documented(prefix: Path, folder: Path, *libraries: str) -> Path:
    program = folder / "documented"
    compiler = require_tool("g++", "a caller of the library")
    source = Path(__file__).with_name("documented.cpp")
    run(compiler, "-std=c++11", "-Wall", "-Wextra", "-Werror", source, "-o", program, *libraries,
        f"-Wl,-rpath,{prefix / 'lib'}")  # fmt: skip
    return program


def check_documented(program: Path) -> None:
    done = run(program)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.fullmatch(
        rf"code=0 version={re.escape(version)} so=1 revision=\d+ "
        r"time=[A-Z][a-z]{2} [ \d]\d \d{4} \d\d:\d\d:\d\d",
        lines["info"],
    )
    assert "block=60628269b3ffffffc5c727cc3a38d833" in lines["float8-init"]
    sample = [
        0,
        1,
        2,
        2.9536523818969727,
        4,
        4.96743106842041,
        5.907304763793945,
        7.025008678436279,
        8,
        8.724061965942383,
    ]
    assert numbers(lines["float8-init"]) == sample
    assert numbers(lines["double8-init"]) == pytest.approx(sample, rel=1e-7)
    for bits, steps, top in ((8, 16, 127), (16, 128, 1407)):
        for kind in ("float", "double"):
            name = f"{kind}{bits}"
            # 100 raises the coefficient of 9; applying leaves it, and what lies above the grid's top becomes the top.
            delta = math.floor(steps * math.log2(100)) - top
            assert block_delta(lines[f"{name}-update"]) == delta
            assert block_delta(lines[f"{name}-apply"]) == delta
            assert numbers(lines[f"{name}-apply"])[0] == pytest.approx(2 ** ((delta + top) / steps), rel=1e-7)
            assert numbers(lines[f"{name}-null"]) == [1, -1]
            assert block_delta(lines[f"{name}-null"]) == delta
    assert lines["PY"].startswith("code=0 mode=0 block=")
    assert lines["gpu"] == f"{NOT_SUPPORTED} {NOT_SUPPORTED} {NOT_SUPPORTED}"
    assert len(done.stderr.splitlines()) == 3


def numbers(line: str) -> list[float]:
    return [float(word) for word in line.split("data=")[1].split(",") if word]


def block_delta(line: str) -> int:
    found = re.search(r"block=(\w{32})", line)
    assert found is not None
    return int.from_bytes(bytes.fromhex(found[1])[4:8], "little", signed=True)


def test_program_of_documented_declarations_runs_unchanged(prefix: Path, tmp_path: Path) -> None:
    check_documented(compile_documented(prefix, tmp_path, f"-L{prefix / 'lib'}", "-lgfpq"))


def test_program_linked_to_the_archive(prefix: Path, tmp_path: Path) -> None:
    check_documented(compile_documented(prefix, tmp_path, str(prefix / "lib" / "libgfpq.a"), "-pthread"))


def test_program_that_was_linked_to_another_library_of_that_name(prefix: Path, tmp_path: Path) -> None:
    """A program built against a different libgfpq.so.1 finds all it needs in ours."""
    stub = tmp_path / "stub.cpp"
    declarations = (ROOT / "native" / "include" / "gfpq.hpp").read_text()
    stub.write_text(
        re.sub(
            r"(?m)^GFPQ_API (int [^;]*);", r"__attribute__((visibility(\"default\"))) \1 { return 42; }", declarations
        )
        .replace("cuda_stream = 0", "cuda_stream")
        .replace("cublas_handle = 0", "cublas_handle")
        .replace('\\"', '"')
    )
    run("g++", "-shared", "-fPIC", "-w", stub, "-o", tmp_path / "libgfpq.so", "-Wl,-soname,libgfpq.so.1")
    program = compile_documented(prefix, tmp_path, f"-L{tmp_path}", "-lgfpq")
    check_documented(program)


def test_c_compiler_reads_the_constants(prefix: Path, tmp_path: Path) -> None:
    source = tmp_path / "constants.c"
    source.write_text(
        '#include "gfpq.hpp"\n'
        '_Static_assert(GFPQ_BIT_WIDTH_8BIT == 8 && GFPQ_BIT_WIDTH_16BIT == 16, "");\n'
        '_Static_assert(GFPQ_MODE_INIT == 0 && GFPQ_MODE_UPDATE == 1 && GFPQ_MODE_APPLY_ONLY == 2, "");\n'
        '_Static_assert(GFPQ_PARAM_LEN == 16 && GFPQ_DATE_TIME_STR_LEN == 64 && GFPQ_INFO_LEN_MAX == 128, "");\n'
        '_Static_assert((int)GFPQ_ERR_GENERIC == -65536 && GFPQ_SUCCESS == 0, "");\n'
        '_Static_assert(GFPQ_ERR_BAD_FORMAT == 0xFFFF0005 && GFPQ_ERR_BAD_PARAMETERS == 0xFFFF0006, "");\n'
        '_Static_assert(GFPQ_ERR_OUT_OF_MEMORY == 0xFFFF000C && GFPQ_ERR_SHORT_BUFFER == 0xFFFF0010, "");\n'
        '_Static_assert(GFPQ_ERR_NOT_SUPPORT == 0xFFFF0011, "");\n'
        '_Static_assert(sizeof(GFPQ_PARAM_ST) == 20 && sizeof(GFPQ_INFO_ST) == 84, "");\n'
        "int main(void) { float x = 1; return HI_GFPQ_QuantAndDeQuant_PY(&x, 1, 8, 0); }\n"
    )
    lib = prefix / "lib"
    run("gcc", "-std=c11", "-Wall", "-Werror", f"-I{prefix / 'include'}", source, f"-L{lib}", "-lgfpq",
        f"-Wl,-rpath,{lib}", "-o", tmp_path / "constants")  # fmt: skip
    run(tmp_path / "constants")


CTYPES_SCRIPT = """
import ctypes, sys
class GFPQ_PARAM_ST(ctypes.Structure):
    _fields_ = [("mode", ctypes.c_int), ("buf", ctypes.c_byte * 16)]
library = ctypes.cdll.LoadLibrary(sys.argv[1])
data = (ctypes.c_float * 10)(*range(10))
param = GFPQ_PARAM_ST()
param.mode = 0
ret = library.HI_GFPQ_QuantAndDeQuant_PY(data, 10, 8, ctypes.byref(param))
print(ret, " ".join("%.10f" % x for x in data))
print("GFPQ_PARAM:", " ".join(hex(abs(b)) for b in param.buf))
"""


def test_ctypes_as_the_guide_does_it(prefix: Path) -> None:
    done = run(sys.executable, "-c", CTYPES_SCRIPT, prefix / "lib" / "libgfpq.so")
    assert done.stdout.splitlines() == [
        "0 0.0000000000 1.0000000000 2.0000000000 2.9536523819 4.0000000000 4.9674310684 5.9073047638 7.0250086784 "
        "8.0000000000 8.7240619659",
        "GFPQ_PARAM: 0x60 0x62 0x7e 0x69 0x4d 0x1 0x1 0x1 0x3b 0x39 0x27 0x34 0x3a 0x38 0x28 0x33",
    ]
    assert done.stderr == ""


def test_recorded_calls(library: ctypes.CDLL) -> None:
    calls = recorded_calls()
    assert len(calls) > 300
    wrong = [str(call) for call in calls if not repeats(library, call)]
    assert wrong == []


def repeats(library: ctypes.CDLL, call: RecordedCall) -> bool:
    single = call.data_in.dtype == np.float32
    element = ctypes.c_float if single else ctypes.c_double
    function = (
        library.HI_GFPQ_QuantAndDeQuant_PY if single else library["_Z23HI_GFPQ_QuantAndDeQuantPdjjP14_GFPQ_PARAM_ST"]
    )
    data = call.data_in.copy()
    parameter = Parameter(call.mode)
    if call.block_in is not None:
        parameter.buf[:] = call.block_in
    code = function(
        data.ctypes.data_as(ctypes.POINTER(element)),
        data.size,
        call.bits,
        None if call.block_in is None else ctypes.byref(parameter),
    )
    same_block = call.block_out is None or bytes(parameter.buf) == call.block_out
    return code & 0xFFFFFFFF == call.code and same_block and data.tobytes() == call.data_out.tobytes()


@pytest.mark.parametrize(
    ("bit_width", "pointer", "code", "words"),
    [
        (4, True, BAD_FORMAT, "bit width 4"),
        (0, True, BAD_FORMAT, "bit width 0"),
        (32, True, BAD_FORMAT, "bit width 32"),
        (8, False, BAD_PARAMETERS, "data pointer is NULL"),
        (16, False, BAD_PARAMETERS, "data pointer is NULL"),
    ],
)
@pytest.mark.parametrize("mode", [0, 1, 2, 9])
def test_error_leaves_everything_and_says_why(  # noqa: PLR0917  (the cases are a table)
    library: ctypes.CDLL,
    capfd: pytest.CaptureFixture[str],
    bit_width: int,
    pointer: bool,
    code: int,
    words: str,
    mode: int,
) -> None:
    data = (ctypes.c_float * 3)(1, -2, 3.3)
    before = bytes(data)
    parameter = Parameter(mode, (ctypes.c_ubyte * 16)(*range(16)))
    returned = library.HI_GFPQ_QuantAndDeQuant_PY(data if pointer else None, 3, bit_width, ctypes.byref(parameter))
    assert returned == code
    assert bytes(data) == before
    assert (parameter.mode, bytes(parameter.buf)) == (mode, bytes(range(16)))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("[ERR][HI_GFPQ_QuantAndDeQuant_PY] ")
    assert words in line
    assert f"0x{code & 0xFFFFFFFF:08X}" in line


def test_gpu_calls_say_that_this_is_the_library_for_cpus(
    library: ctypes.CDLL, capfd: pytest.CaptureFixture[str]
) -> None:
    data = (ctypes.c_float * 3)(1, 2, 3)
    before = bytes(data)
    assert library.HI_GFPQ_QuantAndDeQuant_GPU_PY(data, 3, 8, None, None, None) == NOT_SUPPORTED
    assert bytes(data) == before
    (line,) = capfd.readouterr().err.splitlines()
    assert "libgfpq_gpu" in line


def test_info_of_null(library: ctypes.CDLL, capfd: pytest.CaptureFixture[str]) -> None:
    assert library["_Z15HI_GFPQ_GetInfoP13_GFPQ_INFO_ST"](None) == BAD_PARAMETERS
    assert "info pointer is NULL" in capfd.readouterr().err


def test_nothing_to_do_is_a_success(library: ctypes.CDLL, capfd: pytest.CaptureFixture[str]) -> None:
    parameter = Parameter(0, (ctypes.c_ubyte * 16)(*range(16)))
    data = (ctypes.c_float * 1)(5)
    assert library.HI_GFPQ_QuantAndDeQuant_PY(data, 0, 8, ctypes.byref(parameter)) == 0
    assert (data[0], bytes(parameter.buf)) == (5, bytes(range(16)))
    assert capfd.readouterr().err == ""


def test_build_time_can_be_repeated() -> None:
    """The compiler takes the build time from SOURCE_DATE_EPOCH, so that equal sources give equal files."""
    done = subprocess.run(
        [shutil.which("g++") or "g++", "-E", "-P", "-x", "c++", "-"],
        input="__DATE__ __TIME__",
        env={"SOURCE_DATE_EPOCH": "0", "PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == '"Jan  1 1970" "00:00:00"'

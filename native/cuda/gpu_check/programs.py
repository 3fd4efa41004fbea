"""Programs that users run: the samples, and a small one under compute-sanitizer."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from .build import NATIVE, ROOT, run
from .report import Report

EXPECTED = "0.0000000000 1.0000000000 2.0000000000 2.9536523819 4.0000000000 4.9674310684 5.9073047638 7.0250086784 8.0000000000 8.7240619659"  # noqa: E501
PARAM = "GFPQ_PARAM: 0x60 0x62 0x7e 0x69 0x4d 0x1 0x1 0x1 0x3b 0x39 0x27 0x34 0x3a 0x38 0x28 0x33"
FIGURE_2_4 = [
    "Origin data: " + " ".join(f"{i}.0000000000" for i in range(10)),
    f"QuantAndDeQuant: {EXPECTED}",
    f"Data expected: {EXPECTED}",
    r"HI_GFPQ_QuantAndDeQuant PY time:0:00:00(\.\d{6})?",
    "HI_GFPQ_QuantAndDeQuant success",
    PARAM,
]


def is_figure_2_4(lines: list[str]) -> bool:
    """Whether these are the guide's lines."""
    if len(lines) != len(FIGURE_2_4):
        return False
    return all(line == wanted or re.fullmatch(wanted, line) for line, wanted in zip(lines, FIGURE_2_4, strict=True))


def samples(report: Report, work: Path) -> None:
    """Lay out GFPQLibs, build and run the samples with its own script."""
    tree = work / "GFPQLibs"
    run(sys.executable, NATIVE / "library" / "gfpq_libs.py", "--output", tree, "--work", work / "tree", "--cuda", "ON")
    output = run("sh", tree / "sample" / "run_linux.sh")
    report.texts["run_linux.sh"] = output
    lines = output.splitlines()
    rates = [line for line in lines if line.startswith("HI_GFPQ_QuantAndDeQuant_GPU bit_width[ 8] cnt[ 13107200]")]
    report.check("samples", "sample_gpu prints ten rates", len(rates) == 10, rates[-1] if rates else output[-500:])
    starts = [index for index, line in enumerate(lines) if line.startswith("Origin data:")]
    blocks = [lines[start : start + 6] for start in starts]
    names = ("sample_on_python.py", "sample_gpu", "sample_on_python_gpu.py")
    report.check("samples", "three samples print the figure", len(blocks) == 3, f"{len(blocks)} do")
    for name, block in zip(names, blocks, strict=False):
        report.check("samples", f"{name} prints what figure 2-4 shows", is_figure_2_4(block), block[3])
    option = next((line for line in lines if line.startswith("Compile option:")), "")
    report.check("samples", "get_gpu_version.sh", "-gencode arch=compute_" in option, option)


SIMILARITY = """
import sys
sys.path[:0] = [{root!r}]
import types, gfpq_inspect
stand_in = types.ModuleType("gfpq_inspect._native")
sys.modules["gfpq_inspect._native"] = stand_in
gfpq_inspect._native = stand_in
import cupy
from gfpq_inspect.quantize import cuda_kernels as kernels
for shape in ((2, 16385), (1, 3), (3, 70001)):
    x = cupy.random.default_rng(1).standard_normal(shape, dtype=cupy.float32)
    sums, products = kernels.similarity(x, [x + 1, x * 2])
    kernels.apply(x[:, 1:].copy(), 16, -1000)
    kernels.apply(x.astype(cupy.float64), 8, -77)
    kernels.extremes(x)
cupy.cuda.Device().synchronize()
"""


def sanitizer(report: Report, exercise: Path) -> None:
    """compute-sanitizer's four tools on every kernel of the library; its memory checker on the CuPy path."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        report.check("sanitizer", "compute-sanitizer is installed", False, "it was not found on PATH")
        return
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        _sanitize(report, f"{tool} of libgfpq_gpu", [program, "--tool", tool, "--error-exitcode", "9", str(exercise)])
    script = [sys.executable, "-c", SIMILARITY.format(root=str(ROOT))]
    _sanitize(report, "memcheck of the CuPy path", [program, "--tool", "memcheck", "--error-exitcode", "9", *script])


def _sanitize(report: Report, name: str, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    text = done.stdout + done.stderr
    summary = [line for line in text.splitlines() if "SUMMARY" in line]
    passed = done.returncode == 0 and bool(summary) and "0 errors" in summary[-1].replace("0 hazards", "0 errors")
    report.check("sanitizer", name, passed, summary[-1] if summary else text[-800:])
    if not passed:
        report.texts[name] = text[-6000:]

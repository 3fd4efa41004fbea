"""Builds what is checked, from the working tree, into a folder of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
NATIVE = ROOT / "native"


def run(*command: str | Path, folder: Path | None = None, timeout: float = 300, **environment: str) -> str:
    """Run a program that must succeed; its output."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} returned {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


def build(folder: Path, *options: str, targets: tuple[str, ...] = ()) -> Path:
    """Configure and build `native/`; the folder."""
    run("cmake", "-S", NATIVE, "-B", folder, *options)
    target_options = [word for target in targets for word in ("--target", target)]
    run("cmake", "--build", folder, "--parallel", str(os.cpu_count() or 2), *target_options)
    return folder


def build_libraries(work: Path) -> Path:
    """The libraries, for every architecture; their folder."""
    folder = build(work / "libraries", "-DGFPQ_CUDA=ON", "-DGFPQ_PYTHON=OFF",
                   targets=("gfpq", "gfpq_gpu", "gfpq_device_twin"))  # fmt: skip
    return folder / "library"


def build_for_another_gpu(work: Path) -> Path:
    """The library for GPUs with nothing but the oldest architecture's machine code; its folder."""
    known = run("nvcc", "--list-gpu-code").split()
    oldest = min(int(name.removeprefix("sm_")) for name in known)
    folder = build(
        work / "other", "-DGFPQ_CUDA=ON", "-DGFPQ_PYTHON=OFF", f"-DGFPQ_CUDA_ARCHITECTURES={oldest}-real",
        targets=("gfpq_gpu",)
    )  # fmt: skip
    return folder / "library"


def build_exercise(work: Path, libraries: Path) -> Path:
    """The program that compute-sanitizer watches."""
    program = work / "exercise"
    run("nvcc", "-std=c++17", "-arch=native", "-lineinfo", f"-I{NATIVE / 'include'}", NATIVE / "cuda" / "exercise.cu",
        f"-L{libraries}", "-lgfpq_gpu", "-Xlinker", f"-rpath={libraries}", "-o", program)  # fmt: skip
    return program


def make_package_importable(work: Path) -> str:
    """Build gfpq_inspect's native module where nanobind is installed, and make the working tree's package importable.

    Returns:
        How the native module was had.
    """
    sys.path.insert(0, str(ROOT))
    package = importlib.import_module("gfpq_inspect")
    try:
        folder = build(
            work / "python", "-DGFPQ_PYTHON=ON", "-DGFPQ_LIBRARY=OFF", f"-DPython_EXECUTABLE={sys.executable}"
        )
        (built,) = (folder / "python").glob("_native*.so")
    except (RuntimeError, ValueError) as error:
        # The GPU path needs one function of it.
        stand_in = types.ModuleType("gfpq_inspect._native")
        stand_in.__dict__["coefficient_from_magnitude"] = _coefficient
        sys.modules["gfpq_inspect._native"] = stand_in
        package.__dict__["_native"] = stand_in
        return f"a stand-in, because building failed: {str(error)[-1500:]}"
    shutil.copy(built, work / built.name)
    package.__path__.append(str(work))
    return built.name


def _coefficient(largest: float, bits: int) -> int:
    import math  # noqa: PLC0415  (only where the native module is missing)

    steps, top, limit = (16, 127, 511) if bits == 8 else (128, 1407, 4095)
    if math.isinf(largest):
        return limit
    delta = math.floor(steps * math.log2(largest or 1e-6)) - top
    return max(-limit, min(limit, delta))

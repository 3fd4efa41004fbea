"""libgfpq_gpu, where nvcc is installed: it builds for every architecture, loads without a GPU, and refuses politely."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.native.recorded import recorded_calls

from .conftest import ROOT, build_library, find_cmake, run
from .test_interface import BAD_FORMAT, BAD_PARAMETERS, INTERFACE, Parameter, exported, repeats

pytestmark = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed: needed for libgfpq_gpu")
HAS_GPU = shutil.which("nvidia-smi") is not None


@pytest.fixture(scope="module")
def gpu_prefix() -> Path:
    """Folder with include/, lib/ of both libraries, built for all architectures."""
    return build_library("cuda", "-DGFPQ_CUDA=ON")


@pytest.fixture(scope="module")
def library(gpu_prefix: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(gpu_prefix / "lib" / "libgfpq_gpu.so.1"))


def test_exports_the_same_interface(gpu_prefix: Path) -> None:
    assert exported(gpu_prefix / "lib" / "libgfpq_gpu.so.1") == INTERFACE
    dynamic = run("readelf", "-d", gpu_prefix / "lib" / "libgfpq_gpu.so").stdout
    assert "Library soname: [libgfpq_gpu.so.1]" in dynamic
    assert not re.search(r"NEEDED.*(cuda|cublas)", dynamic), "it must load where CUDA is not installed"


def test_holds_code_for_every_architecture_of_this_compiler(gpu_prefix: Path) -> None:
    known = re.findall(r"sm_\d+", run("nvcc", "--list-gpu-code").stdout)
    content = (gpu_prefix / "lib" / "libgfpq_gpu.so.1").read_bytes()
    described = re.search(rb"sm_[0-9]+(?:, sm_[0-9]+)* and PTX of (compute_[0-9]+), (compute_[0-9]+)", content)
    assert described is not None
    assert set(re.findall(r"sm_\d+", described[0].decode())) == set(known)
    numbers = sorted(int(name.removeprefix("sm_")) for name in known)
    assert [described[1].decode(), described[2].decode()] == [f"compute_{numbers[0]}", f"compute_{numbers[-1]}"]


def test_holds_the_functions_for_cpus(library: ctypes.CDLL) -> None:
    assert [str(call) for call in recorded_calls() if not repeats(library, call)] == []


@pytest.mark.parametrize("function", ["HI_GFPQ_QuantAndDeQuant_GPU", "HI_GFPQ_QuantAndDeQuant_GPU_PY"])
def test_cpu_memory_is_refused(library: ctypes.CDLL, capfd: pytest.CaptureFixture[str], function: str) -> None:
    name = function if function.endswith("_PY") else "_Z27HI_GFPQ_QuantAndDeQuant_GPUPfjjP14_GFPQ_PARAM_STPvS2_"
    data = (ctypes.c_float * 3)(1, -2, 3.3)
    before = bytes(data)
    parameter = Parameter(0, (ctypes.c_ubyte * 16)(*range(16)))
    assert library[name](data, 3, 8, ctypes.byref(parameter), None, None) == BAD_PARAMETERS
    assert (bytes(data), bytes(parameter.buf)) == (before, bytes(range(16)))
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"[ERR][{function}] the data pointer 0x")
    assert "is CPU memory" in line
    assert HAS_GPU or "no CUDA GPU can be used here" in line


def test_other_errors_are_those_of_the_library_for_cpus(
    library: ctypes.CDLL, capfd: pytest.CaptureFixture[str]
) -> None:
    function = library.HI_GFPQ_QuantAndDeQuant_GPU_PY
    data = (ctypes.c_float * 3)(1, 2, 3)
    assert function(data, 3, 12, None, None, None) == BAD_FORMAT
    assert function(None, 3, 8, None, None, None) == BAD_PARAMETERS
    assert function(data, 0, 8, None, None, None) == 0
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "bit width 12" in lines[0]
    assert "is NULL" in lines[1]


@pytest.mark.parametrize("target", ["gfpq_gpu", "gfpq_gpu_static"])
def test_samples_build_against_the_package(gpu_prefix: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.17)\nproject(consumer CXX)\nset(CMAKE_CXX_STANDARD 11)\n"
        f"find_package(gfpq REQUIRED)\nfind_package(CUDAToolkit REQUIRED)\n"
        f"add_executable(sample_gpu {ROOT / 'native' / 'samples' / 'sample.cpp'})\n"
        "target_compile_definitions(sample_gpu PRIVATE GFPQ_SAMPLE_GPU)\n"
        f"target_link_libraries(sample_gpu PRIVATE gfpq::{target} CUDA::cudart_static)\n"
    )
    run(find_cmake(), "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={gpu_prefix}")
    run(find_cmake(), "--build", tmp_path / "build")
    if not HAS_GPU:
        done = subprocess.run([tmp_path / "build" / "sample_gpu"], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "cudaGetDevice failed: " in done.stderr


def test_the_exercise_of_the_sanitizer_builds(gpu_prefix: Path, tmp_path: Path) -> None:
    lib = gpu_prefix / "lib"
    source = ROOT / "native" / "cuda" / "exercise.cu"
    run("nvcc", "-std=c++17", "-arch=sm_90", f"-I{gpu_prefix / 'include'}", source, f"-L{lib}", "-lgfpq_gpu", "-o",
        tmp_path / "exercise")  # fmt: skip


@pytest.mark.parametrize(("lanes", "element"), [(1, "float32"), (3, "float32"), (16, "float32"), (2, "float64")])
def test_sources_for_cupy_compile(tmp_path: Path, lanes: int, element: str) -> None:
    from gfpq_inspect.quantize import cuda_kernels

    for name, text in (
        ("kernels.cu", cuda_kernels.source(GFPQ_BLOCK=cuda_kernels.BLOCK, GFPQ_UNROLL=cuda_kernels.UNROLL)),
        ("similarity.cu", cuda_kernels.similarity_source(lanes, element)),
    ):
        (tmp_path / name).write_text(text)
        run("nvcc", "-std=c++17", "-arch=sm_90", "-c", tmp_path / name, "-o", tmp_path / "object")


def test_check_gpu_explains_itself() -> None:
    done = run(sys.executable, ROOT / "native" / "cuda" / "check_gpu.py", "--help")
    assert "in one call" in done.stdout

"""The GFPQLibs tree: the guide's file names, and samples that print what the guide shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .conftest import BUILDS, ROOT, find_cmake, locked, run

EXPECTED_8BIT = "0.000000 1.000000 2.000000 2.953652 4.000000 4.967431 5.907305 7.025009 8.000000 8.724062"
EXPECTED_PYTHON = (
    "0.0000000000 1.0000000000 2.0000000000 2.9536523819 4.0000000000 "
    "4.9674310684 5.9073047638 7.0250086784 8.0000000000 8.7240619659"
)
HAS_NVCC = shutil.which("nvcc") is not None


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GFPQLibs as `make gfpq-libs` lays it out, without the library for GPUs, which has a test of its own."""
    output = tmp_path_factory.mktemp("tree") / "GFPQLibs"
    work = BUILDS / "gfpq-libs"
    with locked(work):
        script = ROOT / "native" / "library" / "gfpq_libs.py"
        done = run(sys.executable, script, "--output", output, "--cuda", "OFF", "--work", work)
    assert done.stdout == f"wrote {output}\n"
    return output


def built_sample(tree: Path, folder: Path) -> Path:
    """The C++ sample, built as run_linux.sh does it but elsewhere."""
    run(find_cmake(), "-S", tree / "sample", "-B", folder)
    run(find_cmake(), "--build", folder)
    return folder / "sample"


def test_files_have_the_names_of_the_guide(tree: Path) -> None:
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if not path.is_dir()}
    expected = {
        "include/gfpq.hpp",
        "lib/libgfpq.a",
        "lib/libgfpq.so",
        "lib/libgfpq.so.1",
        "Release_note.txt",
        *(
            f"sample/{name}"
            for name in ("CMakeLists.txt", "get_gpu_version.sh", "run_linux.sh", "run_windows.bat", "sample.cpp",
                         "sample_on_python.py", "sample_on_python_gpu.py")
        ),
    }  # fmt: skip
    assert expected <= files
    assert not [path for path in (tree / "lib").iterdir() if path.is_dir()], "Caffe's Makefile copies lib/* as files"
    assert (tree / "lib" / "libgfpq.so").is_symlink()
    for script in ("get_gpu_version.sh", "run_linux.sh"):
        assert os.access(tree / "sample" / script, os.X_OK)
    assert b"\r\n" in (tree / "sample" / "run_windows.bat").read_bytes()


def test_release_note_says_what_is_inside(tree: Path) -> None:
    note = (tree / "Release_note.txt").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert note.startswith(f"GFPQ library {version}\n")
    assert "@" not in note
    assert ("* gfpq.dll for Windows" in note) == (tree / "lib" / "gfpq.dll").exists()
    assert "no libgfpq_gpu" in note


def check_sample_output(text: str, function: str = "HI_GFPQ_QuantAndDeQuant") -> None:
    lines = text.splitlines()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.fullmatch(r"Compiler\[[^\]]+\] Architecture\[[^\]]+\]", lines[0])
    assert re.fullmatch(
        rf"GFPQ version\[{re.escape(version)}\] Compiler revision\[\d+\] "
        r"Build at\[\w{3} [ \d]\d \d{4} [\d:]{8}\]",
        lines[1],
    )
    three = [
        "Quant and dequant bit_width[8]",
        "[quant_and_dequant][172] Data_ori      : " + " ".join(f"{i}.000000" for i in range(10)),
        "[quant_and_dequant][202] Data_dequant  : " + EXPECTED_8BIT,
    ]
    assert lines[2:14] == three * 4
    for line in lines[14:24]:
        found = re.fullmatch(
            re.escape(function) + r" bit_width\[ 8\] cnt\[ 13107200\] memory\[ 51200\]KB "
            r"time\[ *(\d+)\]us rate\[(\d+\.\d{6})\]GB/s",
            line,
        )
        assert found, line
        assert float(found[2]) == pytest.approx(51200 * 1024 / 2**30 / (int(found[1]) * 1e-6), rel=0.05)


def test_run_linux_builds_and_runs_the_samples(tree: Path) -> None:
    done = run(tree / "sample" / "run_linux.sh", PATH=f"{Path(find_cmake()).parent}:{os.environ['PATH']}")
    assert os.access(tree / "sample" / "build-linux" / "sample", os.X_OK)
    assert done.stdout.startswith("Compiler: ")
    assert "\nArchitecture: " in done.stdout
    assert "rate[" in done.stdout
    assert "GFPQ_PARAM: 0x60" in done.stdout


def test_sample_prints_what_the_guide_shows(tree: Path, tmp_path: Path) -> None:
    done = run(built_sample(tree, tmp_path))
    check_sample_output(done.stdout)
    assert len(done.stdout.splitlines()) == 24
    assert done.stderr == ""


def test_sample_at_16_bit_and_with_a_width_that_does_not_exist(tree: Path, tmp_path: Path) -> None:
    sample = built_sample(tree, tmp_path)
    lines = run(sample, "16").stdout.splitlines()
    assert lines[2] == "Quant and dequant bit_width[16]"
    assert lines[4].endswith(
        " : 0.000000 1.000000 2.000000 3.002028 4.000000 4.994404 6.004056 6.987070 8.000000 8.963502"
    )
    failed = subprocess.run([sample, "12"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert "bit width 12 does not exist" in failed.stderr


def check_python_output(text: str) -> None:
    lines = text.splitlines()
    assert lines[0] == "Origin data: " + " ".join(f"{i}.0000000000" for i in range(10))
    assert lines[1] == f"QuantAndDeQuant: {EXPECTED_PYTHON}"
    assert lines[2] == f"Data expected: {EXPECTED_PYTHON}"
    assert re.fullmatch(r"HI_GFPQ_QuantAndDeQuant PY time:0:00:00(\.\d{6})?", lines[3])
    assert lines[4:] == [
        "HI_GFPQ_QuantAndDeQuant success",
        "GFPQ_PARAM: 0x60 0x62 0x7e 0x69 0x4d 0x1 0x1 0x1 0x3b 0x39 0x27 0x34 0x3a 0x38 0x28 0x33",
    ]


def test_python_sample_prints_what_the_guide_shows(tree: Path, tmp_path: Path) -> None:
    check_python_output(run(sys.executable, tree / "sample" / "sample_on_python.py", folder=tmp_path).stdout)


def test_python_sample_of_the_gpu_says_what_is_missing(tree: Path) -> None:
    """On a machine without a GPU; on one with a GPU check_gpu.py compares its output."""
    if shutil.which("nvidia-smi") is not None:
        pytest.skip("this machine has an NVIDIA driver; native/cuda/check_gpu.py runs the sample")
    script = tree / "sample" / "sample_on_python_gpu.py"
    done = subprocess.run(
        [sys.executable, script, tree / "lib" / "libgfpq.so"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the CUDA driver is not installed") or "cuInit failed" in done.stderr


def write_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("capabilities", "options"),
    [
        ("6.1", "-gencode arch=compute_61,code=sm_61"),
        ("9.0\n9.0", "-gencode arch=compute_90,code=sm_90"),
        ("8.6\n12.0", "-gencode arch=compute_86,code=sm_86 -gencode arch=compute_120,code=sm_120"),
    ],
)
def test_gpu_version_script(tree: Path, tmp_path: Path, capabilities: str, options: str) -> None:
    write_program(tmp_path, "nvcc", "echo 'nvcc: NVIDIA (R) Cuda compiler driver'\necho 'release 13.0'\n")
    write_program(
        tmp_path, "nvidia-smi", f"printf '{capabilities}\\n'\n".replace("\n9", "\\n9").replace("\n12", "\\n12")
    )
    done = run(tree / "sample" / "get_gpu_version.sh", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.stdout.splitlines() == [
        "nvcc: NVIDIA (R) Cuda compiler driver",
        "release 13.0",
        f"Compile option: {options}",
    ]


def test_gpu_version_script_without_a_gpu_or_nvcc(tree: Path, tmp_path: Path) -> None:
    script = tree / "sample" / "get_gpu_version.sh"
    write_program(tmp_path, "nvcc", 'case $1 in --list-gpu-code) echo sm_75;; *) echo "release 13.0";; esac\n')
    write_program(tmp_path, "nvidia-smi", "exit 9\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    without_gpu = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert without_gpu.returncode == 1
    assert "No NVIDIA GPU was found. This nvcc builds for:\nsm_75" in without_gpu.stderr
    environment = {"PATH": "/usr/bin:/bin", "NVCC": str(tmp_path / "absent")}
    without_nvcc = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert without_nvcc.returncode == 1
    assert "nvcc was not found" in without_nvcc.stderr


def test_never_replaces_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    script = ROOT / "native" / "library" / "gfpq_libs.py"
    done = subprocess.run([sys.executable, script, "--output", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is no GFPQLibs folder" in done.stderr
    assert (tmp_path / "precious").read_text() == "kept"

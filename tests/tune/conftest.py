"""Real Caffe in an environment of its own, and the C library that its Python layer loads."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from gfpq_inspect.quantize.installed import find_library_folder
from tests.library.conftest import build_library, locked

CAFFE_PACKAGES = ("kendryte-caffe==1.0.0.20210829", "protobuf==3.20.3", "numpy==1.24.4")
RunCaffe = Callable[..., str]


def find_python(version: str) -> str | None:
    """A Python of this version: of pyenv, or on the path."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = sorted(root.glob(f"versions/{version}*/bin/python"))
    return str(found[-1]) if found else shutil.which(f"python{version}")


def environment(python: str, name: str, packages: tuple[str, ...]) -> Path:
    """A virtual environment outside the tree, made once; returns its Python, or skips saying why there is none."""
    folder = Path(tempfile.gettempdir()) / f"gfpq-inspect-{name}-{os.getuid()}"
    inside = folder / "bin" / "python"
    with locked(folder):
        if not (folder / ".complete").exists():
            for command in (
                [python, "-m", "venv", str(folder)],
                [str(inside), "-m", "pip", "install", "-q", *packages],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    pytest.skip(f"{name}: {' '.join(packages)} could not be installed: {done.stderr.strip()[-200:]}")
            (folder / ".complete").touch()
    return inside


@pytest.fixture(scope="session")
def caffe_python() -> Path:
    """A Python that imports real Caffe."""
    python = os.environ.get("GFPQ_INSPECT_CAFFE_PYTHON") or find_python("3.8")
    if python is None:
        pytest.skip("no Python 3.8 for real Caffe: set GFPQ_INSPECT_CAFFE_PYTHON to one, or install it with pyenv")
    if subprocess.run([python, "-c", "import caffe"], capture_output=True, check=False).returncode == 0:
        return Path(python)
    return environment(python, "caffe", CAFFE_PACKAGES)


@pytest.fixture(scope="session")
def libgfpq() -> Path:
    """The C library for CPUs: the installed one, else one built for the tests."""
    installed = find_library_folder()
    folder = installed if installed is not None else build_library("library", "-DGFPQ_CUDA=OFF")
    return folder / "lib" / "libgfpq.so.1"


@pytest.fixture
def run_caffe(caffe_python: Path, libgfpq: Path, root: Path, tmp_path: Path) -> RunCaffe:
    """Run a script with real Caffe and wk_quant in a child, since Caffe aborts the process where it refuses."""

    def run(script: str, *words: str | Path) -> str:
        path = tmp_path / "script.py"
        path.write_text(script)
        done = subprocess.run(
            [str(caffe_python), str(path), *map(str, words)],
            cwd=tmp_path,
            env={
                **os.environ,
                "GLOG_minloglevel": "2",
                "OPENBLAS_NUM_THREADS": "1",
                "GFPQ_LIBRARY": str(libgfpq),
                "PYTHONPATH": str(root / "native" / "caffe"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run

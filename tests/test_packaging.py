"""The wheel holds what is needed and nothing else; what needs an extra says so; --help imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the tree, built with the tools of the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_has_every_module_and_asset(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gfpq_inspect").rglob("*.py")}
    assert modules <= names
    assert "gfpq_inspect/py.typed" in names
    assert any(name.startswith("gfpq_inspect/_native") and name.endswith(".so") for name in names)
    assert any(name.startswith("gfpq_inspect/report/reports/") for name in names)
    assert {
        "gfpq_inspect/include/gfpq.hpp",
        "gfpq_inspect/include/gfpq_cuda/gfpq_kernels.cuh",
        "gfpq_inspect/lib/libgfpq.a",
        "gfpq_inspect/lib/libgfpq.so",
        "gfpq_inspect/lib/libgfpq.so.1",
        "gfpq_inspect/lib/cmake/gfpq/gfpqConfig.cmake",
        "gfpq_inspect/lib/pkgconfig/gfpq.pc",
    } <= names


@pytest.mark.slow
def test_wheel_has_exactly_the_pages_files(wheel: Path) -> None:
    room = "gfpq_inspect/report/reports/"
    packed = {name.removeprefix(room) for name in zipfile.ZipFile(wheel).namelist() if name.startswith(room)}
    folders = ("template", "modules", "schema")
    files = {path for folder in folders for path in (ROOT / "reports" / folder).rglob("*") if path.is_file()}
    assert packed == {path.relative_to(ROOT / "reports").as_posix() for path in files}


@pytest.mark.slow
def test_wheel_has_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {PurePosixPath(name).parts[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"gfpq_inspect"}
    unwanted = [name for name in names if any(part in name for part in ("/samples/pages", "/tests/", "__pycache__"))]
    assert unwanted == []


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from gfpq_inspect.cli.main import run; run(['--help']); "
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'pandas', 'plotly', 'rich', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"

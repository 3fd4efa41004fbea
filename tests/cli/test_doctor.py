"""gfpq-inspect doctor: what is there, what is missing and how to get it, and another libgfpq in the way."""

from __future__ import annotations

import json
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from gfpq_inspect import __version__, _native
from gfpq_inspect.cli import doctor
from gfpq_inspect.cli.main import run
from gfpq_inspect.quantize import cuda_kernels, installed
from gfpq_inspect.quantize.loader import find_on_loader_path


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of the person who runs the tests, and no GPU."""
    for name in ("LD_LIBRARY_PATH", "LD_PRELOAD", "GFPQ_INSTRUCTION_SET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "cupy", None)
    cuda_kernels.cupy.cache_clear()


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, dict[str, str]]]:
    """What doctor --json says: group, then name, then the line."""
    code = run(["doctor", "--json"])
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert code in (0, 1)
    return {group: {line["name"]: line for line in lines} for group, lines in groups.items()}


def test_says_what_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    output = capsys.readouterr().out
    assert f"gfpq-inspect  {__version__}" in output
    assert f"{_native.instruction_set()} (this machine has {', '.join(_native.instruction_sets())})" in output
    for group in ("quantizer", "drop-in library", "GPU", "packages"):
        assert f"\n{group}\n" in output


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    groups = listed(capsys)
    assert groups["quantizer"]["threads"]["found"] == str(_native.threads())
    assert groups["packages"]["numpy"] == {
        "name": "numpy",
        "found": metadata.version("numpy"),
        "state": "ok",
        "remedy": "",
    }
    assert "CPUExecutionProvider" in groups["packages"]["onnxruntime"]["found"]
    assert "pytest" not in groups["packages"]


def test_a_missing_option_names_its_extra(capsys: pytest.CaptureFixture[str]) -> None:
    line = listed(capsys)["GPU"]["CuPy"]
    assert line["state"] == "note"
    assert "pip install 'gfpq-inspect[cuda]'" in line["remedy"]


def test_a_gpu_without_a_driver_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=types.SimpleNamespace(getDeviceCount=lambda: 0)))
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert "no CUDA GPU" in listed(capsys)["GPU"]["CuPy"]["found"]
    cuda_kernels.cupy.cache_clear()


def test_a_missing_requirement_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "jinja2":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert run(["doctor"]) == 1
    printed = capsys.readouterr()
    assert "X jinja2" in printed.out
    assert "pip install 'jinja2" in printed.err


def test_an_instruction_set_that_cannot_run_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GFPQ_INSTRUCTION_SET", "mmx")
    assert run(["doctor"]) == 0
    assert "'mmx' cannot run here and is ignored" in capsys.readouterr().err


def make_library(folder: Path, name: str = "libgfpq.so.1", content: bytes = b"ours") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def test_library_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_library(tmp_path / "lib")
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "gfpq.hpp").write_text("")
    monkeypatch.setattr(installed, "_package_folders", lambda: [tmp_path / "source", tmp_path])
    assert run(["doctor", "--library"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"


def test_library_folder_of_an_installation_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installed, "_package_folders", lambda: [tmp_path])
    assert run(["doctor", "--library"]) == 2
    assert "holds no gfpq.hpp and libgfpq" in capsys.readouterr().err


def test_another_library_before_ours_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = installed.find_library_folder()
    if folder is None:
        pytest.skip("this installation holds no libgfpq to compare with")
    other = make_library(tmp_path / "vendor", content=b"another library")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{other.parent}:{folder / 'lib'}")
    assert run(["doctor"]) == 0
    printed = capsys.readouterr()
    assert f"{other} is loaded before ours" in printed.err
    assert f"put {folder / 'lib'} before it" in printed.err
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{folder / 'lib'}:{other.parent}")
    assert run(["doctor"]) == 0
    assert "loaded before ours" not in capsys.readouterr().err


def test_order_of_the_loader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no ldconfig of the system
    ours = make_library(tmp_path / "ours").parent
    other = make_library(tmp_path / "other", content=b"another")
    unversioned = make_library(tmp_path / "unversioned", "libgfpq.so", b"third")
    make_library(tmp_path / "copy")

    def found(*folders: str) -> Path | None:
        monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(str(tmp_path / folder) for folder in folders))
        answer = find_on_loader_path("libgfpq", ours)
        return None if answer is None else answer.path

    assert found("ours", "other") is None
    assert found("other", "ours") == other
    assert found("absent", "unversioned") == unversioned
    assert found("copy", "ours") is None, "a copy of ours is ours"
    monkeypatch.setenv("LD_PRELOAD", str(other))
    answer = find_on_loader_path("libgfpq", ours)
    assert answer is not None
    assert (answer.path, answer.because) == (other, "LD_PRELOAD")


def test_the_system_cache_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours = make_library(tmp_path / "ours").parent
    other = make_library(tmp_path / "system", content=b"another")
    program = tmp_path / "ldconfig"
    program.write_text(f"#!/bin/sh\nprintf '\\tlibgfpq.so.1 (libc6,x86-64) => {other}\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    answer = find_on_loader_path("libgfpq", ours)
    assert answer is not None
    assert (answer.path, answer.because) == (other, "the system's library folders")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(ours))
    assert find_on_loader_path("libgfpq", ours) is None

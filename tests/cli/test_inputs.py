"""`gfpq-inspect inputs` from the outside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfpq_inspect.cli.main import run


def test_digits(fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits, sheet = fixtures / "digits", tmp_path / "sheet.png"
    command = ["inputs", str(digits / "float.caffemodel"), "--input", str(digits / "test.npz"), "--sheet", str(sheet)]
    assert run(command) == 0
    printed = capsys.readouterr().out
    assert "450 samples from test.npz" in printed
    assert "Input data: float32 1x1x8x8, 450 samples" in printed
    values = np.load(digits / "test.npz")["data"]
    assert f"{values.mean(dtype=np.float64):.6g}" in printed
    assert f"Wrote {sheet}" in printed
    with Image.open(sheet) as image:
        assert image.format == "PNG"
    assert run(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*command, "--force"]) == 0


def test_synthetic_input_is_called_that(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inputs", str(fixtures / "digits/float.prototxt"), "--samples", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Synthetic input" in printed
    assert "2 samples of seeded uniform noise, seed 0" in printed


def test_a_mapper_configuration(fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    (tmp_path / "mapper.cfg").write_text("[image_list] list.txt\n[image_type] 1\n[norm_type] 3\n")
    network = str(fixtures / "digits/float.prototxt")
    assert run(["inputs", network, "--nnie-cfg", str(tmp_path / "mapper.cfg")]) == 0
    printed = capsys.readouterr().out
    assert "0.246094" in printed  # 63 / 256
    assert "scale: 0.00390625" in printed
    assert run(["inputs", network, "--nnie-cfg", str(tmp_path / "mapper.cfg"), "--input", "a.png"]) == 2
    assert "leave --input out" in capsys.readouterr().err
    assert run(["inputs", network, "--nnie-cfg", str(tmp_path / "none.cfg")]) == 2
    assert "none.cfg: there is no such file" in capsys.readouterr().err


def test_bad_data_is_one_sentence(fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 5)))
    assert run(["inputs", str(fixtures / "digits/float.prototxt"), "--input", str(tmp_path / "a.npy")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "a.npy: an array of shape [3, 5] does not fit input 'data' of shape [N, 1, 8, 8]" in error

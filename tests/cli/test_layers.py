"""`gfpq-inspect layers` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfpq_inspect.cli.main import run


def test_table_of_the_embedded_network(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["layers", str(fixtures / "digits/float.prototxt"), str(fixtures / "digits/float.caffemodel")]) == 0
    printed = capsys.readouterr().out
    assert "Convolution" in printed
    assert "data + weights" in printed
    assert "quantized by NNIE" in printed


def test_json(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["layers", str(fixtures / "digits/float.caffemodel"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    by_type = {row["type"]: row for row in found["layers"]}
    convolution = by_type["Convolution"]
    shape = convolution["outputs"][0]["shape"]
    assert len(shape) == 4
    assert convolution["quantized"] == ["data", "weights"]
    assert convolution["parameters"] > 0
    assert convolution["multiply_adds"] > 0
    assert by_type["ReLU"]["quantized"] == []
    assert found["parameters"] == sum(row["parameters"] for row in found["layers"])
    assert found["structure_source"] == "beside the weights"


def test_known_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: 10 dim: 8 } } }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c"'
        " convolution_param { num_output: 6 kernel_size: 3 group: 2 pad: 1 } }\n"
        'layer { name: "f" type: "InnerProduct" bottom: "c" top: "f" inner_product_param { num_output: 5 } }\n'
    )
    assert run(["layers", str(path), "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["layers"]}
    assert rows["c"]["parameters"] == 6 * 2 * 9 + 6
    assert rows["c"]["multiply_adds"] == 6 * 2 * 9 * 80
    assert rows["f"]["parameters"] == 5 * 480 + 5
    assert rows["f"]["multiply_adds"] == 5 * 480
    assert rows["c"]["line"] == 2
    assert rows["c"]["outputs"][0]["shape"] == [2, 6, 10, 8]
    assert not rows["c"]["notes"], "without weights nothing is missing"


def test_either_order_and_faults(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structure, weights = str(fixtures / "digits/float.prototxt"), str(fixtures / "digits/float.caffemodel")
    assert run(["layers", weights, structure]) == 0
    first = capsys.readouterr().out
    assert run(["layers", structure, weights]) == 0
    assert capsys.readouterr().out == first
    for arguments in ([weights, weights], [structure, structure], ["missing.prototxt"], [structure, "missing"]):
        assert run(["layers", *arguments]) == 2
        assert capsys.readouterr().err.startswith("gfpq-inspect: error: ")


def test_input_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('input: "image" layer { name: "r" type: "ReLU" bottom: "image" top: "r" }')
    assert run(["layers", str(path)]) == 2
    assert "--input-shape image:" in capsys.readouterr().err
    for shape in ("1,3,4,5", "image:1,3,4,5"):
        assert run(["layers", str(path), "--input-shape", shape]) == 0
        assert "1x3x4x5" in capsys.readouterr().out
    assert run(["layers", str(path), "--input-shape", "picture:1,3,4,5"]) == 2
    assert "picture" in capsys.readouterr().err


def test_names_cannot_play_with_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "x" input_shape { dim: 1 }'
        r'layer { name: "\033[2Jevil[red]\n" type: "ReLU" bottom: "x" top: "r" }'
    )
    assert run(["layers", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "\x1b[2J" not in printed
    assert "\\x1b[2Jevil[red]\\n" in printed

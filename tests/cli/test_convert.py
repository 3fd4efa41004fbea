"""`gfpq-inspect convert` from the outside: the file opens in plain ONNX Runtime and computes what Caffe recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from gfpq_inspect.cli.main import run

NETS = ("layers4d", "quirks", "recurrent_misc", "ssd", "train_val", "v0_format", "v1_format")


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def convert(*arguments: object) -> int:
    return run(["convert", *map(str, arguments)])


@pytest.mark.parametrize("net", NETS)
def test_all_outputs_are_named_and_valued_as_recorded(tmp_path: Path, fixtures: Path, net: str) -> None:
    folder, out = fixtures / "caffe" / net, tmp_path / "out.onnx"
    assert convert(folder / "net.prototxt", folder / "net.caffemodel", out, "--outputs", "all", "--keep-losses") == 0
    onnx.checker.check_model(onnx.load(out), full_check=True)
    plain = session(out)
    inputs = np.load(folder / "inputs.npz")
    feeds = {one.name: inputs[one.name].astype(np.float32) for one in plain.get_inputs()}
    names = [one.name for one in plain.get_outputs()]
    recorded = np.load(folder / "out.npz")
    compared = 0
    for name, value in zip(names, plain.run(None, feeds), strict=True):
        expected = recorded[name]
        assert value.shape == expected.shape
        if value.size:
            scale = max(float(np.nanmax(np.abs(expected))), 1e-30)
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=2e-5 * scale, equal_nan=True, err_msg=name)
            compared += 1
    assert compared > 10
    missing = {key for key in recorded.files if not key.startswith("__") and "_split" not in key} - set(names)
    assert len(missing) <= 6, missing


def test_the_graph_ends_where_standard_operators_do(
    tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = fixtures / "caffe/ssd", tmp_path / "out.onnx"
    assert convert(folder / "net.prototxt", folder / "net.caffemodel", out) == 0
    printed = capsys.readouterr().out
    assert "The graph ends before layer 'det' (DetectionOutput)" in printed
    proto = onnx.load(out)
    assert {entry.domain for entry in proto.opset_import} == {""}
    session(out)
    assert "mbox_loc" in " ".join(entry.name for entry in proto.graph.output) or len(proto.graph.output) > 2
    assert convert(folder / "net.prototxt", folder / "net.caffemodel", out, "--custom-operators", "--force") == 0
    assert "gfpq_inspect" in {entry.domain for entry in onnx.load(out).opset_import}


def test_quant_layers_become_identities_and_it_says_so(
    tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = fixtures / "digits", tmp_path / "out.onnx"
    assert convert(folder / "quant.prototxt", folder / "quant.caffemodel", out) == 0
    assert "Quant layer(s) kept as identity" in capsys.readouterr().out
    session(out)


def test_inputs_keep_caffes_names_and_shapes_can_be_given(tmp_path: Path, fixtures: Path) -> None:
    folder, out = fixtures / "digits", tmp_path / "out.onnx"
    shape = ["--input-shape", "5,1,8,8"]
    assert convert(folder / "float.prototxt", folder / "float.caffemodel", out, *shape) == 0
    plain = session(out)
    assert [(one.name, one.shape) for one in plain.get_inputs()] == [("data", [5, 1, 8, 8])]


def test_nothing_is_overwritten_unasked(tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = fixtures / "digits", tmp_path / "out.onnx"
    out.write_text("mine")
    assert convert(folder / "float.prototxt", folder / "float.caffemodel", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert convert(folder / "float.prototxt", folder / "float.caffemodel", out, "--force") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--outputs", "some"], "--outputs 'some'"),
        (["--input-shape", "1,2"], "(Convolution|axes|bottom)"),
        (["--phase", "TESTING"], "phase 'TESTING'"),
    ],
)
def test_faults(
    tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    folder = fixtures / "digits"
    assert convert(folder / "float.prototxt", folder / "float.caffemodel", tmp_path / "out.onnx", *options) == 2
    error = capsys.readouterr().err
    assert __import__("re").search(message, error)
    assert not (tmp_path / "out.onnx").exists()


def test_the_same_file_twice(tmp_path: Path, fixtures: Path) -> None:
    folder = fixtures / "caffe/v1_format"
    for name in ("a.onnx", "b.onnx"):
        assert convert(folder / "net.prototxt", folder / "net.caffemodel", tmp_path / name) == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()

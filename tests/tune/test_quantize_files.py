"""Weights quantized for good: on the grid, stable, understood by Caffe, and described by the files beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from gfpq_inspect.cli.main import run
from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.inputs.coefficients import read_coefficients
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.run import run_model
from gfpq_inspect.quantize import GfpqParam, Mode, coefficient, kernels, quantize_dequantize
from gfpq_inspect.tune.networks import open_files
from gfpq_inspect.tune.quantize import QuantizedFiles, quantize_files
from gfpq_inspect.tune.weights import quantize_tensor
from tests.models.small_networks import Blobs, batch_norm, conv, data, draw, simple, write_network

NET = (
    data(1, 3, 6, 6)
    + conv("conv", "data", "conv", 4, extra="bias_term: false")
    + simple("bn", "BatchNorm", "conv", "conv")
    + simple("prelu", "PReLU", "conv", "conv")
    + conv("wide_hp", "conv", "wide_hp", 4)
    + conv("off_cpu", "wide_hp", "off_cpu", 4)
)
BLOBS: Blobs = {
    "conv": [draw(4, 3, 3, 3)],
    "bn": batch_norm(4),
    "prelu": [draw(4)],
    "wide_hp": [draw(4, 4, 3, 3), draw(4)],
    "off_cpu": [draw(4, 4, 3, 3, seed=5), draw(4)],
}


def quantized(folder: Path, **options: bool | int) -> QuantizedFiles:
    return quantize_files(open_files(write_network(folder, NET, BLOBS)), {}, **options)  # type: ignore[arg-type]  # options of many types


def stored(folder: Path, content: bytes) -> dict[str, list[np.ndarray]]:
    path = folder / "read.caffemodel"
    path.write_bytes(content)
    return {
        layer.name: [blob.values.reshape(blob.shape) for blob in layer.blobs.values()]
        for layer in read_caffemodel(path).layers
    }


def test_weights_lie_on_the_grid_and_nothing_else_moves(tmp_path: Path) -> None:
    done = quantized(tmp_path, fold=False)
    blobs = stored(tmp_path, done.files[".caffemodel"])
    np.testing.assert_array_equal(blobs["conv"][0], quantize_dequantize(BLOBS["conv"][0]))
    np.testing.assert_array_equal(blobs["wide_hp"][0], quantize_dequantize(BLOBS["wide_hp"][0], 16))
    for name in ("bn", "prelu", "off_cpu"):
        for got, expected in zip(blobs[name], BLOBS[name], strict=True):
            np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(blobs["wide_hp"][1], BLOBS["wide_hp"][1])
    assert [one.layer for one in done.weights] == ["conv", "wide_hp"]
    reasons = {one.layer: one.reason for one in done.float_layers}
    assert set(reasons) == {"bn", "prelu", "off_cpu"}
    assert "_cpu" in reasons["off_cpu"]


def test_folded_first(tmp_path: Path) -> None:
    done = quantized(tmp_path)
    assert done.folded is not None
    blobs = stored(tmp_path, done.files[".caffemodel"])
    assert "bn" not in blobs
    assert kernels.on_grid(np.ascontiguousarray(blobs["conv"][0]), 8)
    assert len(blobs["conv"]) == 2


@pytest.mark.parametrize("fold", [True, False])
def test_a_second_time_changes_no_byte(tmp_path: Path, fold: bool) -> None:
    done = quantized(tmp_path, fold=fold)
    (tmp_path / "q.prototxt").write_bytes(done.files[".prototxt"])
    (tmp_path / "q.caffemodel").write_bytes(done.files[".caffemodel"])
    again = quantize_files(open_files([tmp_path / "q.prototxt", tmp_path / "q.caffemodel"]), {}, fold=fold)
    assert again.files == done.files
    assert all(one.result.was_on_grid for one in again.weights)
    assert [one.result.delta for one in again.weights] == [one.result.delta for one in done.weights]


@pytest.mark.parametrize("bits", [8, 16])
def test_apply_with_the_written_block_changes_nothing(tmp_path: Path, bits: int) -> None:
    structure, weights = write_network(tmp_path, NET, BLOBS)
    words = ["quantize-weights", str(structure), str(weights), str(tmp_path / "out"), "--bits", str(bits)]
    assert run(words) == 0
    blobs = stored(tmp_path, (tmp_path / "out.caffemodel").read_bytes())
    table = read_coefficients(tmp_path / "out.qparams.json")
    assert [one.layer for one in table.entries] == ["conv", "wide_hp"]
    for one in table.entries:
        values = blobs[one.layer][one.index]
        param = GfpqParam.unpack(bytes.fromhex(one.block))
        assert quantize_dequantize(values, one.bits, Mode.APPLY_ONLY, param).tobytes() == values.tobytes()


def tensors() -> list[np.ndarray]:
    return [draw(200, seed=seed, low=-(2.0 ** (seed / 16)), high=2.0 ** (seed / 16)) for seed in range(40)]


def test_the_top_that_init_would_lower() -> None:
    lowered = 0
    for weight in tensors():
        first = quantize_tensor(weight, 8)
        assert first.delta == coefficient(weight)
        assert first.reinit_delta == coefficient(first.values)
        lowered += first.steps_lost_on_reinit > 0
        again = quantize_tensor(first.values, 8)
        assert again.delta == first.delta
        assert again.values.tobytes() == first.values.tobytes()
        assert again.was_on_grid
    assert 5 < lowered < 35  # about half of the grid's tops


def test_a_settled_top_stays() -> None:
    for weight in tensors():
        result = quantize_tensor(weight, 8, settle=True)
        assert coefficient(result.values) == result.delta
        assert 0 <= coefficient(weight) - result.delta <= 3
        assert quantize_dequantize(result.values).tobytes() == result.values.tobytes()


def test_extremes() -> None:
    zero = quantize_tensor(np.zeros(5, np.float32), 8)
    assert not zero.values.any()
    assert not zero.was_on_grid
    tiny = quantize_tensor(np.array([1e-30, -1e-30], np.float32), 8)
    assert tiny.statistics.finite == 2
    bottom = quantize_dequantize(np.array([1.0, -(2.0 ** (-127 / 16))], np.float32))
    assert np.isfinite(quantize_tensor(bottom, 8).values).all()
    with pytest.raises(QuantizationError, match=r"layer 'c': 1 of its 2 weights are not finite"):
        quantize_tensor(np.array([np.nan, 1], np.float32), 8, layer="c")


def test_files_beside_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structure, weights = write_network(tmp_path, NET, BLOBS)
    assert run(["quantize-weights", str(structure), str(weights), str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "2 weights quantized." in text
    assert "stays float: layer 'prelu' (PReLU)" in text
    facts = json.loads((tmp_path / "out.qparams.json").read_text())
    assert facts["folded"] == {"conv": ["bn"]}
    row = facts["coefficients"][0]
    assert {"delta", "block", "bits", "saturated_share", "underflow_share", "sqnr_db"} <= set(row)
    table = read_coefficients(tmp_path / "out.gfpq_param.json", role="weight")
    by_layer = {one.layer: one for one in read_coefficients(tmp_path / "out.qparams.json").entries}
    assert table.entries[0].delta == by_layer["conv"].delta
    assert (tmp_path / "out.cfg").read_text() == (
        "[prototxt_file] ./out.prototxt\n[caffemodel_file] ./out.caffemodel\n[compile_mode] 2\n"
        "[gfpq_param_file] ./out.gfpq_param.json\n"
    )


def test_outputs_do_not_differ_from_run_to_run(tmp_path: Path) -> None:
    structure, weights = write_network(tmp_path, NET, BLOBS)
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert run(["quantize-weights", str(structure), str(weights), str(folder / "out")]) == 0
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 5


@pytest.mark.parametrize(("cut", "word"), [(0, "is empty"), (5, "holds no layers"), (300, "cut off")])
def test_bad_weights_leave_nothing(tmp_path: Path, cut: int, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    structure, weights = write_network(tmp_path, NET, BLOBS)
    weights.write_bytes(weights.read_bytes()[:cut])
    assert run(["quantize-weights", str(structure), str(weights), str(tmp_path / "out")]) == 2
    assert word in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.caffemodel", "net.prototxt"]


def test_weights_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = BLOBS | {"wide_hp": [np.full((4, 4, 3, 3), np.inf, np.float32), draw(4)]}
    structure, weights = write_network(tmp_path, NET, bad)
    assert run(["quantize-weights", str(structure), str(weights), str(tmp_path / "out")]) == 2
    assert "layer 'wide_hp': 144 of its 144 weights are not finite" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_weights_alone(tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "alone.caffemodel"
    weights.write_bytes((fixtures / "caffe/train_val/net.caffemodel").read_bytes())
    assert run(["quantize-weights", str(weights), str(tmp_path / "out")]) == 2
    assert "give the prototxt too, or --no-fold" in capsys.readouterr().err
    assert run(["quantize-weights", str(weights), str(tmp_path / "out"), "--no-fold"]) == 0
    assert not (tmp_path / "out.prototxt").exists()
    assert "prototxt_file" not in (tmp_path / "out.cfg").read_text()


def shared_weight_model() -> onnx.ModelProto:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[1,4] x) => (float[1,4] y)
    {
      a = MatMul(x, w)
      b = Mul(a, w2)
      c = MatMul(b, w)
      s = ReduceSum <keepdims = 0> (w, axes)
      y = Add(c, s)
    }
    """
    model = onnx.parser.parse_model(text)
    arrays = {"w": draw(4, 4), "w2": draw(4), "axes": np.array([0], np.int64)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def test_onnx_weight_with_another_reader(tmp_path: Path) -> None:
    onnx.save(shared_weight_model(), tmp_path / "net.onnx")
    assert run(["quantize-weights", str(tmp_path / "net.onnx"), str(tmp_path / "out"), "--no-fold"]) == 0
    model = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(model)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(arrays["w"], draw(4, 4))
    np.testing.assert_array_equal(arrays["w/quantized8"], quantize_dequantize(draw(4, 4)))
    assert [node.input[1] for node in model.graph.node if node.op_type == "MatMul"] == ["w/quantized8"] * 2
    assert not (tmp_path / "out.cfg").exists()


def test_weights_that_were_trained_unfolded(fixtures: Path) -> None:
    opened = open_files([fixtures / "digits/quant.prototxt", fixtures / "digits/quant.caffemodel"])
    done = quantize_files(opened, {})
    assert "4 weights were on the grid before folding" in done.notes[0]
    assert not quantize_files(opened, {}, fold=False).notes


FORWARD = """
import sys
import caffe, numpy as np
net = caffe.Net(sys.argv[1], sys.argv[2], caffe.TEST)
name = net.inputs[0]
values = np.load(sys.argv[3])
net.blobs[name].reshape(*values.shape)
net.blobs[name].data[...] = values
out = net.forward()
np.savez(sys.argv[4], **{name.replace("/", "|"): value for name, value in out.items()})
"""


@pytest.mark.parametrize("fold", [True, False])
def test_real_caffe_gives_the_same_outputs(
    tmp_path: Path, fixtures: Path, run_caffe: Callable[..., str], fold: bool
) -> None:
    source = [str(fixtures / f"digits/float.{suffix}") for suffix in ("prototxt", "caffemodel")]
    words = ["quantize-weights", *source, str(tmp_path / "out"), "--fold" if fold else "--no-fold"]
    assert run(words) == 0
    values = np.load(fixtures / "digits/test.npz")["data"][:16]
    np.save(tmp_path / "data.npy", values)
    run_caffe(
        FORWARD, tmp_path / "out.prototxt", tmp_path / "out.caffemodel", tmp_path / "data.npy", tmp_path / "o.npz"
    )
    model = read_network(tmp_path / "out.caffemodel").build({"data": values.shape})
    ours = run_model(model, {"data": values})
    theirs = np.load(tmp_path / "o.npz")
    assert list(theirs) == ["prob"]
    np.testing.assert_allclose(ours[model.outputs[0]], theirs["prob"], atol=1e-5)


REAL = {"lenet_mnist_v1": 4, "opennsfw_resnet50_1by2": 54, "retinaface_mnet25": 58, "ssd_res10_face_fp16": 32}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_networks(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "models" / name
    opened = open_files([next(folder.glob("*.prototxt")), next(folder.glob("*.caffemodel"))])
    done = quantize_files(opened, {})
    assert len(done.weights) == REAL[name]
    blobs = stored(tmp_path, done.files[".caffemodel"])
    for one in done.weights:
        assert kernels.on_grid(np.ascontiguousarray(blobs[one.layer][one.index]), 8), one.layer


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lenet_mnist_v1", "opennsfw_resnet50_1by2"])
def test_real_networks_in_real_caffe(shared: Path, tmp_path: Path, run_caffe: Callable[..., str], name: str) -> None:
    folder = shared / "models" / name
    source = [str(next(folder.glob(pattern))) for pattern in ("*.prototxt", "*.caffemodel")]
    assert run(["quantize-weights", *source, str(tmp_path / "out")]) == 0
    network = read_network(tmp_path / "out.caffemodel")
    shape = (1, *network.declared_inputs[0].shape[1:])
    values = draw(*shape, low=0.0, high=1.0 if "lenet" in name else 128.0)
    np.save(tmp_path / "data.npy", values)
    run_caffe(
        FORWARD, tmp_path / "out.prototxt", tmp_path / "out.caffemodel", tmp_path / "data.npy", tmp_path / "o.npz"
    )
    model = network.build({network.declared_inputs[0].name: shape})
    ours = run_model(model, {network.declared_inputs[0].name: values})
    theirs = np.load(tmp_path / "o.npz")
    np.testing.assert_allclose(ours[model.outputs[0]], theirs["prob"], atol=1e-5)

"""Folding from files to files: what changes in them, what stays byte for byte, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gfpq_inspect.cli.main import run
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.caffe.write import bytes_field, tag, varint
from gfpq_inspect.tune.fold import FoldedFiles, fold_files
from gfpq_inspect.tune.networks import open_files
from tests.models.small_networks import Blobs, batch_norm, conv, data, draw, simple, write_network

BIAS = "scale_param { bias_term: true }"
CONV_FOUR: Blobs = {"conv": [draw(4, 3, 3, 3)], "bn": batch_norm(4, factor=2.0), "scale": [draw(4), draw(4, seed=9)]}
NET = (
    "# comment one\n"
    + data(1, 3, 6, 6)
    + conv("conv", "data", "conv", 4, extra="bias_term: false  # none")
    + "# the statistics\n"
    + simple("bn", "BatchNorm", "conv", "conv_bn")
    + simple("scale", "Scale", "conv_bn", "out", BIAS)
    + "# the end\n"
    + simple("relu", "ReLU", "out", "out")
).replace("# none }", "# none\n }")


def fold(folder: Path, net: str, blobs: Blobs) -> FoldedFiles:
    return fold_files(open_files(write_network(folder, net, blobs)), {})


def test_the_prototxt_is_edited_in_place(tmp_path: Path) -> None:
    done = fold(tmp_path, NET, CONV_FOUR)
    expected = NET.replace(simple("bn", "BatchNorm", "conv", "conv_bn"), "").replace(
        simple("scale", "Scale", "conv_bn", "out", BIAS), ""
    )
    expected = expected.replace('top: "conv"', 'top: "out"').replace("bias_term: false", "bias_term: true")
    assert done.files[".prototxt"].decode() == expected
    assert done.difference < 1e-6


def test_what_is_not_understood_stays_in_the_caffemodel(tmp_path: Path) -> None:
    structure, weights = write_network(tmp_path, NET, CONV_FOUR | {"other": [draw(2)]})
    raw = weights.read_bytes()
    strange = tag(3000, wire.VARINT) + varint(77)
    changed = bytearray()
    for item in wire.fields(raw, 0, len(raw)):
        content = raw[item.start : item.end]
        changed += bytes_field(item.number, content + strange if item.number == 100 else content)
    weights.write_bytes(bytes(changed) + strange)
    done = fold_files(open_files([structure, weights]), {})
    out = done.files[".caffemodel"]
    assert out.endswith(strange)
    assert out.count(strange) == 3  # conv, other, and the net's own
    (tmp_path / "out.caffemodel").write_bytes(out)
    stored = read_caffemodel(tmp_path / "out.caffemodel")
    assert [layer.name for layer in stored.layers] == ["conv", "other"]
    assert [blob.shape for blob in stored.layers[0].blobs.values()] == [(4, 3, 3, 3), (4,)]
    np.testing.assert_array_equal(stored.layers[1].blobs[0].values, draw(2))


def test_layers_of_both_phases_are_folded_together(tmp_path: Path) -> None:
    twin = 'name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param'
    net = data(1, 3, 6, 6) + conv("conv", "data", "conv", 4)
    net += f"layer {{ {twin} {{ use_global_stats: false }} include {{ phase: TRAIN }} }}\n"
    net += f"layer {{ {twin} {{ use_global_stats: true }} include {{ phase: TEST }} }}\n"
    done = fold(tmp_path, net, {"conv": [draw(4, 3, 3, 3), draw(4)], "bn": batch_norm(4)})
    assert done.files[".prototxt"].decode() == data(1, 3, 6, 6) + conv("conv", "data", "conv", 4)


@pytest.mark.parametrize(
    "reader",
    [
        simple("aux", "ReLU", "conv", "aux", "include { phase: TRAIN }"),
        simple("loss", "EuclideanLoss", "conv", "loss"),
        simple("drop", "Dropout", "conv", "conv", "include { phase: TRAIN }"),
    ],
)
def test_a_reader_in_another_phase_prevents_folding(tmp_path: Path, reader: str) -> None:
    top = "conv" if "Dropout" in reader else "bn"
    net = data(1, 3, 6, 6) + conv("conv", "data", "conv", 4) + reader + simple("bn", "BatchNorm", "conv", top)
    done = fold(tmp_path, net, {"conv": [draw(4, 3, 3, 3), draw(4)], "bn": batch_norm(4)})
    assert not done.folds
    assert "a loss or a layer of another phase" in done.refusals[0].reason
    assert done.files[".prototxt"].decode() == net


def test_shared_weights_are_not_folded(tmp_path: Path) -> None:
    share = 'param { name: "w" } param { name: "b" }'
    net = data(1, 4, 6, 6)
    for name, bottom in (("one", "data"), ("two", "out_one")):
        net += (
            f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {share}\n'
            "  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }\n"
        )
        net += simple(f"bn_{name}", "BatchNorm", name, f"out_{name}")
    blobs = {"one": [draw(4, 4, 3, 3), draw(4)], "bn_one": batch_norm(4), "bn_two": batch_norm(4, 3)}
    done = fold(tmp_path, net, blobs)
    assert not done.folds
    assert done.refusals[0].reason == "'one' shares its weights with 'two'"


def test_old_formats(fixtures: Path) -> None:
    done = fold_files(
        open_files([fixtures / "caffe/v1_format/net.prototxt", fixtures / "caffe/v1_format/net.caffemodel"]), {}
    )
    assert done.files[".prototxt"] == (fixtures / "caffe/v1_format/net.prototxt").read_bytes()
    assert done.files[".caffemodel"] == (fixtures / "caffe/v1_format/net.caffemodel").read_bytes()


def test_command(tmp_path: Path, fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fold", str(fixtures / "digits/float.prototxt"), str(fixtures / "digits/float.caffemodel")]
    assert run([*words, str(tmp_path / "folded.v1")]) == 0
    out = capsys.readouterr().out
    assert "8 layers folded into 4 others; outputs equal within" in out
    model = read_network(tmp_path / "folded.v1.caffemodel", tmp_path / "folded.v1.prototxt").build()
    assert not [layer for layer in model.layers if layer.type in ("BatchNorm", "Scale")]
    assert run([*words, str(tmp_path / "folded.v1")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run([*words, str(tmp_path / "folded.v1"), "--force"]) == 0


def test_inputs_are_never_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    structure, weights = write_network(tmp_path, NET, CONV_FOUR)
    before = structure.read_bytes(), weights.read_bytes()
    assert run(["fold", str(structure), str(weights), str(tmp_path / "net"), "--force"]) == 2
    assert "is an input" in capsys.readouterr().err
    assert (structure.read_bytes(), weights.read_bytes()) == before


def test_output_by_option_and_with_a_suffix(tmp_path: Path) -> None:
    structure, weights = write_network(tmp_path, NET, CONV_FOUR)
    assert run(["fold", str(weights), str(structure), "-o", str(tmp_path / "a.b.caffemodel")]) == 0
    assert (tmp_path / "a.b.prototxt").exists()
    assert (tmp_path / "a.b.caffemodel").exists()


@pytest.mark.parametrize("cut", [0, 10, 400])
def test_bad_weights_leave_no_output(tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]) -> None:
    structure, weights = write_network(tmp_path, NET, CONV_FOUR)
    weights.write_bytes(weights.read_bytes()[:cut])
    assert run(["fold", str(structure), str(weights), str(tmp_path / "out")]) == 2
    assert "net.caffemodel" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.caffemodel", "net.prototxt"]


def onnx_model() -> onnx.ModelProto:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[1,3,6,6] x) => (float[1,4,4,4] y)
    {
      c = Conv(x, w)
      b = BatchNormalization <epsilon = 0.001> (c, s, t, m, v)
      a = Mul(b, f)
      r = Add(a, g)
      y = Relu(r)
    }
    """
    model = onnx.parser.parse_model(text)
    arrays = {"w": draw(4, 3, 3, 3), "s": draw(4), "t": draw(4, seed=1), "m": draw(4, seed=2)}
    arrays |= {"v": draw(4, seed=3, low=0.1), "f": draw(4, 1, 1), "g": draw(1, 4, 1, 1)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model


def test_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(onnx_model(), tmp_path / "net.onnx")
    assert run(["fold", str(tmp_path / "net.onnx"), str(tmp_path / "out")]) == 0
    assert "3 layers folded into 1 others" in capsys.readouterr().out
    folded = onnx.load(tmp_path / "out.onnx")
    onnx.checker.check_model(folded)
    assert [node.op_type for node in folded.graph.node] == ["Conv", "Relu"]
    assert len(folded.graph.initializer) == 2


REAL = ("opennsfw_resnet50_1by2", "retinaface_mnet25", "ssd_res10_face", "ssd_res10_face_fp16", "mbv2_yolov3_nano_voc",
        "yoloface_500k", "wechat_qr_detect")  # fmt: skip


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_networks(shared: Path, name: str) -> None:
    folder = shared / "models" / name
    opened = open_files([next(folder.glob("*.prototxt")), next(folder.glob("*.caffemodel"))])
    done = fold_files(opened, {})
    assert done.folds
    assert done.difference <= 1e-5

"""Which file is what, and where the structure comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError, UsageError
from gfpq_inspect.models.caffe.network import CaffeNetwork
from gfpq_inspect.models.caffe.write import WrittenLayer, tree, write_caffemodel
from gfpq_inspect.models.open import open_network, sniff
from tests.models.caffe.text_nets import INPUT

RELU = 'layer { name: "%s" type: "ReLU" bottom: "data" top: "y" }'


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A caffemodel with structure, whose only computing layer is called 'inside'."""
    path = tmp_path / "net.caffemodel"
    shape = tree(input_param=tree(shape=tree(dim=[1, 3, 8, 8])))
    layers = [
        WrittenLayer("data", "Input", (), ("data",), (), shape),
        WrittenLayer("inside", "ReLU", ("data",), ("y",)),
    ]
    write_caffemodel(path, "net", layers)
    return path


def last(network: object) -> str:
    assert isinstance(network, CaffeNetwork)
    return network.net.layers[-1].name


def prototxt(path: Path, name: str) -> Path:
    path.write_text(INPUT + RELU % name)
    return path


def test_structure_is_looked_for_in_this_order(tmp_path: Path, weights: Path) -> None:
    network = open_network(weights)
    assert (last(network), network.origin.structure_source) == ("inside", "inside the weights")
    assert network.origin.structure_file is None
    (tmp_path / "deeper").mkdir()
    other = prototxt(tmp_path / "deeper/other.prototxt", "other")
    network = open_network(weights, None, other)
    assert (last(network), network.origin.structure_source) == ("other", "the other model's")
    beside = prototxt(tmp_path / "net.prototxt", "beside")
    network = open_network(weights, None, other)
    assert (last(network), network.origin.structure_source) == ("beside", "beside the weights")
    assert network.origin.structure_file == str(beside)
    given = prototxt(tmp_path / "given.prototxt", "given")
    network = open_network(weights, given, other)
    assert (last(network), network.origin.structure_source) == ("given", "given")
    assert set(network.origin.sha256) == {"given.prototxt", "net.caffemodel"}


def test_another_common_name_is_not_taken(tmp_path: Path, weights: Path) -> None:
    prototxt(tmp_path / "deploy.prototxt", "deploy")
    assert last(open_network(weights)) == "inside"


def test_a_prototxt_alone(tmp_path: Path) -> None:
    network = open_network(prototxt(tmp_path / "net.prototxt", "r"))
    assert network.origin.weights_file is None
    assert any("no weights were given" in note for note in network.build().origin.notes)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a", b"name: 'x'", "prototxt"),
        ("a.txt", b"\xef\xbb\xbflayer { }", "prototxt"),
        ("a.caffemodel", b"name: 'x'", "caffe weights"),
        ("a", b"\x89HDF\r\n\x1a\n", "caffe weights"),
        ("a", b"\x0a\x03net\xa2\x06\x00", "caffe weights"),
        ("a", b"\xa2\x06\x00", "caffe weights"),
        ("a", b"\x08\x08\x12\x03abc", "onnx"),
        ("a", b"\x3a\x00\x00", "onnx"),
        ("a.onnx", b"\xff\xff", "onnx"),
        ("a.onnx", b"", "onnx"),
        ("a.bin", b"", "caffe weights"),
    ],
)
def test_sniffing(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert sniff(tmp_path / name) == kind


def test_files_that_make_no_sense_together(tmp_path: Path, weights: Path) -> None:
    text = prototxt(tmp_path / "net.prototxt", "r")
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"\x08\x08")
    with pytest.raises(UsageError, match="both text"):
        open_network(text, text)
    with pytest.raises(UsageError, match="ONNX model, which has its own structure"):
        open_network(onnx, text)
    with pytest.raises(UsageError, match="phase 'EVAL'"):
        open_network(weights, phase="EVAL")
    with pytest.raises(ModelError, match="does not exist"):
        open_network(tmp_path / "missing.caffemodel")
    with pytest.raises(ModelError, match="is a folder"):
        open_network(tmp_path)


def test_faults_of_both_files_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text("layer {")
    (tmp_path / "net.caffemodel").write_bytes(b"\x00\x00")
    with pytest.raises(ModelError) as caught:
        open_network(tmp_path / "net.caffemodel")
    assert [Path(problem.file or "").name for problem in caught.value.problems] == ["net.prototxt", "net.caffemodel"]


def test_a_prototxt_alone_has_shapes_but_cannot_run_where_weights_are_needed(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        INPUT + 'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 2000'
        ' kernel_size: 8 } }\nlayer { name: "s" type: "Scale" bottom: "c" top: "s" }\n'
        'layer { name: "b" type: "Convolution" bottom: "s" top: "b" convolution_param { num_output: 1 kernel_size: 1} }'
    )
    with pytest.raises(ModelError, match="no weights were given, and 2 layers need some") as caught:
        open_network(path).build()
    assert len(caught.value.problems) == 1
    placeholders = open_network(path, shapes_only=True).build()
    sizes = {tensor.name: (list(tensor.dims), len(tensor.raw_data)) for tensor in placeholders.graph.graph.initializer}
    assert ([2000, 3, 8, 8], 0) in sizes.values()
    filled = open_network(path, allow_missing=True).build()
    assert any(len(tensor.raw_data) == 2000 * 3 * 64 * 4 for tensor in filled.graph.graph.initializer)
    (tmp_path / "scale.prototxt").write_text(INPUT + 'layer { name: "s" type: "Scale" bottom: "data" top: "s" }')
    with pytest.raises(ModelError, match="layer 's': the weight file holds no scale"):
        open_network(tmp_path / "scale.prototxt").build()


def test_inputs_are_asked_for_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('input: "image" ' + (RELU % "r").replace("data", "image"))
    network = open_network(path)
    assert network.declared_inputs[0].shape == ()
    with pytest.raises(ModelError, match=r"'image'.*--input-shape image:"):
        network.build()
    assert network.build({"image": (2, 3)}).inputs[0].shape == (2, 3)


def test_real_networks_of_all_kinds(shared: Path) -> None:
    models = shared / "models"
    built = 0
    for path in sorted(models.glob("*/*.caffemodel")):
        structure = path.with_suffix(".prototxt")
        if structure.exists():
            network = open_network(path)
            assert network.origin.structure_source == "beside the weights"
            model = network.build()
            assert all(np.prod(one.shape) > 0 for one in model.inputs)
            built += 1
    assert built >= 8

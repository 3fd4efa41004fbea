"""ONNX files that can be read, and one sentence for each way in which they cannot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.onnx.network import read_onnx


def proto(weight: np.ndarray | None = None) -> onnx.ModelProto:
    weight = np.arange(2000, dtype=np.float32).reshape(4, 500) if weight is None else weight
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 500])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    path = folder / "net.onnx"
    onnx.save(model or proto(), path)
    return path


def failure(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_onnx(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_origin(tmp_path: Path) -> None:
    path = save(tmp_path)
    network = read_onnx(path)
    assert network.origin.framework == "onnx"
    assert network.origin.name == "net"
    assert network.origin.structure_file == str(path)
    assert network.origin.sha256 == {"net.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert network.declared_inputs[0].shape == (-1, 4)
    assert network.declared_inputs[0].dtype == "float32"


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file; check the path." in failure(tmp_path / "absent.onnx")


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in failure(tmp_path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    assert "the file is empty" in failure(path)


@pytest.mark.parametrize("kept", [10, 100, 4000])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    path = save(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    text = failure(path)
    assert "cut off" in text or "holds no network" in text


@pytest.mark.parametrize("content", [b"name: 'LeNet'\nlayer {}\n", bytes(range(256)) * 20, b"\xff" * 100])
def test_something_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    failure(path)


def test_an_empty_model_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    assert "holds no network" in failure(path)


def external(folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(proto(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    return path


def test_external_data(tmp_path: Path) -> None:
    path = external(tmp_path)
    network = read_onnx(path)
    assert set(network.origin.sha256) == {"net.onnx", "net.data"}
    np.testing.assert_array_equal(
        numpy_helper.to_array(network.proto.graph.initializer[0]).ravel(), np.arange(2000, dtype=np.float32)
    )


def test_external_data_missing(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "net.data").unlink()
    text = failure(path)
    assert "'net.data'" in text
    assert "'w'" in text
    assert "put it beside the model" in text


def test_external_data_cut_off(tmp_path: Path) -> None:
    path = external(tmp_path)
    data = tmp_path / "net.data"
    data.write_bytes(data.read_bytes()[:100])
    assert "cut off" in failure(path)


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(8000))
    folder = tmp_path / "models"
    folder.mkdir()
    path = external(folder)
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret.bin"
    path.write_bytes(model.SerializeToString())
    assert "outside the model's folder" in failure(path)


def test_weights_that_do_not_fill_their_shape(tmp_path: Path) -> None:
    model = proto()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    text = failure(save(tmp_path, model))
    assert "'w'" in text
    assert "7996 of 8000 bytes" in text


def test_a_value_that_nobody_makes(tmp_path: Path) -> None:
    model = proto()
    model.graph.node[0].input[0] = "ghost"
    text = failure(save(tmp_path, model))
    assert "layer 'product': reads the value 'ghost', which no node makes" in text


def test_a_value_made_twice(tmp_path: Path) -> None:
    model = proto()
    model.graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    assert "made twice" in failure(save(tmp_path, model))


def test_an_output_that_nobody_makes(tmp_path: Path) -> None:
    model = proto()
    model.graph.output[0].name = "nothing"
    assert "'nothing' is made by no node" in failure(save(tmp_path, model))


def test_a_circle(tmp_path: Path) -> None:
    model = proto()
    model.graph.node.append(helper.make_node("Add", ["y", "b"], ["a"], name="one"))
    model.graph.node.append(helper.make_node("Relu", ["a"], ["b"], name="two"))
    assert "circle" in failure(save(tmp_path, model))


def test_no_input(tmp_path: Path) -> None:
    model = proto()
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 4), np.float32), "x"))
    assert "has no input" in failure(save(tmp_path, model))


def test_text_input(tmp_path: Path) -> None:
    model = proto()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    assert "holds no numbers" in failure(save(tmp_path, model))

"""Weights that stay in their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.models.onnx.read import load
from gfpq_inspect.models.tensors import array_of, completed, stays

WEIGHT = np.random.default_rng(0).standard_normal((96, 64, 3, 3)).astype(np.float32)
BIAS = np.arange(96, dtype=np.float32)


def network() -> onnx.ModelProto:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1] * 4)
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(BIAS, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(params=["inside", "beside"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(network(), path, save_as_external_data=request.param == "beside", location="net.bin", size_threshold=0)
    return path


def tensors_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def test_large_weights_stay_and_are_the_same(file: Path) -> None:
    model, hashes = load(file, weights_stay=True)
    whole, whole_hashes = load(file)
    assert hashes == whole_hashes
    tensors = tensors_of(model)
    assert stays(tensors["w"])
    assert not stays(tensors["b"])
    assert model.ByteSize() < 2000
    for name, tensor in tensors_of(whole).items():
        assert not stays(tensor)
        np.testing.assert_array_equal(array_of(tensors[name]), array_of(tensor))
        np.testing.assert_array_equal(numpy_helper.to_array(completed(tensors[name])), array_of(tensor))


def test_all_copies_of_a_graph_share_one_array(file: Path) -> None:
    model, _ = load(file, weights_stay=True)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    array = array_of(tensors_of(model)["w"])
    assert array_of(tensors_of(copy)["w"]) is array
    assert not array.flags.writeable


def test_a_network_that_is_opened_for_other_things_is_whole(file: Path) -> None:
    assert not any(stays(tensor) for tensor in read_onnx(file).build().graph.graph.initializer)


def test_a_file_that_changes_is_told(file: Path) -> None:
    model, _ = load(file, weights_stay=True)
    for path in file.parent.iterdir():
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="the weights of 'w' are not there any more; run again when nobody writes"):
        array_of(tensors_of(model)["w"])


def test_a_file_that_is_gone_is_told(file: Path) -> None:
    model, _ = load(file, weights_stay=True)
    for path in file.parent.iterdir():
        path.unlink()
    with pytest.raises(ModelError, match="cannot be read any more"):
        array_of(tensors_of(model)["w"])


def test_what_a_file_says_of_itself_is_not_believed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(WEIGHT.nbytes))
    model, _ = load(file, weights_stay=True)
    tensor = tensors_of(model)["w"]
    for entry in tensor.external_data:
        if entry.key == "location":
            entry.value = "/proc/self/mem"
    forged = tmp_path / "forged" / "net.onnx"
    forged.parent.mkdir()
    onnx.save_model(model, forged)
    with pytest.raises(ModelError, match="outside the model's folder"):
        load(forged, weights_stay=True)


def test_a_file_that_is_cut_off_is_told(file: Path) -> None:
    largest = max(file.parent.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut off"):
        load(file, weights_stay=True)


def test_a_tensor_that_is_too_short_is_told(tmp_path: Path) -> None:
    model = network()
    model.graph.initializer[0].dims[0] = 97
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="the tensor 'w' of shape"):
        load(tmp_path / "net.onnx", weights_stay=True)

"""ONNX graphs as layers: names, kinds, weights, quantization points, shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.model import Layer, LayerKind, Model, Quantization
from gfpq_inspect.models.onnx.network import OnnxNetwork, read_onnx


class Graph:
    """A graph under construction."""

    def __init__(self, *shape: int | str, opset: int = 17) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or (1, 4))]
        self.opset = opset

    def add(self, operator: str, inputs: list[str], outputs: list[str], name: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))

    def tensor(self, name: str, array: Any) -> None:
        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))

    def network(self, folder: Path, *outputs: str) -> OnnxNetwork:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            self.inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        path = folder / "net.onnx"
        onnx.save(model, path)
        return read_onnx(path)

    def build(self, folder: Path, *outputs: str) -> Model:
        return self.network(folder, *outputs).build()


def layer(model: Model, key: str) -> Layer:
    return next(entry for entry in model.layers if entry.key == key)


def matrix(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_layers_are_named_after_nodes_else_after_outputs(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Relu", ["x"], ["a"], name="same")
    graph.add("Neg", ["a"], ["b"], name="same")
    graph.add("Abs", ["b"], ["c"])
    graph.add("Split", ["c"], ["left", "right"], name="split", axis=1)
    model = graph.build(tmp_path, "left", "right")
    assert [entry.key for entry in model.layers] == ["x", "same", "same@1", "c", "split"]
    assert layer(model, "split").output_names == ("split", "split:1")
    assert layer(model, "split").outputs == ("left", "right")
    assert {node.name for node in model.graph.graph.node} == {"same", "same@1", "c", "split"}
    assert model.outputs == ("left", "right")
    assert layer(model, "x").kind is LayerKind.INPUT


def test_kinds(tmp_path: Path) -> None:
    graph = Graph()
    graph.tensor("one", np.float32(1))
    graph.add("Dropout", ["x"], ["a"])
    graph.add("Identity", ["a"], ["b"])
    graph.add("Exp", ["one"], ["constant"])
    graph.add("Mul", ["b", "constant"], ["y"])
    model = graph.build(tmp_path, "y")
    kinds = {entry.key: entry.kind for entry in model.layers}
    assert kinds == {
        "x": LayerKind.INPUT, "a": LayerKind.IDENTITY, "b": LayerKind.IDENTITY, "constant": LayerKind.CONSTANT,
        "y": LayerKind.COMPUTE,
    }  # fmt: skip


@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
@pytest.mark.parametrize("side", [0, 1])
def test_constant_operand_on_either_side(tmp_path: Path, operator: str, side: int) -> None:
    graph = Graph(4, 4)
    graph.tensor("w", matrix(4, 4))
    graph.add(operator, ["w", "x"] if side == 0 else ["x", "w"], ["y"])
    found = layer(graph.build(tmp_path, "y"), "y")
    assert found.quantization == Quantization(inputs=("x",), weights=("w",))
    assert found.weights == ("w",)
    assert found.inputs == ("x",)


def test_bias_is_never_quantized(tmp_path: Path) -> None:
    graph = Graph(1, 2, 5, 5)
    graph.tensor("w", matrix(3, 2, 3, 3))
    graph.tensor("b", matrix(3))
    graph.add("Conv", ["x", "w", "b"], ["y"])
    found = layer(graph.build(tmp_path, "y"), "y")
    assert found.quantization == Quantization(inputs=("x",), weights=("w",))
    assert found.weights == ("w", "b")
    assert found.multiply_adds == 3 * 3 * 3 * 2 * 9


def test_group_and_transposed_multiply_adds(tmp_path: Path) -> None:
    graph = Graph(1, 4, 5, 5)
    graph.tensor("w", matrix(4, 1, 3, 3))
    graph.tensor("t", matrix(4, 2, 2, 2))
    graph.add("Conv", ["x", "w"], ["depthwise"], group=4, pads=[1, 1, 1, 1])
    graph.add("ConvTranspose", ["depthwise", "t"], ["y"], strides=[2, 2])
    model = graph.build(tmp_path, "y")
    assert layer(model, "depthwise").group == 4
    assert layer(model, "depthwise").multiply_adds == 25 * 4 * 9
    assert layer(model, "y").multiply_adds == 25 * 4 * 2 * 4
    assert layer(model, "y").quantization == Quantization(inputs=("depthwise",), weights=("t",))


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
def test_pooling_quantizes_its_input(tmp_path: Path, operator: str) -> None:
    graph = Graph(1, 2, 4, 4)
    attributes = {} if operator.startswith("Global") else {"kernel_shape": [2, 2]}
    graph.add(operator, ["x"], ["y"], **attributes)
    assert layer(graph.build(tmp_path, "y"), "y").quantization == Quantization(inputs=("x",))


def test_product_of_two_computed_tensors_stays_float(tmp_path: Path) -> None:
    graph = Graph(4, 4)
    graph.add("MatMul", ["x", "x"], ["y"])
    found = layer(graph.build(tmp_path, "y"), "y")
    assert found.quantization is None
    assert found.quantization_reason == "no operand is constant"


def test_constant_nodes_are_weights_not_layers(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Constant", [], ["w"], value=numpy_helper.from_array(matrix(4, 3)))
    graph.add("Constant", [], ["two"], value_float=2.0)
    graph.add("MatMul", ["x", "w"], ["product"])
    graph.add("Mul", ["product", "two"], ["y"])
    model = graph.build(tmp_path, "y")
    assert [entry.key for entry in model.layers] == ["x", "product", "y"]
    assert layer(model, "product").quantization == Quantization(inputs=("x",), weights=("w",))
    assert layer(model, "y").weights == ("two",)


def test_weights_behind_identity_transpose_and_reshape(tmp_path: Path) -> None:
    weight = matrix(3, 4)
    graph = Graph()
    graph.tensor("w", weight)
    graph.tensor("shape", np.array([4, 3]))
    graph.add("Identity", ["w"], ["alias"])
    graph.add("Transpose", ["alias"], ["turned"], perm=[1, 0])
    graph.add("Reshape", ["turned", "shape"], ["again"])
    graph.add("MatMul", ["x", "again"], ["y"])
    model = graph.build(tmp_path, "y")
    assert [entry.key for entry in model.layers] == ["x", "y"]
    assert layer(model, "y").quantization == Quantization(inputs=("x",), weights=("again",))
    (tensor,) = model.graph.graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), weight.T)
    assert "3 nodes" in model.origin.notes[0]


def test_an_alias_that_others_read_stays(tmp_path: Path) -> None:
    graph = Graph()
    graph.tensor("w", matrix(4, 4))
    graph.add("Identity", ["w"], ["alias"])
    graph.add("MatMul", ["x", "alias"], ["product"])
    graph.add("Add", ["product", "alias"], ["y"])
    model = graph.build(tmp_path, "y", "alias")
    assert layer(model, "product").quantization == Quantization(inputs=("x",), weights=("alias/constant",))
    assert layer(model, "alias").kind is LayerKind.CONSTANT


def test_weights_computed_from_constants_stay_float(tmp_path: Path) -> None:
    graph = Graph()
    graph.tensor("w", matrix(4, 4))
    graph.add("Tanh", ["w"], ["squashed"])
    graph.add("MatMul", ["x", "squashed"], ["y"])
    found = layer(graph.build(tmp_path, "y"), "y")
    assert found.quantization is None
    assert "computed" in found.quantization_reason


def test_nodes_out_of_order_are_sorted(tmp_path: Path) -> None:
    graph = Graph()
    graph.add("Relu", ["b"], ["y"])
    graph.add("Neg", ["a"], ["b"])
    graph.add("Abs", ["x"], ["a"])
    model = graph.build(tmp_path, "y")
    assert [entry.key for entry in model.layers] == ["x", "a", "b", "y"]
    assert "sorted" in model.origin.notes[0]


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    graph = Graph()
    graph.tensor("w", matrix(4, 4))
    graph.inputs.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, (4, 4)))
    graph.add("MatMul", ["x", "w"], ["y"])
    assert [entry.name for entry in graph.network(tmp_path, "y").declared_inputs] == ["x"]


def test_captured_values_are_inputs_of_the_layer(tmp_path: Path) -> None:
    graph = Graph(1, 4)
    graph.tensor("yes", np.bool_(True))
    graph.add("Neg", ["x"], ["outer"])
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Abs", ["outer"], ["inner"])], "then", [], [output])
    other = helper.make_graph([helper.make_node("Relu", ["outer"], ["inner"])], "else", [], [output])
    graph.add("If", ["yes"], ["y"], then_branch=branch, else_branch=other)
    found = layer(graph.build(tmp_path, "y"), "y")
    assert found.inputs == ("outer",)
    assert "2 subgraphs" in found.notes[0]


def test_shapes(tmp_path: Path) -> None:
    graph = Graph("n", 3, "h", "w")
    graph.add("Relu", ["x"], ["y"])
    network = graph.network(tmp_path, "y")
    assert network.declared_inputs[0].shape == (-1, 3, -1, -1)
    with pytest.raises(ModelError, match=r"open dimensions: \[\?, 3, \?, \?\]; give its shape: --input-shape x:1,3,"):
        network.build()
    assert network.build({"x": (2, 3, 8, 8)}).inputs[0].shape == (2, 3, 8, 8)
    with pytest.raises(ModelError, match=r"has the shape \[\?, 3, \?, \?\] in the file, not \[1, 4, 8, 8\]"):
        network.build({"x": (1, 4, 8, 8)})
    with pytest.raises(ModelError, match=r"not \[3, 8, 8\]"):
        network.build({"x": (3, 8, 8)})
    with pytest.raises(ModelError, match="has no input 'data'; its inputs are: x"):
        network.build({"data": (1, 3, 8, 8)})


def test_an_open_batch_axis_counts_samples(tmp_path: Path) -> None:
    graph = Graph("n", 4)
    graph.add("Relu", ["x"], ["y"])
    model = graph.build(tmp_path, "y")
    assert model.batchable
    assert model.inputs[0].shape == (1, 4)
    fixed = Graph(1, 4)
    fixed.add("Relu", ["x"], ["y"])
    assert not fixed.build(tmp_path, "y").batchable


def test_bias_with_the_axis_of_its_weight_is_mended(tmp_path: Path) -> None:
    graph = Graph()
    graph.tensor("q", np.arange(10, dtype=np.int32)[None])
    graph.tensor("scale", np.full(10, 0.5, np.float32))
    graph.tensor("zero", np.zeros(10, np.int32))
    graph.tensor("w", matrix(4, 10))
    graph.add("DequantizeLinear", ["q", "scale", "zero"], ["bias"], axis=0)
    graph.add("Gemm", ["x", "w", "bias"], ["y"])
    model = graph.build(tmp_path, "y")
    bias = next(tensor for tensor in model.graph.graph.initializer if tensor.name == "bias")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(bias), np.arange(10, dtype=np.float32)[None] / 2)
    assert model.quantizes_itself


def test_models_built_from_one_network_do_not_touch_each_other(tmp_path: Path) -> None:
    graph = Graph("n", "m")
    graph.add("Relu", ["x"], ["y"])
    network = graph.network(tmp_path, "y")
    first = network.build({"x": (1, 4)})
    before = first.graph.SerializeToString()
    second = network.build({"x": (1, 5)})
    assert first.graph.SerializeToString() == before
    dimension = second.graph.graph.input[0].type.tensor_type.shape.dim[1]
    assert dimension.dim_value == 5
    assert network.declared_inputs[0].shape == (-1, -1)


@pytest.mark.shared
def test_every_model_of_the_collection_is_read(shared: Path) -> None:
    shapes = {"ch_PP-OCRv4_det_infer": {"x": (1, 3, 64, 64)}, "cls_infer": {"x": (1, 3, 48, 192)}}
    shapes |= {"silero": {"input": (1, 576), "state": (2, 1, 128)}}
    paths = sorted((shared / "models").rglob("*.onnx"))
    assert paths
    for path in paths:
        given = next((shape for part, shape in shapes.items() if part in path.name), None)
        model = read_onnx(path).build(given)
        keys = [entry.key for entry in model.layers]
        assert len(set(keys)) == len(keys)
        known = {entry.value for entry in model.inputs}
        for entry in model.layers:
            assert known.issuperset(entry.inputs), path.name
            known.update(entry.outputs)
        assert known.issuperset(model.outputs)


def test_multiply_adds_of_an_old_file(tmp_path: Path) -> None:
    """Before IR version 4 initializers are inputs, and shape inference looks for them there only."""
    graph = Graph(1, 2, 5, 5, opset=8)
    graph.tensor("w", matrix(3, 2, 3, 3))
    graph.add("Conv", ["x", "w"], ["y"])
    proto = graph.network(tmp_path, "y").proto
    proto.ir_version = 3
    onnx.save(proto, tmp_path / "old.onnx")
    assert layer(read_onnx(tmp_path / "old.onnx").build(), "y").multiply_adds == 9 * 3 * 2 * 9

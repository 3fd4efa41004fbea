"""ONNX models that are more than a chain of tensors: sequences, functions, contributed operators, many outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import LayerRow, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx

from .networks import ArraySource, GraphMaker, samples


def rows_of(model: Model, *shape: int, count: int = 4) -> dict[str, LayerRow]:
    source = ArraySource({"x": samples(count, *shape)})
    result = compare_networks(ComparisonRequest(model, source))
    again = compare_networks(ComparisonRequest(model, source, second=model, bits=None))
    statuses = {score.status for row in again.layers for score in row.scores.values()}
    assert statuses <= {Status.EXACT, Status.NOT_FLOAT, Status.SKIPPED}
    return {row.key: row for row in result.layers}


def test_sequences_are_skipped_and_what_follows_is_compared(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "product")
    maker.node("SplitToSequence", ["product"], "pieces", axis=1, keepdims=1)
    maker.node("ConcatFromSequence", ["pieces"], "joined", axis=1)
    rows = rows_of(maker.build(tmp_path, "joined"), 100)
    assert rows["pieces"].status is Status.SKIPPED
    assert "not a tensor" in rows["pieces"].reason
    assert rows["joined"].scores["both"] == rows["product"].scores["both"]


def test_functions_of_the_model(tmp_path: Path) -> None:
    body = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Mul", ["b", "b"], ["c"])]
    function = helper.make_function("mine", "SquaredRelu", ["a"], ["c"], body, [helper.make_opsetid("", 17)])
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "product")
    maker.node("SquaredRelu", ["product"], "y", domain="mine")
    proto = maker.model("y")
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    onnx.save(proto, tmp_path / "function.onnx")
    rows = rows_of(read_onnx(tmp_path / "function.onnx").build(), 100)
    assert rows["y"].type == "mine.SquaredRelu"
    assert 0.9 < rows["y"].scores["both"].cosine < 1


def test_contributed_operators(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 3, 8, 8)
    weight, bias = maker.weight("w", 4, 3, 3, 3), maker.weight("b", 4)
    maker.node("FusedConv", ["x", weight, bias], "fused", domain="com.microsoft", activation="Relu", pads=[1] * 4)
    proto = maker.model("fused")
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(proto, tmp_path / "fused.onnx")
    rows = rows_of(read_onnx(tmp_path / "fused.onnx").build(), 3, 8, 8)
    assert rows["fused"].quantized
    assert 0.9 < rows["fused"].scores["both"].cosine < 1


def test_several_outputs_of_several_types(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "product")
    maker.constant("five", np.array([5]))
    maker.nodes.append(helper.make_node("TopK", ["product", "five"], ["values", "places"], name="top"))
    rows = rows_of(maker.build(tmp_path, "values"), 100)
    assert rows["top"].scores["both"].status is Status.TINY
    assert rows["top:1"].scores["both"].status is Status.NOT_FLOAT
    assert 0 < rows["top:1"].scores["both"].equal_share <= 1


def test_text_and_booleans(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 10)
    maker.node("Greater", ["x", maker.constant("zero", np.float32(0))], "positive")
    maker.node("Cast", ["x"], "text", to=TensorProto.STRING)
    maker.node("Cast", ["text"], "again", to=TensorProto.FLOAT)
    rows = rows_of(maker.build(tmp_path, "again", "positive"), 10)
    assert rows["positive"].scores["both"].equal_share == 1.0
    assert rows["text"].scores["both"].status is Status.NOT_FLOAT
    assert rows["again"].scores["both"].status is Status.EXACT


def test_recurrent_layers(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 5, 6)
    maker.node("Transpose", ["x"], "time_first", perm=[1, 0, 2])
    weights = [maker.weight("w", 1, 16, 6), maker.weight("r", 1, 16, 4)]
    maker.nodes.append(
        helper.make_node("LSTM", ["time_first", *weights], ["all", "last", "cell"], name="lstm", hidden_size=4)
    )
    rows = rows_of(maker.build(tmp_path, "all"), 5, 6)
    assert rows["lstm"].shape == (5, 1, 1, 4)
    assert rows["lstm:2"].scores["both"].status is Status.EXACT  # nothing is quantized here


def test_an_optional_output_that_is_left_out(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 5, 30)
    maker.node("Transpose", ["x"], "time_first", perm=[1, 0, 2])
    weights = [maker.weight("w", 1, 400, 30), maker.weight("r", 1, 400, 100)]
    maker.nodes.append(helper.make_node("LSTM", ["time_first", *weights], ["", "last"], name="lstm", hidden_size=100))
    rows = rows_of(maker.build(tmp_path, "last"), 5, 30)
    assert rows["lstm"].shape == (1, 1, 100)
    assert "lstm:1" not in rows


def test_a_weight_that_several_layers_share(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 100)
    weight = maker.weight("w", 100, 100)
    maker.node("MatMul", ["x", weight], "one")
    maker.node("MatMul", ["one", weight], "two")
    maker.node("Relu", ["two"], "three")
    rows = rows_of(maker.build(tmp_path, "three"), 100)
    assert rows["two"].quantized
    assert 0.99 < rows["two"].scores["both"].cosine < 1


def test_a_tensor_that_layers_quantize_with_different_widths(tmp_path: Path) -> None:
    """One float tensor, two quantized copies, and readers that see the float one."""
    maker = GraphMaker()
    maker.input("x", 8, 6, 6)
    maker.conv("x", "conv", (8, 8), 1)
    maker.node("MaxPool", ["conv"], "pool", kernel_shape=[2, 2])
    maker.conv("conv", "other", (8, 8), 1)
    maker.node("Add", ["conv", "other"], "sum")
    model = maker.build(tmp_path, "sum", "pool")
    source = ArraySource({"x": samples(3, 8, 6, 6)})
    result = compare_networks(ComparisonRequest(model, source))
    deltas = {row.layer: (row.tensor, row.delta) for row in result.coefficients if row.role == "data"}
    assert deltas["pool"] == deltas["other"]
    assert deltas["pool"][0] == "conv"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_inputs_of_two_models_in_another_order(tmp_path: Path, order: tuple[int, int]) -> None:
    def net(names: list[str], file: str) -> Model:
        maker = GraphMaker()
        for name in names:
            maker.input(name, 80)
        maker.node("Sub", ["left", "right"], "difference")
        return maker.build(tmp_path, "difference", name=file)

    names = ["left", "right"]
    first, second = net(names, "a.onnx"), net([names[i] for i in order], "b.onnx")
    source = ArraySource({"left": samples(3, 80), "right": samples(3, 80, seed=5)})
    result = compare_networks(ComparisonRequest(first, source, second=second))
    assert {row.scores["drift"].status for row in result.layers} == {Status.EXACT}


def test_large_constants_that_are_network_outputs(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 80)
    maker.node("Relu", ["x"], "y")
    proto = maker.model("y", "fixed")
    tensor = numpy_helper.from_array(np.arange(100, dtype=np.float32))
    proto.graph.node.append(helper.make_node("Constant", [], ["fixed"], value=tensor))
    onnx.save(proto, tmp_path / "fixed.onnx")
    rows = rows_of(read_onnx(tmp_path / "fixed.onnx").build(), 80)
    assert rows["fixed"].is_output
    assert rows["fixed"].scores["both"].status is Status.EXACT

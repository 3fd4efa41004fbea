"""The layered engine against a plain executor that runs every lane node by node, one sample at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from gfpq_inspect.analyze.lanes import comparisons_for
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import kernels

from .networks import ArraySource, GraphMaker, samples, small_network


def plain_lane(
    model: Model,
    feeds: dict[str, NDArray],
    *,
    data: bool,
    weights: bool,
    deltas: dict[str, int] | None = None,
    bits: int = 8,
) -> dict[str, NDArray]:
    """Run a model node by node; coefficients of data from `deltas`, else from the lane's own tensors."""
    graph = model.graph.graph
    values: dict[str, NDArray] = dict(feeds)
    layers = {layer.key: layer for layer in model.layers}
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        quantization = layers[node.name].quantization
        arguments = {}
        constants = {}
        for name in node.input:
            array = values[name] if name in values else stored[name]
            if quantization is not None and data and name in quantization.inputs:
                array = kernels.apply(array, bits, deltas[name] if deltas is not None else delta_of(array, bits))
            if quantization is not None and weights and name in quantization.weights:
                array = kernels.apply(array, bits, delta_of(array, bits))
            (arguments if name in values else constants)[name] = array
        values.update(zip(node.output, run_node(model, node, arguments, constants), strict=True))
    return values


def delta_of(array: NDArray, bits: int = 8) -> int:
    return kernels.coefficient_of(kernels.largest_magnitude(array)[0], bits)


def run_node(
    model: Model, node: onnx.NodeProto, arguments: dict[str, NDArray], constants: dict[str, NDArray]
) -> list[NDArray]:
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in arguments.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=model.graph.opset_import, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, arguments)


def plain_lanes(model: Model, each: list[dict[str, NDArray]], **options: Any) -> dict[str, list[dict[str, NDArray]]]:
    """Values of all lanes, a list entry a sample."""
    switches = {"float": (False, False), "data": (True, False), "weight": (False, True), "both": (True, True)}
    return {
        name: [plain_lane(model, feeds, data=data, weights=weights, **options) for feeds in each]
        for name, (data, weights) in switches.items()
    }


def pooled(reference: list[NDArray], lane: list[NDArray]) -> tuple[float, float]:
    """Cosine and SQNR in dB of all samples together."""
    x = np.concatenate([array.ravel() for array in reference]).astype(np.float64)
    y = np.concatenate([array.ravel() for array in lane]).astype(np.float64)
    error = ((y - x) ** 2).sum()
    if not x.any() or not y.any():
        return np.nan, np.inf
    return x @ y / np.sqrt((x @ x) * (y @ y)), 10 * np.log10((x @ x) / error) if error else np.inf


def compare(model: Model, data: NDArray, second: Model | None = None, **options: Any) -> Result:
    source = ArraySource({model.inputs[0].name: data})
    return compare_networks(ComparisonRequest(first=model, second=second, source=source, timing=False, **options))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("coefficients", ["set", "sample"])
def test_lanes_are_those_of_a_plain_executor(network: Model, bits: int, coefficients: str) -> None:
    data = samples(5, 3, 8, 8)
    result = compare(network, data, bits=bits, coefficients=coefficients)
    each = [{"x": data[i : i + 1]} for i in range(5)]
    floats = [plain_lane(network, feeds, data=False, weights=False) for feeds in each]
    points = {name for layer in network.layers if layer.quantization for name in layer.quantization.inputs}
    deltas = {name: max(delta_of(values[name], bits) for values in floats) for name in points}
    lanes = plain_lanes(network, each, bits=bits, deltas=deltas if coefficients == "set" else None)
    values = {key: layer.outputs[i] for layer in network.layers for i, key in enumerate(layer.output_names)}
    for row in result.layers:
        value = values[row.key]
        for name in ("data", "weight", "both"):
            cosine, decibel = pooled([v[value] for v in floats], [v[value] for v in lanes[name]])
            found = row.scores[name]
            assert found.cosine == pytest.approx(cosine, abs=1e-12), (row.key, name)
            if found.sqnr_db is None:
                assert found.status is Status.EXACT
                assert np.isinf(decibel)
            else:
                assert found.sqnr_db == pytest.approx(decibel, rel=1e-9), (row.key, name)
    rows = [row for row in result.coefficients if row.role == "data"]
    assert {(row.layer, row.tensor) for row in rows} == {
        (layer.key, name) for layer in network.layers if layer.quantization for name in layer.quantization.inputs
    }
    for row in rows:
        each_delta = [delta_of(v[row.tensor], bits) for v in lanes["both"]]
        assert row.delta == (deltas[row.tensor] if coefficients == "set" else None)
        if coefficients == "sample":
            assert (row.delta_low, row.delta_high) == (min(each_delta), max(each_delta))


@pytest.mark.parametrize("coefficients", ["set", "sample"])
def test_batches_and_workers_change_no_digit(network: Model, coefficients: str) -> None:
    data = samples(23, 3, 8, 8)
    wanted = compare(network, data, workers=1, batch=1, coefficients=coefficients)
    for workers, batch in ((1, 4), (2, 1), (2, 7), (3, 23), (2, None)):
        assert compare(network, data, workers=workers, batch=batch, coefficients=coefficients) == wanted


def test_operators_whose_last_elements_differ_in_batches(tmp_path: Path) -> None:
    """Vectorised logarithms take another path for the last few elements of a tensor, wherever a batch puts them."""
    maker = GraphMaker()
    maker.input("x", 7, 3, 5)
    maker.conv("x", "conv", (7, 7))
    maker.node("Softplus", ["conv"], "softplus")
    maker.node("Log", ["softplus"], "log")
    maker.node("Sin", ["log"], "sin")
    maker.node("LRN", ["sin"], "lrn", size=3)
    maker.node("Flatten", ["lrn"], "flat")
    maker.node("MatMul", ["flat", maker.weight("w", 105, 9)], "product")
    model = maker.build(tmp_path, "product")
    data = samples(9, 7, 3, 5)
    wanted = compare(model, data, workers=1, batch=1)
    assert compare(model, data, workers=1, batch=9) == wanted
    assert compare(model, data, workers=2, batch=4) == wanted


def test_a_network_that_mixes_samples_runs_one_at_a_time(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 6)
    maker.node("Gemm", ["x", maker.weight("w", 6, 6)], "fc")
    maker.node("Softmax", ["fc"], "across", axis=0)
    model = maker.build(tmp_path, "across")
    assert model.batchable  # the file says that its first axis is open; the engine looks
    data = samples(12, 6)
    result = compare(model, data, batch=6)
    assert result == compare(model, data, batch=1)
    assert result.layers[-1].scores["both"].status is Status.EXACT  # the softmax of a single sample is 1 everywhere


def test_subgraphs_run_as_one_layer(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 4)
    maker.node("Gemm", ["x", maker.weight("w", 4, 4)], "fc")
    maker.constant("half", np.float32(0.5))
    maker.node("ReduceSum", ["fc"], "total", keepdims=0)
    maker.node("Greater", ["total", "half"], "condition")
    branches = {}
    for key, operator in (("then_branch", "Mul"), ("else_branch", "Sub")):
        inner = helper.make_node(operator, ["fc", "half"], [f"{key}_out"])
        output = helper.make_tensor_value_info(f"{key}_out", TensorProto.FLOAT, None)
        branches[key] = helper.make_graph([inner], key, [], [output])
    maker.node("If", ["condition"], "chosen", **branches)
    maker.node("Relu", ["chosen"], "relu")
    model = maker.build(tmp_path, "relu")
    layer = next(layer for layer in model.layers if layer.type == "If")
    assert layer.inputs == ("condition", "fc")
    assert layer.weights == ("half",)
    result = compare(model, samples(6, 4))
    rows = {row.key: row for row in result.layers}
    assert rows["condition"].scores["both"].status is Status.NOT_FLOAT
    assert rows["chosen"].scores["both"].cosine is not None
    assert result.coverage.sentence == f"{len(rows)} of {len(rows)} layer outputs compared."


def test_a_loop_and_a_scan_run(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 4)
    maker.constant("three", np.int64(3))
    maker.constant("yes", np.bool_(True))
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still_going"]),
            helper.make_node("Add", ["state", "x"], ["next_state"]),
            helper.make_node("Identity", ["next_state"], ["seen"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("still_going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("seen", TensorProto.FLOAT, None),
        ],
    )
    maker.nodes.append(helper.make_node("Loop", ["three", "yes", "x"], ["last", "all"], name="loop", body=body))
    model = maker.build(tmp_path, "last", "all")
    result = compare(model, samples(2, 4))
    assert [row.key for row in result.layers] == ["x", "loop", "loop:1"]
    assert result.layers[2].shape == (3, 1, 4)


def test_tensors_are_shared_until_lanes_differ(network: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from gfpq_inspect.analyze.engine.steps import Step

    runs: dict[str, int] = {}
    original = Step.run

    def counted(self: Step, *arguments: Any) -> Any:
        runs[self.layer.key] = runs.get(self.layer.key, 0) + 1
        return original(self, *arguments)

    def not_yet(*_arguments: Any, **_options: Any) -> Any:
        raise LookupError

    monkeypatch.setattr(Step, "run", counted)
    monkeypatch.setattr("gfpq_inspect.analyze.session.gather_evidence", not_yet)
    with pytest.raises(LookupError):
        compare(network, samples(1, 3, 8, 8), workers=1, engine="layered")
    # One trial, one calibration as far as the last quantized tensor, and one run a lane where inputs or weights differ.
    # At the first layer the lanes' inputs are the float ones, so that the probes compute nothing of their own.
    assert runs["conv1"] == 1 + 1 + 4
    assert runs["branch_a"] == 1 + 1 + 4 + 4
    assert runs["prob"] == 1 + 0 + 4


def test_double_precision_network(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 8, dtype=TensorProto.DOUBLE)
    maker.constant("w", np.random.default_rng(0).standard_normal((8, 8)))
    maker.node("MatMul", ["x", "w"], "product")
    path = tmp_path / "double.onnx"
    onnx.save(maker.model("product", output_type=TensorProto.DOUBLE), path)
    from gfpq_inspect.models.onnx.network import read_onnx

    model = read_onnx(path).build()
    result = compare(model, samples(20, 8).astype(np.float64))
    assert 0.99 < result.layers[-1].scores["both"].cosine < 1
    assert result.layers[-1].quantized


def test_float16_network(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 8, dtype=TensorProto.FLOAT16)
    maker.constant("w", np.random.default_rng(0).standard_normal((8, 8)).astype(np.float16))
    maker.node("MatMul", ["x", "w"], "product")
    maker.node("Relu", ["product"], "relu")
    path = tmp_path / "half.onnx"
    onnx.save(maker.model("relu", output_type=TensorProto.FLOAT16), path)
    from gfpq_inspect.models.onnx.network import read_onnx

    result = compare(read_onnx(path).build(), samples(20, 8).astype(np.float16))
    assert 0.99 < result.layers[-1].scores["both"].cosine < 1


def test_shares_are_vectors_that_add_to_one(network: Model) -> None:
    data = samples(4, 3, 8, 8)
    result = compare(network, data)
    each = [{"x": data[i : i + 1]} for i in range(4)]
    deltas = {row.tensor: row.delta for row in result.coefficients if row.role == "data"}
    lanes = plain_lanes(network, each, deltas=deltas)
    errors = {
        name: np.concatenate(
            [(a["fc"].astype(np.float64) - b["fc"]).ravel() for a, b in zip(lane, lanes["float"], strict=True)]
        )
        for name, lane in lanes.items()
    }
    isolation = next(row for row in result.layers if row.key == "fc").isolation
    assert isolation is not None
    whole = errors["both"] @ errors["both"]
    assert isolation.share_data == pytest.approx(errors["both"] @ errors["data"] / whole, rel=1e-9)
    assert isolation.share_weight == pytest.approx(errors["both"] @ errors["weight"] / whole, rel=1e-9)
    assert isolation.share_data + isolation.share_weight + isolation.interaction == pytest.approx(1.0)
    assert result.layers[0].isolation is None  # no error at the input


def test_comparisons_of_a_run_are_all_there(network: Model, tmp_path: Path) -> None:
    result = compare(network, samples(2, 3, 8, 8), second=small_network(seed=1).build(tmp_path, "prob"))
    assert result.comparisons == comparisons_for(second=True, quantized=True, isolate=True)
    for row in result.layers:
        assert set(row.scores) == {entry.name for entry in result.comparisons}

"""Models that quantize themselves: read, paired through the graph, measured, held against ONNX Runtime's figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantFormat, QuantType, qdq_loss_debug

from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.result import LayerRow, Result, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import LayerKind
from gfpq_inspect.models.pair_quantized import pair_models
from tests.models.onnx.quantizing import (
    Images,
    compared,
    dynamic,
    float_network,
    model_of,
    quantized,
    renamed,
    row_of,
    run_exactly,
    samples,
    sqnr_db,
)

STATIC: dict[str, dict[str, Any]] = {
    "per channel": {},
    "per tensor, symmetric": {
        "per_channel": False,
        "activation_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True},
    },
    "not folded": {"fold": False},
    "int16 data": {"activation_type": QuantType.QInt16, "extra_options": {"UseQDQContribOps": True}},
    "int4 weights": {"weight_type": QuantType.QInt4, "extra_options": {"UseQDQContribOps": True}},
    "uint8 weights": {"weight_type": QuantType.QUInt8, "per_channel": False},
    "weights with pairs": {"extra_options": {"AddQDQPairToWeight": True}},
    "a pair a reader": {"extra_options": {"DedicatedQDQPair": True}},
    "operators": {"quant_format": QuantFormat.QOperator, "per_channel": False},
    "operators, per channel": {"quant_format": QuantFormat.QOperator},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks of this module lie."""
    return tmp_path_factory.mktemp("quantized")


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    """The float network."""
    return float_network(folder / "float.onnx")


def first_rows(result: Result) -> list[LayerRow]:
    """Rows of the float model."""
    return [row for row in result.layers if row.side != "second"]


@pytest.mark.parametrize("case", STATIC)
def test_every_float_layer_has_its_row(first: Path, folder: Path, case: str) -> None:
    """Names share nothing, layers were folded and fused: the graph alone pairs them."""
    named = quantized(first, folder / f"{case}.onnx", **STATIC[case])
    nameless = renamed(named, folder / f"{case}-nameless.onnx")
    by_name, result = compared(first, named), compared(first, nameless)
    rows = first_rows(result)
    assert all(row.status is Status.OK or (row.understood and row.folded_into) for row in rows)
    assert all(row.understood for row in result.layers)
    for row in rows:
        assert row.scores == row_of(by_name, row.key).scores
    output = row_of(result, "Gemm_scores").scores
    expected = sqnr_db(run_exactly(first, samples()), run_exactly(nameless, samples()))
    assert output["total"].sqnr_db == pytest.approx(expected, abs=1e-3)
    # The float weights were found in the first model, so removing both sides leaves the float network.
    drift = [row.scores["drift"] for row in rows if "drift" in row.scores]
    assert all(score.status is Status.EXACT or (score.sqnr_db or 0) > 110 for score in drift)
    assert not any("codes" in note for note in result.run.notes)
    assert [comparison.name for comparison in result.comparisons][:5] == [
        "drift", "total", "tuned_data", "tuned_weight", "tuned"
    ]  # fmt: skip


def test_lanes_take_one_side_away(first: Path, folder: Path) -> None:
    """Data alone and weights alone are the user's own model without the other side's pairs."""
    target = quantized(first, folder / "sides.onnx", fold=False)
    result = compared(first, target)
    without_data, without_weights = folder / "no-data.onnx", folder / "no-weights.onnx"
    for path, constant in ((without_data, False), (without_weights, True)):
        onnx.save(_without_pairs(onnx.load(target), onnx.load(first), constant=constant), path)
    output = row_of(result, "Gemm_scores").scores
    reference = run_exactly(first, samples())
    for name, path in (("tuned_weight", without_data), ("tuned_data", without_weights)):
        assert output[name].sqnr_db == pytest.approx(sqnr_db(reference, run_exactly(path, samples())), abs=1e-3)
    isolation = row_of(result, "Gemm_scores").tuned_isolation
    assert isolation is not None
    assert isolation.share_data + isolation.share_weight + isolation.interaction == pytest.approx(1)


def _without_pairs(model: onnx.ModelProto, original: onnx.ModelProto, *, constant: bool) -> onnx.ModelProto:
    """Remove the pairs of constants, or those of data, by hand; ReLU and Clip come back where data lose theirs."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    floats = {tensor.name: tensor for tensor in original.graph.initializer}
    renames: dict[str, str] = {}
    kept = []
    quantized_from = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants and constant:
            name = node.input[0].removesuffix("_quantized")
            graph.initializer.append(floats[name])
            if node.output[0] != name:
                renames[node.output[0]] = name
        elif node.op_type == "DequantizeLinear" and node.input[0] in quantized_from and not constant:
            renames[node.output[0]] = quantized_from[node.input[0]]
        elif node.op_type != "QuantizeLinear" or constant:
            kept.append(node)
    if not constant:
        kept = _with_activations(kept, original, renames, graph)
    for node in kept:
        node.input[:] = [_followed(renames, name) for name in node.input]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        source = _followed(renames, value.name)
        if source != value.name:
            graph.node.append(onnx.helper.make_node("Identity", [source], [value.name]))
    return model


def _with_activations(
    kept: list[onnx.NodeProto], original: onnx.ModelProto, renames: dict[str, str], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    have = {node.name for node in kept}
    known = {tensor.name for tensor in graph.initializer} | {name for node in kept for name in node.output}
    graph.initializer.extend(tensor for tensor in original.graph.initializer if tensor.name not in known)
    result = list(kept)
    for node in original.graph.node:
        if node.op_type in ("Relu", "Clip") and node.name not in have:
            producer = next(place for place, other in enumerate(result) if node.output[0] in other.output)
            before = f"{node.output[0]}/before"
            result[producer].output[0] = before
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.input[0] = before
            result.insert(producer + 1, copy)
    return result


def _followed(renames: dict[str, str], name: str) -> str:
    while name in renames:
        name = renames[name]
    return name


def test_agrees_with_the_loss_debugger_of_onnx_runtime(first: Path, folder: Path) -> None:
    """Activations across models and around each pair, and weights: SQNR as qdq_loss_debug has it."""
    # Symmetric codes: where an activation is removed, the debugger compares a value before it with one after it.
    target = quantized(first, folder / "debug.onnx", fold=False, **STATIC["per tensor, symmetric"])
    collected = []
    for path in (first, target):
        augmented = path.with_suffix(".debug.onnx")
        qdq_loss_debug.modify_model_output_intermediate_tensors(str(path), str(augmented))
        collected.append(qdq_loss_debug.collect_activations(str(augmented), Images()))
    activations = qdq_loss_debug.compute_activation_error(
        qdq_loss_debug.create_activation_matching(collected[1], collected[0])
    )
    weights = qdq_loss_debug.compute_weight_error(qdq_loss_debug.create_weight_matching(str(first), str(target)))
    result = compared(first, target)
    maker = {node.output[0]: node.name for node in onnx.load(first).graph.node} | {"image": "image"}
    checked = 0
    for value, errors in activations.items():
        row = row_of(result, maker[value])
        assert row.scores["total"].sqnr_db == pytest.approx(errors["xmodel_err"], abs=1e-3)
        point = next(
            (
                entry.sqnr_db
                for entry in result.coefficients
                if entry.model == "second" and entry.role == "data" and entry.layer == row.partner
            ),
            None,
        )
        if point is not None:
            assert point == pytest.approx(errors["qdq_err"], abs=1e-3)
            checked += 1
    assert len(activations) >= 8
    assert checked >= 8
    own = {entry.tensor: entry.sqnr_db for entry in result.coefficients if entry.role == "weight"}
    kernels = [name for name in weights if name.endswith(".weight")]
    assert len(kernels) == 6
    for name in kernels:
        found = next(value for tensor, value in own.items() if tensor.startswith(name))
        assert found == pytest.approx(weights[name], abs=1e-3)


def test_dynamic_quantization(first: Path, folder: Path) -> None:
    """Every sample makes its own scale; bias nodes belong to the layer before them."""
    target = renamed(dynamic(first, folder / "dynamic.onnx", weight_type=QuantType.QUInt8), folder / "dynamic-n.onnx")
    result = compared(first, target)
    assert all(row.status is Status.OK for row in first_rows(result))
    expected = sqnr_db(run_exactly(first, samples()), run_exactly(target, samples()))
    assert row_of(result, "Gemm_scores").scores["total"].sqnr_db == pytest.approx(expected, abs=0.01)
    assert {entry.number_format for entry in result.coefficients if entry.role == "data"} == {"uint8-dynamic"}
    assert compared(first, target, batch=3).layers == result.layers


@pytest.mark.parametrize("kind", ["FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT8E4M3FNUZ", "FLOAT8E5M2FNUZ", "INT4", "UINT16"])
def test_pairs_of_every_type_are_exact(tmp_path: Path, kind: str) -> None:
    """The twin of the two operators gives the bits of ONNX Runtime."""
    element = getattr(onnx.TensorProto, kind)
    zero = onnx.helper.make_tensor("zero", element, [], np.zeros(1))
    scale = onnx.numpy_helper.from_array(np.float32(0.37), "scale")
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"], name="q"),
        onnx.helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"], name="d"),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "pair",
        [value("x", onnx.TensorProto.FLOAT, ["n", 1000])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 1000])],
        [zero, scale],
    )
    path = tmp_path / "pair.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10), path)
    model = model_of(path)
    quantization = next(layer.quantization for layer in model.layers if layer.kind is LayerKind.QUANT)
    assert quantization is not None
    random = np.random.default_rng(1)
    data = (random.normal(size=(3, 1000)) * 10.0 ** random.integers(-4, 7, (3, 1000))).astype(np.float32)
    own = quantization.formats["x"].apply(data, None)
    np.testing.assert_array_equal(own, run_exactly(path, data))


def test_fused_activation_of_another_range_is_not_put_back(first: Path, folder: Path) -> None:
    """Where the quantization does not cut off where the ReLU did, the second model really lacks it, and says so."""
    target = quantized(first, folder / "shifted.onnx", fold=False)
    model = onnx.load(target)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("stem_relu") and tensor.name.endswith("zero_point"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.uint8(90), tensor.name))
    onnx.save(model, folder / "lacking.onnx")
    row = row_of(compared(first, folder / "lacking.onnx"), "Relu_stem_relu")
    assert row.status is Status.UNMATCHED
    assert not row.understood


def test_weights_that_moved_stay_as_their_codes_say(first: Path, folder: Path) -> None:
    """A master that does not quantize to the codes is not the master."""
    other = onnx.load(first)
    for tensor in other.graph.initializer:
        if tensor.name == "pointwise.weight":
            array = onnx.numpy_helper.to_array(tensor) + 0.2
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    onnx.save(other, folder / "moved.onnx")
    result = compared(first, quantized(folder / "moved.onnx", folder / "moved-q.onnx", fold=False))
    assert any("1 of 22 quantized constants" in note for note in result.run.notes)
    assert (row_of(result, "Conv_pointwise").scores["drift"].sqnr_db or 99) < 40


def test_what_cannot_be_taken_apart_runs_as_it_is(first: Path, folder: Path) -> None:
    """One lane, with the reason."""
    model = onnx.load(quantized(first, folder / "whole.onnx", per_channel=False))
    last = next(node for node in model.graph.node if node.output[0] == "scores")
    codes, scale, zero_point = last.input
    model.graph.node.remove(last)
    for operator, inputs, output, attributes in (
        ("Cast", [codes], "number", {"to": onnx.TensorProto.FLOAT}),
        ("Cast", [zero_point], "zero_number", {"to": onnx.TensorProto.FLOAT}),
        ("Sub", ["number", "zero_number"], "moved", {}),
        ("Mul", ["moved", scale], "scores", {}),
    ):
        model.graph.node.append(
            onnx.helper.make_node(operator, inputs, [output], name=f"by hand {output}", **attributes)
        )
    onnx.save(model, folder / "as-it-is.onnx")
    assert any("runs as it is" in note for note in model_of(folder / "as-it-is.onnx").origin.notes)
    result = compared(first, folder / "as-it-is.onnx")
    assert [comparison.name for comparison in result.comparisons] == ["total"]
    expected = sqnr_db(run_exactly(first, samples()), run_exactly(folder / "as-it-is.onnx", samples()))
    assert next(row for row in result.layers if row.is_output and row.scores).scores["total"].sqnr_db == pytest.approx(
        expected, abs=1e-3
    )


def test_the_first_model_may_be_simulated_beside_it(first: Path, folder: Path) -> None:
    """A format of the chip on the first model, and never on the second."""
    target = quantized(first, folder / "beside.onnx", fold=False)
    alone, beside = compared(first, target), compared(first, target, bits=8)
    assert {"both", "tuned"} <= set(row_of(beside, "Gemm_scores").scores)
    for row in alone.layers:
        for name, score in row.scores.items():
            assert row_of(beside, row.key).scores[name] == score
    formats = {(entry.model, entry.number_format) for entry in beside.coefficients}
    assert formats == {("first", "gfpq8"), ("second", "uint8"), ("second", "int8"), ("second", "int32")}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("first_file", "second_file"),
    [
        ("made_here_qdq/ultraface_slim320_float_op13.onnx", "made_here_qdq/ultraface_slim320_qdq_int8.onnx"),
        ("made_here_qdq/yunet_n_320_float_op13.onnx", "made_here_qdq/yunet_n_320_qdq_int8_pertensor_sym.onnx"),
        ("made_here_qdq/mnist_cntk_float_op13.onnx", "made_here_qdq/mnist_cntk_qdq_int8.onnx"),
        ("tinycnn_cifar10_pair/model.onnx", "tinycnn_cifar10_pair/model_int8.onnx"),
    ],
)
def test_real_pairs(shared: Path, first_file: str, second_file: str) -> None:
    """Nothing is left without a partner that is not understood."""
    one, other = model_of(shared / "models" / first_file), model_of(shared / "models" / second_file)
    pairing, completed = pair_models(one, other)
    assert all(entry.understood for entry in pairing.unmatched)
    paired = {pair.first for pair in pairing.pairs} | {entry.layer for entry in pairing.unmatched if entry.folded_into}
    assert paired == {layer.key for layer in one.layers}
    assert len(completed.layers) >= len(other.layers)


@pytest.mark.shared
def test_real_figures(shared: Path) -> None:
    """Outputs of real pairs, QDQ and QOperator, as ONNX Runtime computes them."""
    folder = shared / "models" / "tinycnn_cifar10_pair"
    data = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    result = compared(folder / "model.onnx", folder / "model_int8.onnx", data)
    expected = sqnr_db(run_exactly(folder / "model.onnx", data), run_exactly(folder / "model_int8.onnx", data))
    output = next(row for row in result.layers if row.is_output)
    assert output.scores["total"].sqnr_db == pytest.approx(expected, abs=0.01)
    assert all(row.scores["drift"].status is Status.EXACT for row in result.layers if "drift" in row.scores)


@pytest.mark.slow
def test_a_caffe_network_against_its_quantized_onnx_form(shared: Path) -> None:
    """Two frameworks, two numberings: all layers are paired through the graph, outputs by what they compute."""
    folder = shared / "models"
    options = ComparisonOptions(
        first=folder / "ultraface_slim_320" / "slim-320.caffemodel",
        first_structure=folder / "ultraface_slim_320" / "slim-320.prototxt",
        second=folder / "made_here_qdq" / "ultraface_slim320_qdq_int8.onnx",
        inputs=[str(folder / "ultraface_slim_320" / "imgs" / "*.jpg")],
        preprocessing=InputOptions(mean=127.0, scale=1 / 128, channel_order="rgb", samples=1),
    )
    result = compare_networks(replace(prepare(options), isolate=False))
    assert result.coverage.compared >= 96
    assert all(row.status is not Status.UNMATCHED or row.understood for row in result.layers)
    outputs = {row.key: row.scores["total"].cosine for row in result.layers if row.is_output}
    assert set(outputs) == {"boxes", "scores"}
    assert all(cosine is not None and cosine > 0.97 for cosine in outputs.values())
    assert not [entry for entry in result.findings if entry.severity in ("error", "warning")]

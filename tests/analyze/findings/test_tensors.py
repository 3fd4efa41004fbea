"""Faults of single tensors, each planted in a small network, are what the report says first; healthy ones pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.analyze.findings.case import Snapshot
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Finding, Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.fold import fold_model
from gfpq_inspect.models.model import Layer, LayerKind, Model
from tests.analyze.networks import ArraySource, GraphMaker, samples
from tests.models.caffe.translate.single import build
from tests.planted import faults
from tests.planted.networks import DIGITS, first_told, request_of, told

from .test_checks import chain, request

Array = NDArray[Any]


def of(result: Result, name: str) -> Finding:
    return next(entry for entry in result.findings if entry.id == name)


# Quant layers with what training left in them


@pytest.fixture(scope="module")
def tuned(fixtures: Path) -> ComparisonRequest:
    """A network and its fine-tuned form with Quant layers."""
    folder = fixtures / "digits"
    return prepare(
        ComparisonOptions(
            first=folder / "float.caffemodel",
            second=folder / "quant.caffemodel",
            second_structure=folder / "quant.prototxt",
            inputs=[str(folder / "test.npz")],
            preprocessing=InputOptions(samples=8),
            timing=False,
        )
    )


def calibrated(result: Result) -> dict[str, int]:
    """Coefficient of every Quant layer of the second model."""
    return {
        entry.layer: entry.delta
        for entry in result.coefficients
        if entry.role == "data" and entry.model == "second" and entry.delta is not None
    }


def with_quant_layers(model: Model, change: Any) -> Model:
    """The model with its Quant layers changed."""
    layers = tuple(change(layer) if layer.kind is LayerKind.QUANT else layer for layer in model.layers)
    return replace(model, layers=layers)


def holding(model: Model, coefficients: Mapping[str, int]) -> Model:
    """Quant layers that bring these coefficients."""

    def change(layer: Layer) -> Layer:
        assert layer.quantization is not None
        held = dict.fromkeys(layer.quantization.inputs, coefficients[layer.key])
        return replace(layer, quantization=replace(layer.quantization, coefficients=held))

    return with_quant_layers(model, change)


def storing(model: Model, parameters: Mapping[str, Sequence[float]]) -> Model:
    """Quant layers whose files hold these parameters."""
    graph = type(model.graph)()
    graph.CopyFrom(model.graph)
    for key, values in parameters.items():
        graph.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.float32), f"{key}/parameter0"))
    changed = with_quant_layers(model, lambda layer: replace(layer, weights=(f"{layer.key}/parameter0",)))
    return replace(changed, graph=graph)


def test_saturation(tuned: ComparisonRequest) -> None:
    """Coefficients of a training that saw values half as large."""
    assert tuned.second is not None
    healthy = compare_networks(tuned)
    coefficients = calibrated(healthy)
    assert len(coefficients) > 4
    assert of(healthy, "saturation").severity == "passed"
    kept = compare_networks(replace(tuned, second=holding(tuned.second, coefficients)))
    assert told(kept) == told(healthy) == []
    assert kept.layers == healthy.layers
    narrow = holding(tuned.second, {key: delta - 24 for key, delta in coefficients.items()})
    result = compare_networks(replace(tuned, second=narrow))
    assert {delta + 24 for delta in calibrated(result).values()} == set(coefficients.values())
    found = first_told(result)
    assert (found.id, found.severity) == ("saturation", "error")
    assert set(found.layers) & set(coefficients)


def test_updated_quant_layers(tuned: ComparisonRequest) -> None:
    assert tuned.second is not None
    layers = [layer.key for layer in tuned.second.layers if layer.kind is LayerKind.QUANT]

    def stage(values: Sequence[float]) -> Model:
        assert tuned.second is not None
        return storing(tuned.second, dict.fromkeys(layers, values))

    first = (Snapshot("net_iter_100.caffemodel", stage((1, -140))),)
    drifted = compare_networks(replace(tuned, second=stage((1.002, -139.87)), snapshots=first))
    found = first_told(drifted)
    assert (found.id, found.severity) == ("quant-parameters", "warning")
    assert set(found.layers) == set(layers)
    same = compare_networks(replace(tuned, second=stage((1, -140)), snapshots=first))
    assert of(same, "quant-parameters").severity == "passed"
    wider = compare_networks(replace(tuned, second=stage((1, -130)), snapshots=first))
    assert of(wider, "quant-parameters").severity == "passed"  # UPDATE keeps the larger coefficient, and may


# Ranges


def test_weights_that_become_zero(tmp_path: Path) -> None:
    """Huge weights for a channel that is dead take the range from all others."""

    def planted(name: str, array: Array) -> Array:
        if name in ("conv1_w", "conv1_b"):
            array[0] = 0
        if name == "plain_w":
            array[:, 0] *= 2.0**11
        return array

    model = chain(tmp_path, planted)
    for isolate in (True, False):
        found = first_told(compare_networks(replace(request(model), isolate=isolate)))
        assert (found.id, found.layers) == ("underflow", ("plain",))
        assert found.severity in ("warning", "error")
        assert "weights of 'plain' become zero" in found.measured
        assert "weight" in found.title


def test_groups_of_different_ranges(tmp_path: Path) -> None:
    def planted(name: str, array: Array) -> Array:
        if name in ("conv1_w", "conv1_b"):
            array[2:] *= 2.0**-9
        if name == "grouped_w":
            array[2:] *= 2.0**9
        if name == "plain_w":
            array[:, 2:] = 0
        return array

    model = chain(tmp_path, planted)
    found = first_told(compare_networks(replace(request(model), bits=8)))
    assert (found.id, found.severity, found.layers) == ("group-convolution", "warning", ("grouped",))
    assert of(compare_networks(request(chain(tmp_path))), "group-convolution").severity == "passed"


def test_shifted_means(tmp_path: Path) -> None:
    """Values crowd below a grid point, so that `floor` lowers all of them alike, and a bias takes their mean away."""
    maker = GraphMaker(seed=5)
    x = maker.input("x", 3, 8, 8)
    weight = (np.abs(maker.random.standard_normal((6, 3, 1, 1))) + 0.2).astype(np.float32)
    maker.node(
        "Conv",
        [x, maker.constant("w", weight), maker.constant("b", (-9.0 * weight.sum((1, 2, 3))).astype(np.float32))],
        "centred",
    )
    model = maker.build(tmp_path, "centred")
    crowd = 9.0 + 0.1 * np.clip(samples(4, 3, 8, 8), -1, 1)
    source = ArraySource({"x": crowd.astype(np.float32)})
    found = first_told(compare_networks(replace(request(model), source=source)))
    assert (found.id, found.severity, found.layers) == ("bias-shift", "warning", ("centred",))
    spread = ArraySource({"x": np.float32(9.0) + 4 * samples(4, 3, 8, 8)})
    assert of(compare_networks(replace(request(model), source=spread)), "bias-shift").severity == "passed"


def cascade(folder: Path, pairs: int) -> Model:
    """Rotations that add an offset and take it away again: each loses a little of what is left."""
    maker = GraphMaker(seed=7)
    value = maker.input("x", 8, 8, 8)
    for index in range(pairs):
        turned, _ = np.linalg.qr(maker.random.standard_normal((8, 8)))
        offset = 3.0 * maker.random.choice([-1.0, 1.0], 8)
        for name, weight, bias in (("up", turned, offset), ("down", turned.T, -turned.T @ offset)):
            arrays = (weight.reshape(8, 8, 1, 1).astype(np.float32), bias.astype(np.float32))
            held = [maker.constant(f"{name}{index}_{part}", array) for part, array in zip("wb", arrays, strict=True)]
            value = maker.node("Conv", [value, *held], f"{name}{index}")
    return maker.build(folder, value)


@pytest.mark.parametrize(("pairs", "severity"), [(16, "warning"), (2, "passed")])
def test_errors_that_pile_up(pairs: int, severity: str, tmp_path: Path) -> None:
    source = ArraySource({"x": samples(4, 8, 8, 8)})
    result = compare_networks(ComparisonRequest(first=cascade(tmp_path, pairs), source=source, timing=False))
    assert of(result, "accumulation").severity == severity
    assert [entry[0] for entry in told(result)][:1] == ["accumulation"] * (severity != "passed")


# Folding


def test_a_file_folded_after_its_weights_were_quantized(fixtures: Path) -> None:
    """Nothing in the files says so but the weights themselves: each filter is on the grid up to a factor."""
    network = request_of(DIGITS, fixtures, samples=4)
    plain = {
        name: replace(folded, layers=tuple(replace(layer, folded=()) for layer in folded.layers))
        for name, folded in (
            ("float", fold_model(network.first)),
            ("late", fold_model(faults.fine_tuned(network.first))),
            ("early", faults.fine_tuned(fold_model(network.first))),
        )
    }
    found = first_told(compare_networks(replace(network, first=plain["float"], second=plain["late"])))
    assert (found.id, found.severity) == ("quantized-before-folding", "warning")
    assert len(found.layers) == 4
    healthy = compare_networks(replace(network, first=plain["float"], second=plain["early"]))
    assert told(healthy) == []
    from_unfolded = compare_networks(replace(network, second=plain["late"]))
    assert first_told(from_unfolded).id == "quantized-before-folding"


def test_a_folded_layer_beside_an_unfolded_one(tmp_path: Path) -> None:
    """BatchNorm folded in and left out is understood; left behind as the identity, the convolutions do not agree."""
    random = np.random.default_rng(2)
    weight = random.standard_normal((8, 3, 3, 3)) * np.exp(random.standard_normal(8))[:, None, None, None]
    mean, variance = np.zeros(8), (weight**2).sum((1, 2, 3))
    gamma, beta = np.ones(8, dtype=np.float32), random.standard_normal(8).astype(np.float32)
    second = random.standard_normal((6, 8, 3, 3)).astype(np.float32) / 8
    bias = np.zeros(6, dtype=np.float32)
    head = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }\n'
    conv = (
        'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param '
        "{ num_output: 8 kernel_size: 3 bias_term: %s } }\n"
    )
    norm = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { eps: 1e-5 } }\n'
    tail = (
        'layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }\n'
        'layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }\n'
        'layer { name: "last" type: "Convolution" bottom: "conv" top: "last" convolution_param '
        "{ num_output: 6 kernel_size: 3 } }\n"
    )
    shared = {"scale": [gamma, beta], "last": [second, bias]}
    factor = 1 / np.sqrt(variance + 1e-5)
    folders = [tmp_path / "unfolded", tmp_path / "folded"]
    for folder in folders:
        folder.mkdir()
    unfolded = build(
        folders[0],
        head + conv % "false" + norm + tail,
        {"conv": [weight], "bn": [mean, variance, np.ones(1)], **shared},
    )
    folded = build(
        folders[1],
        head + conv % "true" + tail,
        {"conv": [weight * factor[:, None, None, None], -mean * factor], **shared},
    )
    source = ArraySource({"data": samples(6, 3, 12, 12)})
    both = ComparisonRequest(first=unfolded, second=folded, source=source, timing=False)
    assert told(compare_networks(both)) == []
    neutral = build(
        folders[1],
        head + conv % "true" + norm + tail,
        {
            "conv": [weight * factor[:, None, None, None], -mean * factor],
            "bn": [mean * 0, variance * 0 + 1, np.ones(1)],
            **shared,
        },
    )
    found = first_told(compare_networks(replace(both, second=neutral)))
    assert (found.id, found.severity, found.layers) == ("folded-unfolded", "error", ("conv",))
    assert told(compare_networks(replace(both, second=unfolded))) == []

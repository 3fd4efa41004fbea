"""A float master that was kept, overwritten, or never there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Finding
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network
from gfpq_inspect.quantize import kernels

from .networks import ArraySource, samples, small_network


def finding(first: Model, second: Model | None, **options: Any) -> Finding:
    shape = first.inputs[0].shape[1:]
    source = ArraySource({first.inputs[0].name: samples(2, *shape)})
    result = compare_networks(ComparisonRequest(first=first, second=second, source=source, **options))
    return next(entry for entry in result.findings if entry.id == "float-master")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


def changed(model: Model, change: Any) -> Model:
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for tensor in graph.graph.initializer:
        array = change(tensor.name, onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return replace(model, graph=graph)


def quantized(array: NDArray, bits: int = 8) -> NDArray:
    return kernels.apply(array, bits, kernels.coefficient_of(kernels.largest_magnitude(array)[0], bits))


@pytest.mark.parametrize("bits", [8, 16])
def test_overwritten(network: Model, bits: int) -> None:
    def trained(name: str, array: NDArray) -> NDArray:
        return quantized(array, bits) if name.endswith("_w") else array + np.float32(0.01)

    found = finding(network, changed(network, trained), bits=bits)
    assert found.severity == "error"
    assert found.title == "Float master overwritten"
    assert found.measured == (
        "All 3 convolution weights of the second model equal the first model's quantized ones, bit by bit, while "
        "4 of 4 biases and other float parameters did move."
    )
    assert found.layers == ("conv1", "branch_a", "branch_b")
    assert found.why
    assert found.remedy


def test_overwritten_again_and_again(network: Model) -> None:
    """A loop that quantizes by the maximum each time may lower the top of the grid each time."""

    def trained(name: str, array: NDArray) -> NDArray:
        for _ in range(3):
            array = quantized(array) if name.endswith("_w") else array + np.float32(0.01)
        return array

    assert finding(network, changed(network, trained)).severity == "error"


def test_fully_connected_weights_that_moved_do_not_hide_it(network: Model) -> None:
    def trained(name: str, array: NDArray) -> NDArray:
        return quantized(array * 2 if name == "fc_w" else array) if name.endswith("_w") else array

    assert finding(network, changed(network, trained)).severity == "warning"


def test_nothing_moved(network: Model) -> None:
    found = finding(network, changed(network, lambda name, array: quantized(array) if name.endswith("_w") else array))
    assert found.severity == "note"
    assert found.title == "Never fine-tuned, or the float master was overwritten"


def test_kept(network: Model) -> None:
    def trained(name: str, array: NDArray) -> NDArray:
        noise = np.random.default_rng(5).standard_normal(array.shape).astype(np.float32) * np.float32(0.02)
        return quantized(array + noise) if name.endswith("_w") else array + noise

    found = finding(network, changed(network, trained))
    assert found.severity == "passed"
    assert found.measured == "3 of 3 convolution weights moved away from the quantized originals."


def test_one_frozen_layer_is_no_fault(network: Model) -> None:
    def trained(name: str, array: NDArray) -> NDArray:
        moved = array if name == "conv1_w" else array * np.float32(1.1)
        return quantized(moved) if name.endswith("_w") else array * 2

    assert finding(network, changed(network, trained)).severity == "passed"


def test_the_same_model(network: Model) -> None:
    assert finding(network, network).severity == "note"


def test_not_applicable(network: Model) -> None:
    assert finding(network, None).measured == "Not applicable: needs a second, fine-tuned model."
    assert finding(network, network, bits=None).measured == "Not applicable: needs a bit width."


@pytest.mark.parametrize(
    ("second", "severity"), [("quant", "passed"), ("broken/quant", "error"), ("untouched/quant", "note")]
)
def test_the_trained_pairs(fixtures: Path, second: str, severity: str) -> None:
    folder = fixtures / "digits"
    first = open_network(folder / "float.caffemodel").build()
    other = open_network(folder / f"{second}.caffemodel").build()
    assert finding(first, other).severity == severity

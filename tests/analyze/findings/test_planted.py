"""Faults planted in several networks: the first finding must be what was planted; healthy pairs stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.pair import canonical_type
from tests.planted import faults
from tests.planted.networks import DIGITS, SHARED, ChangedSource, compare, first_told, request_of, told

SMALL = ("lenet", "ultraface", "ultraface_onnx", "mbv2_yolov3")
NAMES = ("digits", *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL))
NORMALISED = (
    "digits",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("mbv2_yolov3", "retinaface", "ultraface_onnx")),
)

_requests: dict[str, ComparisonRequest] = {}


def _request(name: str, request: pytest.FixtureRequest) -> ComparisonRequest:
    if name not in _requests:
        if name == "digits":
            _requests[name] = request_of(DIGITS, request.getfixturevalue("fixtures"))
        else:
            shared: Path = request.getfixturevalue("shared")
            _requests[name] = request_of(SHARED[name], shared, samples=16 if name == "lenet" else 3)
    return _requests[name]


@pytest.fixture(params=NAMES)
def network(request: pytest.FixtureRequest) -> ComparisonRequest:
    """A network of any kind."""
    return _request(request.param, request)


@pytest.fixture(params=NORMALISED)
def normalised(request: pytest.FixtureRequest) -> ComparisonRequest:
    """A network with BatchNorm layers."""
    return _request(request.param, request)


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    _requests.clear()


def middle(request: ComparisonRequest) -> str:
    """A plain convolution in the middle of the network."""
    plain = [
        layer.key
        for layer, _ in faults.weighted(request.first)
        if canonical_type(layer) == "Convolution" and layer.group == 1
    ]
    return plain[len(plain) // 2]


def test_alone(network: ComparisonRequest) -> None:
    assert told(compare(network)) == []


def test_quantized_without_tuning(network: ComparisonRequest) -> None:
    assert told(compare(network, faults.quantized(network.first))) == []


def test_healthy_tuning(network: ComparisonRequest) -> None:
    assert told(compare(network, faults.fine_tuned(network.first))) == []


def test_overwritten_master(network: ComparisonRequest) -> None:
    found = first_told(compare(network, faults.overwritten_master(network.first)))
    assert (found.id, found.severity) == ("float-master", "error")
    assert len(found.layers) >= 2


def test_sixteen_bit_weights(network: ComparisonRequest) -> None:
    found = first_told(compare(network, faults.fine_tuned(network.first, bits=16)))
    assert (found.id, found.severity) == ("bit-width", "error")


def test_eight_bit_weights_at_sixteen(network: ComparisonRequest) -> None:
    found = first_told(compare(network, faults.fine_tuned(network.first), bits=16))
    assert (found.id, found.severity) == ("bit-width", "error")


@pytest.mark.parametrize("octaves", [3, 6, -3])
def test_scaled_filter(network: ComparisonRequest, octaves: int) -> None:
    layer = middle(network)
    planted = faults.quantized(faults.scaled_filter(network.first, layer, 1, octaves))
    found = first_told(compare(network, planted))
    assert (found.id, found.severity) == ("scaled-filter", "error")
    assert found.layers[0] == layer
    assert found.evidence_rows[0][1] == 1
    assert found.evidence_rows[0][3] == pytest.approx(octaves, abs=0.05)


def test_scaled_filter_in_both(network: ComparisonRequest) -> None:
    layer = middle(network)
    planted = faults.scaled_filter(network.first, layer, 1, 6)
    found = first_told(compare(replace(network, first=planted), faults.quantized(planted)))
    assert found.id == "outlier-filter"
    assert found.severity in ("error", "warning")
    assert found.layers[0] == layer


def test_batch_norm_drift(normalised: ComparisonRequest) -> None:
    planted = faults.batch_norm_drift(faults.fine_tuned(normalised.first))
    found = first_told(compare(normalised, planted))
    assert (found.id, found.severity) == ("batch-norm-statistics", "error")


def test_batch_norm_drift_without_tuning(normalised: ComparisonRequest) -> None:
    planted = faults.batch_norm_drift(faults.quantized(normalised.first))
    assert first_told(compare(normalised, planted)).id == "batch-norm-statistics"


def test_missing_mean(normalised: ComparisonRequest) -> None:
    images = next(normalised.source.batches(8, {one.name: one.shape for one in normalised.first.inputs}))
    array = next(iter(images.values()))
    shifted = ChangedSource(normalised.source, lambda values: values - 2.2 * array.std())
    found = first_told(compare(replace(normalised, source=shifted)))
    assert found.id == "input-mean"


@pytest.mark.parametrize("factor", [255.0, 1 / 256])
def test_wrong_scale(normalised: ComparisonRequest, factor: float) -> None:
    scaled = ChangedSource(normalised.source, lambda values: values * factor)
    found = first_told(compare(replace(normalised, source=scaled)))
    assert (found.id, found.severity) == ("input-scale", "error")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ultraface", "ultraface_onnx", "mbv2_yolov3", "retinaface"])
def test_swapped_channels(name: str, request: pytest.FixtureRequest) -> None:
    network = _request(name, request)
    planted = faults.fine_tuned(faults.swapped_channels(network.first))
    found = first_told(compare(network, planted))
    assert (found.id, found.severity) == ("channel-order", "error")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mean"), [("ultraface", (1.0, 0.9, 0.8)), ("lenet", (0.3,))])
def test_tuned_for_another_mean(name: str, mean: tuple[float, ...], request: pytest.FixtureRequest) -> None:
    network = _request(name, request)
    found = first_told(compare(network, faults.fine_tuned(faults.expects_mean(network.first, mean))))
    assert (found.id, found.severity) == ("input-mean", "error")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "order"), [("retinaface", "bgr"), ("mbv2_yolov3", "bgr"), ("ssd", "rgb")])
def test_images_in_the_wrong_order(name: str, order: str, shared: Path) -> None:
    assert first_told(compare(request_of(SHARED[name], shared, channel_order=order))).id == "channel-order"


@pytest.mark.slow
def test_an_input_that_was_never_scaled(shared: Path) -> None:
    """No BatchNorm tells; what reaches the softmax does."""
    found = first_told(compare(request_of(SHARED["lenet"], shared, scale=None)))
    assert (found.id, found.severity, found.layers) == ("input-scale", "warning", ("prob",))
    assert "never scaled" in found.title


def skipped(network: ComparisonRequest) -> tuple[ComparisonRequest, list[str]]:
    """Fine-tuned, two layers left out by the script that quantizes weights."""
    weighted = faults.weighted(network.first)
    missed = weighted[len(weighted) // 2 :][:2]
    tuned = faults.fine_tuned(network.first)
    random = np.random.default_rng(0)
    touched = {name: (lambda array: array * (1 + 0.01 * random.standard_normal(array.shape))) for _, name in missed}
    return replace(network, second=faults.with_weights(tuned, touched)), [layer.key for layer, _ in missed]


def test_skipped_layers(network: ComparisonRequest) -> None:
    planted, layers = skipped(network)
    found = first_told(compare(network, planted.second))
    assert (found.id, found.severity) == ("skipped-layers", "warning")
    assert set(found.layers) == set(layers)


def test_learning_rate(network: ComparisonRequest) -> None:
    names = [name for _, name in faults.weighted(network.first)]
    master = faults.with_weights(network.first, dict.fromkeys(names, lambda array: array * np.float32(1 + 2e-6)))
    found = first_told(compare(network, faults.quantized(master), master=master))
    assert (found.id, found.severity) == ("learning-rate", "warning")


@pytest.mark.slow
@pytest.mark.parametrize("isolate", [True, False])
def test_small_weights_become_zero(isolate: bool, shared: Path) -> None:
    """A depthwise layer of a real network loses a quarter of its weights; fine-tuned, they are what they are."""
    network = request_of(SHARED["wechat_detect"], shared, samples=3)
    found = first_told(compare_networks(replace(network, isolate=isolate)))
    assert (found.id, found.severity, found.layers) == ("underflow", "warning", ("stage3_2/conv2",))
    assert "weights of 'stage3_2/conv2' become zero" in found.measured
    assert told(compare(network, faults.fine_tuned(network.first))) == []
    assert first_told(compare(network, faults.overwritten_master(network.first))).id == "float-master"


@pytest.mark.slow
def test_a_detector_whose_outputs_have_a_size_of_their_own(shared: Path) -> None:
    network = request_of(SHARED["ssd"], shared, samples=3)
    assert told(compare(network, faults.fine_tuned(network.first))) == []

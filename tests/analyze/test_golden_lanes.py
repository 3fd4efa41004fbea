"""Lanes against real Caffe with the original quantizer in the loop, on real networks.

Where float rounding differs between engines a code here and there falls to its neighbour, a step of 4.4 %. In a
tensor with few values behind many quantized layers that alone moves the SQNR by more than the recorded bound of 0.3 dB,
so the bound is widened by what chance allows: with n values over all samples the energy of the error is known to about
sqrt(2 / n), and neighbouring values share their flips.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

from .networks import ArraySource

pytestmark = pytest.mark.shared

ENGINES = ("merged", "layered")

FILES = {
    "lenet_mnist_v1": ("lenet_mnist_v1", "lenet_iter_10000.caffemodel", "lenet.prototxt"),
    "lenet_mnist_v2": ("lenet_mnist_v2", "lenet_iter_10000.caffemodel", "mnist_deploy.prototxt"),
    "opennsfw_resnet50_1by2": ("opennsfw_resnet50_1by2", "resnet_50_1by2_nsfw.caffemodel", "deploy.prototxt"),
    "retinaface_mnet25": ("retinaface_mnet25", "mnet.caffemodel", "mnet.prototxt"),
    "mtcnn_det3": ("mtcnn", "det3.caffemodel", "det3.prototxt"),
    "ultraface_slim_320": ("ultraface_slim_320", "slim-320.caffemodel", "slim-320.prototxt"),
}


def model_of(shared: Path, name: str, shape: tuple[int, ...]) -> Model:
    folder, weights, structure = FILES[name]
    network = open_network(shared / "models" / folder / weights, shared / "models" / folder / structure)
    return network.build({network.declared_inputs[0].name: (1, *shape)})


def check(recorded: dict[str, Any], result: Result) -> None:
    """Every coefficient exactly; every cosine and SQNR within the bound."""
    deltas = {row.layer: row.delta for row in result.coefficients if row.role == "data"}
    assert {layer: deltas[layer] for layer in recorded["coefficients"]} == recorded["coefficients"]
    rows = {row.key: row for row in result.layers}
    outside = []
    for lane, layers in recorded["cosine_sqnr"].items():
        assert layers.keys() == rows.keys()
        for key, (cosine, decibel) in layers.items():
            found = rows[key].scores[lane]
            if decibel is None:
                assert found.status is Status.EXACT
                continue
            chance = 8 / math.sqrt(found.count)
            assert found.cosine is not None
            if abs(found.cosine - cosine) > (0.05 + chance) * (1 - cosine) + 1e-5:
                outside.append((lane, key, cosine, found.cosine))
            if decibel > 15 and abs(found.sqnr_db - decibel) > 0.3 + 10 * math.log10(1 + chance):
                outside.append((lane, key, decibel, found.sqnr_db))
    # Beyond what chance allows for most: at most one tensor in a hundred.
    assert len(outside) <= 0.01 * sum(map(len, recorded["cosine_sqnr"].values())), outside


def digits(shared: Path) -> tuple[NDArray[np.float32], Labels]:
    folder = shared / "models" / "images" / "mnist"

    def stored(name: str, offset: int) -> NDArray[np.uint8]:
        return np.frombuffer(gzip.decompress((folder / name).read_bytes()), np.uint8, offset=offset)

    images = stored("t10k-images-idx3-ubyte.gz", 16).reshape(10000, 1, 28, 28)
    labels = stored("t10k-labels-idx1-ubyte.gz", 8)
    return images.astype(np.float32) * np.float32(0.00390625), Labels(tuple(map(int, labels)), "MNIST")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("key", ["lenet_mnist_v2/8", "lenet_mnist_v2/16", "lenet_mnist_v1/8", "lenet_mnist_v1/16"])
def test_lenet_on_all_digits(shared: Path, key: str, engine: str) -> None:
    name, bits = key.split("/")
    recorded = json.loads((shared / "golden/lanes/lenet_mnist.json").read_text())[key]
    data, labels = digits(shared)
    model = model_of(shared, name, data.shape[1:])
    source = ArraySource({model.inputs[0].name: data})
    request = ComparisonRequest(first=model, source=source, bits=int(bits), labels=labels, engine=engine)
    result = compare_networks(request)
    assert result.run.engine.startswith(engine)
    check(recorded, result)
    (output,) = result.task.outputs
    accuracy = {lane.lane: lane.top1 for lane in output.lanes}
    assert accuracy == {lane: pytest.approx(share, abs=1e-4) for lane, share in recorded["accuracy"].items()}


PHOTOGRAPHS = [
    f"{name}/{bits}"
    for name in ("mtcnn_det3", "ultraface_slim_320", "retinaface_mnet25", "opennsfw_resnet50_1by2")
    for bits in (8, 16)
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("key", PHOTOGRAPHS)
def test_photographs(shared: Path, key: str, engine: str) -> None:
    name, bits = key.split("/")
    recorded = json.loads((shared / "golden/lanes/photographs.json").read_text())[key]
    with np.load(shared / "golden/lanes/photographs_inputs.npz") as stored:
        data = (stored[name].astype(np.float32) - np.float32(recorded["offset"])) * np.float32(recorded["scale"])
    model = model_of(shared, name, data.shape[1:])
    source = ArraySource({model.inputs[0].name: data})
    result = compare_networks(ComparisonRequest(first=model, source=source, bits=int(bits), engine=engine))
    assert result.run.engine.startswith(engine)
    check(recorded, result)

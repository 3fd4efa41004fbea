"""Dumps of networks that others trained: every format against the float network and the simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gfpq_inspect
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.result import Result, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from tests.analyze.dumps.conftest import finding, told
from tests.inputs.dumps import network, writers

pytestmark = pytest.mark.shared
Array = NDArray[Any]

NETWORKS = {
    "in place": ("mtcnn/det2.caffemodel", "mtcnn/det2.prototxt", None),
    "several tops": ("mtcnn/det4.caffemodel", "mtcnn/det4.prototxt", None),
    "slashes, BatchNorm, detections": (
        "wechat_qr_detect/detect.caffemodel",
        "wechat_qr_detect/detect.prototxt",
        {"data": (1, 1, 96, 96)},
    ),
}


class Real:
    """A network, an image of noise, and its tensors."""

    def __init__(self, models: Path, name: str, folder: Path) -> None:
        weights, prototxt, self.shapes = NETWORKS[name]
        self.weights, self.prototxt, self.folder = models / weights, models / prototxt, folder
        self.model: Model = gfpq_inspect.load(self.weights, self.prototxt, input_shapes=self.shapes)
        self.image = np.random.default_rng(7).standard_normal(self.model.inputs[0].shape).astype(np.float32)
        np.savez(folder / "image.npz", **{self.model.inputs[0].name: self.image})
        self.chip = network.chip_tensors(self.model, self.image)
        self.plain = network.float_tensors(self.model, self.image)

    def compare(self, dump: Path, **options: Any) -> Result:
        return compare_networks(
            prepare(
                ComparisonOptions(
                    first=self.weights,
                    first_structure=self.prototxt,
                    second=dump,
                    inputs=(str(self.folder / "image.npz"),),
                    input_shapes=self.shapes or {},
                    timing=False,
                    **options,
                )
            )
        )


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def real(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    return Real(shared / "models", request.param, tmp_path_factory.mktemp("real"))


def test_mapper_quant(real: Real, tmp_path: Path) -> None:
    fed = real.model.inputs[0].name
    for name, array in network.blobs(real.model, real.chip).items():
        if name != fed:
            writers.write_mapper_output(tmp_path, name, array)
    for layer in real.model.layers:
        if layer.quantization is not None:
            for port, value in enumerate(layer.inputs):
                writers.write_mapper_input(tmp_path, layer.name, real.chip[value], port)
    result = real.compare(tmp_path)
    assert told(result) == {}
    assert all(row.understood for row in result.layers)
    scored = [row for row in result.layers if row.status is Status.OK and "simulation" in row.scores]
    assert len(scored) > 0.5 * len(result.layers)
    for row in scored:
        cosine = row.scores["simulation"].cosine
        if "from what" not in row.reason:  # what a layer read is quantized, our tensor is not yet
            assert cosine is not None
            assert cosine > 0.99999, row.key


def test_feature_maps_of_caffe_are_the_float_network(real: Real, tmp_path: Path) -> None:
    for name, array in network.blobs(real.model, real.plain).items():
        writers.write_caffe(tmp_path, name, array)
    result = real.compare(tmp_path, bits=None)
    assert told(result) == {}
    assert result.judgement.good
    for row in result.layers:
        if row.status is Status.OK:
            assert (row.scores["total"].cosine or 0) > 0.999999, row.key


def test_a_board_finds_its_layers(real: Real, tmp_path: Path) -> None:
    expected = []
    blobs = network.blobs(real.model, real.chip)
    last = {
        name: row
        for row, value in network.by_layer(real.model, real.chip).items()
        for name in blobs
        if blobs[name] is value
    }
    for number, (name, array) in enumerate(blobs.items()):
        if number % 3 == 2 and array.size > 64:
            writers.write_board(tmp_path, 0, number, array, padded_to=4)
            expected.append(last[name])
    result = real.compare(tmp_path)
    compared = {row.key for row in result.layers if row.status is Status.OK}
    # A tensor that a layer only hands on (Flatten, Reshape) may go to either.
    assert len(compared) == len(expected)
    assert len(compared & set(expected)) >= 0.6 * len(expected)
    assert finding(result, "dump-names").severity == "passed"
    assert all((row.scores["simulation"].cosine or 0) > 0.9999 for row in result.layers if row.key in compared)

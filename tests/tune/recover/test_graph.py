"""The network that is trained computes what the plain way to run a model computes, in float and quantized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gfpq_inspect.models.run import run_model  # noqa: E402  (needs PyTorch)
from gfpq_inspect.quantize import kernels  # noqa: E402 (after the skip)
from gfpq_inspect.tune.networks import open_files, seeded_inputs, single_samples  # noqa: E402 (after the skip)
from gfpq_inspect.tune.recover.graph import TrainableGraph  # noqa: E402 (after the skip)

NETWORKS = ("layers4d", "quirks", "recurrent_misc", "ssd", "v0_format", "v1_format")


@pytest.mark.parametrize("name", NETWORKS)
def test_float_outputs_are_those_of_the_reference(fixtures: Path, name: str) -> None:
    folder = fixtures / "caffe" / name
    opened = open_files([folder / "net.prototxt", folder / "net.caffemodel"])
    model, _ = single_samples(opened.network, {})
    graph = TrainableGraph(model, 8)
    feeds = seeded_inputs(model.inputs)
    wanted = run_model(model, feeds)
    tensors = {one.value: torch.from_numpy(np.array(feeds[one.name])) for one in model.inputs}
    with torch.no_grad():
        found = graph.run(tensors, graph.initial, None, model.outputs)
    for output in model.outputs:
        expected = wanted[output].astype(np.float64)
        scale = np.nanmax(np.abs(expected), initial=1e-6)
        np.testing.assert_allclose(found[output].numpy(), expected, rtol=0, atol=1e-4 * scale, err_msg=output)


def test_data_are_quantized_once_where_the_chip_reads_them(fixtures: Path) -> None:
    folder = fixtures / "digits"
    opened = open_files([folder / "float.prototxt", folder / "float.caffemodel"])
    model, _ = single_samples(opened.network, {})
    graph = TrainableGraph(model, 8)
    seen: list[str] = []

    def quantize(tensor: torch.Tensor, place: object) -> torch.Tensor:
        seen.append(place.value)  # type: ignore[attr-defined]  # a Place
        return torch.from_numpy(kernels.apply(tensor.detach().contiguous().numpy(), 8, -127))

    with torch.no_grad():
        graph.run({"data": torch.rand(2, 1, 8, 8)}, graph.initial, quantize, model.outputs)
    assert {place.value for place in graph.places} == set(seen)
    assert seen[0] == "data"


def test_biases_and_kernels_are_trained_and_norms_are_not(fixtures: Path) -> None:
    folder = fixtures / "digits"
    opened = open_files([folder / "float.prototxt", folder / "float.caffemodel"])
    model, _ = single_samples(opened.network, {})
    layers = {one.layer for one in TrainableGraph(model, 8).parameters}
    assert layers == {"conv1", "conv2_dw", "conv2_pw", "conv3", "branch_a", "branch_b", "fc"}

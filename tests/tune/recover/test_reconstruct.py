"""Layers whose kernels are not solved for have their mean error taken out; padding by rule is solved like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.networks import open_files, single_samples  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.affine import affine_of  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.graph import Place, TrainableGraph  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.reconstruct import Settings, _patches, reconstruct  # noqa: E402  (after the skip)
from gfpq_inspect.tune.torch_quant import fake_quantize  # noqa: E402  (after the skip)


def network(path: Path, auto_pad: str) -> TrainableGraph:
    """A convolution that pads by a rule, and a deconvolution."""
    random = np.random.default_rng(2)
    arrays = {
        "w0": random.normal(0, 0.3, (6, 2, 4, 3)),
        "b0": random.normal(0, 0.1, 6),
        "w1": random.uniform(0.1, 1, (6, 3, 2, 2)),
        "b1": np.zeros(3),
    }
    nodes = [
        helper.make_node("Conv", ["data", "w0", "b0"], ["c"], "c", auto_pad=auto_pad),
        helper.make_node("Relu", ["c"], ["r"], "r"),
        helper.make_node("ConvTranspose", ["r", "w1", "b1"], ["up"], "up", strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "up",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 2, 10, 9])],
        [helper.make_tensor_value_info("up", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    )
    onnx.save(model, path)
    return TrainableGraph(single_samples(open_files([path]).network, {})[0], 8)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_by_rule_is_that_of_the_operator(tmp_path: Path, auto_pad: str) -> None:
    graph = network(tmp_path / "net.onnx", auto_pad)
    layer = next(one for one in graph.layers if "c" in one.outputs)
    shape = affine_of(graph, layer)
    assert shape is not None
    feeds = {"data": torch.randn(2, 2, 10, 9, generator=torch.Generator().manual_seed(0))}
    with torch.no_grad():
        made = graph.run_layer(layer, feeds, graph.initial, None)[shape.output]
    rows, targets = _patches(shape, feeds["data"], made, 10_000, torch.Generator().manual_seed(0))
    computed = rows[:, 0].double() @ shape.rows(graph.initial)[0].t() + graph.initial["b0"].double()
    torch.testing.assert_close(computed, targets.double(), rtol=1e-5, atol=1e-5)


def test_a_deconvolution_loses_its_mean_error(tmp_path: Path) -> None:
    graph = network(tmp_path / "net.onnx", "VALID")
    deltas = {"data": -92, "r": -92}  # tops below the data: what saturates shifts the mean

    def quantize(tensor: torch.Tensor, place: Place) -> torch.Tensor:
        return fake_quantize(tensor, place.bits, deltas[place.value])

    generator = torch.Generator().manual_seed(1)
    samples = [{"data": torch.rand(1, 2, 10, 9, generator=generator) * 8} for _ in range(6)]
    found = reconstruct(
        graph,
        samples,
        graph.initial,
        quantize=quantize,
        quantize_weight=fake_quantize,
        settings=Settings(3.0),
    )
    assert not torch.equal(found["b1"], graph.initial["b1"])
    assert torch.equal(found["w1"], graph.initial["w1"])
    with torch.no_grad():
        errors = []
        for bias in (graph.initial["b1"], found["b1"]):
            weights = {**found, "b1": bias}
            deployed = {name: fake_quantize(one, 8) if name[0] == "w" else one for name, one in weights.items()}
            missing = [
                graph.run(one, graph.initial, None, ["up"])["up"] - graph.run(one, deployed, quantize, ["up"])["up"]
                for one in samples
            ]
            errors.append(torch.cat(missing).mean((0, 2, 3)).abs().max())
    assert errors[1] < 0.01 * errors[0]

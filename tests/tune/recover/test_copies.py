"""A network as real detectors begin: few channels, some of them silent, the others mostly constant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")

from gfpq_inspect.cli.main import run  # noqa: E402  (after the skip)
from gfpq_inspect.report.jsonfile import read_result  # noqa: E402  (after the skip)
from gfpq_inspect.tune.networks import open_files, single_samples  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.copies import chains_of, with_copies  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.explain import error_share, left_over  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.graph import TrainableGraph  # noqa: E402  (after the skip)
from gfpq_inspect.tune.recover.objective import TOLERATED_DB  # noqa: E402  (after the skip)

SILENT = (1, 4, 5)
SIZE = 48


def awkward_network(path: Path) -> Path:
    """Write a network: brightness and edges around a large constant in 8 channels, of which 3 never move."""
    random = np.random.default_rng(5)
    first = random.normal(0, 0.02, (8, 3, 3, 3))
    first[0] = 1 / 27  # a mean: what follows takes differences of it
    first[6] *= 0.003  # underflows beside the others
    first[list(SILENT)] = 0
    first_bias = np.full(8, 0.9)
    first_bias[6], first_bias[[1, 4]], first_bias[5] = 0.003, -1.0, 0.0
    depthwise = np.zeros((8, 1, 3, 3))
    depthwise[:, 0, 1, 1] = 1.0
    depthwise[0, 0] = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    mixing = random.normal(0, 0.5, (12, 8, 1, 1))
    mixing[:, 6] *= 300
    mixing -= mixing.mean(1, keepdims=True)  # the constants of the channels cancel
    heads = {"boxes": random.normal(0, 0.3, (4, 12, 3, 3)), "scores": random.normal(0, 0.2, (2, 12, 1, 1))}
    arrays = {
        "w0": first,
        "b0": first_bias,
        "w1": depthwise,
        "b1": np.zeros(8),
        "w2": mixing,
        "b2": np.full(12, 0.1),
        **{f"w_{name}": array for name, array in heads.items()},
        **{f"b_{name}": np.zeros(len(array)) for name, array in heads.items()},
    }
    nodes = [
        helper.make_node("Conv", ["data", "w0", "b0"], ["c0"], "c0", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c0"], ["r0"], "r0"),
        helper.make_node("Conv", ["r0", "w1", "b1"], ["c1"], "c1", pads=[1] * 4, group=8),
        helper.make_node("Relu", ["c1"], ["r1"], "r1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "c2"),
        helper.make_node("Relu", ["c2"], ["r2"], "r2"),
        helper.make_node("Conv", ["r2", "w_boxes", "b_boxes"], ["boxes"], "boxes", pads=[1] * 4),
        helper.make_node("Conv", ["r2", "w_scores", "b_scores"], ["s"], "s"),
        helper.make_node("Sigmoid", ["s"], ["scores"], "scores"),
    ]
    graph = helper.make_graph(
        nodes,
        "awkward",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, SIZE // 2, SIZE // 2])
            for name, count in (("boxes", 4), ("scores", 2))
        ],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def pictures(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Smooth pictures with some edges, from 0 to 1."""
    random = np.random.default_rng(11)
    rows, columns = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    found = []
    for _ in range(count):
        picture = np.zeros((3, SIZE, SIZE))
        for channel in range(3):
            across, down, phase = random.uniform(1, 6, 3)
            picture[channel] = 0.5 + 0.3 * np.sin(across * columns + down * rows + phase)
        top, left = random.integers(4, SIZE - 20, 2)
        picture[:, top : top + 12, left : left + 12] += random.uniform(-0.2, 0.2, (3, 1, 1))
        found.append(picture)
    return np.stack(found).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return awkward_network(tmp_path_factory.mktemp("awkward") / "net.onnx")


def test_copies_change_nothing_in_float(awkward: Path) -> None:
    model, _ = single_samples(open_files([awkward]).network, {})
    graph = TrainableGraph(model, 8)
    (chain, *_) = chains_of(graph)
    assert chain.producer.kernel == "w0"
    assert [(shape.kernel, depth) for shape, depth in chain.between] == [("w1", 0)]
    assert [(shape.kernel, depth) for shape, depth in chain.readers] == [("w2", 1)]
    feeds = {"data": torch.from_numpy(pictures(2))}
    with torch.no_grad():
        wanted = graph.run(feeds, graph.initial, None, (*model.outputs, "r1"))
        means = {"r1": wanted["r1"].double().mean((0, 2, 3))}
        changed = with_copies(chain, graph.initial, means, {0: [1, 4], 3: [5]})
        found = graph.run(feeds, changed, None, (*model.outputs, "r1"))
    assert float(found["r1"][:, SILENT].min()) > 0  # they are not silent any more
    for name in model.outputs:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-4)


def test_error_is_removed_and_no_output_pays_for_it(awkward: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "pictures.npz", data=pictures(30))
    words = [str(awkward), str(tmp_path / "net"), "--input", f"data={tmp_path / 'pictures.npz'}:data"]
    assert run(["tune", *words, "--steps", "0", "--seed", "3", "-q"]) == 0
    result = read_result(tmp_path / "net.json")
    assert left_over(result) <= 0.5
    outputs = [row for row in result.layers if row.is_output]
    assert len(outputs) == 2
    for row in outputs:
        before, after = (error_share(row.scores[name]) for name in ("both", "total"))
        assert before is not None
        assert after is not None
        assert 10 * np.log10(after / before) <= TOLERATED_DB, row.key
    first = result.details["tuning"]["log"][1]
    assert first["stage"] == "constants moved"
    assert first["remaining"] < 1

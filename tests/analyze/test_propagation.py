"""Local, inherited and fresh error, and the frontier where errors begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result, Scores, Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import kernels

from .networks import ArraySource, GraphMaker, samples, small_network
from .test_engine import delta_of, plain_lanes, pooled, run_node


def compare(model: Model, data: NDArray, second: Model | None = None, **options: Any) -> Result:
    source = ArraySource({model.inputs[0].name: data})
    return compare_networks(ComparisonRequest(first=model, second=second, source=source, **options))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


def energy(scores: Scores) -> float:
    """Sum of the squared error."""
    assert scores.rmse is not None
    return scores.rmse**2 * scores.count


def test_probes_run_one_layer_on_the_lanes_of_others(network: Model) -> None:
    data = samples(4, 3, 8, 8)
    result = compare(network, data)
    deltas = {row.tensor: row.delta for row in result.coefficients if row.role == "data"}
    lanes = plain_lanes(network, [{"x": data[i : i + 1]} for i in range(4)], deltas=deltas)
    rows = {row.key: row for row in result.layers}
    layer = next(entry for entry in network.layers if entry.key == "branch_b")
    node = next(node for node in network.graph.graph.node if node.name == "branch_b")
    stored = {t.name: np.frombuffer(t.raw_data, np.float32).reshape(t.dims) for t in network.graph.graph.initializer}
    (source,) = layer.quantization.inputs
    (weight,) = layer.quantization.weights

    def probe(lane: str, *, quantize_data: bool, quantize_weight: bool) -> list[NDArray]:
        outputs = []
        for values in lanes[lane]:
            array = kernels.apply(values[source], 8, deltas[source]) if quantize_data else values[source]
            constants = {name: stored[name] for name in layer.weights}
            if quantize_weight:
                constants[weight] = kernels.apply(stored[weight], 8, delta_of(stored[weight]))
            outputs.append(run_node(network, node, {source: array}, constants)[0])
        return outputs

    reference = [values["branch_b"] for values in lanes["float"]]
    inherited = probe("both", quantize_data=False, quantize_weight=False)
    expected = {
        "local_data": (reference, probe("float", quantize_data=True, quantize_weight=False)),
        "local_weight": (reference, probe("float", quantize_data=False, quantize_weight=True)),
        "local_both": (reference, probe("float", quantize_data=True, quantize_weight=True)),
        "inherited_both": (reference, inherited),
        "fresh_both": (inherited, [values["branch_b"] for values in lanes["both"]]),
    }
    for name, (one, other) in expected.items():
        cosine, decibel = pooled(one, other)
        assert rows["branch_b"].scores[name].cosine == pytest.approx(cosine, abs=1e-12), name
        assert rows["branch_b"].scores[name].sqnr_db == pytest.approx(decibel, rel=1e-9), name


def test_layers_that_are_not_quantized_add_nothing(network: Model) -> None:
    rows = {row.key: row for row in compare(network, samples(4, 3, 8, 8)).layers}
    for key in ("relu1", "sum", "concat", "prob"):
        scores = rows[key].scores
        assert {scores[name].status for name in ("local_data", "local_weight", "local_both", "fresh_both")} == {
            Status.EXACT
        }
        assert scores["inherited_both"] == scores["both"]
    assert rows["conv1"].scores["inherited_both"].status is Status.EXACT  # nothing arrives at the first layer
    assert rows["conv1"].scores["fresh_both"] == rows["conv1"].scores["both"] == rows["conv1"].scores["local_both"]


@pytest.mark.parametrize("second", [False, True])
def test_energies_of_inherited_and_fresh_error(network: Model, second: bool) -> None:
    result = compare(network, samples(4, 3, 8, 8), network if second else None)
    rows = {row.key: row for row in result.layers}
    name = "tuned" if second else "both"
    for key, parts in result.details["layers"].items():
        split, scores = parts["propagation"][name], rows[key].scores
        whole = energy(scores[name])
        if not whole:
            assert split["inherited_share"] is None
            continue
        assert split["inherited_share"] == pytest.approx(energy(scores[f"inherited_{name}"]) / whole, rel=1e-9)
        assert split["fresh_share"] == pytest.approx(energy(scores[f"fresh_{name}"]) / whole, rel=1e-9)
        assert sum(split[part] for part in ("inherited_share", "fresh_share", "cross_share")) == pytest.approx(1.0)
    gain = result.details["layers"]["pool1"]["propagation"][name]["noise_gain"]
    arrived = rows["relu1"].scores[name].rel_l2
    assert gain == pytest.approx(rows["pool1"].scores[f"inherited_{name}"].rel_l2 / arrived)


def test_batches_and_workers_change_nothing(network: Model) -> None:
    data = samples(11, 3, 8, 8)
    wanted = compare(network, data, workers=1, batch=1, timing=False)
    assert compare(network, data, workers=2, batch=4, timing=False) == wanted


def broken_network(folder: Path) -> Model:
    """Channels of very different size before one convolution: its small ones are flushed to zero."""
    maker = GraphMaker()
    maker.input("x", 8, 6, 6)
    maker.conv("x", "good", (8, 8))
    maker.node("Relu", ["good"], "relu")
    scale = np.geomspace(1, 1e-5, 8).astype(np.float32).reshape(1, 8, 1, 1)
    maker.node("Mul", ["relu", maker.constant("scale", scale)], "scaled")
    weight = (maker.random.standard_normal((8, 8, 1, 1)) * 0.3).astype(np.float32) / scale
    maker.node("Conv", ["scaled", maker.constant("culprit_w", weight)], "culprit")
    maker.node("Relu", ["culprit"], "after")
    maker.conv("after", "later", (8, 8))
    maker.node("GlobalAveragePool", ["later"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    return maker.build(folder, "flat")


def test_the_frontier_is_where_the_error_begins(tmp_path: Path) -> None:
    result = compare(broken_network(tmp_path), np.abs(samples(6, 8, 6, 6)))
    origins = result.details["origins"]
    assert origins["comparison"] == "both"
    assert origins["samples"] == 6
    assert origins["votes"] == {"culprit": 6}
    rows = {row.key: row for row in result.layers}
    assert rows["later"].verdict == rows["culprit"].verdict == "flagged"
    assert rows["later"].scores["local_both"].cosine > 0.99
    assert rows["culprit"].scores["local_both"].cosine < 0.98


def test_no_votes_where_all_is_well(network: Model) -> None:
    assert compare(network, samples(3, 3, 8, 8)).details["origins"]["votes"] == {}


def test_cost_decides_unless_asked(network: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples(2, 3, 8, 8)
    assert "local_both" in compare(network, data).layers[0].scores
    off = compare(network, data, isolate=False)
    assert "local_both" not in off.layers[0].scores
    assert not any("propagation" in layer for layer in off.details.get("layers", {}).values())
    assert "Local errors were not asked for." in off.run.notes
    monkeypatch.setattr("gfpq_inspect.analyze.session.AFFORDABLE_MULTIPLY_ADDS", 10)
    dear = compare(network, data)
    assert "local_both" not in dear.layers[0].scores
    assert any("--isolate asks for them" in note for note in dear.run.notes)
    assert "local_both" in compare(network, data, isolate=True).layers[0].scores


def test_the_cost_is_told_before(network: Model) -> None:
    told: list[str] = []

    class Listener:
        def note(self, text: str) -> None:
            told.append(text)

        def phase(self, name: str, total: int) -> None:
            assert total
            told.append(name)

        def advance(self, count: int, current: str) -> None:
            pass

    source = ArraySource({"x": samples(2, 3, 8, 8)})
    compare_networks(ComparisonRequest(first=network, source=source), Listener())
    assert told[0] == "calibrating"
    assert told[1].startswith("Each quantized layer also runs by itself")
    assert told[2] == "measuring"

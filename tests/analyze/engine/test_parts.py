"""Networks that one graph cannot hold all of: graphs and single layers by turns give what the layered engine gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged import shared as shared_module
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.merged.graph import Graph
from gfpq_inspect.analyze.engine.merged.refused import refused_layers
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

from ..networks import ArraySource, GraphMaker, samples
from ..test_random_graphs import OPERATORS, random_network
from .agreement import assert_engines_agree, assert_equal, capturing, experiment_of, noise
from .test_merged import MORE_OPERATORS, built, mixed_network

Refusing = Callable[[Model], Mapping[str, str]]


def refusing(monkeypatch: pytest.MonkeyPatch, choose: Refusing) -> None:
    """Some layers are said not to run in a graph."""
    monkeypatch.setattr(shared_module, "refused_layers", lambda model: {**refused_layers(model), **choose(model)})


def by_places(places: list[int]) -> Refusing:
    def choose(model: Model) -> dict[str, str]:
        layers = [layer.key for layer in model.layers if layer.nodes]
        return {layers[place % len(layers)]: "a test says so" for place in places}

    return choose


def layered_sums(experiment: Experiment, seed: int, count: int) -> None:
    """The parts against an engine that knows nothing of graphs."""
    feeds = noise(experiment, count, seed)
    experiment = capturing(experiment, LayeredEngine(experiment), noise(experiment, 1, seed))
    merged, layered = MergedEngine(experiment, blocked=False), LayeredEngine(experiment)
    deltas = [0] * len(experiment.points)
    assert_equal(merged.measure(feeds, count, deltas), layered.measure(feeds, count, deltas), same_order=True)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(MORE_OPERATORS), st.integers(0, 48)), min_size=1, max_size=9),
    places=st.lists(st.integers(0, 30), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    blocked=st.booleans(),
    isolate=st.booleans(),
    each=st.booleans(),
)
def test_random_networks_with_refused_layers(
    choices: list[tuple[str, int]], places: list[int], seed: int, *, blocked: bool, isolate: bool, each: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        refusing(patch, by_places(places))
        experiment = experiment_of(built(mixed_network(choices, seed)), isolate=isolate)
        merged = assert_engines_agree(experiment, noise(experiment, 3, seed), 3, blocked=blocked, each=each)
        count = sum(bool(layer.nodes) for layer in experiment.models[Side.FIRST].layers)
        refused = len(by_places(places)(experiment.models[Side.FIRST]))
        assert merged.is_merged is (refused < count), merged.notes
        if merged.is_merged:
            assert merged.notes[0].startswith(f"{refused} of {count} layers ran in the layered engine")
            assert merged.name.startswith("merged in parts")
        layered_sums(experiment, seed, 2)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 48)), min_size=1, max_size=6),
    places=st.lists(st.integers(0, 30), min_size=1, max_size=3),
    blocked=st.booleans(),
)
def test_a_tuned_network_with_refused_layers(
    choices: list[tuple[str, int]], places: list[int], *, blocked: bool
) -> None:
    first, second = built(random_network(choices, 1)), built(random_network(choices, 2))
    with pytest.MonkeyPatch.context() as patch:
        refusing(patch, lambda model: by_places(places)(model) if model is first else by_places(places[:1])(model))
        experiment = experiment_of(first, second)
        if all(len(by_places(places)(model)) < sum(bool(entry.nodes) for entry in model.layers) for model in (first,)):
            merged = assert_engines_agree(experiment, noise(experiment, 2), 2, blocked=blocked)
            assert merged.is_merged, merged.notes


def with_control_flow() -> GraphMaker:
    """A convolution, a branch that goes by the data, and two more convolutions."""
    maker = GraphMaker(seed=5)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 16))
    maker.node("ReduceMax", ["one"], "most", keepdims=0)
    maker.node("Greater", ["most", maker.constant("limit", np.float32(0.5))], "large")
    branches = {}
    for name, operator in (("then_branch", "Relu"), ("else_branch", "Neg")):
        value = helper.make_tensor_value_info(f"{name}_out", onnx.TensorProto.FLOAT, None)
        node = helper.make_node(operator, ["one"], [f"{name}_out"], name=name)
        branches[name] = helper.make_graph([node], name, [], [value])
    maker.nodes.append(helper.make_node("If", ["large"], ["chosen"], name="chosen", **branches))
    maker.conv("chosen", "two", (16, 16))
    maker.node("Relu", ["one"], "beside")
    maker.node("Add", ["two", "beside"], "sum")
    maker.node("GlobalAveragePool", ["sum"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 16, 5)], "fc")
    return maker


@pytest.mark.parametrize("blocked", [False, True])
def test_control_flow_runs_by_itself(blocked: bool) -> None:
    experiment = experiment_of(built(with_control_flow()))
    merged = assert_engines_agree(experiment, noise(experiment), blocked=blocked)
    assert merged.is_merged, merged.notes
    assert "'chosen': If is control flow" in merged.notes[0]
    assert merged.notes[0].startswith("1 of ")


def with_dynamic_shapes() -> GraphMaker:
    """A trunk, and beside its head the places of what is positive: as many as there are."""
    maker = GraphMaker(seed=5, batch=1)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 16))
    maker.node("Relu", ["one"], "two")
    maker.node("GlobalAveragePool", ["two"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 16, 5)], "fc")
    maker.node("NonZero", ["two"], "places")
    maker.node("Cast", ["places"], "numbers", to=onnx.TensorProto.FLOAT)
    maker.node("ReduceSum", ["numbers"], "total", keepdims=0)
    return maker


def test_shapes_that_go_by_the_data_run_by_themselves(tmp_path: Path) -> None:
    experiment = experiment_of(with_dynamic_shapes().build(tmp_path, "fc", "total"))
    for seed in (1, 2):
        merged = assert_engines_agree(experiment, noise(experiment, seed=seed), blocked=False)
        assert merged.is_merged, merged.notes
        assert "'places', 'numbers', 'total': the shape of its tensors depends on the data" in merged.notes[0]


def test_whole_numbers_that_differ_are_handed_over(tmp_path: Path) -> None:
    maker = GraphMaker(seed=5)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 16))
    maker.node("ArgMax", ["one"], "best", axis=1)
    maker.node("Relu", ["one"], "two")
    maker.node("GlobalAveragePool", ["two"], "fc")
    experiment = experiment_of(maker.build(tmp_path, "fc"))
    merged = assert_engines_agree(experiment, noise(experiment, 3), 3, blocked=False)
    assert merged.is_merged, merged.notes
    assert "Tensors measured beside the graph: 'best'" in merged.notes[0]


@pytest.mark.parametrize("blocked", [False, True])
def test_a_layer_that_fails_in_the_graph_goes_out_of_it(monkeypatch: pytest.MonkeyPatch, blocked: bool) -> None:
    """As where a shape is another than the trial's: ONNX Runtime names the node, whose layer then runs by itself."""
    run = Graph._run

    def failing(self: Graph, *arguments: object) -> None:
        for name, owner in self._owners.items():
            if owner == (Side.FIRST, "three"):
                raise self._blamed(RuntimeError(f"Non-zero status code. Name:'{name}' Status Message: not today"))
        run(self, *arguments)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(Graph, "_run", failing)
    maker = GraphMaker(seed=3)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 21))
    maker.node("Relu", ["one"], "two")
    maker.conv("two", "three", (21, 21))
    maker.conv("three", "four", (21, 32))
    maker.node("GlobalAveragePool", ["four"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 32, 5)], "fc")
    experiment = experiment_of(built(maker))
    merged = assert_engines_agree(experiment, noise(experiment, 2), 2, blocked=blocked)
    assert merged.is_merged, merged.notes
    assert re.search(r"1 of 7 layers .*'three': .*not today", merged.notes[0])


def test_the_report_says_what_ran_by_itself() -> None:
    request = ComparisonRequest(
        built(with_control_flow()), ArraySource({"x": samples(3, 3, 12, 12)}), engine="merged", timing=False
    )
    result = compare_networks(request)
    layered = compare_networks(
        ComparisonRequest(request.first, ArraySource({"x": samples(3, 3, 12, 12)}), engine="layered", timing=False)
    )
    assert result.run.engine.startswith("merged in parts")
    assert any("'chosen': If is control flow" in note for note in result.run.notes)
    assert [row.key for row in result.layers] == [row.key for row in layered.layers]
    assert result.layers == layered.layers
    assert result.coefficients == layered.coefficients
    assert result.coverage == layered.coverage


DETECTORS = {
    "ssd": ("ssd_res10_face/res10_300x300_ssd_iter_140000.caffemodel", "ssd_res10_face/deploy.prototxt"),
    "ssd_half": (
        "ssd_res10_face_fp16/res10_300x300_ssd_iter_140000_fp16.caffemodel",
        "ssd_res10_face_fp16/deploy.prototxt",
    ),
    "wechat": ("wechat_qr_detect/detect.caffemodel", "wechat_qr_detect/detect.prototxt"),
}


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("blocked", [False, True], ids=["plain", "blocked"])
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_run_merged_but_for_their_last_layer(shared: Path, name: str, blocked: bool) -> None:
    weights, structure = DETECTORS[name]
    network = open_network(shared / "models" / weights, shared / "models" / structure)
    experiment = experiment_of(network.build({}))
    merged = assert_engines_agree(experiment, noise(experiment), blocked=blocked)
    assert merged.is_merged, merged.notes
    assert merged.is_plain is not blocked, merged.notes
    assert re.match(
        r"1 of \d+ layers ran in the layered engine.*DetectionOutput is computed on the host", merged.notes[0]
    )


@pytest.mark.shared
@pytest.mark.parametrize("blocked", [False, True], ids=["plain", "blocked"])
@pytest.mark.parametrize("name", ["silero_vad_16k_op15.onnx", "silero_vad_op18_ifless.onnx"])
def test_a_network_with_branches_runs_merged_but_for_them(shared: Path, name: str, blocked: bool) -> None:
    network = open_network(shared / "models" / "silero_vad" / name)
    shapes = {"input": (1, 512), "state": (2, 1, 128)}
    experiment = experiment_of(network.build({key: shapes[key] for key in shapes}))
    random = np.random.default_rng(3)
    feeds = {
        Side.FIRST: {
            entry.value: random.standard_normal(entry.shape).astype(entry.dtype)
            if entry.shape
            else np.array(16000, entry.dtype)
            for entry in experiment.models[Side.FIRST].inputs
        }
    }
    merged = assert_engines_agree(experiment, feeds, blocked=blocked)
    assert merged.is_merged, merged.notes
    assert re.match(r"\d of \d+ layers ran in the layered engine.*If is control flow", merged.notes[0])

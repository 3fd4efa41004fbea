"""The merged engine against the layered one on random networks, and what it leaves to the layered one."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfpq_inspect.analyze.engine import choose
from gfpq_inspect.analyze.engine.choose import check_engine, engine_for
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import UsageError
from gfpq_inspect.models.model import Model

from ..networks import ArraySource, GraphMaker, samples
from ..test_random_graphs import OPERATORS, random_network
from .agreement import assert_engines_agree, experiment_of, noise

MORE_OPERATORS = (*OPERATORS, "tanh", "neg", "clip", "leaky", "global", "transpose", "wide", "odd")


def mixed_network(choices: list[tuple[str, int]], seed: int) -> GraphMaker:
    """As `random_network`, with the operators that the optimiser treats in ways of their own."""
    maker = GraphMaker(seed=seed)
    tensors: list[tuple[str, int]] = [(maker.input("x", 3, 12, 12), 3)]
    low, high = maker.constant("low", np.float32(-0.5)), maker.constant("high", np.float32(0.7))
    for index, (operator, place) in enumerate(choices):
        name = f"{operator}{index}"
        source, channels = tensors[place % len(tensors)]
        other, width = tensors[(place // 7) % len(tensors)]
        if operator in ("conv", "wide", "odd"):
            made = {"conv": 4, "wide": 32, "odd": 21}[operator]
            maker.conv(source, name, (channels, made))
            channels = made
        elif operator == "depthwise":
            maker.conv(source, name, (channels, channels), group=channels)
        elif operator in ("pool", "average"):
            kind = "MaxPool" if operator == "pool" else "AveragePool"
            maker.node(kind, [source], name, kernel_shape=[3, 3], pads=[1] * 4)
        elif operator == "concat":
            maker.node("Concat", [source, other], name, axis=1)
            channels += width
        elif operator in ("add", "mul"):
            maker.node(operator.capitalize(), [source, other if width == channels else source], name)
        elif operator == "clip":
            maker.node("Clip", [source, low, high], name)
        elif operator == "leaky":
            maker.node("LeakyRelu", [source], name, alpha=0.1)
        elif operator == "log":
            maker.node("Softplus", [source], name)
        elif operator == "norm":
            ones = maker.constant(f"{name}_one", np.linspace(0.5, 1.5, channels, dtype=np.float32))
            zeros = maker.constant(f"{name}_zero", np.linspace(-0.2, 0.2, channels, dtype=np.float32))
            maker.node("BatchNormalization", [source, ones, zeros, zeros, ones], name)
        elif operator == "pad":
            maker.node("Neg", [source], name)
        elif operator == "global":
            maker.node("GlobalAveragePool", [source], f"{name}_pooled")
            maker.node("Mul", [source, f"{name}_pooled"], name)
        elif operator == "transpose":
            maker.node("Transpose", [source], f"{name}_there", perm=[0, 2, 3, 1])
            maker.node("Transpose", [f"{name}_there"], name, perm=[0, 3, 1, 2])
        else:
            maker.node(operator.capitalize(), [source], name)
        tensors.append((name, channels))
    source, channels = tensors[-1]
    maker.node("GlobalAveragePool", [source], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", channels, 5)], "fc")
    return maker


def built(maker: GraphMaker, output: str = "fc") -> Model:
    with tempfile.TemporaryDirectory() as folder:
        return maker.build(Path(folder), output)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(MORE_OPERATORS), st.integers(0, 48)), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
    bits=st.sampled_from([8, 16]),
    blocked=st.booleans(),
    isolate=st.booleans(),
    each=st.booleans(),
)
def test_random_networks(
    choices: list[tuple[str, int]], seed: int, bits: int, *, blocked: bool, isolate: bool, each: bool
) -> None:
    experiment = experiment_of(built(mixed_network(choices, seed)), bits=bits, isolate=isolate)
    merged = assert_engines_agree(experiment, noise(experiment, 3, seed), 3, blocked=blocked, each=each)
    assert merged.is_merged, merged.notes


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 48)), min_size=1, max_size=6),
    blocked=st.booleans(),
)
def test_a_tuned_network_beside_the_first(choices: list[tuple[str, int]], *, blocked: bool) -> None:
    first, second = built(random_network(choices, 1)), built(random_network(choices, 2))
    experiment = experiment_of(first, second)
    merged = assert_engines_agree(experiment, noise(experiment, 2), 2, blocked=blocked)
    assert merged.is_merged, merged.notes


def wide_network(**extra: float) -> GraphMaker:
    maker = GraphMaker(seed=3)
    source = maker.input("x", 3, 12, 12)
    maker.conv(source, "one", (3, 21))
    maker.node("Relu", ["one"], "two")
    maker.conv("two", "three", (21, 32))
    maker.node("GlobalAveragePool", ["three"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 32, 5)], "fc")
    return maker


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_numbers_that_are_not_finite(value: float, blocked: bool) -> None:
    experiment = experiment_of(built(wide_network()))
    feeds = noise(experiment, 2)
    feeds[Side.FIRST]["x"][1, 2, 5, 7] = value
    merged = assert_engines_agree(experiment, feeds, 2, blocked=blocked)
    assert merged.is_merged, merged.notes


@pytest.mark.parametrize("blocked", [False, True])
def test_large_matrices_are_not_packed_in_either(blocked: bool) -> None:
    maker = GraphMaker(seed=3)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 16))
    maker.node("Flatten", ["one"], "flat")
    maker.node("Gemm", ["flat", maker.weight("large_w", 16 * 144, 1000)], "large")
    maker.node("Gemm", ["large", maker.weight("fc_w", 1000, 5)], "fc")
    experiment = experiment_of(built(maker))
    assert assert_engines_agree(experiment, noise(experiment, 2), 2, blocked=blocked).is_merged


def test_zeros_are_the_same() -> None:
    experiment = experiment_of(built(wide_network()))
    feeds = noise(experiment, scale=0.0)
    assert assert_engines_agree(experiment, feeds, blocked=True).is_merged


def test_a_blocked_network_is_blocked() -> None:
    merged = MergedEngine(experiment_of(built(wide_network())))
    assert not merged.is_plain
    assert not merged.notes
    assert merged.name.startswith("merged")


def test_metrics_of_the_callers_own_go_to_the_layered_engine() -> None:
    model = built(wide_network())
    request = ComparisonRequest(
        model,
        ArraySource({"x": samples(2, 3, 12, 12)}),
        engine="merged",
        timing=False,
        metrics={"spread": lambda x, y: float(np.abs(x - y).max())},
    )
    result = compare_networks(request)
    assert result.run.engine.startswith("layered")
    assert any("look at whole tensors" in note for note in result.run.notes)


def test_engines_give_the_same_result() -> None:
    model = built(wide_network())
    found = []
    for engine in ("merged", "layered"):
        source = ArraySource({"x": samples(3, 3, 12, 12)})
        request = ComparisonRequest(model, source, engine=engine, timing=False, coefficients="sample")
        found.append(compare_networks(request))
    assert found[0].run.engine.startswith("merged")
    assert found[1].run.engine.startswith("layered")
    assert found[0].layers == found[1].layers
    assert found[0].coefficients == found[1].coefficients


def test_an_old_runtime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfpq_inspect.analyze.engine.merged.engine.operators_refused", lambda: "too old")
    request = ComparisonRequest(
        built(wide_network()), ArraySource({"x": samples(1, 3, 12, 12)}), engine="merged", timing=False
    )
    result = compare_networks(request)
    assert result.run.engine.startswith("layered")
    assert "All layers ran in the layered engine: too old." in result.run.notes


def test_layers_that_lie_are_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(built(wide_network()))
    merged = MergedEngine(experiment)
    base = next(iter(merged._shared.bases.values()))
    for name, array in base.initializers.items():
        if array.shape == (32,):  # the padded bias of the first convolution
            base.initializers[name] = array + np.float32(0.01)
    liar = MergedEngine.__new__(MergedEngine)
    monkeypatch.setattr(
        "gfpq_inspect.analyze.engine.merged.engine.shared_of",
        lambda experiment, *, blocked=True: merged._shared if blocked else choose_plain(experiment),
    )
    liar.__init__(experiment)  # type: ignore[misc]  # made by hand, so that the weights can be damaged before
    feeds = noise(experiment)
    liar.trial(feeds, 1)
    assert liar.is_plain
    measured = liar.measure(feeds, 1, [0] * len(experiment.points))
    assert any("gives other numbers than the model's own" in note for note in liar.notes)
    plain = LayeredEngine(experiment).measure(feeds, 1, [0] * len(experiment.points))
    np.testing.assert_array_equal(measured.sums, plain.sums)


def choose_plain(experiment: object) -> object:
    from gfpq_inspect.analyze.engine.merged.shared import shared_of

    return shared_of(experiment, blocked=False)  # type: ignore[arg-type]  # a test's stand-in


def test_the_choice() -> None:
    experiment = experiment_of(built(wide_network()))
    for engine, merged in (("auto", True), ("merged", True), ("layered", False)):
        chosen = engine_for(experiment, engine=engine)
        assert isinstance(chosen, MergedEngine)
        assert chosen.is_merged is merged
        assert chosen.is_plain
    with pytest.raises(UsageError, match="engine 'fast' is unknown; give auto, merged, layered"):
        check_engine("fast")


def test_a_small_network_runs_in_batches() -> None:
    """The first batch says how large the graph's batches are."""
    experiment = experiment_of(built(wide_network()))
    engine = engine_for(experiment)
    assert isinstance(engine, MergedEngine)
    engine.trial(noise(experiment, 1), 1)
    deltas = [0] * len(experiment.points)
    expected = LayeredEngine(experiment)
    for count in (4, 1, 3, 4):
        feeds = noise(experiment, count, count)
        np.testing.assert_array_equal(
            engine.measure(feeds, count, deltas).sums, expected.measure(feeds, count, deltas).sums
        )
    assert engine.name == "merged (ONNX Runtime, all lanes in one graph)"
    assert list(engine._graphs) == ["measurement"]


def test_a_large_network_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = experiment_of(built(wide_network()))
    monkeypatch.setattr(choose, "WORTH_MULTIPLY_ADDS", 1)
    for engine, merged in (("auto", True), ("merged", True), ("layered", False)):
        chosen = engine_for(experiment, engine=engine)
        assert isinstance(chosen, MergedEngine)
        assert chosen.is_merged is merged
        assert not chosen.is_plain

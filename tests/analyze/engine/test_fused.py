"""Operators on single elements inside taps: the bits of ONNX Runtime's own kernels, whatever the numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Experiment, Feeds, Measurement
from gfpq_inspect.analyze.engine.merged import graph as graphs
from gfpq_inspect.analyze.engine.merged import operators
from gfpq_inspect.analyze.engine.merged.base import block_length
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.merged.woven import Node, Woven
from gfpq_inspect.analyze.lanes import Side

from ..networks import GraphMaker
from .agreement import assert_engines_agree, experiment_of, noise
from .test_merged import built

FUSED = {"Relu", "Clip", "LeakyRelu", "Add"}


def norm(maker: GraphMaker, source: str, name: str, channels: int) -> str:
    scale = maker.constant(f"{name}_scale", np.linspace(-0.5, 1.5, channels, dtype=np.float32))
    shift = maker.constant(f"{name}_shift", np.linspace(-0.2, 0.3, channels, dtype=np.float32))
    spread = maker.constant(f"{name}_spread", np.linspace(0.5, 2, channels, dtype=np.float32))
    maker.node("BatchNormalization", [source, scale, shift, shift, spread], name)
    return name


def every_kind(width: int = 24) -> GraphMaker:
    """Norms, activations and sums of branches, on channels that do not fill their blocks."""
    maker = GraphMaker(seed=5)
    low, high = maker.constant("low", np.float32(0.1)), maker.constant("high", np.float32(0.9))
    source = maker.input("x", 3, 40, 40)
    maker.conv(source, "one", (3, width))
    maker.node("Relu", [norm(maker, "one", "one_norm", width)], "one_relu")
    maker.conv("one_relu", "two", (width, width))
    maker.node("LeakyRelu", [norm(maker, "two", "two_norm", width)], "two_leaky", alpha=0.07)
    maker.node("Add", ["one_relu", "two_leaky"], "sum")
    maker.conv("sum", "three", (width, width))
    maker.node("Add", ["three", "sum"], "sum_again")
    maker.node("Clip", ["sum_again", low, high], "clipped")
    maker.node("Add", ["clipped", "clipped"], "twice")
    maker.conv("twice", "four", (width, 16))
    maker.node("Clip", ["four", "", high], "half_clipped")
    maker.node("GlobalAveragePool", ["half_clipped"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 16, 5)], "fc")
    return maker


def measured(experiment: Experiment, feeds: Feeds, *, blocked: bool, each: bool = False) -> Measurement:
    engine = MergedEngine(experiment, blocked=blocked)
    engine.trial(feeds, 1)
    found = engine.measure(feeds, 1, [EACH_SAMPLE if each else -40] * len(experiment.points))
    assert engine.is_merged, engine.notes
    return found


def operators_left(monkeypatch: pytest.MonkeyPatch, experiment: Experiment, *, blocked: bool) -> Counter[str]:
    """Operators that are nodes of the graph of all lanes."""
    left: Counter[str] = Counter()
    fuse = graphs.fuse

    def counted(woven: Woven, exact: frozenset[str]) -> None:
        fuse(woven, exact)
        left.update(task.source.op_type for task in woven.tasks if isinstance(task, Node))

    monkeypatch.setattr(graphs, "fuse", counted)
    measured(experiment, noise(experiment), blocked=blocked)
    return left


def test_the_kernels_here_are_matched() -> None:
    assert operators.exact_transforms(0) == set("rlkpo")
    assert operators.exact_transforms(block_length()) == set("rlkpob")


def test_a_kernel_that_rounds_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    words, node, constants = next(entry for entry in operators._kernels(0) if entry[1].op_type == "LeakyRelu")
    node.attribute[0].f = float(np.nextafter(np.float32(node.attribute[0].f), np.float32(1)))
    assert not operators._is_exact(words, node, constants, 0)
    monkeypatch.setattr(graphs, "exact_transforms", lambda _: frozenset("r"))
    left = operators_left(monkeypatch, experiment_of(built(every_kind()), isolate=False), blocked=True)
    assert left["LeakyRelu"] > 0
    assert left["Relu"] == 0


@pytest.mark.parametrize("blocked", [False, True])
def test_what_stands_between_taps_is_in_them(monkeypatch: pytest.MonkeyPatch, blocked: bool) -> None:
    experiment = experiment_of(built(every_kind()), isolate=False)
    left = operators_left(monkeypatch, experiment, blocked=blocked)
    # Only the sum of a tensor with itself stays; of four convolutions and two norms in four lanes, the convolutions.
    assert {operator for operator in left if operator in FUSED} <= {"Add"}
    assert left["Add"] <= 4
    if blocked:
        assert left["Conv"] <= 16


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("isolate", [False, True])
def test_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch, blocked: bool, each: bool, isolate: bool) -> None:
    experiment = experiment_of(built(every_kind()), isolate=isolate)
    feeds = noise(experiment)
    one = measured(experiment, feeds, blocked=blocked, each=each)
    monkeypatch.setattr(graphs, "exact_transforms", lambda _: frozenset())
    other = measured(experiment, feeds, blocked=blocked, each=each)
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.isolation, other.isolation)
    assert one.evidence == other.evidence


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_any_bits(monkeypatch: pytest.MonkeyPatch, blocked: bool, seed: int) -> None:
    """Infinities, NaNs, zeros of both signs and denormals on the way in: not a bit differs."""
    experiment = experiment_of(built(every_kind()), isolate=False)
    feeds = noise(experiment, seed=seed)
    words = feeds[Side.FIRST]["x"].reshape(-1).view(np.uint32)
    random = np.random.default_rng(seed)
    special = np.array([0x80000000, 1, 0x80000001, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFC12345], np.uint32)
    words[random.integers(0, words.size, 12)] = random.choice(special, 12)
    experiment = replace(experiment, captured=tuple(row.key for row in experiment.rows))
    one = measured(experiment, feeds, blocked=blocked, each=bool(seed % 2))
    monkeypatch.setattr(graphs, "exact_transforms", lambda _: frozenset())
    other = measured(experiment, feeds, blocked=blocked, each=bool(seed % 2))
    np.testing.assert_array_equal(one.sums, other.sums)
    for key, array in other.captured.items():
        np.testing.assert_array_equal(one.captured[key].view(np.uint32), array.view(np.uint32), err_msg=str(key))


def test_engines_agree() -> None:
    experiment = experiment_of(built(every_kind()))
    assert assert_engines_agree(experiment, noise(experiment, 2), 2, blocked=True, each=True).is_merged

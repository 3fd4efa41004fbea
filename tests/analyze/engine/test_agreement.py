"""Engines on random networks: equal bit for bit where they share their kernels, clause by clause where they do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from gfpq_inspect.analyze.engine import choose
from gfpq_inspect.analyze.engine.interface import Feeds
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.tensors import aligned
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.quantize import Gfpq, gfpq_of, kernels

from ..networks import ArraySource, GraphMaker
from . import clauses
from .agreement import assert_engines_agree, capturing, coefficients, experiment_of, noise, stacks
from .clauses import Pair, logistic_values
from .random_graphs import OPERATORS, SCALES, Choice, built, random_graph
from .test_merged import built as built_of
from .thresholds import distances

CHOICES = st.lists(
    st.tuples(st.sampled_from(sorted(OPERATORS)), st.integers(0, 20), st.integers(0, 10**6)), min_size=1, max_size=12
)
SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
UNUSUAL = (np.nan, np.inf, -np.inf, 1e38)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers out of range are part of the game


def spoiled(feeds: Feeds, value: float | None, place: int) -> Feeds:
    """One number of every input is another one."""
    if value is not None:
        for arrays in feeds.values():
            for array in arrays.values():
                array.flat[place % array.size] = value
    return feeds


@settings(max_examples=150, **SETTINGS)
@given(
    choices=CHOICES,
    seed=st.integers(0, 10**6),
    outputs=st.integers(0, 3),
    samples=st.integers(1, 3),
    scale=st.sampled_from(SCALES),
    unusual=st.none() | st.sampled_from(UNUSUAL),
    bits=st.sampled_from([8, 16]),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_merged_and_layered_are_equal(
    *,
    choices: list[Choice],
    seed: int,
    outputs: int,
    samples: int,
    scale: float,
    unusual: float | None,
    bits: int,
    flags: tuple[bool, bool, bool],
) -> None:
    blocked, isolate, each = flags
    experiment = experiment_of(built(random_graph(choices, seed), outputs), bits=bits, isolate=isolate)
    if samples > 1 and not stacks(experiment, noise(experiment, samples, seed), samples):
        samples = 1
    feeds = spoiled(noise(experiment, samples, seed, scale), unusual, seed)
    assert_engines_agree(experiment, feeds, samples, blocked=blocked, each=each)


@settings(max_examples=100, **SETTINGS)
@given(
    choices=CHOICES,
    seed=st.integers(0, 10**6),
    samples=st.integers(2, 5),
    unusual=st.none() | st.sampled_from(UNUSUAL),
    bits=st.sampled_from([8, 16]),
    isolate=st.booleans(),
    each=st.booleans(),
)
def test_stacked_and_layered_are_equal(
    *, choices: list[Choice], seed: int, samples: int, unusual: float | None, bits: int, isolate: bool, each: bool
) -> None:
    """A graph of a whole batch; batches of another size come from the layered engine, with the same bits."""
    model = replace(built(random_graph(choices, seed), 1), batchable=True)  # if it is not, the next line finds out
    experiment = experiment_of(model, bits=bits, isolate=isolate)
    assume(stacks(experiment, noise(experiment, samples, seed), samples))
    feeds = spoiled(noise(experiment, samples, seed), unusual, seed)
    merged = assert_engines_agree(experiment, feeds, samples, blocked=False, each=each, stacked=True)
    assert merged.is_plain
    assume(merged.is_merged)
    layered = LayeredEngine(merged.experiment)
    for count in {1, samples - 1}:
        fewer = noise(experiment, count, seed + 1)
        magnitudes = layered.calibrate(fewer, count)
        np.testing.assert_array_equal(merged.calibrate(fewer, count), magnitudes)
        deltas = coefficients(experiment, magnitudes)
        found, expected = merged.measure(fewer, count, deltas), layered.measure(fewer, count, deltas)
        np.testing.assert_array_equal(found.sums, expected.sums)


@settings(max_examples=60, **SETTINGS)
@given(choices=CHOICES, seed=st.integers(0, 10**6), bits=st.sampled_from([8, 16]), in_torch=st.booleans())
def test_other_kernels_keep_every_clause(choices: list[Choice], seed: int, bits: int, *, in_torch: bool) -> None:
    # Numbers that grow without end, or functions with steps, take rounding anywhere.
    choices = [one for one in choices if one[0] not in ("exotic", "norm", "reduced")]
    assume(choices)
    experiment = experiment_of(built(random_graph(choices, seed)), bits=bits)
    feeds = noise(experiment, 1, seed)
    experiment = capturing(experiment, LayeredEngine(experiment), feeds)
    plain = LayeredEngine(experiment)
    deltas = coefficients(experiment, plain.calibrate(feeds, 1))
    if in_torch:
        pytest.importorskip("torch")
        from gfpq_inspect.analyze.engine.torch_layered import TorchEngine

        other: LayeredEngine = TorchEngine(experiment, "cpu")
    else:
        other = MergedEngine(experiment, merge=False)
    other.trial(feeds, 1)
    pair = Pair(experiment, other.measure(feeds, 1, deltas), plain.measure(feeds, 1, deltas), deltas)
    pair.loose = logistic_values(experiment.models)
    pair.check()


def close(one: float | None, other: float | None) -> bool:
    """Scores within what sums in another order leave of them."""
    if one is None or other is None or one == other:
        return one is other or one == other
    return abs(one - other) <= 1e-6


@settings(max_examples=40, **SETTINGS)
@given(
    choices=CHOICES,
    seed=st.integers(0, 10**6),
    samples=st.integers(1, 4),
    bits=st.sampled_from([8, 16]),
    each=st.booleans(),
    isolate=st.booleans(),
    workers=st.integers(1, 2),
)
def test_results_of_both_engines(
    *, choices: list[Choice], seed: int, samples: int, bits: int, each: bool, isolate: bool, workers: int
) -> None:
    model = built(random_graph(choices, seed), 1)
    random = np.random.default_rng(seed)
    data = {e.name: random.standard_normal((samples, *e.shape[1:])).astype(np.float32) for e in model.inputs}
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "WORTH_MULTIPLY_ADDS", 1)  # the same kernels in both
        for engine in ("merged", "layered"):
            request = ComparisonRequest(
                model,
                ArraySource(data),
                bits=bits,
                isolate=isolate,
                coefficients="sample" if each else "set",
                workers=workers,
                engine=engine,
                timing=False,
            )
            found.append(compare_networks(request))
    one, other = found
    assert one.coefficients == other.coefficients
    assert [entry.id for entry in one.findings] == [entry.id for entry in other.findings]
    for row, twin in zip(one.layers, other.layers, strict=True):
        assert row.key == twin.key
        for name, scores in row.scores.items():
            twin_scores = twin.scores[name]
            assert (scores.status, scores.count) == (twin_scores.status, twin_scores.count), (row.key, name)
            assert close(scores.cosine, twin_scores.cosine), (row.key, name)
            assert scores.max_abs_error == twin_scores.max_abs_error, (row.key, name)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("delta", [-200, -77, 5])
def test_distances_are_those_of_the_quantizer(bits: int, delta: int) -> None:
    """Numbers just below and just above where the quantizer takes another code are near a threshold, others not."""
    grid = gfpq_of(bits)
    assert isinstance(grid, Gfpq)
    low, high = grid.value(0, delta) / 8, grid.value(grid.highest_code, delta) * 2
    values = np.geomspace(low, high, 400_001).astype(np.float32)
    for signed in (values, -values):
        codes = kernels.apply(np.ascontiguousarray(signed), bits, delta)
        changes = np.flatnonzero(codes[1:] != codes[:-1])
        assert len(changes) >= grid.highest_code
        step = float(np.max(values[1:] / values[:-1])) - 1
        near = np.minimum(distances(signed[changes], grid, delta), distances(signed[changes + 1], grid, delta))
        assert near.max() <= step
        middle = grid.magnitudes(delta)[1:].astype(np.float32)
        far = distances(np.copysign(middle, signed[0]), grid, delta)
        assert far.min() > 0.9 * (2 ** (0.5 / grid.steps_per_octave) - 1)


def test_a_code_far_from_a_threshold_is_found() -> None:
    """The check itself: an engine that quantizes wrongly, and one whose float lane is off, do not pass."""
    maker = GraphMaker(seed=1)
    maker.conv(maker.input("x", 3, 12, 12), "one", (3, 16))
    maker.conv("one", "two", (16, 16))
    experiment = experiment_of(built_of(maker, "two"))
    feeds = noise(experiment)
    experiment = capturing(experiment, LayeredEngine(experiment), feeds)
    engine = LayeredEngine(experiment)
    deltas = coefficients(experiment, engine.calibrate(feeds, 1))
    right, wrong = engine.measure(feeds, 1, deltas), engine.measure(feeds, 1, deltas)
    Pair(experiment, wrong, right, deltas).check()
    lane = wrong.captured["one", "data"].copy()
    lane.flat[7] *= 1.05
    wrong.captured["one", "data"] = lane
    with pytest.raises(AssertionError, match="one"):
        Pair(experiment, wrong, right, deltas).check()
    wrong = engine.measure(feeds, 1, deltas)
    lane = wrong.captured["two", "float"].copy()
    lane.flat[7] += 2 * clauses.TENSOR * np.abs(lane).max()
    wrong.captured["two", "float"] = lane
    with pytest.raises(AssertionError, match="two"):
        Pair(experiment, wrong, right, deltas).check()


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolutions_are_equal(stride: int) -> None:
    """Their kernel adds in another order where it finds its weights in the graph."""
    maker = GraphMaker(seed=2, batch=1)
    maker.node("Relu", [maker.input("x", 17, 9, 9)], "relu")
    maker.node("ConvTranspose", ["relu", maker.weight("w", 17, 16, 4, 4)], "up", strides=[stride] * 2)
    experiment = experiment_of(built_of(maker, "up"))
    assert assert_engines_agree(experiment, noise(experiment), blocked=True).is_merged


def test_samples_inside_a_batch_start_anywhere() -> None:
    """An odd number of values a sample: sums of vectors begin elsewhere in every one of them."""
    maker = GraphMaker(seed=3)
    gamma, beta = maker.weight("g", 17), maker.weight("b", 17)
    maker.node("InstanceNormalization", [maker.input("x", 17, 7, 7), gamma, beta], "norm")
    experiment = experiment_of(built_of(maker, "norm"))
    feeds = noise(experiment, 3)
    engine = LayeredEngine(experiment)
    together = engine.trial(feeds, 3, digests=True).digests[Side.FIRST, "norm"]
    for index in range(3):
        alone = {Side.FIRST: {"x": feeds[Side.FIRST]["x"][index : index + 1].copy()}}
        assert engine.trial(alone, 1, digests=True).digests[Side.FIRST, "norm"] == together[index : index + 1]
    array = np.arange(9, dtype=np.float32)[1:]
    assert aligned(array) is not array
    np.testing.assert_array_equal(aligned(array), array)


def test_windows_with_nan_are_pooled_alike() -> None:
    maker = GraphMaker(seed=3, batch=1)
    maker.conv(maker.input("x", 3, 9, 9), "one", (3, 32))
    maker.node("Softmax", ["one"], "soft", axis=1)
    maker.node("MaxPool", ["soft"], "pool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    experiment = experiment_of(built_of(maker, "pool"))
    feeds = noise(experiment, 3)
    feeds[Side.FIRST]["x"][1, 0, 3, 4] = np.nan
    assert assert_engines_agree(experiment, feeds, 3, blocked=True).is_merged


def test_energies_beyond_a_double_do_not_end_a_comparison() -> None:
    maker = GraphMaker(seed=3, batch=1)
    maker.conv(maker.input("x", 3, 6, 6), "one", (3, 4))
    norm = [maker.constant(name, np.ones(4, np.float32)) for name in ("scale", "shift", "mean", "variance")]
    maker.node("BatchNormalization", ["one", *norm], "norm")
    maker.node("Exp", ["norm"], "high")
    maker.conv("high", "two", (4, 4))
    data = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32) * np.float32(1e30)
    data[0, 0, 0, 0] = np.nan
    result = compare_networks(ComparisonRequest(built_of(maker, "two"), ArraySource({"x": data}), timing=False))
    assert [row.key for row in result.layers][-1] == "two"

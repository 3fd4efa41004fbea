"""Evidence that taps take in the merged graph, against what the layered engine counts in whole tensors with NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfpq_inspect.analyze.channels import FIELDS, ChannelEvidence, ChannelMeasurer, EvidenceMeasurement
from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Experiment, Feeds
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.merged.looks import EvidenceSums
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.analyze.tiles import STRIDE, TILE_POSITIONS, sampled, sampled_positions

from ..networks import ArraySource, GraphMaker, samples
from ..test_random_graphs import OPERATORS, random_network
from .agreement import FLOAT_BOUND, FLOAT_CHUNK, coefficients, experiment_of, noise
from .test_merged import MORE_OPERATORS, built, mixed_network, wide_network
from .test_merged_real import model_of

COUNTED = [FIELDS.index(name) for name in ("count", "zeros_x", "zeros_y", "max_x", "max_y")]


def part_of(feeds: Feeds, index: int, count: int) -> Feeds:
    return {
        side: {
            name: np.ascontiguousarray(np.split(array, count)[index]) if array.ndim else array
            for name, array in arrays.items()
        }
        for side, arrays in feeds.items()
    }


def both_ways(
    experiment: Experiment,
    feeds: Feeds,
    count: int,
    *,
    blocked: bool,
    stride: int,
    each: bool = False,
    stacked: bool = False,
) -> tuple[ChannelEvidence, ChannelEvidence]:
    """Evidence of the taps, and that of the layered engine with the same kernels."""
    merged = MergedEngine(experiment, blocked=blocked, stacked=stacked)
    layered = MergedEngine(experiment, blocked=blocked, merge=False)
    merged.look_at(stride)
    facts = merged.trial(part_of(feeds, 0, count), 1)
    layered.trial(part_of(feeds, 0, count), 1)
    deltas = coefficients(experiment, layered.calibrate(feeds, count), each=each)
    sums = EvidenceSums(experiment, facts.shapes)
    measured = merged.measure_and_look(feeds, count, deltas, looked_at=range(count))
    assert merged.is_merged, merged.notes
    assert [index for index, _ in measured.looks] == list(range(count))
    for index, looks in measured.looks:
        sums.add(index, looks)
    reduced = layered.with_fewer_lanes(experiment.lanes, lambda part: ChannelMeasurer(part, deltas, stride))
    expected = ChannelEvidence()
    for index in range(count):
        one = reduced.measure(part_of(feeds, index, count), 1, deltas)
        assert isinstance(one, EvidenceMeasurement)
        one.channels.number(index)
        expected.add(one.channels)
    return sums.result(), expected


def assert_same(found: ChannelEvidence, expected: ChannelEvidence) -> None:
    """Counts, extremes and elements exactly, sums to their last digits."""
    assert found.samples == expected.samples
    assert found.rows.keys() == expected.rows.keys()
    for key, table in expected.rows.items():
        assert_tables(found.rows[key], table, str(key))
    assert found.points.keys() == expected.points.keys()
    for index, point in expected.points.items():
        one = found.points[index]
        assert_tables(one.channels, point.channels, str(index))
        np.testing.assert_array_equal(one.histogram, point.histogram)
        for name in ("finite", "nonzero", "flushed", "snapped", "beyond"):
            assert getattr(one, name) == getattr(point, name), name
        np.testing.assert_allclose([one.signal, one.floor_error], [point.signal, point.floor_error], rtol=1e-9)
    assert found.first_tensors.keys() == expected.first_tensors.keys()
    assert found.varying == expected.varying
    assert found.histograms.keys() == expected.histograms.keys()
    for index, counted in expected.histograms.items():
        one = found.histograms[index]
        np.testing.assert_array_equal(one.counts, counted.counts)
        assert one.worst == counted.worst
        assert one.density is not None
        assert counted.density is not None
        assert one.density.exponent == counted.density.exponent
        np.testing.assert_array_equal(one.density.cells, counted.density.cells)


def assert_tables(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert found.shape == expected.shape, what
    np.testing.assert_array_equal(found[:, COUNTED], expected[:, COUNTED], err_msg=what)
    column = {name: FIELDS.index(name) for name in FIELDS}
    energy = np.maximum(expected[:, column["xx"]], expected[:, column["yy"]])
    size = np.sqrt(energy * np.maximum(expected[:, column["count"]], 1))
    bound = np.where(expected[:, column["count"]] >= FLOAT_CHUNK, FLOAT_BOUND, 1e-12)
    for name in ("x", "y", "d"):
        difference = np.abs(found[:, column[name]] - expected[:, column[name]])
        assert np.all(difference <= bound * size), (what, name)
    for name in ("xx", "yy", "xy"):
        difference = np.abs(found[:, column[name]] - expected[:, column[name]])
        assert np.all(difference <= bound * energy), (what, name)
    difference = np.abs(found[:, column["dd"]] - expected[:, column["dd"]])
    assert np.all(difference <= np.maximum(bound, 1e-9) * expected[:, column["dd"]]), (what, "dd")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(MORE_OPERATORS), st.integers(0, 48)), min_size=1, max_size=7),
    seed=st.integers(0, 1000),
    stride=st.sampled_from([1, 2, 3, STRIDE]),
    blocked=st.booleans(),
    isolate=st.booleans(),
    each=st.booleans(),
)
def test_random_networks(
    choices: list[tuple[str, int]], seed: int, stride: int, *, blocked: bool, isolate: bool, each: bool
) -> None:
    experiment = experiment_of(built(mixed_network(choices, seed)), isolate=isolate)
    feeds = noise(experiment, 3, seed)
    assert_same(*both_ways(experiment, feeds, 3, blocked=blocked, stride=stride, each=each))


@pytest.mark.parametrize("each", [False, True])
def test_samples_of_a_stacked_batch(*, each: bool) -> None:
    experiment = experiment_of(built(wide_network()))
    feeds = noise(experiment, 3)
    assert_same(*both_ways(experiment, feeds, 3, blocked=False, stride=2, each=each, stacked=True))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 48)), min_size=1, max_size=6),
    stride=st.sampled_from([1, 2]),
    blocked=st.booleans(),
)
def test_a_tuned_network_beside_the_first(choices: list[tuple[str, int]], stride: int, *, blocked: bool) -> None:
    experiment = experiment_of(built(random_network(choices, 1)), built(random_network(choices, 2)))
    assert_same(*both_ways(experiment, noise(experiment, 2), 2, blocked=blocked, stride=stride))


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, 1e-42])
def test_numbers_that_are_hard(value: float, blocked: bool) -> None:
    experiment = experiment_of(built(wide_network()))
    feeds = noise(experiment, 2)
    feeds[Side.FIRST]["x"][1, 2, 5, 7] = value
    with np.errstate(over="ignore", invalid="ignore"):
        assert_same(*both_ways(experiment, feeds, 2, blocked=blocked, stride=2))


@pytest.mark.parametrize("blocked", [False, True])
def test_equal_samples_do_not_vary(blocked: bool) -> None:
    experiment = experiment_of(built(wide_network()))
    one = noise(experiment, 1)[Side.FIRST]["x"]
    found, expected = both_ways(
        experiment, {Side.FIRST: {"x": np.concatenate([one, one])}}, 2, blocked=blocked, stride=1
    )
    assert_same(found, expected)
    assert not found.varying
    assert found.first_tensors


@pytest.mark.parametrize("bits", [8, 16])
def test_large_planes_are_sampled(bits: int) -> None:
    maker = GraphMaker(seed=3)
    maker.conv(maker.input("x", 3, 40, 44), "one", (3, 21))
    maker.node("Relu", ["one"], "two")
    maker.conv("two", "three", (21, 16))
    maker.node("GlobalAveragePool", ["three"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 16, 5)], "fc")
    experiment = experiment_of(built(maker), bits=bits)
    found, expected = both_ways(experiment, noise(experiment, 2), 2, blocked=True, stride=STRIDE)
    assert_same(found, expected)
    index = next(place for place, row in enumerate(experiment.rows) if row.key == "one")
    looked = len(sampled_positions(40 * 44, STRIDE)) * 21 * 2
    assert found.histograms[index].counts[0].sum() == looked
    assert looked / (40 * 44 * 21 * 2) == pytest.approx(1 / STRIDE, abs=0.02)
    assert found.rows[index, "both"][:, 0].sum() == 40 * 44 * 21 * 2


def test_tiles_take_every_column_in_turn() -> None:
    image = np.arange(2 * 3 * 64 * 128, dtype=np.float64).reshape(2, 3, 64, 128)
    looked = sampled(image, STRIDE)
    assert looked.shape == (3, 2, 64 * TILE_POSITIONS)
    columns = {int(value) % 128 // TILE_POSITIONS for value in looked.reshape(-1)}
    assert columns == set(range(128 // TILE_POSITIONS))
    np.testing.assert_array_equal(sampled(image, 1).reshape(-1), np.moveaxis(image, 1, 0).reshape(-1))
    np.testing.assert_array_equal(sampled(np.arange(5.0), STRIDE), [[np.arange(5.0)]])


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["retinaface", "yunet_n", "ocr_detector", "ultraface_onnx"])
def test_real_networks(shared: Path, name: str) -> None:
    experiment = experiment_of(model_of(shared, name), isolate=False)
    assert_same(*both_ways(experiment, noise(experiment), 1, blocked=True, stride=STRIDE))


def test_each_sample_is_a_coefficient_of_its_own() -> None:
    experiment = experiment_of(built(wide_network()))
    feeds = noise(experiment, 2)
    merged = MergedEngine(experiment)
    merged.look_at(1)
    merged.trial(part_of(feeds, 0, 2), 1)
    one = merged.measure_and_look(feeds, 2, None, looked_at=[1]).looks
    other = merged.measure_and_look(feeds, 2, [EACH_SAMPLE] * len(experiment.points), looked_at=[1]).looks
    assert [index for index, _ in one] == [1]
    np.testing.assert_array_equal(one[0][1].codes, other[0][1].codes)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_comparison_takes_its_evidence_on_the_way(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """No second pass; the findings and what the report shows are those of the layered engine with its own pass."""

    def compared(engine: str) -> Result:
        source = ArraySource({"x": samples(count, 3, 12, 12)})
        return compare_networks(ComparisonRequest(built(wide_network()), source, engine=engine, timing=False))

    layered = compared("layered")

    def never(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a second pass")

    monkeypatch.setattr("gfpq_inspect.analyze.session.gather_evidence", never)
    merged = compared("merged")
    assert merged.run.engine.startswith("merged")
    assert merged.findings == layered.findings
    assert merged.details["evidence_samples"] == layered.details["evidence_samples"] == count
    assert merged.details["evidence_share"] == layered.details["evidence_share"] == 1 / STRIDE
    for key, entry in layered.details["layers"].items():
        for name in ("values", "errors", "density", "worst", "codes"):
            assert merged.details["layers"][key].get(name) == entry.get(name), (key, name)

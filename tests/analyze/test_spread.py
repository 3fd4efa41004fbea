"""Mean, minimum and percentile over samples, exact while few and bounded when many."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.analyze.spread import COSINE_SCALE, DECIBEL_SCALE, EXACT_SAMPLES, RATIO_SCALE, SpreadCollector


def collect(scores: np.ndarray, scale=DECIBEL_SCALE, batch: int = 7) -> SpreadCollector:
    collector = SpreadCollector(scores.shape[1], scale)
    for first in range(0, len(scores), batch):
        collector.add(scores[first : first + batch])
    return collector


def test_few_samples_are_exact() -> None:
    scores = np.random.default_rng(0).normal(30, 5, (100, 3))
    spread = collect(scores).spread(1, [f"s{i}" for i in range(100)])
    assert spread is not None
    assert spread.mean == pytest.approx(scores[:, 1].mean())
    assert spread.minimum == scores[:, 1].min()
    assert spread.minimum_sample == f"s{scores[:, 1].argmin()}"
    assert spread.percentile_5 == np.sort(scores[:, 1])[4]


@pytest.mark.parametrize("batch", [1, 64, 5000])
def test_many_samples_are_good_to_half_a_bin(batch: int) -> None:
    random = np.random.default_rng(1)
    decibels = random.normal(30, 5, (5000, 2))
    spread = collect(decibels, batch=batch).spread(0, [str(i) for i in range(5000)])
    assert spread is not None
    assert spread.percentile_5 == pytest.approx(np.sort(decibels[:, 0])[249], abs=0.126)
    assert spread.minimum == decibels[:, 0].min()
    cosine = 1 - 10 ** random.uniform(-7, -1, (5000, 1))
    spread = collect(cosine, COSINE_SCALE, batch).spread(0, [str(i) for i in range(5000)])
    assert spread is not None
    assert 1 - spread.percentile_5 == pytest.approx(1 - np.sort(cosine[:, 0])[249], rel=0.046)


def test_batches_change_nothing() -> None:
    scores = np.random.default_rng(2).normal(30, 5, (EXACT_SAMPLES + 50, 4))
    scores[5, 2] = np.nan
    names = [str(i) for i in range(len(scores))]
    wanted = [collect(scores, batch=1).spread(cell, names) for cell in range(4)]
    for batch in (3, EXACT_SAMPLES, len(scores)):
        assert [collect(scores, batch=batch).spread(cell, names) for cell in range(4)] == wanted


def test_undefined_scores_count_for_nothing() -> None:
    scores = np.array([[np.nan, 3.0], [np.nan, np.nan], [np.nan, 1.0]])
    collector = collect(scores)
    assert collector.spread(0, ["a", "b", "c"]) is None
    spread = collector.spread(1, ["a", "b", "c"])
    assert spread is not None
    assert (spread.mean, spread.minimum, spread.minimum_sample) == (2.0, 1.0, "c")


def test_memory_does_not_grow_with_samples() -> None:
    collector = SpreadCollector(10, COSINE_SCALE)
    for _ in range(40):
        collector.add(np.full((EXACT_SAMPLES, 10), 0.999))
    assert collector._kept is None
    assert collector._bins is not None
    assert collector._bins.sum() == 40 * EXACT_SAMPLES * 10


def test_extremes_stay_in_range() -> None:
    scores = np.tile(np.array([[1.0], [-1.0], [0.0]]), (400, 1))
    spread = collect(scores, COSINE_SCALE).spread(0, [str(i) for i in range(1200)])
    assert spread is not None
    assert spread.percentile_5 == pytest.approx(-1.0, rel=0.05)


def test_deviation_keeps_what_squares_about_zero_would_lose() -> None:
    scores = 1 - np.random.default_rng(3).uniform(1e-9, 3e-9, (700, 2))
    scores[::7, 1] = np.nan
    for cell in range(2):
        column = scores[:, cell][~np.isnan(scores[:, cell])]
        spread = collect(scores, COSINE_SCALE).spread(cell, [str(i) for i in range(700)])
        assert spread is not None
        assert spread.samples == len(column)
        assert spread.deviation == pytest.approx(column.std(ddof=1), rel=1e-6)
        assert spread.maximum is None


def test_one_sample_has_no_deviation() -> None:
    spread = collect(np.array([[3.0]])).spread(0, ["a"])
    assert spread is not None
    assert (spread.samples, spread.deviation, spread.percentile_50) == (1, None, 3.0)


@pytest.mark.parametrize("count", [100, 3000])
def test_both_ends_of_a_ratio(count: int) -> None:
    ratios = np.exp(np.random.default_rng(4).normal(0, 0.2, (count, 1)))
    collector = SpreadCollector(1, RATIO_SCALE, upper=True)
    for first in range(0, count, 64):
        collector.add(ratios[first : first + 64])
    spread = collector.spread(0, [str(i) for i in range(count)])
    assert spread is not None
    ordered = np.sort(ratios[:, 0])
    assert (spread.maximum, spread.maximum_sample) == (ordered[-1], str(ratios[:, 0].argmax()))
    for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99):
        value = getattr(spread, f"percentile_{percent}")
        assert value == pytest.approx(ordered[int(np.ceil(percent * count / 100)) - 1], rel=0.006)

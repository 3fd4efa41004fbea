"""Intervals and tests of paired shares, against published examples, direct sums and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gfpq_inspect.analyze.paired import Pairs, mcnemar_p_value, paired_difference_interval, wilson_interval


def test_wilson_against_a_published_example() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    for successes, total, expected in [
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ]:
        assert wilson_interval(successes, total) == pytest.approx(expected, abs=5e-5)
    assert wilson_interval(29, 29)[1] == 1.0


def test_paired_interval_against_a_published_example() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10, first example."""
    assert paired_difference_interval(Pairs(36, 12, 2, 0)) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_lanes_that_never_differ_are_not_certain() -> None:
    low, high = paired_difference_interval(Pairs(990, 0, 0, 10))
    assert low < 0 < high
    assert high < 0.005
    one = paired_difference_interval(Pairs(1, 0, 0, 0))
    assert -1 <= one[0] < 0 < one[1] <= 1


def test_order_of_the_lanes_turns_the_interval_round() -> None:
    low, high = paired_difference_interval(Pairs(900, 12, 5, 83))
    assert paired_difference_interval(Pairs(900, 5, 12, 83)) == pytest.approx((-high, -low))


def test_intervals_cover_what_they_say() -> None:
    random = np.random.default_rng(3)
    shares = np.array([0.93, 0.02, 0.008, 0.042])
    drawn = random.multinomial(1000, shares, size=2000)
    truth = shares[1] - shares[2]
    covered = sum(
        low <= truth <= high for low, high in (paired_difference_interval(Pairs(*row)) for row in drawn.tolist())
    )
    assert 0.93 <= covered / len(drawn) <= 0.985


@pytest.mark.parametrize("first", [0, 1, 5, 30])
@pytest.mark.parametrize("second", [0, 3, 30])
def test_mcnemar_is_the_binomial_tail(first: int, second: int) -> None:
    differing = first + second
    tail = sum(math.comb(differing, count) for count in range(min(first, second) + 1)) / 2**differing
    assert mcnemar_p_value(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_many_samples_stays_finite() -> None:
    assert 0 <= mcnemar_p_value(100_000, 90_000) < 1e-50

"""Student's t against tables and against SciPy."""

from __future__ import annotations

import pytest

from gfpq_inspect.gate.confidence import mean_margin, t_quantile


@pytest.mark.parametrize(
    ("level", "freedom", "expected"),
    [(0.95, 1, 6.31375), (0.95, 2, 2.91999), (0.95, 5, 2.01505), (0.975, 10, 2.22814), (0.99, 30, 2.45726),
     (0.5, 7, 0.0), (0.95, 1_000_000, 1.644854)],
)  # fmt: skip
def test_the_printed_table(level: float, freedom: int, expected: float) -> None:
    assert t_quantile(level, freedom) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 8, 63, 64, 449, 99_999])
@pytest.mark.parametrize("level", [0.6, 0.9, 0.999, 0.99999])
def test_against_scipy(level: float, freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(level, freedom) == pytest.approx(float(stats.t.ppf(level, freedom)), rel=1e-7)


def test_margin_of_the_documented_example() -> None:
    assert mean_margin(0.1, 25, 0.95) == pytest.approx(0.0342, abs=5e-5)

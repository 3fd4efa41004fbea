"""How far the mean of some samples may lie from the mean of all: Student's t, for any number of samples."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

NORMAL_FROM = 100_000
"""Degrees of freedom from which t and the normal distribution agree to five digits."""


def mean_margin(deviation: float, samples: int, confidence: float) -> float:
    """One-sided margin of a mean: t(confidence, n - 1) * s / sqrt(n).

    Args:
        deviation: Sample standard deviation s, divisor n - 1.
        samples: n, at least 2.
        confidence: Level, from 0.5 to below 1; 0.95 says that the true mean lies above mean - margin in 19 cases of 20.

    Returns:
        The margin, in the unit of the deviation. For s = 0.1, n = 25 and 0.95: 1.7109 * 0.1 / 5 = 0.0342.
    """
    return t_quantile(confidence, samples - 1) * deviation / math.sqrt(samples)


@cache
def t_quantile(level: float, freedom: int) -> float:
    """The value that Student's t of some degrees of freedom stays below with a probability.

    Args:
        level: Probability, from 0.5 to below 1.
        freedom: Degrees of freedom, at least 1.
    """
    if freedom >= NORMAL_FROM:
        return NormalDist().inv_cdf(level)
    # t = sqrt(v) tan(a): the angle is bounded, so bisection needs no guess of the range.
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 + _central(middle, freedom) / 2 < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _central(angle: float, freedom: int) -> float:
    """P(|t| < sqrt(v) tan(angle)): finite sums for whole v (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    sine, squared = math.sin(angle), math.cos(angle) ** 2
    if freedom == 1:
        return 2 * angle / math.pi
    term = math.cos(angle) if freedom % 2 else 1.0
    total = term
    for step in range(3 if freedom % 2 else 2, freedom - 1, 2):
        term *= squared * (step - 1) / step
        total += term
        if term < 1e-17 * total:
            break
    return 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total

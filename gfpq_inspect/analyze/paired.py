"""Statistics of the same samples judged twice: how sure a share is, and how sure the difference of two shares.

Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) 209-212;
R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
Statistics in Medicine 17 (1998) 2635-2650, method 10; Q. McNemar, "Note on the sampling error of the difference between
correlated proportions or percentages", Psychometrika 12 (1947) 153-157, in its exact binomial form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""The two-sided 95 % point of the normal distribution."""


@dataclass(frozen=True)
class Pairs:
    """Samples by whether two lanes were right.

    Attributes:
        both: Both right.
        first: Only the first right.
        second: Only the second right.
        neither: Both wrong.
    """

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """All samples."""
        return self.both + self.first + self.second + self.neither


def wilson_interval(successes: int, total: int) -> tuple[float, float]:
    """95 % score interval of a share.

    Args:
        successes: Number of successes, 0 to `total`.
        total: Number of samples, at least 1.

    Returns:
        Low and high end, in [0, 1].
    """
    share, z_squared = successes / total, Z_95**2
    middle = share + z_squared / (2 * total)
    spread = Z_95 * math.sqrt(share * (1 - share) / total + z_squared / (4 * total**2))
    scale = 1 + z_squared / total
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == total else (middle + spread) / scale
    return max(0.0, low), min(1.0, high)


def paired_difference_interval(pairs: Pairs) -> tuple[float, float]:
    """95 % interval of the share of the first minus the share of the second (Newcombe's method 10).

    It uses the correlation between the two, so that lanes that nearly always agree give a narrow interval, and it does
    not shrink to a point where they always do.

    Args:
        pairs: At least one sample.

    Returns:
        Low and high end, in [-1, 1].
    """
    total = pairs.total
    shares = (pairs.both + pairs.first, pairs.both + pairs.second)
    (low_1, high_1), (low_2, high_2) = (wilson_interval(right, total) for right in shares)
    share_1, share_2 = shares[0] / total, shares[1] / total
    correlation = _correlation(pairs)
    down_1, up_1, down_2, up_2 = share_1 - low_1, high_1 - share_1, share_2 - low_2, high_2 - share_2
    difference = (pairs.first - pairs.second) / total
    below = math.sqrt(max(0.0, down_1**2 - 2 * correlation * down_1 * up_2 + up_2**2))
    above = math.sqrt(max(0.0, up_1**2 - 2 * correlation * up_1 * down_2 + down_2**2))
    return max(-1.0, difference - below), min(1.0, difference + above)


def _correlation(pairs: Pairs) -> float:
    """Phi with Newcombe's continuity correction; 0 where a margin is empty."""
    margins = (
        (pairs.both + pairs.first)
        * (pairs.second + pairs.neither)
        * (pairs.both + pairs.second)
        * (pairs.first + pairs.neither)
    )
    if margins == 0:
        return 0.0
    product = pairs.both * pairs.neither - pairs.first * pairs.second
    if product > 0:
        return max(0.0, product - pairs.total / 2) / math.sqrt(margins)
    return product / math.sqrt(margins)


def mcnemar_p_value(first: int, second: int) -> float:
    """Chance of so uneven a split of the samples in which the lanes differ, if neither lane is better (exact).

    Args:
        first: Samples in which only the first lane is right.
        second: Samples in which only the second is.

    Returns:
        Two-sided, in (0, 1]; 1 where they never differ.
    """
    differing = first + second
    if differing == 0:
        return 1.0
    logs = [_log_choose(differing, count) for count in range(min(first, second) + 1)]
    largest = max(logs)
    tail = largest + math.log(math.fsum(math.exp(value - largest) for value in logs)) - differing * math.log(2)
    return min(1.0, 2 * math.exp(tail))


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)

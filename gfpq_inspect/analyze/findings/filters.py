"""How each filter of the second model relates to the first's: shared by several checks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.case import WeightPair

LOW_RESIDUAL = 0.25
"""Largest relative residual for which a filter counts as a multiple of the other."""


@dataclass(frozen=True)
class FilterGains:
    """Least squares of one filter by another.

    Attributes:
        gain: float64 [filters]: second = gain * first + residual; NaN for a filter that is zero in the first model.
        residual: float64 [filters]: |residual| / |second|, 1 where the second is zero.
        emptied: bool [filters]: all zero in the second model only.
    """

    gain: NDArray[np.float64]
    residual: NDArray[np.float64]
    emptied: NDArray[np.bool_]


def filter_gains(pair: WeightPair) -> FilterGains:
    """Relate each filter of a pair of weights."""
    first, second = (pair.one**2).sum(1), (pair.other**2).sum(1)
    with np.errstate(all="ignore"):
        gain = np.where(first > 0, (pair.one * pair.other).sum(1) / first, np.nan)
        rest = ((pair.other - np.nan_to_num(gain)[:, None] * pair.one) ** 2).sum(1)
        residual = np.where(second > 0, np.sqrt(rest / second), 1.0)
    return FilterGains(gain, residual, (first > 0) & (second == 0))

"""How far a number lies from where GFPQ rounds to another code (spec: GFPQ, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.quantize.formats import Gfpq

Array = NDArray[Any]


def distances(values: Array, grid: Gfpq, coefficient: int) -> NDArray[np.float64]:
    """Distance of every value from the nearest rounding threshold, as a share of that threshold; NaN for NaN.

    Thresholds of magnitudes: half the smallest one of the sign, below which all is zero, and 2^((k + 1/2) / S) between
    two codes. Above the highest code there is none.
    """
    steps = float(grid.steps_per_octave)
    magnitudes = np.abs(values.astype(np.float64))
    lowest = np.where(np.signbit(values), 1, 0)
    zero = np.exp2((coefficient + lowest) / steps) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        place = steps * np.log2(magnitudes) - coefficient  # a code, with a fraction
        between = np.clip(np.floor(place), lowest, grid.highest_code - 1) + 0.5
        threshold = np.exp2((coefficient + between) / steps)
        return np.minimum(np.abs(magnitudes / threshold - 1), np.abs(magnitudes / zero - 1))

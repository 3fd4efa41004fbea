"""Figures of the GFPQ grid (spec: gfpq, section 1)."""

from __future__ import annotations

from collections.abc import Mapping

STEPS_PER_OCTAVE: Mapping[int, int] = {8: 16, 16: 128}
HIGHEST_CODE: Mapping[int, int] = {8: 127, 16: 1407}


def grid_ends(bits: int, delta: int) -> tuple[float, float]:
    """Largest and smallest magnitude of a grid: value(T) and value(0)."""
    steps = STEPS_PER_OCTAVE[bits]
    return 2.0 ** ((delta + HIGHEST_CODE[bits]) / steps), 2.0 ** (delta / steps)

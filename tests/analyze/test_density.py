"""Maps of float values against quantized ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gfpq_inspect.analyze.density import HALF, MOST_VALUES, Density, density, shown


def counted(x: np.ndarray, y: np.ndarray, exponent: int) -> np.ndarray:
    edges = np.ldexp(np.arange(-HALF, HALF + 1) / HALF, exponent)
    inside = [np.minimum(values, np.nextafter(edges[-1], 0)) for values in (x, y)]
    return np.histogram2d(*inside, bins=[edges, edges])[0].astype(np.int64)


def test_cells_are_those_of_a_plain_histogram() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal(5000).astype(np.float32)
    y = x + random.standard_normal(5000).astype(np.float32) / 16
    found = density(x, y)
    assert found.exponent == 2
    np.testing.assert_array_equal(found.cells, counted(x.astype(float), y.astype(float), 2))


@given(arrays.arrays(np.float32, (2, 40), elements=st.floats(-8, 8, width=32)), st.integers(-6, 6))
def test_merged_maps_are_the_map_of_all_values(values: np.ndarray, scale: int) -> None:
    other = np.ldexp(values, scale).astype(np.float32)
    together = density(values[0], values[1])
    together.add(density(other[0], other[1]))
    backwards = density(other[0], other[1])
    backwards.add(density(values[0], values[1]))
    whole = density(np.concatenate([values[0], other[0]]), np.concatenate([values[1], other[1]]))
    for found in (together, backwards):
        assert found.exponent == whole.exponent
        np.testing.assert_array_equal(found.cells, whole.cells)


def test_what_is_not_finite_and_what_is_zero() -> None:
    x = np.array([1.0, np.nan, np.inf, 0.0], np.float32)
    assert density(x, x).cells.sum() == 2
    nothing = density(np.zeros(7, np.float32), np.zeros(7, np.float32))
    assert nothing.exponent is None
    assert shown(nothing) is None
    one = Density(3, density(x, x).cells)
    one.add(nothing)
    assert (one.exponent, one.cells.sum()) == (3, 9)
    assert density(np.zeros(0, np.float32), np.zeros(0, np.float32)).cells.sum() == 0


def test_large_tensors_are_looked_at_evenly() -> None:
    x = np.linspace(-1, 1, 10 * MOST_VALUES + 3, dtype=np.float32)
    assert density(x, x).cells.sum() <= MOST_VALUES
    rows = density(x, x).cells.sum(1)[HALF // 2 : -HALF // 2]
    assert rows.max() <= 1.1 * rows.min()


def test_what_a_chart_gets() -> None:
    found = shown(density(np.array([0.1, 0.9], np.float32), np.array([0.1, 0.5], np.float32)))
    assert found is not None
    edges, counts = np.array(found["edges"]), np.array(found["counts"])
    assert counts.sum() == 2
    assert counts.shape == (len(edges) - 1, len(edges) - 1)
    row, column = np.argwhere(counts)[-1]
    assert edges[row] <= 0.5 < edges[row + 1]
    assert edges[column] == pytest.approx(0.875)

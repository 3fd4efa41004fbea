"""Arrays that start at a line of the cache."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.quantize.aligned import aligned_copy, aligned_empty, as_aligned


@pytest.mark.parametrize("shape", [(), (0,), (3,), (7, 5), (64, 3, 3, 3)], ids=str)
def test_an_array_starts_at_a_line(shape: tuple[int, ...]) -> None:
    made = aligned_empty(shape, np.float32)
    assert made.shape == shape
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert made.__array_interface__["data"][0] % 64 == 0


def test_what_lies_right_is_not_copied() -> None:
    right = aligned_empty((8, 8), np.float32)
    right[...] = 1
    assert as_aligned(right) is right


def test_what_lies_elsewhere_is_copied() -> None:
    values = np.arange(100, dtype=np.float32)
    for array in (aligned_copy(values)[1:], values.reshape(10, 10).T):
        moved = as_aligned(array)
        assert moved is not array
        assert moved.flags.c_contiguous
        assert moved.__array_interface__["data"][0] % 64 == 0
        np.testing.assert_array_equal(moved, array)

"""Observers agree with INIT on the first batch and UPDATE on the others, in any order and split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import CoefficientObserver, GfpqParam, Mode, quantize_dequantize

batches_of_numbers = st.lists(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=6), min_size=1, max_size=6)


@given(batches=batches_of_numbers, bits=st.sampled_from([8, 16]), cut=st.integers(0, 6))
def test_the_same_as_init_and_update(batches: list[list[float]], bits: int, cut: int) -> None:
    arrays = [np.array(batch, np.float32) for batch in batches]
    param = GfpqParam()
    for index, array in enumerate(arrays):
        quantize_dequantize(array, bits, Mode.UPDATE if index else Mode.INIT, param)
    first, second = CoefficientObserver(bits), CoefficientObserver(bits)
    for index, array in enumerate(arrays):
        (first if index < cut else second).observe(array)
    second.merge(first)
    assert second.param().delta == param.delta
    assert second.batches == len(arrays)
    assert second.elements == sum(array.size for array in arrays)
    assert second.largest == max(float(np.abs(array).max()) for array in arrays)
    assert second.zero_batches == sum(not array.any() for array in arrays)


def test_batches_that_are_not_finite() -> None:
    observer = CoefficientObserver()
    observer.observe(np.array([1.0, 2.0]))
    with pytest.raises(QuantizationError, match="batch 1 holds 2 elements"):
        observer.observe(np.array([np.nan, np.inf, 100.0]))
    assert (observer.delta, observer.batches) == (-111, 1)
    tolerant = CoefficientObserver(nonfinite_policy="count")
    tolerant.observe(np.array([np.nan, np.inf, 2.0]))
    assert (tolerant.delta, tolerant.nonfinite) == (-111, 2)


def test_nothing_seen() -> None:
    observer = CoefficientObserver(16)
    assert observer.observe(np.empty(0, np.float32)) is None
    with pytest.raises(QuantizationError, match="no data"):
        observer.param()
    observer.merge(CoefficientObserver(16))
    assert observer.delta is None


def test_misuse() -> None:
    with pytest.raises(QuantizationError, match="bits=8 or bits=16"):
        CoefficientObserver(12)
    with pytest.raises(QuantizationError, match="cannot be merged"):
        CoefficientObserver(8).merge(CoefficientObserver(16))


def test_all_zero_batches_are_told() -> None:
    observer = CoefficientObserver()
    observer.observe(np.zeros(4))
    assert observer.param() == GfpqParam(-446, elements=4, nonfinite=0, all_zero=True)

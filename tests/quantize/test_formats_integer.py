"""int8, uint8 and fp8: rules, reference twins, merging, plug-ins' contract."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import FORMATS, FunctionFormat, NumberFormat, format_named
from gfpq_inspect.quantize.small_float import FP8_E4M3, FP8_E5M2, SmallFloat, round_to_float
from gfpq_inspect.quantize.uniform import INT8, INT8_PER_CHANNEL, UINT8, Range

DATA = (np.random.default_rng(0).normal(size=(6, 40)) * [[0.01], [0.1], [1], [10], [3], [100]]).astype(np.float32)


def twin(value: float, scale: float, zero_point: int, lowest: int, highest: int) -> float:
    """One element, as the rules say; Python's round is half to even."""
    code = round(np.float32(value) / np.float32(scale)) + zero_point
    return float((np.float32(min(max(code, lowest), highest)) - np.float32(zero_point)) * np.float32(scale))


def test_int8_is_symmetric() -> None:
    scale = np.float32(np.abs(DATA).max() / 127)
    quantized = INT8.apply(DATA, INT8.of_range(float(DATA.min()), float(DATA.max())))
    expected = [twin(value, scale, 0, -127, 127) for value in DATA.ravel()]
    np.testing.assert_array_equal(quantized.ravel(), np.float32(expected))
    np.testing.assert_array_equal(INT8.apply(-DATA, Range(float(DATA.min()), float(DATA.max()))), -quantized)


def test_uint8_moves_zero() -> None:
    low, high = -1.0, 3.0
    data = np.linspace(-2, 4, 1001, dtype=np.float32)
    scale = np.float32(4 / 255)
    expected = [twin(value, scale, round(1 / float(scale)), 0, 255) for value in data]
    coefficient = UINT8.of_range(low, high)
    np.testing.assert_array_equal(UINT8.apply(data, coefficient), np.float32(expected))
    assert UINT8.apply(np.zeros(1, np.float32), coefficient)[0] == 0
    positive = UINT8.steps(UINT8.of_range(2.0, 3.0))
    assert positive.zero_point == 0
    assert positive.scale == np.float32(3 / 255)
    counts = UINT8.counts(data, UINT8.apply(data, coefficient), coefficient)
    assert counts.beyond == np.count_nonzero((data < -1.008) | (data > 3.008))


def test_a_scale_a_channel() -> None:
    quantized, _ = INT8_PER_CHANNEL.quantize_weight(DATA, 0)
    for row, found in zip(DATA, quantized, strict=True):
        np.testing.assert_array_equal(found, INT8.quantize_weight(row, None)[0])
    across, _ = INT8_PER_CHANNEL.quantize_weight(np.ascontiguousarray(DATA.T), -1)
    np.testing.assert_array_equal(across, quantized.T)
    per_tensor = INT8.quantize_weight(DATA, 0)[0]
    assert ((per_tensor - DATA) ** 2).sum() > ((quantized - DATA) ** 2).sum()


@pytest.mark.parametrize(
    ("number_format", "dtype"), [(FP8_E4M3, ml_dtypes.float8_e4m3fn), (FP8_E5M2, ml_dtypes.float8_e5m2)]
)
def test_fp8_rounds_to_the_nearest_number(number_format: SmallFloat, dtype: type) -> None:
    every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
    numbers = np.unique(every[np.isfinite(every)])
    middles = (numbers[1:] + numbers[:-1]) / 2
    data = np.concatenate([numbers, middles, np.nextafter(middles, np.float32(9e9)), DATA.ravel()]).astype(np.float32)
    limits = (number_format.mantissa_bits, number_format.smallest_exponent, number_format.largest)
    found = round_to_float(data, *limits)
    np.testing.assert_array_equal(found, data.clip(-limits[2], limits[2]).astype(dtype).astype(np.float32))
    assert np.isnan(round_to_float(np.float32([np.nan]), *limits)).all()
    coefficient = number_format.of_range(-5.0, 7.0)
    assert number_format.apply(np.float32([7.0]), coefficient)[0] == pytest.approx(7.0)
    assert number_format.extent(coefficient)[1] == pytest.approx(7.0)


@pytest.mark.parametrize("name", FORMATS)
def test_what_every_format_promises(name: str) -> None:
    number_format = format_named(name)
    assert isinstance(number_format, NumberFormat)
    parts = [(float(part.min()), float(part.max())) for part in DATA]
    whole = number_format.of_range(float(DATA.min()), float(DATA.max()))
    merged = number_format.of_range(*parts[0])
    for part in parts[1:]:
        merged = number_format.wider(merged, number_format.of_range(*part))
    assert merged == whole
    quantized = number_format.apply(DATA, whole)
    np.testing.assert_array_equal(number_format.apply(quantized, whole), quantized)
    in_place = DATA.copy()
    assert number_format.apply(in_place, whole, out=in_place) is in_place
    np.testing.assert_array_equal(in_place, quantized)
    weight, _ = number_format.quantize_weight(DATA, 0)
    assert number_format.fits(weight, 0)
    assert not number_format.fits(DATA, 0)
    counts = number_format.counts(DATA, quantized, whole)
    assert counts.finite == counts.nonzero == DATA.size
    assert counts.flushed == np.count_nonzero(quantized == 0)
    assert number_format.apply(DATA.astype(np.float64), whole).dtype == np.float64
    zeros = np.zeros(4, np.float32)
    np.testing.assert_array_equal(number_format.apply(zeros, number_format.of_range(0.0, 0.0)), zeros)


def test_functions_as_formats() -> None:
    halves = FunctionFormat(lambda array: np.round(array * 2) / 2, "halves")
    np.testing.assert_array_equal(halves.apply(np.float32([0.3, 1.1])), np.float32([0.5, 1.0]))
    with pytest.raises(QuantizationError, match="keep the shape"):
        FunctionFormat(lambda array: array[:1]).apply(DATA)
    with pytest.raises(QuantizationError, match="ZeroDivisionError"):
        FunctionFormat(lambda array: array * (1 // 0)).apply(DATA)
    with pytest.raises(QuantizationError, match="no number format 'int7'; there are fp8-e4m3"):
        format_named("int7")

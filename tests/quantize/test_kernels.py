"""Evidence kernels against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.errors import UsageError
from gfpq_inspect.quantize import gfpq_of, kernels, runtime


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [8, 16])
def test_code_statistics(bits: int, dtype: type) -> None:
    rng = np.random.default_rng(bits)
    number_format = gfpq_of(bits)
    array = (rng.standard_t(2, 200_000) * 3).astype(dtype)
    array[:50] = 0
    array[50:60] = -0.0
    array[60:63] = [np.nan, np.inf, -np.inf]
    magnitudes = np.abs(array[np.isfinite(array)].astype(np.float64))
    delta = number_format.coefficient(float(magnitudes.max()) / 8)
    statistics = kernels.code_statistics(array, bits, delta)
    top = number_format.value(number_format.highest_code, delta)
    above = number_format.value(number_format.highest_code + 1, delta)
    quantized = kernels.apply(np.where(np.isfinite(array), array, 0).astype(dtype), bits, delta)
    assert statistics.finite == array.size - 3
    assert statistics.nonfinite == 3
    assert statistics.zeros == 60
    assert statistics.nonzero == array.size - 63
    assert statistics.flushed == np.count_nonzero(quantized == 0) - 60 - 3
    assert statistics.snapped == np.count_nonzero((magnitudes > top) & (magnitudes < above))
    assert statistics.beyond == np.count_nonzero(magnitudes >= above) > 0
    assert statistics.histogram.sum() == statistics.nonzero - statistics.flushed
    grid = number_format.magnitudes(delta).astype(dtype)
    for sign in (0, 1):
        values, counts = np.unique(quantized[quantized != 0] * (1 - 2 * sign), return_counts=True)
        expected = np.zeros(grid.size, np.int64)
        expected[np.searchsorted(grid, values[values > 0])] = counts[values > 0]
        np.testing.assert_array_equal(statistics.histogram[sign], expected)


def test_nothing_lies_beyond_after_init() -> None:
    rng = np.random.default_rng(9)
    for bits in (8, 16):
        array = rng.standard_normal(5000).astype(np.float32)
        delta = kernels.coefficient_of(kernels.largest_magnitude(array)[0], bits)
        assert kernels.code_statistics(array, bits, delta).beyond == 0


def test_statistics_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(10)
    array = rng.standard_normal(1_000_003).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        runtime.set_thread_limit(threads)
        statistics = kernels.code_statistics(array, 8, -100)
        results.append(
            (statistics.histogram.tobytes(), statistics.flushed, kernels.grid_fit(array, 8), kernels.floor_db(array, 8))
        )
    runtime.set_thread_limit(None)
    assert results[0] == results[1] == results[2]


def test_channel_magnitudes() -> None:
    rng = np.random.default_rng(11)
    array = rng.standard_normal((3, 5, 4, 6)).astype(np.float32)
    array[1, 2, 0, 0] = np.nan
    array[2, 4, 1, 1] = np.inf
    expected = np.abs(np.where(np.isfinite(array), array, 0)).max(axis=(0, 2, 3))
    np.testing.assert_array_equal(kernels.channel_magnitudes(array), expected)
    np.testing.assert_array_equal(kernels.channel_magnitudes(array.transpose(0, 3, 2, 1)[:, :2]).shape, (2,))
    np.testing.assert_array_equal(
        kernels.channel_magnitudes(array[:, :, 0, 0]),
        np.abs(np.where(np.isfinite(array[:, :, 0, 0]), array[:, :, 0, 0], 0)).max(axis=0),
    )
    assert kernels.channel_magnitudes(np.empty((0, 3), np.float32)).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="N, C"):
        kernels.channel_magnitudes(array[0, 0, 0])


@pytest.mark.parametrize("bits", [8, 16])
def test_grid_fit(bits: int) -> None:
    rng = np.random.default_rng(12)
    array = rng.standard_normal(20_000).astype(np.float32)
    delta = kernels.coefficient_of(kernels.largest_magnitude(array)[0], bits)
    quantized = kernels.apply(array, bits, delta)
    fit = kernels.grid_fit(quantized, bits)
    assert fit.fits
    assert fit.share == 1.0
    assert fit.largest_residual < 1e-5 * bits
    assert kernels.on_grid(quantized, bits)
    assert not kernels.on_grid(array, bits)
    assert kernels.grid_fit(array, bits).share < 0.01
    wide = np.array([1.0, 2.0**-12], np.float32)  # on the grid, but further apart than any coefficient reaches
    assert not kernels.on_grid(wide, bits)
    assert kernels.grid_fit(wide, bits).share == 1.0
    assert kernels.on_grid(np.zeros(4, np.float32), bits)


def test_grid_fit_of_values_stored_as_float16() -> None:
    array = kernels.apply(np.linspace(-3, 3, 1001, dtype=np.float32), 8, -101)
    halves = array.astype(np.float16).astype(np.float32)
    assert not kernels.on_grid(halves, 8)
    assert kernels.on_grid(halves, 8, tolerance=1e-2)


def test_floor_db_is_what_rounding_costs() -> None:
    rng = np.random.default_rng(13)
    array = rng.standard_normal(100_000).astype(np.float32)
    for bits, expected in ((8, 38.07), (16, 56.1)):
        assert kernels.floor_db(array, bits) == pytest.approx(expected, abs=0.1)
    scaled = kernels.floor_db(array * np.float32(1e-20), 8)
    assert scaled == pytest.approx(38.07, abs=0.1)
    assert kernels.floor_db(np.zeros(3, np.float32), 8) is None
    assert kernels.floor_db(kernels.apply(array, 8, -100), 8) is None


def test_misuse() -> None:
    array = np.ones((2, 2), np.float32)
    for call in (kernels.apply, kernels.code_statistics):
        with pytest.raises(ValueError, match="bits"):
            call(array, 12, 0)
    with pytest.raises(ValueError, match="bits"):
        kernels.grid_fit(array, 12)
    with pytest.raises(ValueError, match="bits"):
        kernels.coefficient_of(1.0, 12)
    with pytest.raises(ValueError, match="magnitude"):
        kernels.coefficient_of(-1.0, 8)
    with pytest.raises(ValueError, match="out"):
        kernels.apply(array, 8, 0, out=np.ones((2, 2)))
    with pytest.raises(TypeError, match="float32"):
        kernels.apply(array.astype(np.int32), 8, 0)  # type: ignore[arg-type]  # on purpose


def test_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    before = runtime.instruction_set()
    assert before in runtime.instruction_sets()
    runtime.set_instruction_set("baseline")
    assert runtime.instruction_set() == "baseline"
    runtime.set_instruction_set(before)
    with pytest.raises(UsageError, match="cannot run 'mmx'"):
        runtime.set_instruction_set("mmx")
    runtime.set_thread_limit(3)
    assert runtime.thread_limit() == 3
    runtime.set_thread_limit(None)
    assert runtime.thread_limit() >= 1
    with pytest.raises(UsageError, match="at least one"):
        runtime.set_thread_limit(0)
    monkeypatch.setenv("GFPQ_INSTRUCTION_SET", "mmx")
    assert runtime.unusable_instruction_set() == "mmx"
    monkeypatch.setenv("GFPQ_INSTRUCTION_SET", "baseline")
    assert runtime.unusable_instruction_set() is None


@pytest.mark.parametrize("odd", [None, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(200, 100), (3, 20_000), (2, 3), (1, 0)])
def test_largest_magnitudes_are_those_of_each_row(shape: tuple[int, int], odd: float | None) -> None:
    rows = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    rows[-1] = -0.0
    if odd is not None and rows.size:
        rows[0, 0] = odd
    expected = np.array([kernels.largest_magnitude(row)[0] for row in rows])
    assert kernels.largest_magnitudes(rows).tobytes() == expected.tobytes()

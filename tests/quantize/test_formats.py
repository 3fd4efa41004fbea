"""Formats describe themselves, and plug-ins are checked."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.errors import QuantizationError
from gfpq_inspect.quantize import FORMATS, GFPQ8, GFPQ16, NumberFormat, all_formats, formats, gfpq_of


def test_the_formats_of_the_package() -> None:
    assert set(all_formats()) >= {"gfpq8", "gfpq16"}
    for name, number_format in FORMATS.items():
        assert number_format.name == name
        assert isinstance(number_format, NumberFormat)
    assert gfpq_of(8) is GFPQ8
    assert gfpq_of(16) is GFPQ16
    with pytest.raises(QuantizationError, match="not 12"):
        gfpq_of(12)


@pytest.mark.parametrize("number_format", [GFPQ8, GFPQ16])
def test_grid(number_format: formats.Gfpq) -> None:
    grid = number_format.magnitudes(-77)
    assert grid.size == number_format.highest_code + 1
    np.testing.assert_array_equal(number_format.apply(grid, -77), grid)
    np.testing.assert_array_equal(number_format.apply(-grid[1:], -77), -grid[1:])
    middle = np.sqrt(grid[:-1] * grid[1:])
    error = np.abs(number_format.apply(middle, -77) - middle) / middle
    assert error.max() <= number_format.largest_relative_error * (1 + 1e-12)
    assert number_format.octaves == pytest.approx(np.log2(grid[-1] / grid[0]))
    assert number_format.coefficient(9.0) == {8: -77, 16: -1002}[number_format.bits]
    assert number_format.grid_fit(grid).fits
    assert number_format.floor_db(grid) is None
    assert number_format.statistics(grid, -77).histogram[0].tolist() == [1] * grid.size


def test_plug_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Eight(formats.Gfpq):
        pass

    offered: dict[str, object] = {}
    monkeypatch.setattr(formats, "entry_points", lambda group: [_Offer(group, name) for name in offered])

    class _Offer:
        def __init__(self, group: str, name: str) -> None:
            assert group == "gfpq_inspect.formats"
            self.value = name

        def load(self) -> object:
            return offered[self.value]

    all_formats.cache_clear()
    offered["good"] = Eight("other8", 8, 16, 127, -511, 511)
    assert all_formats()["other8"] is offered["good"]
    all_formats.cache_clear()
    offered["bad"] = object()
    with pytest.raises(QuantizationError, match="no number format"):
        all_formats()
    del offered["bad"]
    offered["taken"] = GFPQ8
    with pytest.raises(QuantizationError, match="'gfpq8' of another format"):
        all_formats()
    all_formats.cache_clear()

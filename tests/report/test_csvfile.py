"""The layer table as CSV and as a DataFrame."""

from __future__ import annotations

import csv
import io

import pandas
import pytest

from gfpq_inspect.report.csvfile import render_csv
from gfpq_inspect.report.frame import coefficient_frame, layer_frame
from tests.report import samples


@pytest.mark.parametrize("name", sorted(samples.SAMPLES))
def test_pandas_reads_back_the_numbers(name: str) -> None:
    result = samples.SAMPLES[name]()
    table = pandas.read_csv(io.StringIO(render_csv(result)), keep_default_na=False, na_values=[""])
    assert len(table) == len(result.layers)
    for row, cosine in zip(result.layers, table["both.cosine"], strict=True):
        expected = row.scores["both"].cosine if "both" in row.scores else None
        assert (cosine == expected) if expected is not None else pandas.isna(cosine)


def test_names_stay_one_harmless_line() -> None:
    lines = render_csv(samples.awkward()).splitlines()
    assert len(lines) == len(samples.awkward().layers) + 1
    cells = [value for row in csv.reader(lines[1:]) for value in row]
    assert any(value.startswith("'=HYPERLINK") for value in cells)
    assert not any(value.startswith("=") for value in cells)
    assert not any(character in "".join(cells) for character in "\x1b\u202e\u2028\ud800")


def test_whole_numbers_stay_whole_and_flags_stay_flags() -> None:
    frame = layer_frame(samples.awkward())
    assert str(frame["multiply_adds"].dtype) == "Int64"
    assert str(frame["understood"].dtype) == "bool"
    assert str(frame["both.cosine"].dtype) == "float64"
    assert frame["shape"][1] == "1x4x8x8"
    assert {"both.cosine_spread.minimum", "isolation.share_data"} <= set(layer_frame(samples.tiny()).columns)


def test_coefficients_have_a_row_each() -> None:
    result = samples.tuned()
    frame = coefficient_frame(result)
    assert len(frame) == len(result.coefficients)
    assert list(frame["delta"]) == [c.delta for c in result.coefficients]

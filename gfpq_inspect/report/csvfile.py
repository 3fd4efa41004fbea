"""The layer table as comma-separated values."""

from __future__ import annotations

import csv
import io
from typing import Any

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report.frame import layer_frame
from gfpq_inspect.report.text import visible

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_csv(result: Result) -> str:
    """Write the layer table with a header line, one row a layer, RFC 4180 quoting and plain newlines.

    Empty cells are missing values. Names that a spreadsheet would take for a formula get an apostrophe in front, and
    control or direction-changing characters are written as escapes; the JSON file keeps every name as it is.
    """
    frame = layer_frame(result)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(frame.columns)
    for row in frame.astype(object).itertuples(index=False, name=None):
        writer.writerow([cell(value) for value in row])
    return stream.getvalue()


def cell(value: Any) -> Any:
    """One cell, harmless in a spreadsheet."""
    import pandas  # noqa: PLC0415  (takes half a second; the frame has imported it by now)

    if pandas.isna(value):
        return ""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(FORMULA_STARTS) else visible(value)

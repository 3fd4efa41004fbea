"""The layer table as a pandas DataFrame: the one wide form that CSV, Parquet and Python users get."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Any

from gfpq_inspect.analyze.result import Coefficient, Isolation, LayerRow, Result, Scores, Spread
from gfpq_inspect.report.codec import field_types

if TYPE_CHECKING:
    import pandas

PLAIN_FIELDS = tuple(
    name for name in field_types(LayerRow) if name not in {"scores", "isolation", "tuned_isolation", "name", "layer"}
)
ALWAYS_SPREAD = ("mean", "minimum", "minimum_sample", "percentile_5")


def layer_frame(result: Result) -> pandas.DataFrame:
    """Lay the layer table out with one row a layer.

    Args:
        result: The result.

    Returns:
        Columns `layer`, `name` and the other fields of `LayerRow`; for each comparison `COMPARISON.SCORE` (such as
        `both.sqnr_db`, `both.cosine_spread.minimum`); `isolation.share_data` and its like. Lists are joined by spaces
        (`shape` by x). Missing values are None or NaN.
    """
    import pandas  # noqa: PLC0415  (takes half a second, and few reports want it)

    columns: dict[str, list[Any]] = {"layer": [flat("layer", row.layer) for row in result.layers]}
    columns["name"] = [flat("name", row.name) for row in result.layers]
    for name in PLAIN_FIELDS:
        columns[name] = [flat(name, getattr(row, name)) for row in result.layers]
    for comparison in dict.fromkeys(name for row in result.layers for name in row.scores):
        scores = [row.scores.get(comparison) for row in result.layers]
        columns |= score_columns(comparison, scores)
    for part in ("isolation", "tuned_isolation"):
        shares = [getattr(row, part) for row in result.layers]
        if any(share is not None for share in shares):
            for name in field_types(Isolation):
                columns[f"{part}.{name}"] = [getattr(share, name, None) for share in shares]
    return pandas.DataFrame({name: series(values) for name, values in columns.items()})


def score_columns(comparison: str, scores: list[Scores | None]) -> dict[str, list[Any]]:
    """Columns of one comparison; a spread has a column for each of its parts."""
    columns: dict[str, list[Any]] = {}
    for name in field_types(Scores):
        values = [getattr(score, name, None) for score in scores]
        if name.endswith("_spread"):
            if any(isinstance(value, Spread) for value in values):
                columns |= spread_columns(f"{comparison}.{name}", values)
        else:
            columns[f"{comparison}.{name}"] = [flat(name, value) for value in values]
    return columns


def spread_columns(place: str, spreads: list[Spread | None]) -> dict[str, list[Any]]:
    """Columns of one spread; parts that no score of its kind has (upper percentiles of a cosine) have none."""
    columns = {}
    for part in field_types(Spread):
        values = [flat(part, getattr(spread, part, None)) for spread in spreads]
        if part in ALWAYS_SPREAD or any(value is not None for value in values):
            columns[f"{place}.{part}"] = values
    return columns


def flat(name: str, value: Any) -> Any:
    """Make a value fit one cell."""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        # A name with a lone surrogate cannot be stored by Arrow, which pandas keeps its text in.
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, tuple):
        return ("x" if name == "shape" else " ").join(str(flat(name, item)) for item in value)
    return value


def series(values: list[Any]) -> Any:
    """Pick a column type that keeps whole numbers whole and text text when some cells are empty."""
    import pandas  # noqa: PLC0415  (see above)

    present = [value for value in values if value is not None]
    if present and all(type(value) is bool for value in present):
        return pandas.array(values, dtype="boolean" if len(present) < len(values) else "bool")
    if present and all(type(value) is int for value in present):
        return pandas.array(values, dtype="Int64")
    if all(isinstance(value, int | float) for value in present):
        return pandas.array([float("nan") if value is None else float(value) for value in values], dtype="float64")
    return pandas.array(values, dtype=object)


def coefficient_frame(result: Result) -> pandas.DataFrame:
    """Lay the coefficients out with one row a quantized tensor."""
    import pandas  # noqa: PLC0415  (see above)

    names = field_types(Coefficient)
    rows = [dataclasses.asdict(coefficient) for coefficient in result.coefficients]
    return pandas.DataFrame({name: series([flat(name, row[name]) for row in rows]) for name in names})

"""What quantizing does to one tensor of data by itself: shared by the checks of single tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.channels import PointTable, column
from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.lanes import Side

ROUNDING_DB = 33.1
"""In-range 8-bit rounding never falls below this (spec: metrics, section 1)."""

HARMED_DB = 26.0
"""Below this a tensor lost clearly more than rounding, and more than a top that was snapped down."""


@dataclass(frozen=True)
class Seen:
    """One quantized tensor.

    Attributes:
        point: Where.
        row: Row of the tensor.
        readers: Rows of the layers that read it.
        table: Its evidence.
        sqnr_db: Of the tensor against its quantized copy; infinity where exact.
        alone: Lowest cosine of its readers run by themselves with quantized data; None where not measured.
    """

    point: Point
    row: str
    readers: tuple[str, ...]
    table: PointTable
    sqnr_db: float
    alone: float | None

    @property
    def flushed(self) -> float:
        """Share of the non-zero elements that become zero."""
        return self.table.flushed / max(1, self.table.nonzero)

    @property
    def maxima(self) -> NDArray[np.float64]:
        """Largest magnitude of each channel."""
        return column(self.table.channels, "max_x")

    def channel_sqnr_db(self) -> NDArray[np.float64]:
        """SQNR of each channel; NaN where it is all zero, infinity where exact."""
        signal, error = column(self.table.channels, "xx"), column(self.table.channels, "dd")
        with np.errstate(all="ignore"):
            found: NDArray[np.float64] = np.where(signal > 0, 10 * np.log10(signal / error), np.nan)
        return found


def tensors_seen(case: Case, *, any_format: bool = False) -> Iterator[Seen]:
    """All data of all models that are quantized to GFPQ, or to any format."""
    for side in case.models:
        for _, point, table in case.points(side):
            if point.own_format is not None and not any_format:
                continue
            signal, error = column(table.channels, "xx").sum(), column(table.channels, "dd").sum()
            sqnr = float("inf") if error == 0 else 10 * np.log10(signal / error) if signal > 0 else float("inf")
            readers = tuple(case.row_key(side, layer) for layer in point.layers)
            row = case.value_rows.get((side, point.value), point.value)
            yield Seen(point, row, readers, table, float(sqnr), _alone(case, side, readers))


def _alone(case: Case, side: Side, readers: tuple[str, ...]) -> float | None:
    name = "local_data" if side is Side.FIRST else "local_tuned"
    cosines = [s.cosine for row in readers if (s := case.scores(row, name)) is not None and s.cosine is not None]
    return min(cosines, default=None)

"""Do data go beyond what their coefficient covers? (spec: decision tree, G6 a)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed

_WARN = 0.001
_ERROR = 0.01


def run(case: Case) -> Outcome:
    """Read the share of values a step or more above the top of the grid."""
    data = [entry for entry in case.coefficients if entry.role == "data" and entry.beyond_share is not None]
    if not data:
        return not_applicable("quantized data")
    over = sorted((e for e in data if (e.beyond_share or 0) > _WARN), key=lambda e: -(e.beyond_share or 0))
    if not over:
        most = max(data, key=lambda e: e.beyond_share or 0)
        return passed(
            f"At most {100 * (most.beyond_share or 0):.3g} % of a tensor lie beyond its calibration ('{most.tensor}')."
        )
    worst = over[0]
    measured = (
        f"{100 * (worst.beyond_share or 0):.3g} % of '{worst.tensor}', read by '{worst.layer}', lie a step or more "
        f"above the top of its grid ({worst.grid_top:.4g}); {layers_text(len(over), 'tensor')} exceed 0.1 %."
    )
    rows: list[tuple[Cell, ...]] = [
        (e.layer, e.tensor, e.model, 100 * (e.beyond_share or 0), e.grid_top, e.maximum) for e in over
    ]
    columns = ("layer", "tensor", "model", "beyond %", "top of the grid", "largest calibrated")
    severity = "error" if (worst.beyond_share or 0) > _ERROR else "warning"
    return found(severity, measured, layers=[_row(case, e.layer, e.model) for e in over], columns=columns, rows=rows)


def _row(case: Case, layer: str, model: str) -> str:
    return next((key for (side, name), key in case.row_of.items() if name == layer and side.value == model), layer)


CHECK = Check(
    id="saturation",
    group=Group.TENSOR,
    title="Data within their calibration",
    failure="Data saturate: the calibration does not cover them",
    why="Values above the top of the grid are cut. A top at half of what is needed costs 15 dB.",
    remedy=(
        "Calibrate with more images (20 to 50) that cover the extremes, in UPDATE mode, or take a larger coefficient."
    ),
    how=(
        "Share of finite elements at or above value(T + 1), in the lane that simulates deployment. A coefficient "
        "made from the same data never lets one through, so only calibration is to blame."
    ),
    run=run,
)

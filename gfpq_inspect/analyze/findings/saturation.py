"""Do data go beyond what their coefficient covers? (spec: decision tree, G6 a)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, Seen, tensors_seen

_WARN = 0.001
_ERROR = 0.01


def _judged(seen: Seen, threshold: float) -> bool:
    """GFPQ's coefficients are meant to cover everything; other formats may cut off what nobody misses."""
    lost = seen.alone is not None and seen.alone < threshold
    return seen.point.own_format is None or seen.sqnr_db < HARMED_DB or lost


def run(case: Case) -> Outcome:
    """Count the values of the float networks' tensors that lie a step or more above the top of the grid."""
    seen = [one for one in tensors_seen(case, any_format=True) if _judged(one, case.threshold)]
    if not seen:
        return not_applicable("quantized data")
    shares = [(one.table.beyond / max(1, one.table.finite), one) for one in seen]
    over = sorted((entry for entry in shares if entry[0] > _WARN), key=lambda entry: -entry[0])
    if not over:
        most = max(shares, key=lambda entry: entry[0])
        return passed(f"At most {100 * most[0]:.3g} % of a tensor lie beyond its calibration ('{most[1].row}').")
    share, worst = over[0]
    measured = (
        f"{100 * share:.3g} % of '{worst.row}' lie a step or more above the top of its grid ({worst.sqnr_db:.1f} dB); "
        f"{layers_text(len(over), 'tensor')} exceed 0.1 %."
    )
    rows: list[tuple[Cell, ...]] = [
        (one.row, one.point.side.value, 100 * part, float(one.maxima.max()), one.sqnr_db) for part, one in over
    ]
    columns = ("tensor", "model", "beyond %", "largest value", "SQNR dB")
    layers = [row for _, one in over for row in (one.row, *one.readers)]
    return found("error" if share > _ERROR else "warning", measured, layers=layers, columns=columns, rows=rows)


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
        "Share of finite elements at or above value(T + 1), in the float network's tensor with the run's "
        "coefficient. One made from the same data never lets one through, so only calibration is to blame."
    ),
    run=run,
)

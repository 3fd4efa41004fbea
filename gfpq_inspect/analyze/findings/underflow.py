"""Is the range of a tensor wider than the grid? (spec: decision tree, G6 b)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, Seen, tensors_seen

_WARN = 0.05
_ERROR = 0.10
_BROKEN_DB = 20.0


def _harmful(seen: Seen, threshold: float) -> bool:
    """Flushed values cost the tensor or what reads it; small values that nobody misses do not count."""
    lost = seen.alone is not None and seen.alone < threshold
    return seen.flushed > _WARN and (seen.sqnr_db < HARMED_DB or lost)


def run(case: Case) -> Outcome:
    """Count the values that quantization turns to zero."""
    seen = list(tensors_seen(case))
    if not seen:
        return not_applicable("quantized data")
    harmed = sorted((one for one in seen if _harmful(one, case.threshold)), key=lambda one: one.sqnr_db)
    if not harmed:
        most = max(seen, key=lambda one: one.flushed)
        return passed(
            f"At most {100 * most.flushed:.3g} % of a tensor's values become zero ('{most.row}', {most.sqnr_db:.1f} "
            "dB): none costs what reads it."
        )
    worst = harmed[0]
    measured = (
        f"{100 * worst.flushed:.3g} % of the non-zero values of '{worst.row}' become zero ({worst.sqnr_db:.1f} dB, "
        f"rounding alone gives at least 33.1 dB); {layers_text(len(harmed), 'tensor')} suffer."
    )
    rows: list[tuple[Cell, ...]] = [
        (one.row, one.point.side.value, 100 * one.flushed, one.sqnr_db, one.alone) for one in harmed
    ]
    columns = ("tensor", "model", "flushed %", "SQNR dB", "cosine of the reader alone")
    severity = "error" if worst.flushed > _ERROR and worst.sqnr_db < _BROKEN_DB else "warning"
    layers = [row for one in harmed for row in (one.row, *one.readers)]
    return found(severity, measured, layers=layers, columns=columns, rows=rows)


CHECK = Check(
    id="underflow",
    group=Group.TENSOR,
    title="Data within the range of the grid",
    failure="Small values become zero: the range is wider than the grid",
    why=(
        "8 bit covers 8 octaves below the largest value, 16 bit eleven; half a step below that everything becomes zero."
    ),
    remedy=(
        "Bound the activation (ReLU6, clip), take a percentile for the coefficient so that rare peaks saturate, "
        "equalize, or give the layer that reads the tensor 16 bit (name it _hp)."
    ),
    how=(
        "Non-zero elements that quantize to zero, in the float network's tensor with the run's coefficient: above 5 "
        "%, and the tensor below 26 dB or its reader, run alone, below the threshold."
    ),
    run=run,
)

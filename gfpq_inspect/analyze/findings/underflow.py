"""Is the range of a tensor wider than the grid? (spec: decision tree, G6 b)."""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, Seen, tensors_seen
from gfpq_inspect.analyze.findings.weights_seen import SeenWeight, weights_seen

_WARN = 0.05
_ERROR = 0.10
_BROKEN_DB = 20.0


def _harmful(seen: Seen, threshold: float) -> bool:
    """Flushed values cost the tensor or what reads it; small values that nobody misses do not count."""
    lost = seen.alone is not None and seen.alone < threshold
    return seen.flushed > _WARN and (seen.sqnr_db < HARMED_DB or lost)


def _harmful_weight(seen: SeenWeight, threshold: float) -> bool:
    lost = seen.alone is not None and seen.alone < threshold
    return seen.flushed > _WARN and (seen.sqnr_db < HARMED_DB or lost)


def run(case: Case) -> Outcome:
    """Count the values of data and weights that quantization turns to zero."""
    data, weights = list(tensors_seen(case)), list(weights_seen(case))
    if not data and not weights:
        return not_applicable("data or weights quantized to GFPQ")
    harmed = sorted((one for one in data if _harmful(one, case.threshold)), key=lambda one: one.sqnr_db)
    harmed_weights = sorted(
        (one for one in weights if _harmful_weight(one, case.threshold)),
        key=lambda one: (one.alone if one.alone is not None else 1.0, one.sqnr_db),
    )
    if not harmed and not harmed_weights:
        return passed(f"{_most(data, weights)}: none costs what reads it.")
    told = [_data_text(harmed)] if harmed else []
    told += [_weight_text(harmed_weights)] if harmed_weights else []
    rows: list[tuple[Cell, ...]] = [
        (one.row, "data", one.point.side.value, 100 * one.flushed, one.sqnr_db, one.alone) for one in harmed
    ]
    rows += [(one.row, "weight", one.side.value, 100 * one.flushed, one.sqnr_db, one.alone) for one in harmed_weights]
    columns = ("tensor", "role", "model", "flushed %", "SQNR dB", "cosine of the layer alone")
    losses = [(one.flushed, one.sqnr_db) for one in harmed] + [(one.flushed, one.sqnr_db) for one in harmed_weights]
    broken = any(flushed > _ERROR and sqnr_db < _BROKEN_DB for flushed, sqnr_db in losses)
    layers = [row for one in harmed for row in (one.row, *one.readers)] + [one.row for one in harmed_weights]
    title = None if harmed else "Small weights become zero: the range of a weight is wider than the grid"
    remedy = None if harmed else _WEIGHT_REMEDY
    severity = "error" if broken else "warning"
    return found(severity, " ".join(told), layers=layers, columns=columns, rows=rows, title=title, remedy=remedy)


def _most(data: Sequence[Seen], weights: Sequence[SeenWeight]) -> str:
    parts = []
    if data:
        most = max(data, key=lambda one: one.flushed)
        parts.append(f"{100 * most.flushed:.3g} % of a tensor's values ('{most.row}', {most.sqnr_db:.1f} dB)")
    if weights:
        heaviest = max(weights, key=lambda one: one.flushed)
        parts.append(f"{100 * heaviest.flushed:.3g} % of a weight's ('{heaviest.row}', {heaviest.sqnr_db:.1f} dB)")
    return f"At most {' and '.join(parts)} become zero"


def _data_text(harmed: Sequence[Seen]) -> str:
    worst = harmed[0]
    return (
        f"{100 * worst.flushed:.3g} % of the non-zero values of '{worst.row}' become zero ({worst.sqnr_db:.1f} dB, "
        f"rounding alone gives at least 33.1 dB); {_suffering(len(harmed), 'tensor')}."
    )


def _weight_text(harmed: Sequence[SeenWeight]) -> str:
    worst = harmed[0]
    text = f"{100 * worst.flushed:.3g} % of the weights of '{worst.row}' become zero ({worst.sqnr_db:.1f} dB)"
    if worst.alone is not None:
        text += f", which by itself takes the layer to a cosine of {worst.alone:.4f}"
    return f"{text}; {_suffering(len(harmed), 'weight')}."


def _suffering(count: int, noun: str) -> str:
    return f"{layers_text(count, noun)} {'suffers' if count == 1 else 'suffer'}"


_WEIGHT_REMEDY = (
    "Give the layer 16 bit (name it _hp), equalize its filters with the layer behind it (gfpq-inspect remedy tries "
    "both), or fold BatchNorm first (--fold): the folded kernel may have another range. Prune or retrain filters that "
    "are far larger than the others."
)

CHECK = Check(
    id="underflow",
    group=Group.TENSOR,
    title="Data and weights within the range of the grid",
    failure="Small values become zero: the range is wider than the grid",
    why=(
        "8 bit covers 8 octaves below the largest value, 16 bit eleven; half a step below that everything becomes zero."
    ),
    remedy=(
        "Bound the activation (ReLU6, clip), take a percentile for the coefficient so that rare peaks saturate, "
        "equalize, or give the layer that reads the tensor 16 bit (name it _hp)."
    ),
    how=(
        "Non-zero elements that quantize to zero, in the float network's tensor with the run's coefficient and in each "
        "weight with its own: above 5 %, and the tensor below 26 dB or its layer, run alone, below the threshold. "
        "Without --isolate a layer counts as run alone where all that it reads is still good."
    ),
    run=run,
)

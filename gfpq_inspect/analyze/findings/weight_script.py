"""The guide's own test: good with data only, bad with weights too (guide 3.3.2, method 1; spec: decision tree, G4)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import TUNED_DATA
from gfpq_inspect.analyze.remedies.trial import Bench
from gfpq_inspect.analyze.result import LayerRow, Scores
from gfpq_inspect.analyze.verdict import passes
from gfpq_inspect.models.model import Model

_MARGIN_DB = 6.0


def run(case: Case) -> Outcome:
    """Compare, at the outputs, the lane with quantized data only with the one that has quantized weights too."""
    if case.bits is None:
        return not_applicable("a bit width")
    if case.master is not None and case.second is not None:
        return _with_master(case, case.master, case.bits)
    side = "second" if case.second is not None else "first"
    data_name, both_name = ("tuned_data", "tuned") if case.second is not None else ("data", "both")
    outputs = [row for row in case.rows if row.is_output and data_name in row.scores and both_name in row.scores]
    outputs = [row for row in outputs if row.scores[both_name].cosine is not None]
    if not outputs:
        return not_applicable("a network output that both lanes have")
    rows: list[tuple[Cell, ...]] = []
    suspects = []
    for row in outputs:
        data, both = row.scores[data_name], row.scores[both_name]
        rows.append((row.key, data.cosine, both.cosine, data.sqnr_db, both.sqnr_db))
        if passes(data, case.threshold) and not passes(both, case.threshold) and _margin(data, both) >= _MARGIN_DB:
            suspects.append(row)
    columns = ("output", "cosine, data only", "cosine, data and weights", "SQNR dB, data only", "SQNR dB, both")
    if not suspects:
        return passed(f"{_text(outputs[0], data_name, both_name)} of the {side} model.")
    worst = min(suspects, key=lambda row: row.scores[both_name].cosine or 0.0)
    measured = f"{_text(worst, data_name, both_name)} of the {side} model."
    if case.second is None:  # no script quantized these weights: the run did
        layers = [row.key for row in suspects]
        title = "Weights cost the outputs, data do not"
        return found("note", measured, layers=layers, columns=columns, rows=rows, title=title, remedy=_ALONE)
    return found("warning", measured, layers=[row.key for row in suspects], columns=columns, rows=rows)


_ALONE = (
    "Look at the layers with the largest share of weights: give them 16 bit, or equalize them (gfpq-inspect remedy "
    "tries both). Fine-tuning with quantized weights brings back what is lost evenly."
)


def _with_master(case: Case, master: Model, bits: int) -> Outcome:
    """The test as the guide means it: the float master with quantized data, against the exported weights."""
    trial = Bench(case.first, case.source, bits).run(master, lane=TUNED_DATA)
    rows: list[tuple[Cell, ...]] = []
    suspects = []
    for key in trial.outputs:
        data, whole = trial.scores[key], case.scores(key, "total")
        if whole is None or whole.cosine is None:
            continue
        rows.append((key, data.cosine, whole.cosine, data.sqnr_db, whole.sqnr_db))
        if passes(data, case.threshold) and not passes(whole, case.threshold) and _margin(data, whole) >= _MARGIN_DB:
            suspects.append(key)
    if not rows:
        return not_applicable("a network output that the master has too")
    columns = ("output", "cosine, data only", "cosine, data and weights", "SQNR dB, data only", "SQNR dB, both")
    worst = min(rows, key=lambda row: float(row[2] or 0))
    measured = (
        f"The float master with quantized data keeps a cosine of {worst[1]:.4f} at '{worst[0]}', the exported model "
        f"{worst[2]:.4f}."
    )
    if not suspects:
        return passed(measured)
    return found("warning", measured, layers=suspects, columns=columns, rows=rows)


def _margin(data: Scores, both: Scores) -> float:
    """How many dB the weights cost on top of the data."""
    if both.sqnr_db is None:
        return 0.0
    return float("inf") if data.sqnr_db is None else data.sqnr_db - both.sqnr_db


def _text(row: LayerRow, data: str, both: str) -> str:
    one, other = row.scores[data].cosine, row.scores[both].cosine
    return f"With data only the cosine is {one:.4f}, with weights too {other:.4f} at output '{row.key}'"


CHECK = Check(
    id="weight-script",
    group=Group.ABLATION,
    title="Data only, then weights too",
    failure="Data alone are fine, weights are not: suspect the script that quantizes weights",
    why=(
        "The guide's first step when fine-tuning fails: quantize the data and leave the weights in float. If that "
        "brings the precision back, data and coefficients are fine, and what quantizes the weights is at fault."
    ),
    remedy=(
        "Check the weight script: a float master that is kept, weights quantized once per layer from the float "
        "values, biases and BatchNorm left alone, the same bit width; then look at the layers with the largest "
        "share of weights."
    ),
    how=(
        "Cosine at each network output for the lane with quantized data and for the one with quantized data and "
        "weights: the first passes the threshold, the second fails it and is at least 6 dB worse."
    ),
    run=run,
    direct=False,
)

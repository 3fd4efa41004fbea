"""Do inputs of a Concat or a sum differ so much that the small one is lost? (spec: decision tree, G6 d)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.channels import Table, column
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.tensors_seen import HARMED_DB, tensors_seen
from gfpq_inspect.analyze.lanes import Side

_RATIO = 16.0
_SUMS = frozenset({"Eltwise", "Add", "Sum"})


def run(case: Case) -> Outcome:
    """Compare the largest magnitudes of the inputs of every Concat and sum."""
    joints = [layer for layer in case.first.layers if layer.type == "Concat" or layer.type in _SUMS]
    joints = [layer for layer in joints if len(layer.inputs) > 1]
    if case.bits is None or not joints:
        return not_applicable("a Concat or an Eltwise layer, and a bit width")
    lost: list[tuple[Cell, ...]] = []
    loud: list[tuple[Cell, ...]] = []
    points = {one.point.value: one for one in tensors_seen(case) if one.point.side is Side.FIRST}
    for layer in joints:
        tables = [case.channels(case.value_rows.get((Side.FIRST, value), ""), "both") for value in layer.inputs]
        known = [table for table in tables if table is not None]
        if len(known) < len(tables):
            continue
        maxima = [float(column(table, "max_x").max()) for table in known]
        small = min((value for value in maxima if value > 0), default=0.0)
        if small == 0 or max(maxima) / small < _RATIO:
            continue
        key, ratio = case.row_key(Side.FIRST, layer.key), max(maxima) / small
        seen = points.get(layer.outputs[0])
        block = (
            None
            if seen is None or layer.type != "Concat"
            else _block_db(seen.table.channels, known, maxima.index(small))
        )
        entry = (
            key,
            layer.type,
            ratio,
            case.value_rows.get((Side.FIRST, layer.inputs[maxima.index(small)]), ""),
            block,
        )
        (lost if block is not None and block < HARMED_DB else loud).append(entry)
    columns = ("layer", "type", "ratio of the inputs' maxima", "small input", "SQNR dB of the small input")
    if lost:
        worst = lost[0]
        measured = (
            f"The largest input of '{worst[0]}' is {worst[2]:.3g} times '{worst[3]}', which keeps {worst[4]:.1f} dB."
        )
        return found("warning", measured, layers=[str(row[0]) for row in lost], columns=columns, rows=lost)
    if loud:
        measured = (
            f"Inputs of {layers_text(len(loud))} differ by 16 times or more, most at '{loud[0][0]}' "
            f"({loud[0][2]:.3g} times); none is lost by that."
        )
        return found("note", measured, layers=[str(row[0]) for row in loud], columns=columns, rows=loud)
    return passed(
        f"The inputs of {layers_text(len(joints), 'Concat or Eltwise layer')} are within 16 times of each other."
    )


def _block_db(joined: Table, parts: list[Table], index: int) -> float | None:
    """SQNR of the channels that one input brought, in the quantized result."""
    start = sum(len(part) for part in parts[:index])
    rows = joined[start : start + len(parts[index])]
    if len(rows) != len(parts[index]) or sum(len(part) for part in parts) != len(joined):
        return None
    signal, error = column(rows, "xx").sum(), column(rows, "dd").sum()
    return None if signal == 0 or error == 0 else float(10 * np.log10(signal / error))


CHECK = Check(
    id="unbalanced-inputs",
    group=Group.TENSOR,
    title="Inputs of Concat and Eltwise are alike in size",
    failure="A large input takes the range from a small one",
    why="What is joined is quantized with one coefficient: an input that is 2^k smaller has k octaves less.",
    remedy=(
        "Put a Scale layer before the Concat (and its inverse into the reader), keep the inputs apart, or use 16 "
        "bit (_hp)."
    ),
    how=(
        "Ratio of the inputs' largest magnitudes, from 16 on; it is a warning when the channels that the small "
        "input brought fall below 26 dB in the quantized result, else a note."
    ),
    run=run,
)

"""Is an output so small that 20.12 fixed point swallows it? (spec: decision tree, G6 g)."""

from __future__ import annotations

from gfpq_inspect.analyze.channels import column
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed

_QUANTUM = 1 / 4096
_STEPS = 64
_PROBABILITIES = frozenset({"Sigmoid", "Softmax"})


def run(case: Case) -> Outcome:
    """Compare the largest value of each output with the quantum of the chip's outputs."""
    if case.bits is None:
        return not_applicable("a bit width")
    rows: list[tuple[Cell, ...]] = []
    bounded: list[bool] = []
    looked = 0
    for row in case.rows:
        table = case.channels(row.key, "both") if row.is_output else None
        if table is None or row.side == "second" or row.elements <= 1:
            continue
        looked += 1
        largest = float(column(table, "max_x").max())
        if 0 < largest < _STEPS * _QUANTUM:
            rows.append((row.key, largest, largest / _QUANTUM))
            bounded.append(row.type in _PROBABILITIES)
    if not looked:
        return not_applicable("a network output")
    if not rows:
        return passed(f"Every output reaches {_STEPS} steps of 1/4096.")
    measured = f"'{rows[0][0]}' never exceeds {rows[0][1]:.3g}: {rows[0][2]:.1f} steps of 1/4096."
    columns = ("output", "largest value", "steps of 1/4096")
    # A probability that stays near zero says that nothing was there to be found, not that the head is small.
    severity = "note" if all(bounded) else "warning"
    return found(severity, measured, layers=[str(row[0]) for row in rows], columns=columns, rows=rows)


CHECK = Check(
    id="small-head",
    group=Group.TENSOR,
    title="Outputs are large enough for 20.12",
    failure="An output is too small for the chip's fixed point",
    why=(
        "The chip hands outputs out as 20.12 fixed point, in steps of 1/4096: an output of a few steps is mostly "
        "rounding."
    ),
    remedy="Scale the last layer up and divide after reading it on the host.",
    how=(
        "Largest magnitude of each network output in the float network, below 64 steps of 1/4096 (0.0156); a note "
        "where all of them are probabilities."
    ),
    run=run,
)

"""Did the quantizer skip layers? (spec: decision tree, G7 g)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.grid_state import grid_states

_FLOAT = 0.5


def run(case: Case) -> Outcome:
    """Look for float weights beside quantized ones."""
    states = [state for state in grid_states(case) if not state.folded]
    quantized = [state for state in states if state.stored is not None]
    if not quantized:
        return not_applicable("a second model that holds quantized weights")
    skipped = [state for state in states if state.stored is None and state.share <= _FLOAT and not state.scaled]
    if not skipped:
        return passed(f"All {layers_text(len(states), 'weight')} were quantized.")
    types = sorted({state.type for state in skipped} - {state.type for state in quantized})
    hint = f" No weight of type {', '.join(types)} was quantized." if types else ""
    measured = (
        f"{len(skipped)} of {layers_text(len(states), 'weight')} are still in float, first '{skipped[0].row}'.{hint}"
    )
    rows: list[tuple[Cell, ...]] = [(state.row, state.type, 100 * state.share) for state in skipped]
    columns = ("layer", "type", "values on the grid %")
    return found("warning", measured, layers=[state.row for state in skipped], columns=columns, rows=rows)


CHECK = Check(
    id="skipped-layers",
    group=Group.FINE_TUNING,
    title="All weighted layers were quantized",
    failure="The quantizer skipped layers",
    why="A layer that stayed in float was trained in float; on the chip it is quantized, for the first time there.",
    remedy=(
        "Add the type to the script's list (Deconvolution, DepthwiseConv and InnerProduct are easily missed), or "
        "the name."
    ),
    how="Weights of which at most half of the values lie on the grid, in a model with others that lie on it wholly.",
    run=run,
    direct=False,
)

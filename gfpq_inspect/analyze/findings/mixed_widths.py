"""Were layers quantized with different bit widths? (spec: decision tree, G7 f)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.grid_state import grid_states


def run(case: Case) -> Outcome:
    """Compare the grids that the second model's weights lie on."""
    states = [state for state in grid_states(case) if state.stored is not None]
    if not states:
        return not_applicable("a second model that holds quantized weights")
    widths = sorted({state.stored for state in states if state.stored is not None})
    wrong = [state for state in states if state.stored != state.wanted]
    if len(widths) == 1:
        return passed(f"All {layers_text(len(states), 'quantized weight')} lie on the {widths[0]}-bit grid.")
    if not wrong:
        return passed("Layers differ in bit width just as the network says (_hp).")
    measured = (
        f"{len(wrong)} of {layers_text(len(states), 'quantized weight')} have another bit width than the run gives "
        f"their layer, first '{wrong[0].row}' ({wrong[0].stored} bit for {wrong[0].wanted})."
    )
    rows: list[tuple[Cell, ...]] = [(state.row, state.wanted, state.stored) for state in wrong]
    columns = ("layer", "bits of the run", "bits of the weights")
    return found("warning", measured, layers=[state.row for state in wrong], columns=columns, rows=rows)


CHECK = Check(
    id="mixed-widths",
    group=Group.FINE_TUNING,
    title="One bit width, or as stated",
    failure="Layers were quantized with different bit widths",
    why=(
        "Only layers named _hp have 16 bit (compile_mode 2). Others are brought to 8 bit by the compiler, and lose "
        "what 16 gave."
    ),
    remedy="Name the layers that are meant to have 16 bit _hp, in both prototxts, and quantize the others with 8 bit.",
    how=(
        "The coarsest grid (8, then 16 bit) on which all values of a weight lie, against the width of its layer in "
        "this run."
    ),
    run=run,
)

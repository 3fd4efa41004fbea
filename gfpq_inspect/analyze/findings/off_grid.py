"""Are the exported weights quantized? (spec: decision tree, G7 a)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.grid_state import grid_states, has_quant_layers

_PARTLY = 0.5
_WHOLE = 0.999


def run(case: Case) -> Outcome:
    """Look for weights that should lie on the grid and do not, or do so only in part."""
    states = [state for state in grid_states(case) if not state.folded and not state.scaled]
    if not states:
        return not_applicable("a second model with weights that are quantized as they are stored, and a bit width")
    partly = [state for state in states if state.stored is None and state.share > _PARTLY]
    exported = [state for state in states if state.stored is not None]
    columns = ("layer", "values on the grid %", "bits")
    rows: list[tuple[Cell, ...]] = [(state.row, 100 * state.share, state.wanted) for state in partly]
    if partly:
        measured = (
            f"{len(partly)} of {layers_text(len(states), 'weight')} lie on the grid only in part, first "
            f"'{partly[0].row}' ({100 * partly[0].share:.2f} % of its values)."
        )
        return found("warning", measured, layers=[state.row for state in partly], columns=columns, rows=rows)
    if exported:
        return passed(f"{len(exported)} of {layers_text(len(states), 'weight')} lie on the grid.")
    rows = [(state.row, 100 * state.share, state.wanted) for state in states]
    measured = (
        f"None of {layers_text(len(states), 'weight')} of the second model lies on the grid: it holds float weights."
    )
    if has_quant_layers(case):
        return found("warning", measured, layers=[state.row for state in states], columns=columns, rows=rows)
    return found("note", measured, columns=columns, rows=rows, title="The second model holds float weights")


CHECK = Check(
    id="weights-off-grid",
    group=Group.FINE_TUNING,
    title="Weights on the grid",
    failure="Exported weights are off the grid",
    why=(
        "A fine-tuned network is deployed with quantized weights. Weights that are off the grid are quantized again "
        "by the compiler, and what runs then is not what was trained and tested."
    ),
    remedy=(
        "Quantize the weights and then save (not save and then quantize), after any averaging and after folding. "
        "What was saved may be the float master: keep it as such and export its quantized copy."
    ),
    how=(
        "Share of non-zero values whose S log2|w| is within 0.0001 of a whole number; a float value passes by "
        "chance with 0.02 %."
    ),
    run=run,
    direct=False,
)

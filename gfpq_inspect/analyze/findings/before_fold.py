"""Were weights quantized before BatchNorm was folded in? (spec: decision tree, G7 e)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.grid_state import grid_states
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.verdict import passes

_COLUMNS = ("layer", "values on the grid after folding %")


def run(case: Case) -> Outcome:
    """Compare folded with other weights of the second model; in the view as stored, look what folding would do."""
    rows: list[tuple[Cell, ...]]
    states = grid_states(case)
    if not states:
        return not_applicable("a second model and a bit width")
    scaled = [state for state in states if state.scaled and not state.folded]
    if scaled:
        measured = (
            f"{len(scaled)} of {layers_text(len(states), 'weight')} are off the grid, but each of their filters lies "
            f"on it up to a factor of its own, first '{scaled[0].row}': quantized, then folded."
        )
        rows = [(state.row, 100 * state.share) for state in scaled]
        return found("warning", measured, layers=[state.row for state in scaled], columns=_COLUMNS, rows=rows)
    folded = [state for state in states if state.folded]
    others = [state for state in states if not state.folded]
    if folded:
        off = [state for state in folded if state.stored is None]
        rows = [(state.row, 100 * state.share) for state in off]
        if off and (not others or all(state.stored is not None for state in others)) and others:
            measured = (
                f"All {layers_text(len(others), 'weight')} into which nothing is folded lie on the grid; {len(off)} of "
                f"{len(folded)} with BatchNorm or Scale folded in do not."
            )
            lost = any(not passes(s, case.threshold) for row in case.rows if (s := row.scores.get("tuned")) is not None)
            return found(
                "warning" if lost else "note",
                measured,
                layers=[state.row for state in off],
                columns=_COLUMNS,
                rows=rows,
            )
        return passed(f"{len(folded) - len(off)} of {layers_text(len(folded), 'folded weight')} lie on the grid.")
    norms = [layer for layer, _ in case.batch_norms(Side.SECOND)]
    if not norms or not any(state.stored is not None for state in states):
        return not_applicable("quantized weights with BatchNorm behind them")
    measured = (
        f"Weights lie on the grid as stored, with {layers_text(len(norms), 'BatchNorm layer')} behind them: folding "
        "moves them off it. --fold shows what the chip runs then."
    )
    return passed(measured)


CHECK = Check(
    id="quantized-before-folding",
    group=Group.FINE_TUNING,
    title="Folded weights on the grid",
    failure="Weights were quantized before BatchNorm was folded in",
    why=(
        "The chip runs the folded kernel. Folding multiplies each filter by its own factor, and what was on the "
        "grid is not any more."
    ),
    remedy="Fold first (gfpq-inspect fold), then fine-tune and quantize the folded network.",
    how=(
        "Weights with something folded in that are off the grid, in a model whose other weights all lie on it. A "
        "warning where a layer is lost. In a file that was folded before: weights of which the values of each filter "
        "are whole steps apart, without lying on the grid."
    ),
    run=run,
)

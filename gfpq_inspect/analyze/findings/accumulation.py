"""Is every layer good by itself while the network is not? (spec: decision tree, G4 and G5)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed

_LOCAL = 0.99
_SHOWN = 10


def run(case: Case) -> Outcome:
    """Compare the error of each layer alone with what piled up."""
    whole, alone = ("tuned", "local_tuned") if case.second is not None else ("both", "local_both")
    rows = [row for row in case.rows if whole in row.scores and alone in row.scores]
    if not rows:
        return not_applicable("the error of each layer alone (--isolate)")
    # An output without a cosine (of another shape in each lane, not numbers) says nothing of what piled up.
    lost = [row for row in rows if (cosine := row.scores[whole].cosine) is not None and cosine < case.threshold]
    outputs = [row for row in lost if row.is_output]
    locals_ = [(row.scores[alone].cosine, row.key) for row in rows]
    known = [(cosine, key) for cosine, key in locals_ if cosine is not None]
    if not known or not lost:
        return passed("No layer is lost, so nothing piles up that matters.")
    worst = min(known)
    if worst[0] < _LOCAL:
        return passed(f"'{worst[1]}' alone has a cosine of {worst[0]:.4f}: it is more than a sum of small errors.")
    shown = sorted(outputs or lost, key=lambda row: row.scores[whole].cosine or 0.0)[:_SHOWN]
    end = shown[0]
    verb = "falls" if len(lost) == 1 else "fall"
    name = f"the output '{end.key}' has" if outputs else f"{layers_text(len(lost))} {verb} below {case.threshold:g}:"
    measured = f"Every layer alone keeps a cosine of {worst[0]:.4f} or more, but {name} "
    if outputs:
        measured += f"{end.scores[whole].cosine:.4f} in the whole network; {layers_text(len(known))} add up."
    else:
        measured += f"'{end.key}' has {end.scores[whole].cosine:.4f} in the whole network. No output is lost."
    table: list[tuple[Cell, ...]] = [(row.key, row.scores[whole].cosine, row.scores[alone].cosine) for row in shown]
    ranked = sorted(known)[:10]
    table += [(key, next(r for r in rows if r.key == key).scores[whole].cosine, cosine) for cosine, key in ranked]
    layers = [*(row.key for row in shown), *(key for _, key in ranked)]
    columns = ("layer", "cosine in the network", "cosine alone")
    return found("warning" if outputs else "note", measured, layers=layers, columns=columns, rows=table)


CHECK = Check(
    id="accumulation",
    group=Group.ABLATION,
    title="Errors that pile up",
    failure="No single layer is at fault: small errors pile up",
    why=(
        "Each layer adds its own rounding to what arrives, and some amplify it. No check of a single tensor finds this."
    ),
    remedy=(
        "Give 16 bit to the layers that cost the outputs most (gfpq-inspect remedy finds the fewest), the first and "
        "the last before others; or fine-tune with quantization in the loop."
    ),
    how=(
        "Cosine of each layer fed with the float network's inputs (0.99 or more everywhere) against that in the whole "
        "network; a warning where an output is lost, else a note."
    ),
    run=run,
    direct=False,
)

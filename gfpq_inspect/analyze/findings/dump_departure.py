"""Where does the dump leave what precision explains? (spec: practice elsewhere; first layer that does not match)."""

from __future__ import annotations

from gfpq_inspect.analyze.dumps.comparison import DumpRole
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.result import LayerRow, Scores


def run(case: Case) -> Outcome:
    """Look for layers where the dump is bad and our simulation is not."""
    dump = case.dump
    if dump is None or dump.role is not DumpRole.TESTED or case.bits is None:
        return not_applicable("a dump that is compared with a network and its simulation")
    scored = [row for row in case.rows if "simulation" in row.scores and row.scores["total"].cosine is not None]
    if not scored:
        return not_applicable("a tensor of the dump that can be scored")
    apart = [row for row in scored if _departs(row, case.threshold)]
    if not apart:
        return passed(
            f"Wherever the dump is good or bad, our simulation is so too ({layers_text(len(scored), 'layer output')})."
        )
    keys = {row.key for row in apart}
    start = next((row for row in apart if not keys & set(row.inputs)), apart[0])
    rows: list[tuple[Cell, ...]] = [
        (row.key, row.type, _cosine(row, "total"), _cosine(row, "both"), _cosine(row, "simulation")) for row in apart
    ]
    measured = (
        f"The dump departs from the simulation at '{start.key}': its cosine is {_cosine(start, 'total'):.4f}, the "
        f"simulation's {_cosine(start, 'both'):.4f}; so in {layers_text(len(apart))} of {len(scored)}."
    )
    columns = ("layer", "type", "dump against float", "simulation against float", "dump against simulation")
    ordered = [start.key, *(row.key for row in apart if row is not start)]
    return found("error", measured, layers=ordered, columns=columns, rows=rows)


def _departs(row: LayerRow, threshold: float) -> bool:
    total, both = row.scores["total"], row.scores.get("both")
    return both is not None and _value(total) < threshold <= _value(both)


def _value(scores: Scores) -> float:
    return 1.0 if scores.cosine is None else scores.cosine


def _cosine(row: LayerRow, name: str) -> float:
    return _value(row.scores[name]) if name in row.scores else 1.0


CHECK = Check(
    id="dump-departure",
    group=Group.ABLATION,
    title="The dump follows the simulation",
    failure="The dump departs from what precision explains",
    why=(
        "Where our simulation of the same arithmetic keeps a layer and the dump does not, it is not the number format: "
        "another network or weights on the board, another layer implementation, another calibration, or a wrong file."
    ),
    remedy=(
        "Look at the first layer named: does the compiled model come from this network, were its coefficients made of "
        "the same images, is the layer a custom or CPU one there? More bits will not cure it."
    ),
    how="Cosine of the dump with the float network below the threshold where the simulation's is not.",
    run=run,
    direct=False,
)

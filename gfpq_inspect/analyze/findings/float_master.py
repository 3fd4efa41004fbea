"""Was the float master overwritten while fine-tuning? (spec: decision tree, G7 b); `master` compares the weights."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, initializers_of, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.master import HOW, ID, REMEDY, WHY, check_master
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize import kernels


def run(case: Case) -> Outcome:
    """Look at the master itself where it is given, else at what became of the weights."""
    if case.second is not None and case.second.quantizes_itself:
        return not_applicable("a model that is quantized to GFPQ; this one brings its own format")
    if case.master is not None and case.bits is not None:
        told = _judge_master(case, case.master, case.bits)
        if told is not None:
            return told
    elif len(case.snapshots) > 1 and case.bits is not None:
        told = _judge_master(case, case.snapshots[-1].model, case.bits)
        if told is not None and told.severity == "passed":
            return told
    row_keys = {layer: key for (side, layer), key in case.row_of.items() if side is Side.FIRST}
    finding = check_master(case.models, case.pairing, case.experiment.weights, case.bits, row_keys)
    return Outcome(finding.severity, finding.measured, finding.layers, title=finding.title)


def _judge_master(case: Case, master: Model, bits: int) -> Outcome | None:
    """A master whose weights all lie on the grid is none; one that holds float weights was kept, moved far or not."""
    tensors, before = initializers_of(master), initializers_of(case.first)
    start = {layer.name: main_weight(layer) for layer in case.first.layers}
    on_grid, total, moved = [], 0, False
    for layer in master.layers:
        name = main_weight(layer)
        if name is None or name not in tensors or layer.quantization is None:
            continue
        total += 1
        array = np.ascontiguousarray(array_of(tensors[name]), dtype=np.float32)
        own = start.get(layer.name)
        moved |= own not in before or not np.array_equal(array_of(before[own]), array)
        if kernels.on_grid(array, layer.quantization.bits or bits):
            on_grid.append(case.row_key(Side.FIRST, layer.key))
    if not total:
        return None
    if not on_grid and moved:
        return passed(f"All {layers_text(total, 'weight')} of the training's own model are in float.")
    if len(on_grid) < total:
        return None
    measured = f"All {layers_text(total, 'weight')} of the file given as the float master lie on the {bits}-bit grid."
    return found("error", measured, layers=on_grid, title="Float master overwritten")


CHECK = Check(
    id=ID,
    group=Group.FINE_TUNING,
    title="Float master",
    failure="Float master overwritten",
    why=WHY,
    remedy=REMEDY,
    how=HOW,
    run=run,
)

"""Was the float master overwritten while fine-tuning? (spec: decision tree, G7 b); `master` compares the weights."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.case import Case, initializers_of, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found
from gfpq_inspect.analyze.findings.master import HOW, ID, REMEDY, WHY, check_master
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import kernels


def run(case: Case) -> Outcome:
    """Look at the master itself where it is given, else at what became of the weights."""
    if case.master is not None and case.bits is not None:
        told = _judge_master(case, case.master, case.bits)
        if told is not None:
            return told
    row_keys = {layer: key for (side, layer), key in case.row_of.items() if side is Side.FIRST}
    finding = check_master(case.models, case.pairing, case.experiment.weights, case.bits, row_keys)
    return Outcome(finding.severity, finding.measured, finding.layers, title=finding.title)


def _judge_master(case: Case, master: Model, bits: int) -> Outcome | None:
    """A master whose weights all lie on the grid is no float master."""
    import onnx  # noqa: PLC0415  # heavy, and only needed here

    tensors = initializers_of(master)
    on_grid, total = [], 0
    for layer in master.layers:
        name = main_weight(layer)
        if name is None or name not in tensors or layer.quantization is None:
            continue
        total += 1
        array = np.ascontiguousarray(onnx.numpy_helper.to_array(tensors[name]), dtype=np.float32)
        if kernels.on_grid(array, layer.quantization.bits or bits):
            on_grid.append(case.row_key(Side.FIRST, layer.key))
    if not total or len(on_grid) < total:
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

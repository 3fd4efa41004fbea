"""Was the dump made with the bit width that is simulated? (spec: decision tree, G3)."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.analyze.findings.bit_width import stored_width
from gfpq_inspect.analyze.findings.case import Case, layers_text
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.inputs.dumps.dump import DumpTensor
from gfpq_inspect.inputs.dumps.target_names import TargetNames


def run(case: Case) -> Outcome:
    """Compare the digits of codes, or the grid of dequantized inputs, with the simulated width."""
    if case.dump is None or case.dump.match is None:
        return not_applicable("a dump and a network")
    if case.bits is None:
        return not_applicable("a bit width")
    names = TargetNames(case.first)
    listed: list[tuple[str, str, int, int]] = []
    for tensor in case.dump.dump.tensors:
        named = None if tensor.is_output else names.find(tensor.file_name)
        width = None if named is None else _width(tensor)
        if named is not None and width is not None:
            layer = named.places[0][0]
            wanted = (layer.quantization.bits if layer.quantization is not None else None) or case.bits
            listed.append((case.row_key_of_first(layer.key), tensor.name, wanted, width))
    if not listed:
        return not_applicable("a dump that holds quantized inputs of layers")
    wrong: list[tuple[Cell, ...]] = [entry for entry in listed if entry[2] != entry[3]]
    if not wrong:
        return passed(f"{layers_text(len(listed), 'quantized input')} of the dump have the width that is simulated.")
    measured = (
        f"{len(wrong)} of {layers_text(len(listed), 'quantized input')} of the dump have {wrong[0][3]} bits, this run "
        f"simulates {wrong[0][2]} bits: '{wrong[0][0]}' first."
    )
    columns = ("layer", "tensor of the dump", "bits of the run", "bits of the dump")
    return found("error", measured, layers=[str(row[0]) for row in wrong], columns=columns, rows=wrong)


def _width(tensor: DumpTensor) -> int | None:
    """8 or 16, from the digits of the codes, else from the grid that values lie on."""
    if tensor.code_bits is not None:
        return tensor.code_bits
    stored = tensor.stored[0]
    if stored is None or stored.values is None or stored.values.dtype != np.float32:
        return None
    values = np.ascontiguousarray(stored.values)
    return stored_width(values) if np.isfinite(values).all() else None


CHECK = Check(
    id="dump-bits",
    group=Group.CONFIGURATION,
    title="Bit width of the dump",
    failure="The dump was made with another bit width",
    why="A dump of 16 bits hides what 8 bits lose, and the simulation explains nothing of a dump of another width.",
    remedy=(
        "Simulate the width of the dump (--bits; 16 bits for single layers by the suffix _hp), or compile again with "
        "compile_mode 0 (8 bit), 1 (16 bit) or 2 (16 bit for layers named _hp)."
    ),
    how="Codes of 2 digits are 8 bit, of 4 digits 16 bit; dequantized inputs lie on 16 or 128 steps an octave.",
    run=run,
)

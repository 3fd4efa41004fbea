"""Are the weights that the compiler quantized those of this network? (spec: what the mapper dumps)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.case import Case, filters_of, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.inputs.dumps.dump import DumpTensor
from gfpq_inspect.inputs.dumps.names import FileName, Role
from gfpq_inspect.inputs.dumps.target_names import TargetNames
from gfpq_inspect.inputs.dumps.values import cosine
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import gfpq_of

Array = NDArray[Any]

_SAME = 0.9998
"""Rounding to 8 bits alone never leaves less; two roundings of equal weights leave more."""


def run(case: Case) -> Outcome:
    """Compare the dump's dequantized weights with the network's, quantized here."""
    if case.dump is None or case.dump.match is None:
        return not_applicable("a dump and a network")
    rows: list[tuple[Cell, ...]] = []
    equal, looked = [], 0
    for layer, tensor, values in _weights(case):
        name = main_weight(layer)
        assert name is not None
        ours = case.tensor(Side.FIRST, name).astype(np.float32)
        looked += 1
        if ours.size != values.size:
            rows.append(
                (case.row_key_of_first(layer.key), tensor.where, None, f"{values.size} values, not {ours.size}")
            )
            continue
        bits = (layer.quantization.bits if layer.quantization is not None else None) or case.bits
        rounded = ours if bits is None else _rounded(ours, bits)
        best, order = max((cosine(rounded, values.reshape(-1)[places]), how) for how, places in _orders(ours))
        if best >= _SAME:
            equal.append(np.isclose(rounded.ravel(), values.ravel(), rtol=1e-4, atol=1e-6).mean() if not order else 1.0)
            continue
        told = "each filter times a factor: folded" if _is_folded(case, layer, ours, values) else "other weights"
        rows.append((case.row_key_of_first(layer.key), tensor.where, best, told))
    if not looked:
        return not_applicable("a dump that holds dequantized weights (_weight-anti.float)")
    if not rows:
        share = 100 * float(np.mean(equal))
        return passed(
            f"{layers_text(looked, 'weight')} of the dump are the network's, quantized; {share:.1f} % are equal."
        )
    measured = (
        f"{len(rows)} of {layers_text(looked, 'weight')} of the dump are not the network's, quantized; '{rows[0][0]}' "
        f"first: {rows[0][3]}{'' if rows[0][2] is None else f', cosine {rows[0][2]:.4f}'}."
    )
    folded = all(str(row[3]).endswith("folded") for row in rows)
    return found(
        "note" if folded and case.view != "folded" else "error",
        measured,
        layers=[str(row[0]) for row in rows],
        columns=("layer", "file", "cosine", "what it holds"),
        rows=rows,
        title="The dump's weights are folded, the network's are not" if folded else None,
        remedy="Compare the folded network, as it was compiled: --fold." if folded else None,
    )


def _weights(case: Case) -> Iterator[tuple[Layer, DumpTensor, Array]]:
    """Layers whose dequantized weight the dump holds."""
    assert case.dump is not None
    names = TargetNames(case.first)
    for tensor in case.dump.dump.tensors:
        said, stored = tensor.file_name, tensor.stored[0]
        if said.role is not Role.PARAMETER or stored is None or stored.values is None:
            continue
        named = names.find(FileName(said.layer, Role.OUTPUT, 0, None, said.encoding, said.tool))
        layer = None if named is None else next((one for one, _ in named.places if main_weight(one)), None)
        if layer is not None:
            yield layer, tensor, stored.values


def _rounded(array: Array, bits: int) -> Array:
    chosen = gfpq_of(bits)
    return chosen.apply(np.ascontiguousarray(array), chosen.coefficient(float(np.abs(array).max(initial=0.0))))


def _orders(ours: Array) -> Iterator[tuple[str, Array]]:
    """Orders in which the values may lie: places of the dump's values, in the network's order."""
    places = np.arange(ours.size)
    yield "", places
    if ours.ndim == 2:
        yield "transposed", places.reshape(ours.shape[::-1]).T.reshape(-1)
    if ours.ndim == 4:
        out, into, height, width = ours.shape
        yield "filters last", places.reshape(height, width, into, out).transpose(3, 2, 0, 1).reshape(-1)


def _is_folded(case: Case, layer: Layer, ours: Array, values: Array) -> bool:
    """Whether every filter is the network's times a factor."""
    one = filters_of(case.first, layer, ours)
    other = filters_of(case.first, layer, values.reshape(ours.shape))
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    live = lengths > 0
    if not live.any():
        return False
    cosines = np.abs((one * other).sum(1)[live] / lengths[live])
    return bool(np.median(cosines) >= 0.995)


CHECK = Check(
    id="dump-weights",
    group=Group.CONFIGURATION,
    title="Weights of the dump",
    failure="The dump's weights are not those of this network",
    why="A board that runs other weights differs everywhere, and no number format is to blame.",
    remedy="Compile this caffemodel again, or compare with the one that was compiled.",
    how=(
        "Cosine of the dequantized weights with the network's, quantized here, at least 0.9998; else each filter for "
        "itself: a factor each is BatchNorm or Scale that was folded in."
    ),
    run=run,
)

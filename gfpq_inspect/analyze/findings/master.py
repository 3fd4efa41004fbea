"""Did fine-tuning keep a float master? (guide section 5: without one, small updates are lost at every step)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import Finding
from gfpq_inspect.analyze.weights import QuantizedWeight, WeightTable
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import Pairing, canonical_type
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize import gfpq_of, kernels

ID = "float-master"
WHY = (
    "One step of training moves a weight by less than a step of the grid. Where each step writes the quantized weights "
    "back, that movement is lost every time and the weights never leave the place where they started."
)
REMEDY = (
    "Keep a float copy of the weights: apply every update to it, and use its quantized copy for the forward and "
    "backward pass only."
)
HOW = (
    "Each convolution weight of the second model is compared, bit by bit, with the first model's quantized by its own "
    "maximum (also with a lowered top, as a loop that quantizes again and again leaves it); all other parameters are "
    "compared as they are."
)
_KEPT = 0.9
"""Share of values that a lowered top leaves alone, at least."""


@dataclass(frozen=True)
class _Weight:
    """A weight of both models: does the second's equal the first's, as stored or quantized?"""

    row: str
    convolution: bool
    equals_stored: bool
    equals_quantized: bool


def check_master(
    models: Mapping[Side, Model],
    pairing: Pairing | None,
    weights: WeightTable,
    bits: int | None,
    row_keys: Mapping[str, str],
) -> Finding:
    """Tell a fine-tuning that kept its float master from one that overwrote it.

    Args:
        models: Both models.
        pairing: Their pairing, or None where there is one model.
        weights: Quantized weights of both.
        bits: Bit width of the run, None where nothing is quantized.
        row_keys: Layer key of the first model to its row.
    """
    if pairing is None or bits is None:
        needs = "a second, fine-tuned model" if pairing is None else "a bit width"
        return _finding("not applicable", "Float master", f"Not applicable: needs {needs}.")
    found = list(_weights(models, pairing, weights, bits, row_keys))
    judged = [entry for entry in found if entry.convolution] or found
    if not judged:
        return _finding("not applicable", "Float master", "Not applicable: the models share no weighted layer.")
    moved, others = _moved_parameters(models, pairing)
    stuck = [entry for entry in judged if entry.equals_quantized]
    kind = "convolution weights" if judged[0].convolution else "weights"
    rows = tuple(entry.row for entry in stuck)
    if all(entry.equals_stored for entry in found) and not moved:
        measured = f"All {len(found)} weights and {others} other parameters are the first model's, bit by bit."
        return _finding("note", "The second model is the first", measured)
    if len(stuck) < len(judged):
        measured = f"{len(judged) - len(stuck)} of {len(judged)} {kind} moved away from the quantized originals."
        return _finding("passed", "Fine-tuning kept a float master", measured)
    equal = f"All {len(judged)} {kind} of the second model equal the first model's quantized ones, bit by bit"
    if moved:
        measured = f"{equal}, while {moved} of {others} biases and other float parameters did move."
        return _finding("error", "Float master overwritten", measured, rows)
    measured = f"{equal}, and none of the {others} other parameters moved."
    # A network that was quantized and never meant to be fine-tuned looks just so, and nothing is wrong with it.
    untouched = all(entry.equals_stored or entry.equals_quantized for entry in found)
    severity = "note" if untouched else "warning"
    return _finding(severity, "Never fine-tuned, or the float master was overwritten", measured, rows)


def _finding(severity: str, title: str, measured: str, layers: Sequence[str] = ()) -> Finding:
    at_fault = severity in ("error", "warning")
    return Finding(
        id=ID,
        title=title,
        severity=severity,
        measured=measured,
        why=WHY if at_fault else "",
        remedy=REMEDY if at_fault else "",
        how=HOW,
        layers=tuple(layers),
    )


def _pairs(models: Mapping[Side, Model], pairing: Pairing) -> Iterator[tuple[Layer, Layer]]:
    first = {layer.key: layer for layer in models[Side.FIRST].layers}
    second = {layer.key: layer for layer in models[Side.SECOND].layers}
    return ((first[pair.first], second[pair.second]) for pair in pairing.pairs)


def _weights(
    models: Mapping[Side, Model], pairing: Pairing, table: WeightTable, bits: int, row_keys: Mapping[str, str]
) -> Iterator[_Weight]:
    for one, other in _pairs(models, pairing):
        if one.quantization is None or other.quantization is None:
            continue
        convolution = canonical_type(one) in ("Convolution", "Deconvolution")
        for own, opposite in zip(one.quantization.weights, other.quantization.weights, strict=False):
            original = table.get(Side.FIRST, own, one.quantization.bits or bits)
            tuned = table.get(Side.SECOND, opposite, other.quantization.bits or bits).stored
            yield _Weight(
                row=row_keys.get(one.key, one.key),
                convolution=convolution,
                equals_stored=np.array_equal(tuned, original.stored),
                equals_quantized=_equals_quantized(tuned, original),
            )


def _equals_quantized(tuned: NDArray[Any], original: QuantizedWeight) -> bool:
    """Whether a tensor is the quantized original, or that quantized again and again, which may lower its top."""
    candidate, working = as_floating(original.quantized), as_floating(tuned)
    if np.array_equal(working, candidate):
        return True
    top = kernels.largest_magnitude(working)[0]
    if top == 0.0 or top >= kernels.largest_magnitude(candidate)[0]:
        return False
    grid = gfpq_of(original.bits)
    delta = round(grid.steps_per_octave * math.log2(top)) - grid.highest_code
    lowered = kernels.apply(candidate, original.bits, delta)
    kept = np.mean(working == candidate)
    return bool(np.array_equal(working, lowered) and kept >= _KEPT)


def _moved_parameters(models: Mapping[Side, Model], pairing: Pairing) -> tuple[int, int]:
    """How many parameters that are not quantized differ, and how many there are."""
    tensors = {
        side: {tensor.name: tensor for tensor in model.graph.graph.initializer} for side, model in models.items()
    }
    moved = total = 0
    for one, other in _pairs(models, pairing):
        for own, opposite in zip(_float_parameters(one), _float_parameters(other), strict=False):
            first, second = tensors[Side.FIRST].get(own), tensors[Side.SECOND].get(opposite)
            if first is None or second is None:
                continue
            total += 1
            arrays = array_of(first), array_of(second)
            moved += not np.array_equal(*arrays)
    return moved, total


def _float_parameters(layer: Layer) -> list[str]:
    """Parameters that training learns in float; statistics move without learning and prove nothing."""
    if canonical_type(layer) in ("BatchNorm", "BN"):
        # ONNX keeps scale and bias, which are learnt, in the same layer, before the statistics.
        return list(layer.weights[:2]) if layer.type == "BatchNormalization" else []
    quantized = layer.quantization.weights if layer.quantization is not None else ()
    return [name for name in layer.weights if name not in quantized]

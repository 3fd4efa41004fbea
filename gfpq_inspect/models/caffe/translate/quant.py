"""NNIE's Quant layer: a point where the data are quantized. Layers of the same name from other chips are refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import LayerKind, Quantization

_LARGEST = 1 << 15
"""Coefficients are far smaller; whatever is larger means something else."""

_OTHERS = {
    "HWGQ's": ("forward_func", "backward_func", "clip_thr", "thrs", "centers"),
    "Ascend's": ("with_offset", "scale", "offset", "object_layer"),
    "another chip's": ("actives_quant_val", "weights_quant_val"),
}


def stored_coefficient(blobs: Sequence[NDArray[np.float32]]) -> int | None:
    """The coefficient that training left in a Quant layer of this project: one blob, [is it set, coefficient].

    Other Quant layers may store what they like; only this form is told apart with certainty.
    """
    if len(blobs) != 1 or blobs[0].size != 2:
        return None
    held, coefficient = (float(value) for value in blobs[0].reshape(-1))
    if held != 1.0 or not coefficient.is_integer() or abs(coefficient) > _LARGEST:
        return None
    return int(coefficient)


@layer("Quant")
def quant(context: LayerContext) -> None:
    """The identity in the graph; what quantizes it is the engine, told by the layer table."""
    message = context.layer.parameters("quant_param")
    for owner, fields in _OTHERS.items():
        found = [name for name in fields if message.has(name)]
        if found:
            context.fail(
                f"it is {owner} Quant layer (quant_param.{found[0]}), not NNIE's",
                "only NNIE's quant_param { quant_bits quant_en } is understood",
            )
    parameters = context.parameters("quant_param")
    context.expect(bottoms=1, tops=1)
    for index, blob in enumerate(context.layer.blobs):
        context.derived_weight(f"parameter{index}", blob)
    bits = parameters.integer("quant_bits")
    if bits not in (8, 16):
        context.fail(f"quant_bits is {bits}", "GFPQ has 8 and 16 bits")
    context.kind = LayerKind.QUANT
    if parameters.flag("quant_en"):
        known = stored_coefficient(context.layer.blobs)
        coefficients = {} if known is None else dict.fromkeys(context.layer.bottoms, known)
        context.quantization = Quantization(inputs=context.layer.bottoms, bits=bits, coefficients=coefficients)
        held = "" if known is None else f", coefficient {known} from its training"
        context.quantization_reason = f"Quant layer, {bits} bits{held}"
    else:
        context.quantization_reason = "Quant layer switched off by quant_en: 0"
    if not message.present:
        context.notes.append("quant_param is not readable: 8 bits assumed")
    context.output(context.emit("Identity", context.bottom()))

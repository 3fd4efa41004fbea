"""NNIE's Quant layer: a point where the data are quantized. Layers of the same name from other chips are refused."""

from __future__ import annotations

from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import LayerKind, Quantization

_OTHERS = {
    "HWGQ's": ("forward_func", "backward_func", "clip_thr", "thrs", "centers"),
    "Ascend's": ("with_offset", "scale", "offset", "object_layer"),
    "another chip's": ("actives_quant_val", "weights_quant_val"),
}


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
    bits = parameters.integer("quant_bits")
    if bits not in (8, 16):
        context.fail(f"quant_bits is {bits}", "GFPQ has 8 and 16 bits")
    context.kind = LayerKind.QUANT
    if parameters.flag("quant_en"):
        context.quantization = Quantization(inputs=context.layer.bottoms, bits=bits)
        context.quantization_reason = f"Quant layer, {bits} bits"
    else:
        context.quantization_reason = "Quant layer switched off by quant_en: 0"
    if not message.present:
        context.notes.append("quant_param is not readable: 8 bits assumed")
    context.output(context.emit("Identity", context.bottom()))

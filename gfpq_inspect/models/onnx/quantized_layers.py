"""Writes into the table of layers what a model quantizes itself."""

from __future__ import annotations

from dataclasses import replace

from gfpq_inspect.models.model import Layer, LayerKind, Quantization
from gfpq_inspect.models.onnx.quantized_view import QuantizedView


def annotated(layers: list[Layer], view: QuantizedView) -> list[Layer]:
    """The layers with the model's own quantization in place of what a chip would quantize."""
    return [_annotated(layer, view) for layer in layers]


def _annotated(layer: Layer, view: QuantizedView) -> Layer:
    if view.as_it_is:
        return replace(layer, quantization=None, quantization_reason="the model runs as it is")
    if layer.nodes and layer.nodes[0] in view.inputs:
        value, chosen = view.inputs[layer.nodes[0]]
        own = Quantization(inputs=(value,), formats={value: chosen})
        reason = f"the model quantizes it itself ({chosen.name})"
        kind = "DynamicQuantizeLinear" if chosen.name == "uint8-dynamic" else "QuantizeLinear"
        return replace(layer, type=kind, kind=LayerKind.QUANT, quantization=own, quantization_reason=reason)
    outputs = tuple(name for name in layer.outputs if name in view.outputs)
    weights = tuple(name for name in layer.weights if name in view.weights)
    if not outputs and not weights:
        return replace(layer, quantization=None, quantization_reason="the model does not quantize it")
    formats = {name: view.outputs[name] for name in outputs}
    formats |= {name: view.weights[name][0] for name in weights}
    own = Quantization(
        weights=weights, outputs=outputs, formats=formats, stored={name: view.weights[name][1] for name in weights}
    )
    what = " and ".join(text for text, there in (("its output", outputs), ("its weights", weights)) if there)
    kinds = ", ".join(dict.fromkeys(chosen.name for chosen in formats.values()))
    return replace(layer, quantization=own, quantization_reason=f"the model quantizes {what} itself ({kinds})")


def view_notes(view: QuantizedView) -> list[str]:
    """What a reader should know of how a quantized model was read, one clause each."""
    if view.as_it_is:
        return [
            f"the quantized model runs as it is, so lanes with data or weights alone cannot be made: {view.as_it_is}"
        ]
    points, weights = len(view.inputs) + len(view.outputs), len(view.weights)
    return [f"the model quantizes {points} values and {weights} constants itself; read as a float network with these"]

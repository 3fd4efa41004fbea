"""Which tensors of a model are quantized on their way into a layer."""

from __future__ import annotations

from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.errors import InternalError
from gfpq_inspect.models.model import LayerKind, Model


def has_quant_layers(model: Model) -> bool:
    """Whether the network says itself where its data are quantized."""
    return any(layer.kind is LayerKind.QUANT and layer.quantization is not None for layer in model.layers)


def points_of(side: Side, model: Model, bits: int | None) -> tuple[Point, ...]:
    """The points of a model, in order of execution; layers that read one tensor with one bit width share a point.

    A network with Quant layers is quantized exactly there: quantizing again at each convolution would count the loss
    twice, and lower the top of the grid where the maximum lies on it.

    Args:
        side: Which model.
        model: The model.
        bits: Bit width of the run, None where nothing is quantized.
    """
    if bits is None:
        return ()
    own_points_only = has_quant_layers(model)
    found: dict[tuple[str, int], list[str]] = {}
    for layer in model.layers:
        quantization = layer.quantization
        if quantization is None or (own_points_only and layer.kind is not LayerKind.QUANT):
            continue
        for value in quantization.inputs:
            if value not in layer.inputs:
                raise InternalError(f"layer '{layer.key}' quantizes '{value}', which it does not read")
            found.setdefault((value, quantization.bits or bits), []).append(layer.key)
    return tuple(Point(side, value, width, tuple(layers)) for (value, width), layers in found.items())

"""Which tensors of a model are quantized on their way into a layer."""

from __future__ import annotations

from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.weights import layer_format
from gfpq_inspect.errors import InternalError
from gfpq_inspect.models.model import LayerKind, Model
from gfpq_inspect.quantize import Gfpq, NumberFormat


def has_quant_layers(model: Model) -> bool:
    """Whether the network says itself where its data are quantized."""
    return any(layer.kind is LayerKind.QUANT and layer.quantization is not None for layer in model.layers)


def runs_as_it_is(model: Model) -> bool:
    """Whether the model quantizes itself in a way that could not be taken apart."""
    return model.quantizes_itself and all(layer.quantization is None for layer in model.layers)


def points_of(side: Side, model: Model, run_format: NumberFormat | None) -> tuple[Point, ...]:
    """The points of a model, in order of execution; layers that read one tensor with one bit width share a point.

    A network with Quant layers is quantized exactly there: quantizing again at each convolution would count the loss
    twice, and lower the top of the grid where the maximum lies on it. One that quantizes itself has its own points, in
    its own formats, whatever the format of the run.

    Args:
        side: Which model.
        model: The model.
        run_format: Format of the run, None where nothing else is quantized.
    """
    if model.quantizes_itself:
        return _own_points(side, model)
    if run_format is None:
        return ()
    own_points_only = has_quant_layers(model)
    found: dict[tuple[str, NumberFormat], list[str]] = {}
    brought: dict[tuple[str, NumberFormat], set[int | None]] = {}
    for layer in model.layers:
        quantization = layer.quantization
        if quantization is None or (own_points_only and layer.kind is not LayerKind.QUANT):
            continue
        for value in quantization.inputs:
            if value not in layer.inputs:
                raise InternalError(f"layer '{layer.key}' quantizes '{value}', which it does not read")
            key = (value, layer_format(run_format, quantization))
            found.setdefault(key, []).append(layer.key)
            brought.setdefault(key, set()).add(quantization.coefficients.get(value))
    return tuple(
        Point(
            side,
            value,
            chosen.bits,
            tuple(layers),
            None if isinstance(chosen, Gfpq) else chosen,
            coefficient=_agreed(brought[value, chosen]) if isinstance(chosen, Gfpq) else None,
        )
        for (value, chosen), layers in found.items()
    )


def _agreed(coefficients: set[int | None]) -> int | None:
    """The coefficient on which all readers of a tensor agree, or None."""
    return next(iter(coefficients)) if len(coefficients) == 1 else None


def _own_points(side: Side, model: Model) -> tuple[Point, ...]:
    points = []
    for layer in model.layers:
        quantization = layer.quantization
        if quantization is not None:
            for value in (*quantization.inputs, *quantization.outputs):
                own = quantization.formats[value]
                points.append(Point(side, value, own.bits, (layer.key,), own, value in quantization.outputs))
    return tuple(points)

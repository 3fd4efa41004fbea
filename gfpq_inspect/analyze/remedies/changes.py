"""Changes of a network that may cure a layer: bit width, float, equalization, bias correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.analyze.findings.case import filters_of, initializers_of, main_weight
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import canonical_type
from gfpq_inspect.models.tensors import array_of

Array = NDArray[Any]

_KEEPS_SCALE = frozenset({"ReLU", "PReLU", "Pooling", "Dropout", "Split"})
"""Layers f with f(s x) = s f(x) for a positive factor a channel."""

_LARGEST_FACTOR = 2.0**8


def with_bits(model: Model, widths: Mapping[str, int]) -> Model:
    """Give layers another bit width, by key: NNIE's `_hp` for 16."""
    layers = tuple(
        replace(layer, quantization=replace(layer.quantization, bits=widths[layer.key]))
        if layer.key in widths and layer.quantization is not None
        else layer
        for layer in model.layers
    )
    return replace(model, layers=layers)


def in_float(model: Model, keys: set[str]) -> Model:
    """Leave layers in float."""
    layers = tuple(replace(layer, quantization=None) if layer.key in keys else layer for layer in model.layers)
    return replace(model, layers=layers)


def with_weights(model: Model, changes: Mapping[str, Callable[[Array], Array]]) -> Model:
    """Change initializers; dtype and shape stay."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for tensor in graph.graph.initializer:
        if tensor.name in changes:
            array = array_of(tensor)
            changed = np.ascontiguousarray(changes[tensor.name](array), dtype=array.dtype)
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return replace(model, graph=graph)


@dataclass(frozen=True)
class Neighbours:
    """A weighted layer, the weighted layer that alone reads it, and what stands between."""

    producer: Layer
    consumer: Layer
    last_affine: Layer | None


def neighbours_of(model: Model, consumer: Layer) -> Neighbours | None:
    """The producer of a layer's input, where nothing between mixes channels or changes under a scale; else None."""
    if canonical_type(consumer) != "Convolution" or main_weight(consumer) is None:
        return None
    makers = {value: layer for layer in model.layers for value in layer.outputs}
    readers: dict[str, int] = {}
    for one in model.layers:
        for value in one.inputs:
            readers[value] = readers.get(value, 0) + 1
    value, affine = consumer.inputs[0], None
    while readers.get(value) == 1 and value not in model.outputs:
        layer: Layer | None = makers.get(value)
        if layer is None:
            return None
        kind = canonical_type(layer)
        if kind == "Convolution" and main_weight(layer) is not None:
            return Neighbours(layer, consumer, affine)
        if kind in ("Scale",) and len(layer.inputs) == 1 and affine is None:
            affine = layer
        elif kind not in _KEEPS_SCALE and not (kind == "BatchNorm" and affine is not None):
            return None
        if len(layer.inputs) != 1:
            return None
        value = layer.inputs[0]
    return None


def equalized(model: Model, pair: Neighbours) -> Model | None:
    """Cross-layer equalization: each channel between two layers is scaled so that both weights use their range alike.

    The factor of a channel is sqrt(range of the producer's filter / range of the consumer's input channel), relative to
    the geometric mean; what the producer loses the consumer gains, so that the float network computes the same.
    """
    held = initializers_of(model)
    target = pair.last_affine or pair.producer
    source_name, reader_name = main_weight(pair.producer), main_weight(pair.consumer)
    if source_name is None or reader_name is None:
        return None
    reader = array_of(held[reader_name]).astype(np.float64)
    depthwise = pair.consumer.group > 1
    if depthwise and pair.consumer.group != reader.shape[0]:
        return None
    made = np.abs(filters_of(model, pair.producer, array_of(held[source_name]))).max(1)
    read = (
        np.abs(reader).reshape(len(reader), -1).max(1) if depthwise else np.abs(reader).max((0, *range(2, reader.ndim)))
    )
    if pair.last_affine is not None:
        made = made * np.abs(array_of(held[pair.last_affine.weights[0]]).reshape(-1))
    if made.shape != read.shape or len(pair.last_affine.weights if pair.last_affine else pair.producer.weights) < 1:
        return None
    live = (made > 0) & (read > 0)
    if not live.any():
        return None
    factor = np.ones(len(made))
    factor[live] = np.sqrt(made[live] / read[live])
    factor[live] /= np.exp(np.log(factor[live]).mean())
    factor = np.clip(factor, 1 / _LARGEST_FACTOR, _LARGEST_FACTOR)

    def by_filter(array: Array) -> Array:
        return (
            array / factor.reshape(-1, *[1] * (array.ndim - 1))
            if array.shape[0] == len(factor)
            else array / factor.reshape(array.shape)
        )

    changes: dict[str, Callable[[Array], Array]] = dict.fromkeys(target.weights, by_filter)
    changes[reader_name] = lambda array: (
        array * factor.reshape(-1, *[1] * (array.ndim - 1))
        if depthwise
        else array * factor.reshape(1, -1, *[1] * (array.ndim - 2))
    )
    return with_weights(model, changes)


def bias_of(model: Model, layer: Layer) -> str | None:
    """The initializer that is added to each channel of a layer's output, or None."""
    held = initializers_of(model)
    name = layer.weights[1] if len(layer.weights) > 1 else None
    return name if name in held else None

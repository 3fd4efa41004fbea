"""Plants one fault in a network, whatever network it is: what tests of findings are made of.

Every function takes a model and gives another one; the first stays as it was. All draws are seeded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.analyze.findings.case import filters_of, initializers_of, main_weight, statistics_of
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import canonical_type
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize import kernels

Array = NDArray[Any]
Change = Callable[[Array], Array]


def with_weights(model: Model, changes: Mapping[str, Change]) -> Model:
    """The model with some initializers changed; dtype and shape stay."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for tensor in graph.graph.initializer:
        if tensor.name in changes:
            array = array_of(tensor)
            changed = np.ascontiguousarray(changes[tensor.name](array.copy()), dtype=array.dtype)
            assert changed.shape == array.shape
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return replace(model, graph=graph)


def weighted(model: Model) -> list[tuple[Layer, str]]:
    """Layers whose weight is quantized, with its name."""
    return [
        (layer, name)
        for layer in model.layers
        if layer.quantization is not None and (name := main_weight(layer)) is not None and layer.quantization.weights
    ]


def on_grid(array: Array, bits: int = 8) -> Array:
    """A weight quantized by its own maximum, again until it stays as it is."""
    working = np.ascontiguousarray(array, dtype=np.float32)
    return kernels.apply(working, bits, kernels.coefficient_of(kernels.largest_magnitude(working)[0], bits))


def quantized(model: Model, bits: int = 8, *, only: set[str] | None = None) -> Model:
    """Weights on the grid, nothing else changed: quantized without fine-tuning."""
    names = [name for _, name in weighted(model) if only is None or name in only]
    return with_weights(model, dict.fromkeys(names, lambda array: on_grid(array, bits)))


def _float_parameters(model: Model) -> list[str]:
    """Biases, and the parameters of Scale layers: what training moves and nobody quantizes."""
    held = initializers_of(model)
    names = []
    for layer in model.layers:
        if canonical_type(layer) in ("Scale", "Bias"):
            names += layer.weights
        elif canonical_type(layer) in ("Convolution", "InnerProduct", "Deconvolution"):
            names += layer.weights[1:]
    return [name for name in dict.fromkeys(names) if name in held and held[name].data_type == onnx.TensorProto.FLOAT]


def _noisy(seed: int, size: float) -> Change:
    def change(array: Array) -> Array:
        noise = np.random.default_rng(seed).standard_normal(array.shape)
        return array * (1 + size * noise)

    return change


def fine_tuned(model: Model, bits: int = 8, seed: int = 0, size: float = 0.03) -> Model:
    """A healthy fine-tuning: every weight and bias moved a little, weights then quantized; statistics as they were."""
    changes: dict[str, Change] = {}
    for index, (_, name) in enumerate(weighted(model)):
        noisy = _noisy(seed + index, size)
        changes[name] = lambda array, noisy=noisy: on_grid(noisy(array), bits)
    for index, name in enumerate(_float_parameters(model)):
        changes.setdefault(name, _noisy(seed + 1000 + index, size / 10))
    return with_weights(model, changes)


def overwritten_master(model: Model, bits: int = 8, seed: int = 0) -> Model:
    """Weights are still the quantized originals while biases and scales moved."""
    changes: dict[str, Change] = {name: lambda array: on_grid(array, bits) for _, name in weighted(model)}
    for index, name in enumerate(_float_parameters(model)):
        changes.setdefault(name, _noisy(seed + index, 0.01))
    return with_weights(model, changes)


def scaled_filter(model: Model, layer: str, index: int, octaves: float) -> Model:
    """One filter of one layer, bias included, times 2^octaves."""
    target = next(entry for entry in model.layers if entry.key == layer)
    name = main_weight(target)
    assert name is not None

    def change(array: Array) -> Array:
        rows = np.arange(array.size).reshape(array.shape)
        members = filters_of(model, target, rows)[index].astype(np.int64)
        flat = array.reshape(-1)
        flat[members] *= 2.0**octaves
        return flat.reshape(array.shape)

    return with_weights(model, {name: change})


def swapped_channels(model: Model, order: tuple[int, ...] = (2, 1, 0)) -> Model:
    """The first convolution reads its input channels in another order."""
    layer, name = next((one, name) for one, name in weighted(model) if canonical_type(one) == "Convolution")
    assert layer.group == 1
    return with_weights(model, {name: lambda array: array[:, list(order)]})


def batch_norm_drift(model: Model, size: float = 0.2, seed: int = 0) -> Model:
    """Statistics of every BatchNorm layer moved at random, by `size` deviations."""
    random = np.random.default_rng(seed)
    held = initializers_of(model)
    changes: dict[str, Change] = {}
    for layer in model.layers:
        statistics = statistics_of(model, layer, held)
        if statistics is None:
            continue
        mean, spread = layer.weights[-2:] if layer.type == "BatchNormalization" else layer.weights[:2]
        shift = size * random.standard_normal(statistics.mean.shape) * statistics.deviation
        ratio = np.exp(size * random.standard_normal(statistics.mean.shape))
        changes[mean] = lambda array, shift=shift: array + shift.reshape(array.shape)
        changes[spread] = lambda array, ratio=ratio: array * ratio.reshape(array.shape)
    return with_weights(model, changes)


def expects_mean(model: Model, mean: tuple[float, ...]) -> Model:
    """The first convolution's bias, as training for input with a mean larger by `mean` would leave it."""
    layer, name = next((one, name) for one, name in weighted(model) if canonical_type(one) == "Convolution")
    weight = array_of(initializers_of(model)[name])
    shift = np.einsum("fchw,c->f", weight.astype(np.float64), np.asarray(mean))
    return with_weights(model, {layer.weights[1]: lambda array: array + shift})

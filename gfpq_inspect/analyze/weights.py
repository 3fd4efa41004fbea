"""The weights of every lane: each tensor is quantized once, before anything runs, and shared by all lanes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.analyze.lanes import Side, Weights
from gfpq_inspect.errors import Problem, QuantizationError
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.quantize import kernels

Array = NDArray[Any]


@dataclass(frozen=True)
class QuantizedWeight:
    """One weight tensor as the lanes use it.

    Attributes:
        layer: Key of the first layer that holds it.
        initializer: Its name in the graph.
        bits: 8 or 16.
        stored: As in the file.
        quantized: Quantized per tensor; its coefficient is `delta`.
        deployed: `stored` where that lies on the grid already, else `quantized`.
        delta: Coefficient of `quantized`.
        magnitude: Largest finite magnitude of `stored`.
        on_grid: Whether `stored` lies on a grid.
    """

    layer: str
    initializer: str
    bits: int
    stored: Array
    quantized: Array
    deployed: Array
    delta: int
    magnitude: float
    on_grid: bool

    def variant(self, weights: Weights) -> Array:
        """The tensor that a lane computes with."""
        if weights is Weights.STORED:
            return self.stored
        return self.quantized if weights is Weights.QUANTIZED else self.deployed


class WeightTable:
    """Quantized weights of both models, by side, initializer and bit width.

    Args:
        models: The models.
        bits: Bit width of the run, None where nothing is quantized.

    Raises:
        QuantizationError: A weight that holds NaN or infinity; names the layer.
    """

    def __init__(self, models: Mapping[Side, Model], bits: int | None) -> None:
        self._entries: dict[tuple[Side, str, int], QuantizedWeight] = {}
        if bits is None:
            return
        for side, model in models.items():
            initializers = {tensor.name: tensor for tensor in model.graph.graph.initializer}
            for layer, name, width in weights_of(model, bits):
                if (side, name, width) not in self._entries:
                    entry = _quantize(layer, name, width, initializers[name], model)
                    self._entries[side, name, width] = entry

    def get(self, side: Side, initializer: str, bits: int) -> QuantizedWeight:
        """The entry of one weight."""
        return self._entries[side, initializer, bits]

    def of(self, side: Side) -> Iterator[QuantizedWeight]:
        """All entries of a model, in order of execution."""
        return (entry for (entry_side, _, _), entry in self._entries.items() if entry_side is side)


def weights_of(model: Model, bits: int) -> Iterator[tuple[Layer, str, int]]:
    """Layer, initializer and bit width of each weight that is quantized."""
    for layer in model.layers:
        if layer.quantization is not None:
            for name in layer.quantization.weights:
                yield layer, name, layer.quantization.bits or bits


def _quantize(layer: Layer, name: str, bits: int, tensor: onnx.TensorProto, model: Model) -> QuantizedWeight:
    stored = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))
    working = stored if stored.dtype in (np.float32, np.float64) else stored.astype(np.float32)
    magnitude, nonfinite = kernels.largest_magnitude(working)
    if nonfinite:
        problem = Problem(
            f"{nonfinite} of the {stored.size} weights in '{name}' are not finite",
            file=model.origin.weights_file or model.origin.structure_file,
            layer=layer.name,
            remedy="export the model again from a training that did not diverge",
        )
        raise QuantizationError(str(problem))
    delta = kernels.coefficient_of(magnitude, bits)
    quantized = kernels.apply(working, bits, delta).astype(stored.dtype, copy=False)
    on_grid = bool(kernels.on_grid(working, bits))
    deployed = stored if on_grid else quantized
    return QuantizedWeight(layer.key, name, bits, stored, quantized, deployed, delta, magnitude, on_grid)

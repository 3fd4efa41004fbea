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
from gfpq_inspect.models.model import Layer, Model, Quantization
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of, kernels

Array = NDArray[Any]


@dataclass(frozen=True)
class QuantizedWeight:
    """One weight tensor as the lanes use it.

    Attributes:
        layer: Key of the first layer that holds it.
        initializer: Its name in the graph.
        bits: Bits of a code.
        stored: As in the file.
        quantized: Quantized by its own values (in GFPQ per tensor); its coefficient is `delta`.
        deployed: `stored` where that lies on the grid already, else `quantized`.
        delta: Coefficient of `quantized`; GFPQ's is a whole number.
        magnitude: Largest finite magnitude of `stored`.
        on_grid: Whether `stored` lies on a grid.
        own_format: Its format, None for GFPQ with `bits`.
    """

    layer: str
    initializer: str
    bits: int
    stored: Array
    quantized: Array
    deployed: Array
    delta: Any
    magnitude: float
    on_grid: bool
    own_format: NumberFormat | None = None

    @property
    def format(self) -> NumberFormat:
        """Its format."""
        return self.own_format if self.own_format is not None else gfpq_of(self.bits)

    def variant(self, weights: Weights) -> Array:
        """The tensor that a lane computes with."""
        if weights is Weights.STORED:
            return self.stored
        return self.quantized if weights is Weights.QUANTIZED else self.deployed


def layer_format(run_format: NumberFormat, quantization: Quantization) -> NumberFormat:
    """The format of a layer: GFPQ knows layers of another bit width, other formats are the same everywhere."""
    if quantization.bits is not None and isinstance(run_format, Gfpq):
        return gfpq_of(quantization.bits)
    return run_format


class WeightTable:
    """Quantized weights of both models, by side, initializer and bit width.

    Args:
        models: The models.
        run_format: Format of the run, None where nothing is quantized but what a model quantizes itself.

    Raises:
        QuantizationError: A weight that holds NaN or infinity; names the layer.
    """

    def __init__(self, models: Mapping[Side, Model], run_format: NumberFormat | None) -> None:
        self._entries: dict[tuple[Side, str, int], QuantizedWeight] = {}
        self._run_bits = 0 if run_format is None else run_format.bits
        for side, model in models.items():
            if run_format is None and not model.quantizes_itself:
                continue
            initializers = {tensor.name: tensor for tensor in model.graph.graph.initializer}
            axes = channel_axes(model.graph.graph)
            for layer, name, width in weights_of(model, self._run_bits):
                if (side, name, width) not in self._entries:
                    assert layer.quantization is not None
                    stored = np.ascontiguousarray(array_of(initializers[name]))
                    if name in layer.quantization.formats:
                        entry = _own(layer, name, stored)
                    else:
                        assert run_format is not None
                        chosen = layer_format(run_format, layer.quantization)
                        entry = _quantize(layer, name, chosen, stored, axis=axes.get(name), model=model)
                    self._entries[side, name, width] = entry

    def get(self, side: Side, initializer: str, bits: int) -> QuantizedWeight:
        """The entry of one weight."""
        return self._entries[side, initializer, bits]

    def of_layer(self, side: Side, layer: Layer) -> dict[str, QuantizedWeight]:
        """The entries of a layer's weights, by initializer; none where nothing is quantized."""
        quantization = layer.quantization
        if quantization is None:
            return {}
        keys = {name: (side, name, quantization.bits or self._run_bits) for name in quantization.weights}
        return {name: self._entries[key] for name, key in keys.items() if key in self._entries}

    def of(self, side: Side) -> Iterator[QuantizedWeight]:
        """All entries of a model, in order of execution."""
        return (entry for (entry_side, _, _), entry in self._entries.items() if entry_side is side)


def weights_of(model: Model, bits: int) -> Iterator[tuple[Layer, str, int]]:
    """Layer, initializer and bit width of each weight that is quantized."""
    for layer in model.layers:
        if layer.quantization is not None:
            for name in layer.quantization.weights:
                yield layer, name, layer.quantization.bits or bits


def channel_axes(graph: onnx.GraphProto) -> dict[str, int]:
    """Initializer to the axis that counts output channels, by the operator that multiplies with it."""
    axes: dict[str, int] = {}
    for node in graph.node:
        for operand, name in enumerate(node.input[:2]):
            axis = _channel_axis(node, operand)
            if axis is not None:
                axes.setdefault(name, axis)
    return axes


def _channel_axis(node: onnx.NodeProto, operand: int) -> int | None:
    if node.op_type in ("Conv", "FusedConv"):
        return 0 if operand else None
    if node.op_type == "ConvTranspose":
        return 1 if operand else None
    if node.op_type in ("Gemm", "FusedGemm"):
        transposed = any(entry.name == ("transA", "transB")[operand] and entry.i for entry in node.attribute)
        return int(bool(operand) != transposed)
    if node.op_type in ("MatMul", "FusedMatMul"):
        return -1 if operand else -2
    return None


def _own(layer: Layer, name: str, stored: Array) -> QuantizedWeight:
    """A weight that the model quantizes itself; its codes are what it is deployed with."""
    assert layer.quantization is not None
    own = layer.quantization.formats[name]
    codes = np.ascontiguousarray(layer.quantization.stored[name])
    magnitude = kernels.largest_magnitude(as_working(stored))[0]
    on_grid = bool(np.array_equal(stored, codes))
    return QuantizedWeight(layer.key, name, own.bits, stored, codes, codes, None, magnitude, on_grid, own)


def as_working(array: Array) -> Array:
    """The array in a width that the kernels read."""
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _quantize(
    layer: Layer, name: str, chosen: NumberFormat, stored: Array, *, axis: int | None, model: Model
) -> QuantizedWeight:
    working = as_working(stored)
    magnitude, nonfinite = kernels.largest_magnitude(working)
    if nonfinite:
        problem = Problem(
            f"{nonfinite} of the {stored.size} weights in '{name}' are not finite",
            file=model.origin.weights_file or model.origin.structure_file,
            layer=layer.name,
            remedy="export the model again from a training that did not diverge",
        )
        raise QuantizationError(str(problem))
    values, coefficient = chosen.quantize_weight(working, axis)
    quantized = values.astype(stored.dtype, copy=False)
    on_grid = bool(chosen.fits(working, axis))
    deployed = stored if on_grid else quantized
    own = None if isinstance(chosen, Gfpq) else chosen
    return QuantizedWeight(
        layer.key, name, chosen.bits, stored, quantized, deployed, coefficient, magnitude, on_grid, own
    )

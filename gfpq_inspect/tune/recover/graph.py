"""A network as PyTorch sees it: layers differentiable, data and weights quantized where the chip quantizes them.

The operators are those of the analyzer's PyTorch engine. What PyTorch has no operator for runs on the host, as in the
analyzer, and no gradient passes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.engine.torch_call import Call, UnsupportedError
from gfpq_inspect.analyze.engine.torch_shapes import constant_of
from gfpq_inspect.analyze.engine.torch_steps import OPERATORS
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.points import points_of
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.run import run_layers
from gfpq_inspect.quantize import gfpq_of

Tensor = torch.Tensor
Array = NDArray[Any]
Values = dict[str, Tensor]
_FLOATING = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
_REFUSALS = (UnsupportedError, RuntimeError, IndexError, TypeError, ValueError)
"""What PyTorch raises for what it cannot do; the host then has the last word."""
Quantize = Callable[[Tensor, "Place"], Tensor]
"""Quantizes the data of a place."""


@dataclass(frozen=True)
class Place:
    """A tensor that is quantized on the way into layers: graph value and bits of a code."""

    value: str
    bits: int


@dataclass(frozen=True)
class Parameter:
    """A kernel or bias of a quantized layer.

    Attributes:
        name: Initializer.
        layer: Key of the first layer that holds it.
        bits: Bits of its codes; None for one that stays float (a bias).
        trained: Whether it may change: nothing else reads it, and it can be written back.
    """

    name: str
    layer: str
    bits: int | None
    trained: bool


class TrainableGraph:
    """A model whose layers PyTorch runs.

    Args:
        model: The model, folded or not.
        bits: Bit width of layers that ask for none.
        frozen: Initializers that are not trained.

    Attributes:
        model: The model.
        places: Where data are quantized, in order of execution.
        parameters: Kernels and biases of the quantized layers.
        initial: Name of a parameter to its tensor as stored.
        on_host: Key of a layer that runs without gradient to the reason.
    """

    def __init__(self, model: Model, bits: int, frozen: Container[str] = ()) -> None:
        self.model = model
        points = points_of(Side.FIRST, model, gfpq_of(bits))
        self.places = tuple(Place(point.value, point.bits) for point in points)
        self._places_of = _by_layer(points)
        self._tensors = {tensor.name: tensor for tensor in model.graph.graph.initializer}
        nodes = {node.name: node for node in model.graph.graph.node}
        self._nodes = {
            layer.key: [(nodes[name], _attributes(nodes[name])) for name in layer.nodes] for layer in model.layers
        }
        self._opset = next((entry.version for entry in model.graph.opset_import if entry.domain in ("", "ai.onnx")), 1)
        self.on_host = {
            layer.key: reason
            for layer in model.layers
            if (reason := _reason([node for node, _ in self._nodes[layer.key]])) is not None
        }
        self.parameters = tuple(_parameters(model, bits, self._tensors, self.on_host, frozen))
        self.initial = {
            one.name: torch.from_numpy(np.array(numpy_helper.to_array(self._tensors[one.name])))
            for one in self.parameters
        }
        self._arrays: dict[str, Array] = {}
        self._constants: dict[str, Tensor] = {}
        self._last_use = _last_uses(model)

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers, in order of execution."""
        return self.model.layers

    def places_of(self, layer: Layer) -> Mapping[str, Place]:
        """Value to place of the data that are quantized before a layer reads them."""
        return self._places_of.get(layer.key, {})

    def only_node(self, layer: Layer) -> tuple[onnx.NodeProto, Mapping[str, Any]] | None:
        """The node of a layer that consists of one, with its attributes; None for others."""
        nodes = self._nodes[layer.key]
        return nodes[0] if len(nodes) == 1 and layer.key not in self.on_host else None

    def dead_after(self, index: int) -> Iterable[str]:
        """Values that no layer reads after the one at `index`."""
        return self._last_use.get(index, ())

    def run(
        self,
        feeds: Mapping[str, Tensor],
        weights: Mapping[str, Tensor],
        quantize: Quantize | None,
        keep: Iterable[str],
        last: int | None = None,
    ) -> Values:
        """Run the network.

        Args:
            feeds: Graph input to tensor.
            weights: Initializer to the tensor that takes its place.
            quantize: Quantizes data, or None to leave them float.
            keep: Values to return.
            last: Index of the last layer that is run; all by default.

        Returns:
            The values that were to be kept.
        """
        wanted, live = set(keep), dict(feeds)
        found = {name: live[name] for name in wanted if name in live}
        for index, layer in enumerate(self.layers[: None if last is None else last + 1]):
            if self._nodes[layer.key]:
                made = self.run_layer(layer, live, weights, quantize)
                live.update(made)
                found.update((name, tensor) for name, tensor in made.items() if name in wanted)
            for name in self.dead_after(index):
                live.pop(name, None)
        return found

    def peak_bytes(self, feeds: Mapping[str, Tensor]) -> int:
        """What the tensors of one run take at most."""
        live, peak = dict(feeds), 0
        with torch.no_grad():
            for index, layer in enumerate(self.layers):
                if layer.nodes:
                    live.update(self.run_layer(layer, live, self.initial, None))
                peak = max(peak, sum(tensor.numel() * tensor.element_size() for tensor in live.values()))
                for name in self.dead_after(index):
                    live.pop(name, None)
        return peak

    def run_layer(
        self, layer: Layer, live: Mapping[str, Tensor], weights: Mapping[str, Tensor], quantize: Quantize | None
    ) -> Values:
        """Run one layer; returns all that its nodes make."""
        known: dict[str, Tensor] = {}
        if quantize is not None:
            for name, place in self.places_of(layer).items():
                known[name] = quantize(live[name], place)
        reason = self.on_host.get(layer.key)
        if reason is None:
            try:
                return self._run_nodes(layer, live, known, weights)
            except _REFUSALS as error:
                self.on_host[layer.key] = " ".join(str(error).split())[:200] or type(error).__name__
        return self._run_on_host(layer, live, known, weights)

    def _run_nodes(
        self, layer: Layer, live: Mapping[str, Tensor], quantized: Mapping[str, Tensor], weights: Mapping[str, Tensor]
    ) -> Values:
        made: Values = {}
        arrays: dict[str, Array] = {}
        for node, attributes in self._nodes[layer.key]:
            if node.op_type == "Constant":
                arrays[node.output[0]] = constant_of(attributes)
                made[node.output[0]] = torch.from_numpy(np.array(arrays[node.output[0]]))
                continue
            inputs = [None if not name else self._input(name, (made, quantized, live, weights)) for name in node.input]
            given = [arrays.get(name, self._array(name, weights)) for name in node.input]
            results = OPERATORS[node.op_type](Call(inputs, given, attributes, self._opset, len(node.output)))
            several = [results] if isinstance(results, Tensor) else list(results)
            made.update((name, tensor) for name, tensor in zip(node.output, several, strict=True) if name)
        return made

    def _input(self, name: str, sources: Sequence[Mapping[str, Tensor]]) -> Tensor:
        for source in sources:
            if name in source:
                return source[name]
        if name not in self._constants:
            array = self._array(name, {})
            if array is None or array.dtype.kind not in "biuf":
                raise UnsupportedError(f"{name} is of a type that PyTorch lacks")
            self._constants[name] = torch.from_numpy(np.array(array))
        return self._constants[name]

    def _array(self, name: str, weights: Mapping[str, Tensor]) -> Array | None:
        """An initializer that is not trained, as an array."""
        if name not in self._tensors or name in weights:
            return None
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self._tensors[name])
        return self._arrays[name]

    def _run_on_host(
        self, layer: Layer, live: Mapping[str, Tensor], quantized: Mapping[str, Tensor], weights: Mapping[str, Tensor]
    ) -> Values:
        values = {name: quantized.get(name, live[name]).detach().numpy() for name in layer.inputs}
        changed = {name: weights[name] for name in layer.weights if name in weights}
        model = _with_initializers(self.model, changed) if changed else self.model
        results = run_layers(model, [layer], values)
        return {name: torch.from_numpy(np.array(results[name])) for name in layer.outputs if name in results}


def _by_layer(points: Sequence[Point]) -> dict[str, dict[str, Place]]:
    places: dict[str, dict[str, Place]] = {}
    for point in points:
        for key in point.layers:
            places.setdefault(key, {})[point.value] = Place(point.value, point.bits)
    return places


def _parameters(
    model: Model,
    bits: int,
    tensors: Mapping[str, onnx.TensorProto],
    on_host: Mapping[str, str],
    frozen: Container[str],
) -> Iterable[Parameter]:
    """Kernels and biases of quantized layers; one that several layers share counts once."""
    readers = Counter(name for node in model.graph.graph.node for name in node.input)
    seen: set[str] = set()
    for layer in model.layers:
        if layer.quantization is None or not layer.quantization.weights:
            continue
        for name in layer.weights:
            is_kernel = name in layer.quantization.weights
            if name in seen or name not in tensors or tensors[name].data_type not in _FLOATING:
                continue
            seen.add(name)
            writable = tensors[name].data_type == onnx.TensorProto.FLOAT and name not in frozen
            trained = writable and readers[name] == 1 and layer.key not in on_host
            yield Parameter(name, layer.key, (layer.quantization.bits or bits) if is_kernel else None, trained)


def _last_uses(model: Model) -> dict[int, list[str]]:
    nodes = {node.name: node for node in model.graph.graph.node}
    last: dict[str, int] = {}
    for index, layer in enumerate(model.layers):
        for name in layer.nodes:
            last.update((value, index) for value in (*nodes[name].input, *nodes[name].output))
    found: dict[int, list[str]] = {}
    for value, index in last.items():
        found.setdefault(index, []).append(value)
    return found


def _reason(nodes: Sequence[onnx.NodeProto]) -> str | None:
    """Why PyTorch cannot run these nodes, or None."""
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            return f"{node.domain}.{node.op_type} has no counterpart in PyTorch"
        if node.op_type != "Constant" and node.op_type not in OPERATORS:
            return f"{node.op_type} has no counterpart in PyTorch"
    return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}


def _with_initializers(model: Model, tensors: Mapping[str, Tensor]) -> Model:
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for one in graph.graph.initializer:
        if one.name in tensors:
            one.CopyFrom(numpy_helper.from_array(tensors[one.name].detach().numpy(), one.name))
    return replace(model, graph=graph)

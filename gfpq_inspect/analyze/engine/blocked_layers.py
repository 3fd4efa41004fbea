"""Single layers as the merged graph computes them, for the layered engine: the same kernels, so the same bits.

The layered engine keeps every tensor in the plain layout. A layer whose nodes work on blocks of channels gets nodes in
front of it and behind it that change the layout; moves of data and single correctly rounded operations give the same
bits in either layout and stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper, numpy_helper

from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN
from gfpq_inspect.analyze.engine.merged.base import Base
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.models.model import Layer

_SAME_IN_ANY_LAYOUT = frozenset(
    {"Abs", "Add", "Clip", "Concat", "Div", "Flatten", "Identity", "LeakyRelu", "Max", "Min", "Mul", "Neg"}
    | {"Relu", "Reshape", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Dropout", "Shape", "Slice", "Split", "PRelu"}
)
"""Not MaxPool: where a window holds NaN, the two layouts' kernels choose another one of its numbers."""
_FEWEST_CHANNELS = 4
"""ONNX Runtime lays out only multiples of so many channels; others are padded with zeros first."""


class BlockedLayers:
    """The layers of one model that are computed otherwise than the model's own nodes say.

    Args:
        base: What the merged graph is made of.
        weights: Layer key to its quantized weights there.

    Attributes:
        tensors: Initializers that the layers read; those of quantized weights without their data.
        weights: Layer key to its quantized weights; only of layers that are here.
        opsets: Imported operator sets.
    """

    def __init__(self, base: Base, weights: Mapping[str, Mapping[str, QuantizedWeight]]) -> None:
        self._base = base
        self._weights = weights
        self.opsets = [entry for entry in base.opsets if entry.domain in ("com.microsoft", BLOCKED_DOMAIN)]
        self.tensors: dict[str, onnx.TensorProto] = {}

    def nodes(self, layer: Layer, own: list[onnx.NodeProto]) -> list[onnx.NodeProto] | None:
        """The nodes that compute a layer, reading and giving values in the plain layout; None for its own."""
        base = self._base
        nodes = base.nodes[layer.key]
        if not nodes or all(node.op_type in _SAME_IN_ANY_LAYOUT and node.domain in ("", "ai.onnx") for node in own):
            return None
        made = {name for node in nodes for name in node.output}
        before: dict[str, list[onnx.NodeProto]] = {}
        result = []
        for node in nodes:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            for index, name in enumerate(node.input):
                if name and name not in made and name not in base.initializers:
                    if name not in before:
                        before[name] = self._brought(layer, name, made)
                        result += before[name]
                    if before[name]:
                        copy.input[index] = before[name][-1].output[0]
                    else:
                        copy.input[index] = base.value_of.get(name, name)
                elif name in base.initializers:
                    self._take(layer, name)
            result.append(copy)
        for value in layer.outputs:
            if base.place(value).channels and base.place(value).tensor in made:
                result.append(base.layout[value])
        return [_named(node, f"{layer.key}/{index}") for index, node in enumerate(result)]

    def weights_of(self, layer: Layer) -> Mapping[str, QuantizedWeight]:
        """Quantized weights of a layer that is computed here."""
        return self._weights.get(layer.key, {})

    def _brought(self, layer: Layer, name: str, made: set[str]) -> list[onnx.NodeProto]:
        """Nodes that bring a value of another layer into the layout of one of the graph's tensors."""
        base = self._base
        root = name
        while root in base.layout:
            root = base.layout[root].input[0]
        if root in made:  # one of its own, in the other layout
            return [base.layout[name]]
        value = base.value_of.get(name, name)
        place = base.place(value)
        node = base.layout.get(name)
        blocked = (place.channels > 0 and name == place.tensor) or (node is not None and node.op_type == "ReorderInput")
        if not blocked:
            return []
        unique = f"{layer.key}/in/{name}"
        brought, source = [], value
        missing = -place.channels % _FEWEST_CHANNELS
        if missing:
            pads = f"{layer.key}/pads/{name}"
            self.tensors[pads] = helper.make_tensor(pads, onnx.TensorProto.INT64, [8], [0, 0, 0, 0, 0, missing, 0, 0])
            brought.append(helper.make_node("Pad", [value, pads], [f"{unique}/padded"]))
            source = brought[0].output[0]
        brought.append(helper.make_node("ReorderInput", [source], [unique], domain=BLOCKED_DOMAIN, channels_last=0))
        return brought

    def _take(self, layer: Layer, name: str) -> None:
        if name in self.tensors:
            return
        array = self._base.initializers[name]
        if name in self._weights.get(layer.key, {}):
            tensor = onnx.TensorProto(name=name, data_type=onnx.TensorProto.FLOAT)
            tensor.dims.extend(array.shape)
            self.tensors[name] = tensor
        else:
            self.tensors[name] = numpy_helper.from_array(array, name)


def _named(node: onnx.NodeProto, name: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = name
    return copy

"""A graph as folding reads it: who makes a value, who reads it, where its channels lie."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import onnx
from numpy.typing import NDArray

from gfpq_inspect.models.fold.steps import BASE_OPERATORS, Channels, Constants, output_channels
from gfpq_inspect.models.fold.units import Unit
from gfpq_inspect.models.onnx.names import names_read


class GraphFacts:
    """One graph; nothing here changes it.

    Args:
        graph: The graph.
        units: Its layers, in order.

    Attributes:
        graph: The graph.
        units: Its layers.
        unit_of: Position of a node to the unit that it belongs to.
        constants: The graph's constants.
        readers: Name of a value to the positions of the nodes that read it, once for each time.
        producer: Name of a value to the position of the node that makes it.
        outputs: Names of the network's outputs.
    """

    def __init__(self, graph: onnx.GraphProto, units: Sequence[Unit]) -> None:
        self.graph = graph
        self.units = units
        self.unit_of = {node: unit for unit in units for node in unit.nodes}
        self.constants = Constants(graph)
        self.readers: dict[str, list[int]] = {}
        self.producer: dict[str, int] = {}
        for index, node in enumerate(graph.node):
            for value in names_read(node):
                self.readers.setdefault(value, []).append(index)
            for value in node.output:
                self.producer[value] = index
        self.outputs = {value.name for value in graph.output}
        self._infos = {value.name: value for value in [*graph.value_info, *graph.output, *graph.input]}

    def readers_of(self, value: str) -> list[Unit]:
        """The units that read a value, each once."""
        units = (self.unit_of.get(index) for index in self.readers.get(value, []))
        return list({id(unit): unit for unit in units if unit}.values())

    def base_node(self, unit: Unit) -> int:
        """Position of the node of a base that holds the weights."""
        return next(index for index in unit.nodes if self.graph.node[index].op_type in BASE_OPERATORS)

    def single_output(self, unit: Unit) -> str | None:
        """Return the one value that a unit hands on, if it is one."""
        inner = set(unit.nodes)
        handed = [
            value
            for index in unit.nodes
            for value in self.graph.node[index].output
            if value
            and (
                value in self.outputs
                or not inner.issuperset(self.readers.get(value, []))
                or not self.readers.get(value)
            )
        ]
        return handed[0] if len(handed) == 1 else None

    def weight(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        """The weights of a base node; None where they are no constants of a floating type."""
        array = self.constants.get(node.input[1]) if len(node.input) > 1 else None
        if array is None or array.dtype.kind in "iub":
            return None
        return array if array.ndim >= 2 else None

    def channels(self, node: onnx.NodeProto, weight: NDArray[Any], value: str) -> Channels | None:
        """Return where the output channels of a base lie in the value that it hands on."""
        count = output_channels(node, weight)
        raw_rank = weight.ndim if node.op_type != "Gemm" else 2
        raw_axis = 1 if node.op_type in ("Conv", "ConvTranspose") else raw_rank - 1
        shape = self._shape(value)
        if value == node.output[0]:
            if node.op_type == "MatMul" and shape is not None:
                return Channels(len(shape) - 1, len(shape), count)
            return Channels(raw_axis, raw_rank, count)
        raw = self._shape(node.output[0])
        if raw is None or shape is None:
            return None
        for axis, size in enumerate(shape):
            same = prod(shape[:axis]) == prod(raw[:raw_axis]) and prod(shape[axis + 1 :]) == prod(raw[raw_axis + 1 :])
            if size == raw[raw_axis] and same:
                return Channels(axis, len(shape), count)
        return None

    def _shape(self, value: str) -> tuple[int, ...] | None:
        info = self._infos.get(value)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        # A symbolic size is 0 here: it can only match another symbolic one.
        return tuple(dimension.dim_value for dimension in info.type.tensor_type.shape.dim)

    def data_inputs(self, unit: Unit) -> list[str]:
        """The values that a unit reads from outside, constants left out."""
        inner = {value for index in unit.nodes for value in self.graph.node[index].output}
        read = dict.fromkeys(name for index in unit.nodes for name in names_read(self.graph.node[index]))
        return [name for name in read if name not in self.constants and name not in inner]

"""Collects an ONNX graph node by node, with the static shape of every value, and writes it as a `ModelProto`.

Knows nothing of Caffe: translators work out shapes by Caffe's rules and say them here, so no shape inference runs
and a shape that Caffe and ONNX see differently cannot slip through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import DTypeLike, NDArray
from onnx import helper

from gfpq_inspect.errors import InternalError
from gfpq_inspect.models.model import CUSTOM_DOMAIN

OPSET = 17
IR_VERSION = 8
DYNAMIC_SIZE = "rows"
"""Symbolic size of an axis that depends on the data (Filter, DetectionOutput)."""


@dataclass(frozen=True)
class Value:
    """What is known of a tensor.

    Attributes:
        shape: Size of each axis; that of a dynamic axis is the largest that occurs.
        dtype: Element type.
        constant: No network input reaches it.
        dynamic_axis: Axis whose size depends on the data, or None.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    constant: bool = False
    dynamic_axis: int | None = None


@dataclass
class Node:
    """A graph node before it is written."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    name: str
    domain: str
    attributes: dict[str, Any] = field(default_factory=dict)


class GraphBuilder:
    """An ONNX graph under construction.

    Args:
        reserved: Names that only `rename` may give to a value (every value that the network itself names).
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.nodes: list[Node] = []
        self._values: dict[str, Value] = {}
        self._initializers: dict[str, NDArray[Any]] = {}
        self._inputs: list[str] = []
        self._names = _Names(reserved)
        self._node_names = _Names()

    def __contains__(self, value: str) -> bool:
        return value in self._values

    def value(self, name: str) -> Value:
        """Return what is known of a value.

        Raises:
            InternalError: Nothing made it.
        """
        if name not in self._values:
            raise InternalError(f"value '{name}' was read before anything made it")
        return self._values[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a value's shape."""
        return self.value(name).shape

    def array(self, name: str) -> NDArray[Any]:
        """Return the content of an initializer."""
        return self._initializers[name]

    def add_input(self, name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> None:
        """Declare a network input."""
        self._values[name] = Value(shape, np.dtype(dtype))
        self._inputs.append(name)

    def add_initializer(self, hint: str, array: NDArray[Any]) -> str:
        """Store a constant; its name is `hint`, or `hint#2` and so on where that is taken."""
        name = self._names.take(hint)
        self._initializers[name] = array
        self._values[name] = Value(array.shape, array.dtype, constant=True)
        return name

    def add_node(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[tuple[str, tuple[int, ...], DTypeLike]],
        *,
        name: str,
        domain: str = "",
        dynamic_axis: int | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Append a node.

        Args:
            operator: ONNX operator, or one of ours.
            inputs: Values; '' leaves an optional one out.
            outputs: Hint for the name, shape and element type of each output.
            name: Hint for the node's name.
            domain: '' for ONNX.
            dynamic_axis: Axis of the outputs whose size depends on the data; by default that of the inputs.
            attributes: Node attributes.

        Returns:
            The outputs' names.
        """
        read = [self.value(value) for value in inputs if value]
        constant = all(value.constant for value in read)
        if dynamic_axis is None:
            dynamic_axis = next((value.dynamic_axis for value in read if value.dynamic_axis is not None), None)
        names = []
        for hint, shape, dtype in outputs:
            made = self._names.take(hint)
            names.append(made)
            self._values[made] = Value(tuple(shape), np.dtype(dtype), constant, dynamic_axis)
        unique = self._node_names.take(name)
        self.nodes.append(Node(operator, list(inputs), list(names), unique, domain, attributes))
        return names

    def rename(self, old: str, new: str, since: int) -> None:
        """Give a value its final name; only nodes from number `since` on may mention it."""
        for node in self.nodes[since:]:
            node.inputs = [new if value == old else value for value in node.inputs]
            node.outputs = [new if value == old else value for value in node.outputs]
        self._values[new] = self._values.pop(old)

    def made_since(self, since: int) -> set[str]:
        """Return the outputs of the nodes from number `since` on."""
        return {value for node in self.nodes[since:] for value in node.outputs}

    def rollback(self, since: int) -> None:
        """Forget the nodes from number `since` on, with their outputs (a layer that failed half-way)."""
        for value in self.made_since(since):
            self._values.pop(value, None)
        del self.nodes[since:]

    def finish(self, name: str, outputs: Sequence[str], *, shapes_only: bool = False) -> onnx.ModelProto:
        """Write the graph: nodes in order, only initializers that are read, shapes of all values.

        Args:
            name: Name of the graph.
            outputs: Values that become graph outputs.
            shapes_only: Leave the values of placeholders (arrays that repeat one element without storing it) out.
        """
        used = {value for node in self.nodes for value in node.inputs} | set(outputs)
        known = {*self._inputs, *outputs, *self._initializers}
        # Filled in place: onnx.helper would copy every weight twice more.
        model = onnx.ModelProto(ir_version=IR_VERSION, producer_name="gfpq-inspect")
        model.opset_import.append(helper.make_opsetid("", OPSET))
        if any(node.domain == CUSTOM_DOMAIN for node in self.nodes):
            model.opset_import.append(helper.make_opsetid(CUSTOM_DOMAIN, 1))
        graph = model.graph
        graph.name = name or "network"
        graph.node.extend(self._node_proto(node) for node in self.nodes)
        graph.input.extend(self._value_info(value) for value in self._inputs)
        graph.output.extend(self._value_info(value) for value in outputs)
        for key, array in self._initializers.items():
            if key in used:
                tensor = graph.initializer.add(name=key, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
                tensor.dims.extend(array.shape)
                if shapes_only and array.size > 1 and not any(array.strides):
                    continue
                tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        graph.value_info.extend(
            self._value_info(value) for node in self.nodes for value in node.outputs if value not in known
        )
        return model

    def _node_proto(self, node: Node) -> onnx.NodeProto:
        return helper.make_node(
            node.operator, node.inputs, node.outputs, name=node.name, domain=node.domain, **node.attributes
        )

    def _value_info(self, name: str) -> onnx.ValueInfoProto:
        value = self._values[name]
        shape: list[int | str] = list(value.shape)
        if value.dynamic_axis is not None and value.dynamic_axis < len(shape):
            shape[value.dynamic_axis] = DYNAMIC_SIZE
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


class _Names:
    """Names given out so far; each only once."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)
        self._last: dict[str, int] = {}

    def take(self, hint: str) -> str:
        """Return `hint`, or `hint#2`, `hint#3`, ... where that is taken."""
        number = self._last.get(hint, 1)
        name = hint if number == 1 else f"{hint}#{number}"
        while name in self._taken or not name:
            number += 1
            name = f"{hint}#{number}"
        self._last[hint] = number
        self._taken.add(name)
        return name

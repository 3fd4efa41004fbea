"""Writing a fold into a graph: new weights, fewer nodes, and what nobody reads any more forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.models.fold.affine import Affine, fold_bias
from gfpq_inspect.models.fold.facts import GraphFacts
from gfpq_inspect.models.fold.steps import NotAffineError, bias_of, fold_kernel
from gfpq_inspect.models.fold.units import Fold, Unit
from gfpq_inspect.models.onnx.names import names_read


class Rewriter:
    """Changes a model fold by fold; `finish` once at the end.

    Args:
        model: The model, which is changed.
        facts: Its graph.
    """

    def __init__(self, model: onnx.ModelProto, facts: GraphFacts) -> None:
        self._model = model
        self._graph = model.graph
        self._facts = facts
        self._names = {value for node in self._graph.node for value in (*node.input, *node.output)}
        self._names |= set(facts.constants) | {value.name for value in self._graph.input}
        self._dropped: set[int] = set()
        self._added: dict[int, onnx.NodeProto] = {}
        self._stale: set[str] = set()

    def fold(self, base: Unit, weight: NDArray[Any], affine: Affine, value: str, folded: Sequence[Unit]) -> Fold:
        """Put a function into a base's weights.

        Args:
            base: The layer that stays.
            weight: Its weights.
            affine: The function.
            value: What the last of the folded units makes; the base makes it from now on.
            folded: The units that go.

        Raises:
            NotAffineError: Something would not be finite; with the reason. Nothing is changed then.
        """
        node = self._graph.node[self._facts.base_node(base)]
        bias = bias_of(node, len(affine.scale), self._facts.constants)
        kernel = fold_kernel(node, weight, affine.scale)
        summand = fold_bias(bias, affine, weight.dtype)
        if not (np.isfinite(kernel).all() and np.isfinite(summand).all()):
            if np.isfinite(weight).all():
                raise NotAffineError(f"the folded weights would not fit into {weight.dtype}")
            raise NotAffineError("the weights before it are not finite")
        old = node.input[1]
        new = self._store(old, kernel, node)
        node.input[1] = new
        bias_name = self._set_bias(base, node, summand, new)
        made = self._facts.single_output(base)
        assert made is not None
        names = [self._graph.node[index].name for index in base.nodes]
        self._stale.add(made)
        if node.op_type == "MatMul" and bias_name is not None:
            index = self._facts.base_node(base)
            add = onnx.helper.make_node(
                "Add", [made, bias_name], [value], name=self._unique(f"{node.name or made}/bias")
            )
            self._added[index] = add
            self._stale.discard(made)
            names.append(add.name)
        else:
            for index in base.nodes:
                for position, output in enumerate(self._graph.node[index].output):
                    if output == made:
                        self._graph.node[index].output[position] = value
        for unit in folded:
            self._dropped.update(unit.nodes)
            for index in unit.nodes:
                self._stale.update(self._graph.node[index].output)
        self._stale.discard(value)
        keys = tuple(unit.key for unit in folded)
        return Fold(base.key, keys, value, (old, new), bias_name, tuple(names))

    def _set_bias(self, base: Unit, node: onnx.NodeProto, summand: NDArray[Any], weight: str) -> str | None:
        if node.op_type == "MatMul":
            return self._add_constant(f"{weight}/bias", summand) if summand.any() else None
        for attribute in node.attribute:
            if node.op_type == "Gemm" and attribute.name == "beta":
                attribute.f = 1.0
        old = node.input[2] if len(node.input) > 2 else ""
        if old:
            node.input[2] = self._store(old, summand, node)
            return str(node.input[2])
        name = self._add_constant(f"{base.key}/bias", summand)
        if len(node.input) > 2:
            node.input[2] = name
        else:
            node.input.append(name)
        return name

    def _store(self, old: str, array: NDArray[Any], node: onnx.NodeProto) -> str:
        """Put an array in the place of an initializer, or beside it where somebody else reads that one."""
        readers = self._facts.readers.get(old, [])
        alone = len(readers) == 1 and self._graph.node[readers[0]] is node and list(node.input).count(old) == 1
        for tensor in self._graph.initializer:
            if tensor.name == old and alone and old not in self._facts.outputs:
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), old))
                self._facts.constants.set(old, array)
                return old
        return self._add_constant(f"{old}/folded", array)

    def _add_constant(self, hint: str, array: NDArray[Any]) -> str:
        name = self._unique(hint)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._graph.initializer.append(tensor)
        if self._model.ir_version < 4:  # every initializer had to be an input too
            self._graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, array.shape))
        self._facts.constants.set(name, array)
        return name

    def _unique(self, hint: str) -> str:
        name, number = hint, 1
        while name in self._names:
            number += 1
            name = f"{hint}#{number}"
        self._names.add(name)
        return name

    def finish(self) -> None:
        """Write the nodes that stay, and forget what nobody reads any more."""
        nodes = []
        for index, node in enumerate(self._graph.node):
            if index not in self._dropped:
                nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
            if index in self._added:
                nodes.append(self._added[index])
        read_before = {name for index in self._dropped for name in names_read(self._graph.node[index])}
        read_before |= self._replaced_inputs()
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        read = {name for node in nodes for name in names_read(node)} | self._facts.outputs
        unread = read_before - read
        _remove(self._graph.initializer, unread)
        _remove(self._graph.input, unread & set(self._facts.constants))
        _remove(self._graph.value_info, self._stale)
        _remove_constant_nodes(self._graph, unread)

    def _replaced_inputs(self) -> set[str]:
        return {name for name, readers in self._facts.readers.items() if readers and name in self._facts.constants}


def _remove(items: Any, names: set[str]) -> None:
    for position in range(len(items) - 1, -1, -1):
        if items[position].name in names:
            del items[position]


def _remove_constant_nodes(graph: onnx.GraphProto, names: set[str]) -> None:
    for position in range(len(graph.node) - 1, -1, -1):
        node = graph.node[position]
        if node.op_type == "Constant" and node.output[0] in names:
            del graph.node[position]

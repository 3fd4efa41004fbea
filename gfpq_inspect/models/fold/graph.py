"""Folding in an ONNX graph: what is affine a channel goes into the convolution or matrix product before it.

Works on units: a unit is one layer of the table (several nodes, for Caffe's layers) or one node (for ONNX files). A
unit is folded whole or not at all; a unit that ought to be folded and cannot be is listed with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.models.fold.affine import Affine, fold_bias
from gfpq_inspect.models.fold.steps import (
    AFFINE_OPERATORS,
    BASE_OPERATORS,
    Channels,
    Constants,
    NotAffineError,
    bias_of,
    fold_kernel,
    output_channels,
    step,
)
from gfpq_inspect.models.onnx.names import names_read

_TWO_BOTTOMS = "its factors or summands are no weights, they come from a second bottom"


@dataclass(frozen=True)
class Unit:
    """A layer as folding sees it.

    Attributes:
        key: Name of the layer.
        type: Its type, for reasons.
        nodes: Positions of its nodes in the graph, in order.
        is_base: It may take other units into its weights.
        is_step: It may be folded into a base; always listed when it is not.
        is_quiet: It is listed only where it stands behind a base and would have been folded but for its surroundings.
        refusal: Why it must stay, where somebody else knows; ''.
    """

    key: str
    type: str
    nodes: tuple[int, ...]
    is_base: bool = False
    is_step: bool = False
    is_quiet: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Fold:
    """One layer that took others in.

    Attributes:
        base: Key of the layer that stays.
        folded: Keys of the layers that are gone, in order.
        output: Value that the base makes now: the one that the last of them made.
        weight: Its initializer before and after.
        bias: Its bias initializer after, or None.
        nodes: Names of its nodes after.
    """

    base: str
    folded: tuple[str, ...]
    output: str
    weight: tuple[str, str]
    bias: str | None
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A layer that could not be folded, and why: one clause."""

    key: str
    type: str
    reason: str


@dataclass
class _Chain:
    """What follows a base, as far as it can be folded."""

    affine: Affine
    value: str
    units: list[Unit] = field(default_factory=list)


def fold_graph(
    model: onnx.ModelProto, units: Sequence[Unit]
) -> tuple[onnx.ModelProto, tuple[Fold, ...], tuple[Refusal, ...]]:
    """Fold what can be folded.

    Args:
        model: The model; not changed.
        units: All its layers, in order; nodes in no unit are never touched.

    Returns:
        A copy with fewer nodes, what was folded, and what was not.
    """
    folder = _Folder(model, units)
    return folder.model, *folder.run()


class _Folder:
    """One run over one graph."""

    def __init__(self, model: onnx.ModelProto, units: Sequence[Unit]) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self._graph = self.model.graph
        self._units = units
        self._unit_of = {node: unit for unit in units for node in unit.nodes}
        self._constants = Constants(self._graph)
        self._readers: dict[str, list[int]] = {}
        self._producer: dict[str, int] = {}
        for index, node in enumerate(self._graph.node):
            for value in names_read(node):
                self._readers.setdefault(value, []).append(index)
            for value in node.output:
                self._producer[value] = index
        self._outputs = {value.name for value in self._graph.output}
        self._names = {value for node in self._graph.node for value in (*node.input, *node.output)}
        self._names |= set(self._constants) | {value.name for value in self._graph.input}
        known = [*self._graph.value_info, *self._graph.output, *self._graph.input]
        self._infos = {value.name: value for value in known}
        self._reasons: dict[str, str] = {}
        self._dropped: set[int] = set()
        self._added: dict[int, onnx.NodeProto] = {}
        self._stale: set[str] = set()

    def run(self) -> tuple[tuple[Fold, ...], tuple[Refusal, ...]]:
        folds = []
        for unit in self._units:
            fold = self._fold_after(unit) if unit.is_base else None
            if fold is not None:
                folds.append(fold)
        done = {key for fold in folds for key in fold.folded}
        refusals = self._refusals(done)
        self._finish()
        return tuple(folds), refusals

    # Finding

    def _fold_after(self, base: Unit) -> Fold | None:
        node = self._graph.node[self._base_node(base)]
        value = self._single_output(base)
        weight = self._weight(node)
        if value is None or weight is None:
            return None
        channels = self._channels(node, weight, value)
        if channels is None:
            return None
        chain = _Chain(Affine.identity(channels.count), value)
        while self._extend(chain, base, channels):
            pass
        if not chain.units or (node.op_type == "MatMul" and all(self._is_add(unit) for unit in chain.units)):
            return None
        try:
            return self._apply(base, node, weight, chain)
        except NotAffineError as reason:
            for unit in chain.units:
                self._reasons[unit.key] = str(reason)
            return None

    def _is_add(self, unit: Unit) -> bool:
        return all(self._graph.node[index].op_type in ("Add", "Sub") for index in unit.nodes)

    def _base_node(self, unit: Unit) -> int:
        return next(index for index in unit.nodes if self._graph.node[index].op_type in BASE_OPERATORS)

    def _single_output(self, unit: Unit) -> str | None:
        """Return the one value that a unit hands on, if it is one."""
        inner = set(unit.nodes)
        handed = [
            value
            for index in unit.nodes
            for value in self._graph.node[index].output
            if value
            and (
                value in self._outputs
                or not inner.issuperset(self._readers.get(value, []))
                or not self._readers.get(value)
            )
        ]
        return handed[0] if len(handed) == 1 else None

    def _weight(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        array = self._constants.get(node.input[1]) if len(node.input) > 1 else None
        if array is None or array.dtype.kind in "iub":
            return None
        return array if array.ndim >= 2 else None

    def _channels(self, node: onnx.NodeProto, weight: NDArray[Any], value: str) -> Channels | None:
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

    def _extend(self, chain: _Chain, base: Unit, channels: Channels) -> bool:
        """Take the next unit into a chain, or note why not."""
        readers = self._readers.get(chain.value, [])
        units = list({id(unit): unit for unit in (self._unit_of.get(index) for index in readers) if unit}.values())
        steps = [unit for unit in units if unit.is_step]
        if not steps:
            return False
        unit = steps[0]
        try:
            affine, value = self._affine_of(unit, chain, channels)
            if chain.value in self._outputs:
                raise NotAffineError(f"the value that it reads is a network output (of '{_last(chain, base).key}')")
            if len(set(readers)) > len([index for index in readers if index in unit.nodes]) or len(units) > 1:
                raise NotAffineError(self._several_readers(chain.value, steps, _last(chain, base)))
            if not affine.is_finite:
                raise NotAffineError("its factors are not finite")
        except NotAffineError as reason:
            for one in steps:
                if not one.is_quiet or self._has_channel_operand(one, channels.count):
                    self._reasons.setdefault(one.key, str(reason))
            return False
        chain.affine, chain.value = affine, value
        chain.units.append(unit)
        return True

    def _has_channel_operand(self, unit: Unit, channels: int) -> bool:
        arrays = [self._constants.get(name) for index in unit.nodes for name in self._graph.node[index].input]
        return channels > 1 and any(array is not None and array.size == channels for array in arrays)

    def _several_readers(self, value: str, steps: Sequence[Unit], source: Unit) -> str:
        units = {id(unit): unit for unit in (self._unit_of.get(index) for index in self._readers[value]) if unit}
        others = [f"'{unit.key}'" for unit in units.values() if unit is not steps[0]]
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        return f"'{source.key}' before it is read by {shown or 'a subgraph'} as well"

    def _affine_of(self, unit: Unit, chain: _Chain, channels: Channels) -> tuple[Affine, str]:
        """Return a chain's function with a unit added, and the unit's output."""
        if unit.refusal:
            raise NotAffineError(unit.refusal)
        affine, value = chain.affine, chain.value
        for position, index in enumerate(unit.nodes):
            node = self._graph.node[index]
            if node.op_type not in AFFINE_OPERATORS or list(node.input).count(value) != 1:
                raise NotAffineError(self._why_not_affine(unit))
            affine = step(affine, node, value, channels, self._constants)
            value = node.output[0]
            last = position == len(unit.nodes) - 1
            if not last and self._readers.get(value, []) != [unit.nodes[position + 1]]:
                raise NotAffineError(self._why_not_affine(unit))
        return affine, value

    # Changing

    def _apply(self, base: Unit, node: onnx.NodeProto, weight: NDArray[Any], chain: _Chain) -> Fold:
        bias = bias_of(node, len(chain.affine.scale), self._constants)
        kernel = fold_kernel(node, weight, chain.affine.scale)
        summand = fold_bias(bias, chain.affine, weight.dtype)
        if not (np.isfinite(kernel).all() and np.isfinite(summand).all()):
            if np.isfinite(weight).all():
                raise NotAffineError(f"the folded weights would not fit into {weight.dtype}")
            raise NotAffineError("the weights before it are not finite")
        old = node.input[1]
        new = self._store(old, kernel, node)
        node.input[1] = new
        bias_name = self._set_bias(base, node, summand, new)
        made = self._single_output(base)
        assert made is not None
        names = [self._graph.node[index].name for index in base.nodes]
        self._stale.add(made)
        if node.op_type == "MatMul" and bias_name is not None:
            index = self._base_node(base)
            add = onnx.helper.make_node(
                "Add", [made, bias_name], [chain.value], name=self._unique(f"{node.name or made}/bias")
            )
            self._added[index] = add
            self._stale.discard(made)
            names.append(add.name)
        else:
            for index in base.nodes:
                for position, output in enumerate(self._graph.node[index].output):
                    if output == made:
                        self._graph.node[index].output[position] = chain.value
        for unit in chain.units:
            self._dropped.update(unit.nodes)
            for index in unit.nodes:
                self._stale.update(self._graph.node[index].output)
        self._stale.discard(chain.value)
        folded = tuple(unit.key for unit in chain.units)
        return Fold(base.key, folded, chain.value, (old, new), bias_name, tuple(names))

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
        readers = self._readers.get(old, [])
        alone = len(readers) == 1 and self._graph.node[readers[0]] is node and list(node.input).count(old) == 1
        for tensor in self._graph.initializer:
            if tensor.name == old and alone and old not in self._outputs:
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), old))
                self._constants.set(old, array)
                return old
        return self._add_constant(f"{old}/folded", array)

    def _add_constant(self, hint: str, array: NDArray[Any]) -> str:
        name = self._unique(hint)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        self._graph.initializer.append(tensor)
        if self.model.ir_version < 4:  # every initializer had to be an input too
            self._graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, array.shape))
        self._constants.set(name, array)
        return name

    def _unique(self, hint: str) -> str:
        name, number = hint, 1
        while name in self._names:
            number += 1
            name = f"{hint}#{number}"
        self._names.add(name)
        return name

    def _finish(self) -> None:
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
        read = {name for node in nodes for name in names_read(node)} | self._outputs
        unread = read_before - read
        _remove(self._graph.initializer, unread)
        _remove(self._graph.input, unread & set(self._constants))
        _remove(self._graph.value_info, self._stale)
        _remove_constant_nodes(self._graph, unread)

    def _replaced_inputs(self) -> set[str]:
        return {name for name, readers in self._readers.items() if readers and name in self._constants}

    # Saying why not

    def _refusals(self, done: set[str]) -> tuple[Refusal, ...]:
        refusals = []
        for unit in self._units:
            if not unit.is_step or unit.key in done:
                continue
            reason = self._reasons.get(unit.key)
            if reason is None and not unit.is_quiet:
                reason = self._reason_of(unit, done)
            if reason is not None:
                refusals.append(Refusal(unit.key, unit.type, reason))
        return tuple(refusals)

    def _data_inputs(self, unit: Unit) -> list[str]:
        inner = {value for index in unit.nodes for value in self._graph.node[index].output}
        read = dict.fromkeys(name for index in unit.nodes for name in names_read(self._graph.node[index]))
        return [name for name in read if name not in self._constants and name not in inner]

    def _why_not_affine(self, unit: Unit) -> str:
        if len(self._data_inputs(unit)) > 1:
            return _TWO_BOTTOMS
        if unit.type in ("BatchNorm", "BN"):
            return "it normalises by the statistics of the batch, not by stored ones"
        return "it is more than a factor and a summand a channel"

    def _reason_of(self, unit: Unit, done: set[str]) -> str:
        data = self._data_inputs(unit)
        if not data:
            return "it reads only constants"
        if len(data) > 1:
            return _TWO_BOTTOMS
        index = self._producer.get(data[0])
        before = self._unit_of.get(index) if index is not None else None
        if before is None:
            return f"no convolution or inner product stands before it, it reads '{data[0]}'"
        if before.is_step and before.key not in done:
            return f"'{before.key}' ({before.type}) before it was not folded"
        if before.is_base:
            if self._single_output(before) is None:
                return f"'{before.key}' before it has several outputs of the same weights"
            return f"the weights of '{before.key}' before it are no constants of a floating type"
        return f"it follows '{before.key}' ({before.type}), not a convolution or inner product"


def _last(chain: _Chain, base: Unit) -> Unit:
    return chain.units[-1] if chain.units else base


def _remove(items: Any, names: set[str]) -> None:
    for position in range(len(items) - 1, -1, -1):
        if items[position].name in names:
            del items[position]


def _remove_constant_nodes(graph: onnx.GraphProto, names: set[str]) -> None:
    for position in range(len(graph.node) - 1, -1, -1):
        node = graph.node[position]
        if node.op_type == "Constant" and node.output[0] in names:
            del graph.node[position]

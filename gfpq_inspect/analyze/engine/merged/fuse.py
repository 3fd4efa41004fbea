"""Nodes on single elements become part of the taps that stand around them.

A graph that shows every layer has its activations, separate norms and sums of branches as nodes of their own, which
read and write every tensor of every lane once more. A tap does the same arithmetic, to the bit, while the tensors are
in the cache: looks before it, the operator, looks behind it. What this ONNX Runtime computes otherwise stays a node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN
from gfpq_inspect.analyze.engine.merged.taps import Earlier, Read, Tap
from gfpq_inspect.analyze.engine.merged.woven import Node, Woven

_LIMIT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class _Operator:
    """What a node does to one of its tensors.

    Attributes:
        words: As in a tap's program.
        main: Place of the tensor among the node's inputs.
        operands: Places of what it takes besides.
    """

    words: tuple[object, ...]
    main: int = 0
    operands: tuple[int, ...] = ()


def fuse(woven: Woven, exact: Collection[str]) -> None:
    """Make nodes part of taps, in place.

    Args:
        woven: The graph.
        exact: First words of the transforms whose bits are those of ONNX Runtime here.
    """
    _Fuser(woven, exact).run()


class _Fuser:
    def __init__(self, woven: Woven, exact: Collection[str]) -> None:
        self._woven = woven
        self._exact = exact
        self._gone: set[int] = set()
        self._made_by: dict[str, Node] = {}
        self._index: dict[int, int] = {}
        self._readers: Counter[str] = Counter(name for _, _, name in woven.gives)
        for index, task in enumerate(woven.tasks):
            self._index[id(task)] = index
            if isinstance(task, Node):
                self._made_by.update((name, task) for name in task.outputs)
                self._readers.update(read if isinstance(read, str) else read.name for read in task.inputs)
            else:
                self._readers.update(read.name for read in task.reads)

    def run(self) -> None:
        for task in self._woven.tasks:
            if isinstance(task, Tap):
                while self._absorb(task):
                    pass
        kept = [index for index in range(len(self._woven.tasks)) if index not in self._gone]
        owners = self._woven.owners  # what hands tensors out stands last and has none
        self._woven.owners = [owners[index] for index in kept if index < len(owners)]
        self._woven.tasks = [self._woven.tasks[index] for index in kept]

    def _absorb(self, tap: Tap) -> bool:
        """Take the nodes in front of a tap into it, and the tap in front of those; False where all is done."""
        nodes = [self._made_by.get(source.name) for source in tap.taken]
        if any(node is None or self._readers[node.outputs[0]] != 1 or len(node.outputs) != 1 for node in nodes):
            return False
        made = [node for node in nodes if node is not None]
        choices = [self._operators(node, tap) for node in made]
        common = [entry for entry in choices[0] if all(entry in found for found in choices[1:])]
        if not common:
            return False
        before = {entry: self._tap_before(tap, made, entry) for entry in common}
        operator = next((entry for entry in common if before[entry] is not None), common[0])
        sources = [self._read(node, operator.main) for node in made]
        operands = [[node.inputs[place] for place in operator.operands] for node in made]
        first, there = before[operator], list(range(len(made)))
        if first is not None:
            there = [source.tap[1] for source in sources if source.tap is not None]
            for earlier in reversed(first.earlier):
                tap.earlier.insert(0, earlier.seen_from(there))
            sources = [first.taken[slot] for slot in there]
            self._gone.add(self._index[id(first)])
        position = 0 if first is None else len(first.earlier)
        tap.earlier.insert(position, Earlier(first, there, operator.words, operands))
        tap.sources = sources
        self._gone.update(self._index[id(node)] for node in made)
        return first is None

    @staticmethod
    def _read(node: Node, place: int) -> Read:
        read = node.inputs[place]
        assert isinstance(read, Read)
        return read

    def _tap_before(self, tap: Tap, nodes: Sequence[Node], operator: _Operator) -> Tap | None:
        """The tap whose tensors go through the nodes and nowhere else, if it is one tap with the same slots."""
        reads = [self._read(node, operator.main) for node in nodes]
        tapped = [read.tap for read in reads]
        first = tapped[0]
        if first is None or any(entry is None or entry[0] is not first[0] for entry in tapped):
            return None
        before = first[0]
        alike = (before.channels, before.constant) == (tap.channels, tap.constant)
        slots = {entry[1] for entry in tapped if entry is not None}
        alone = all(self._readers[read.name] == 1 and read.point is None for read in reads)
        if (
            alike
            and alone
            and not before.quantized
            and slots == set(range(len(before.reads))) == set(range(len(nodes)))
        ):
            return before
        return None

    def _operators(self, node: Node, tap: Tap) -> list[_Operator]:
        """What a node could be in a tap; several where it has a choice."""
        shape = tap.reads[0].symbol.shape
        fitting = [place for place, read in enumerate(node.inputs) if _fits(read, shape)]
        source = node.source
        if source.domain == BLOCKED_DOMAIN and source.op_type == "Conv":
            found = [self._affine(node, tap.channels)] if 0 in fitting else []
        elif source.domain not in ("", "ai.onnx"):
            found = []
        elif source.op_type == "Add":
            both = fitting == [0, 1] and self._name(node, 0) != self._name(node, 1)
            found = [_Operator(("o",), 1, (0,)), _Operator(("p",), 0, (1,))] if both else []
        else:
            found = [self._unary(node)] if fitting == [0] else []
        return [entry for entry in found if entry is not None and entry.words[0] in self._exact]

    @staticmethod
    def _name(node: Node, place: int) -> str:
        read = node.inputs[place]
        return read if isinstance(read, str) else read.name

    def _unary(self, node: Node) -> _Operator | None:
        source = node.source
        attributes = {entry.name: entry.f for entry in source.attribute}
        if source.op_type == "Relu":
            return _Operator(("r",))
        if source.op_type == "LeakyRelu":
            return _Operator(("k", _bits(attributes.get("alpha", 0.01))))
        if source.op_type == "Clip":
            limits = [attributes.get("min", -_LIMIT), attributes.get("max", _LIMIT)]
            for place, read in enumerate(node.inputs[1:3]):
                if read == "":
                    continue
                array = self._woven.initializers.get(read) if isinstance(read, str) else None
                if array is None or array.dtype != np.float32 or array.size != 1:
                    return None
                limits[place] = float(array.reshape(()))
            if not any(np.isnan(limit) for limit in limits):
                return _Operator(("l", *(_bits(limit) for limit in limits)))
        return None

    def _affine(self, node: Node, channels: int) -> _Operator | None:
        """A convolution in blocks that has one weight a channel: what the optimiser makes of BatchNormalization."""
        attributes = {entry.name: entry for entry in node.source.attribute}
        arrays = [self._woven.initializers.get(read) for read in node.inputs[1:] if isinstance(read, str)]
        if channels == 0 or len(arrays) != 2 or arrays[0] is None or arrays[1] is None or "activation" in attributes:
            return None
        weight, bias = arrays[0], arrays[1]
        fitting = (
            weight.dtype == bias.dtype == np.float32
            and weight.shape == (bias.size, 1, 1, 1)
            and "group" in attributes
            and attributes["group"].i == bias.size > 1
            and _integers(attributes, "strides") <= {1}
            and _integers(attributes, "pads") <= {0}
        )
        return _Operator(("b",), 0, (1, 2)) if fitting else None


def _fits(read: Read | str, shape: tuple[int, ...] | None) -> bool:
    return isinstance(read, Read) and shape is not None and read.symbol.floating and read.symbol.shape == shape


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


def _integers(attributes: dict[str, onnx.AttributeProto], name: str) -> set[int]:
    return set(attributes[name].ints) if name in attributes else set()

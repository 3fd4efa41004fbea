"""Folding in an ONNX graph: what is affine a channel goes into the convolution or matrix product before it.

Works on units: a unit is one layer of the table (several nodes, for Caffe's layers) or one node (for ONNX files). A
unit is folded whole or not at all; a unit that ought to be folded and cannot be is listed with the reason. What only
hands a value on between the two (Dropout at test, a Split that serves one reader) goes with what is folded behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx

from gfpq_inspect.models.fold import reasons
from gfpq_inspect.models.fold.affine import Affine
from gfpq_inspect.models.fold.facts import GraphFacts
from gfpq_inspect.models.fold.rewrite import Rewriter
from gfpq_inspect.models.fold.steps import AFFINE_OPERATORS, PASS_OPERATORS, Channels, NotAffineError, step
from gfpq_inspect.models.fold.units import Fold, Refusal, Unit


@dataclass
class _Chain:
    """What follows a base, as far as it can be folded.

    Attributes:
        affine: What the units compute together.
        value: What the last of them makes.
        units: The units, what hands values on among them.
        steps: How many of them there are up to the last one that is to be folded.
        end: What that one makes.
        folded: What they compute together up to that one.
    """

    affine: Affine
    value: str
    units: list[Unit] = field(default_factory=list)
    steps: int = 0
    end: str = ""
    folded: Affine | None = None


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
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied, *_Folder(copied, units).run()


class _Folder:
    """One run over one graph."""

    def __init__(self, model: onnx.ModelProto, units: Sequence[Unit]) -> None:
        self._facts = GraphFacts(model.graph, units)
        self._rewriter = Rewriter(model, self._facts)
        self._reasons: dict[str, str] = {}

    def run(self) -> tuple[tuple[Fold, ...], tuple[Refusal, ...]]:
        folds = []
        for unit in self._facts.units:
            fold = self._fold_after(unit) if unit.is_base else None
            if fold is not None:
                folds.append(fold)
        done = {key for fold in folds for key in fold.folded}
        refusals = self._refusals(done)
        self._rewriter.finish()
        return tuple(folds), refusals

    def _fold_after(self, base: Unit) -> Fold | None:
        facts = self._facts
        node = facts.graph.node[facts.base_node(base)]
        value = facts.single_output(base)
        weight = facts.weight(node)
        if value is None or weight is None:
            return None
        channels = facts.channels(node, weight, value)
        if channels is None:
            return None
        chain = _Chain(Affine.identity(channels.count), value)
        while self._extend(chain, base, channels):
            pass
        folded = chain.units[: chain.steps]
        if chain.folded is None or (node.op_type == "MatMul" and all(self._only_adds(unit) for unit in folded)):
            return None
        try:
            return self._rewriter.fold(base, weight, chain.folded, chain.end, folded)
        except NotAffineError as reason:
            for unit in folded:
                self._reasons[unit.key] = str(reason)
            return None

    def _only_adds(self, unit: Unit) -> bool:
        return unit.is_pass or all(self._facts.graph.node[index].op_type in ("Add", "Sub") for index in unit.nodes)

    def _extend(self, chain: _Chain, base: Unit, channels: Channels) -> bool:
        """Take the next unit into a chain, or note why not."""
        facts = self._facts
        readers, units = facts.readers.get(chain.value, []), facts.readers_of(chain.value)
        steps = [unit for unit in units if unit.is_step] or [unit for unit in units if unit.is_pass]
        if not steps:
            return False
        unit, last = steps[0], chain.units[-1] if chain.units else base
        try:
            affine, value = self._after(unit, chain, channels)
            if chain.value in facts.outputs:
                raise NotAffineError(f"the value that it reads is a network output (of '{last.key}')")
            if len(set(readers)) > len([index for index in readers if index in unit.nodes]) or len(units) > 1:
                raise NotAffineError(reasons.several_readers(facts, chain.value, unit, last))
            if not affine.is_finite:
                raise NotAffineError("its factors are not finite")
        except NotAffineError as reason:
            for one in steps:
                if not one.is_quiet or self._has_channel_operand(one, channels.count):
                    self._reasons.setdefault(one.key, str(reason))
            return False
        chain.affine, chain.value = affine, value
        chain.units.append(unit)
        if unit.is_step:
            chain.steps, chain.end, chain.folded = len(chain.units), value, affine
        return True

    def _has_channel_operand(self, unit: Unit, channels: int) -> bool:
        facts = self._facts
        arrays = [facts.constants.get(name) for index in unit.nodes for name in facts.graph.node[index].input]
        return channels > 1 and any(array is not None and array.size == channels for array in arrays)

    def _after(self, unit: Unit, chain: _Chain, channels: Channels) -> tuple[Affine, str]:
        """Return a chain's function with a unit added, and the unit's output."""
        if unit.refusal:
            raise NotAffineError(unit.refusal)
        hands_on = unit.is_pass and is_pass(self._facts.graph, unit.nodes)
        return (chain.affine, self._passed(unit)) if hands_on else self._affine_of(unit, chain, channels)

    def _passed(self, unit: Unit) -> str:
        """The one value that a unit hands on."""
        value = self._facts.single_output(unit)
        if value is None or value in self._facts.outputs:
            raise NotAffineError("it hands the value on to several")
        return value

    def _affine_of(self, unit: Unit, chain: _Chain, channels: Channels) -> tuple[Affine, str]:
        facts = self._facts
        affine, value = chain.affine, chain.value
        for position, index in enumerate(unit.nodes):
            node = facts.graph.node[index]
            if node.op_type not in AFFINE_OPERATORS or list(node.input).count(value) != 1:
                raise NotAffineError(reasons.not_affine(facts, unit))
            affine = step(affine, node, value, channels, facts.constants)
            value = node.output[0]
            last = position == len(unit.nodes) - 1
            if not last and facts.readers.get(value, []) != [unit.nodes[position + 1]]:
                raise NotAffineError(reasons.not_affine(facts, unit))
        return affine, value

    def _refusals(self, done: set[str]) -> tuple[Refusal, ...]:
        refusals = []
        for unit in self._facts.units:
            if not unit.is_step or unit.key in done:
                continue
            reason = self._reasons.get(unit.key)
            if reason is None and not unit.is_quiet:
                reason = reasons.of_surroundings(self._facts, unit, done)
            if reason is not None:
                refusals.append(Refusal(unit.key, unit.type, reason))
        return tuple(refusals)


def is_pass(graph: onnx.GraphProto, nodes: Sequence[int]) -> bool:
    """Whether nodes only hand on what they read: Identity, and Dropout at test whose mask nobody wants."""
    return bool(nodes) and all(
        graph.node[index].op_type in PASS_OPERATORS
        and len([name for name in graph.node[index].input if name]) <= 2  # the third asks Dropout to train
        and len([name for name in graph.node[index].output if name]) == 1
        for index in nodes
    )

"""Saying why a layer could not be folded: one clause each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gfpq_inspect.models.fold.facts import GraphFacts
from gfpq_inspect.models.fold.units import Unit

_TWO_BOTTOMS = "its factors or summands are no weights, they come from a second bottom"


def several_readers(facts: GraphFacts, value: str, reader: Unit, source: Unit) -> str:
    """The value that a unit reads is read by others as well."""
    others = [f"'{unit.key}'" for unit in facts.readers_of(value) if unit is not reader]
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"'{source.key}' before it is read by {shown or 'a subgraph'} as well"


def not_affine(facts: GraphFacts, unit: Unit) -> str:
    """A unit computes something else than a factor and a summand a channel."""
    if len(facts.data_inputs(unit)) > 1:
        return _TWO_BOTTOMS
    if unit.type in ("BatchNorm", "BN"):
        return "it normalises by the statistics of the batch, not by stored ones"
    return "it is more than a factor and a summand a channel"


def of_surroundings(facts: GraphFacts, unit: Unit, done: Collection[str]) -> str:
    """A unit that was not even tried: what stands before it.

    Args:
        facts: The graph before folding.
        unit: The unit.
        done: Keys of the units that were folded.
    """
    data = facts.data_inputs(unit)
    if not data:
        return "it reads only constants"
    if len(data) > 1:
        return _TWO_BOTTOMS
    before, passed = _before(facts, data[0]), []
    while before is not None and before.is_pass and len(facts.data_inputs(before)) == 1:
        passed.append(before)
        before = _before(facts, facts.data_inputs(before)[0])
    if before is None:
        return f"no convolution or inner product stands before it, it reads '{data[0]}'"
    if before.is_step and before.key not in done:
        return f"'{before.key}' ({before.type}) before it was not folded"
    if not before.is_base and not before.is_step:
        return f"it follows '{before.key}' ({before.type}), not a convolution or inner product"
    return _of_fork(facts, unit, passed) or _of_base(facts, before)


def _before(facts: GraphFacts, value: str) -> Unit | None:
    index = facts.producer.get(value)
    return facts.unit_of.get(index) if index is not None else None


def _of_fork(facts: GraphFacts, unit: Unit, passed: Sequence[Unit]) -> str:
    """Somewhere between a base and a unit the value goes elsewhere, too; '' where it does not."""
    reader = unit
    for one in passed:
        if one.refusal:
            return one.refusal
        made = [value for index in one.nodes for value in facts.graph.node[index].output if value]
        taken = [value for value in made if facts.readers.get(value) or value in facts.outputs]
        if len(taken) > 1 or any(len(facts.readers_of(value)) > 1 or value in facts.outputs for value in taken):
            return f"'{one.key}' ({one.type}) before it hands the value on to others as well"
        source = facts.data_inputs(one)[0]
        if source in facts.outputs:
            return f"the value that '{one.key}' ({one.type}) before it reads is a network output"
        if len(facts.readers_of(source)) > 1:
            return several_readers(facts, source, one, _before(facts, source) or reader)
        reader = one
    return ""


def _of_base(facts: GraphFacts, base: Unit) -> str:
    if facts.single_output(base) is None:
        return f"'{base.key}' before it has several outputs of the same weights"
    return f"the weights of '{base.key}' before it are no constants of a floating type"

"""Cuts a plan into parts: runs of layers that one graph holds, and runs of layers that run by themselves.

Layers of one kind are drawn together as far as what they read allows, so that few tensors cross from part to part: a
layer that the graph cannot hold waits until nothing else can go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from gfpq_inspect.analyze.engine.interface import Point, Row
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey
from gfpq_inspect.analyze.engine.plan import Action, Value, plan_in_order
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.lanes import Side


@dataclass(frozen=True)
class Looks:
    """What is looked at on the way.

    Attributes:
        rows: Tensors that are measured.
        points: Values whose magnitude is taken.
        kept: Values that must be there at the end.
        apart: Indices of rows, and values, that no graph can look at: done once the graph has handed them over.
    """

    rows: Sequence[Row] = ()
    points: Sequence[Value] = ()
    kept: Sequence[Value] = ()
    apart: frozenset[int | Value] = frozenset()


@dataclass(frozen=True)
class Segment:
    """One part of a plan.

    Attributes:
        actions: What is done, in order.
        merged: One graph does it.
        reads: Values of before that it needs.
        gives: Its values that are needed after it.
        gives_rows: Those of them that a row is about which is not measured here.
        first_at: Points that are quantized here for the first time: their evidence is taken here.
    """

    actions: Sequence[Action]
    merged: bool
    reads: tuple[Value, ...]
    gives: tuple[Value, ...]
    gives_rows: frozenset[Value] = frozenset()
    first_at: frozenset[int] = frozenset()


def segments_of_plan(
    plan: Sequence[Action], given: Sequence[Value], refused: Collection[LayerKey], looks: Looks
) -> list[Segment]:
    """Cut a plan.

    Args:
        plan: All layers in an order in which they can run.
        given: Values that are there from the start.
        refused: Layers that no graph can hold.
        looks: What is looked at on the way.
    """
    steps = [action.step for action in plan if action.step is not None]
    order = _drawn_together(steps, refused)
    actions = plan_in_order(order, given, rows=looks.rows, points=looks.points, kept=looks.kept)
    groups: list[tuple[bool, list[Action]]] = []
    for action in actions:
        step = action.step or next(iter(order), None)  # the inputs go with the first layer
        merged = step is None or _key(step) not in refused
        if groups and groups[-1][0] == merged:
            groups[-1][1].append(action)
        else:
            groups.append((merged, [action]))
    return [
        _segment(group, [later for _, following in groups[index + 1 :] for later in following], looks, merged=merged)
        for index, (merged, group) in enumerate(groups)
    ]


def with_first_points(segments: Sequence[Segment], points: Sequence[Point]) -> list[Segment]:
    """Tell every part which points it is the first to quantize."""
    index = {(point.side, point.value, point.bits): place for place, point in enumerate(points)}
    seen: set[int] = set()
    result = []
    for segment in segments:
        own = {
            index[action.step.side, name, bits]
            for action in segment.actions
            if action.step is not None
            for name, bits in action.step.quantized.items()
            if name in action.step.inputs
        }
        result.append(replace(segment, first_at=frozenset(own - seen)))
        seen |= own
    return result


def _key(step: Step) -> tuple[Side, str]:
    return step.side, step.layer.key


def _drawn_together(steps: Sequence[Step], refused: Collection[LayerKey]) -> list[Step]:
    """The steps in an order with few changes between those that a graph holds and those that it does not."""
    made = {(step.side, name) for step in steps for name in step.outputs}
    there: set[Value] = set()
    pending, order = list(steps), []
    merged = True
    while pending:
        waiting = []
        for step in pending:
            ready = all((step.side, name) in there or (step.side, name) not in made for name in step.inputs)
            if ready and (_key(step) not in refused) == merged:
                order.append(step)
                there.update((step.side, name) for name in step.outputs)
            else:
                waiting.append(step)
        merged = not merged
        pending = waiting
    return order


def _of_rows(actions: Iterable[Action], looks: Looks) -> dict[Value, None]:
    return {item: None for action in actions for index in action.rows for item in looks.rows[index].values.items()}


def _needs(actions: Sequence[Action], looks: Looks) -> dict[Value, None]:
    needed: dict[Value, None] = {}
    for action in actions:
        if action.step is not None:
            needed.update(((action.step.side, name), None) for name in action.step.inputs)
        needed.update((value, None) for value in action.measure)
    return {**needed, **_of_rows(actions, looks)}


def _segment(actions: Sequence[Action], later: Sequence[Action], looks: Looks, *, merged: bool) -> Segment:
    own = {(action.step.side, name) for action in actions if action.step is not None for name in action.step.outputs}
    apart = [replace(action, rows=[index for index in action.rows if index in looks.apart]) for action in actions]
    rows = {**_of_rows(apart, looks), **_of_rows(later, looks)}
    after = {**_needs(later, looks), **dict.fromkeys(looks.kept), **rows}
    after.update((value, None) for action in actions for value in action.measure if value in looks.apart)
    return Segment(
        actions,
        merged,
        reads=tuple(value for value in _needs(actions, looks) if value not in own),
        gives=tuple(value for value in after if value in own),
        gives_rows=frozenset(rows),
    )

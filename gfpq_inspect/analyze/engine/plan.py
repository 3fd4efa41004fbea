"""The order in which layers of one or two models run and rows are measured, and when each tensor is dropped.

Both models advance together, so that the two tensors of a row are alive at the same time for as short as possible; a
tensor dies after its last reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gfpq_inspect.analyze.engine.interface import Row
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.lanes import Side

Value = tuple[Side, str]


@dataclass
class Action:
    """One thing to do.

    Attributes:
        step: Layer to run first, or None.
        measure: Values to look at then (calibration).
        rows: Indices of the rows to measure then.
        drop: Values that nobody needs after that.
    """

    step: Step | None
    measure: list[Value] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    drop: list[Value] = field(default_factory=list)


def plan_measurement(
    steps: Mapping[Side, Sequence[Step]], rows: Sequence[Row], given: Iterable[Value], kept: Iterable[Value] = ()
) -> list[Action]:
    """All layers of all models with all rows.

    Args:
        steps: Steps of each model, in order of execution.
        rows: What is measured.
        given: Values that are there from the start (the inputs).
        kept: Values that are never dropped.
    """
    return _Planner(steps, rows, [], given, kept).run()


def plan_calibration(
    steps: Mapping[Side, Sequence[Step]], points: Iterable[Value], given: Iterable[Value]
) -> list[Action]:
    """Only the layers that the values of `points` depend on; each is looked at when it is there."""
    wanted = list(dict.fromkeys(points))
    return _Planner(_needed(steps, wanted), [], wanted, given, ()).run()


def plan_in_order(
    order: Sequence[Step],
    given: Iterable[Value],
    *,
    rows: Sequence[Row] = (),
    points: Iterable[Value] = (),
    kept: Iterable[Value] = (),
) -> list[Action]:
    """Layers in an order that is given; rows and points are looked at as soon as their tensors are there.

    Args:
        order: Every step after those that it reads from.
        given: Values that are there from the start (the inputs).
        rows: What is measured.
        points: Values that are looked at.
        kept: Values that are never dropped.
    """
    steps: dict[Side, list[Step]] = {}
    for step in order:
        steps.setdefault(step.side, []).append(step)
    return _Planner(steps, rows, list(points), given, kept).run(order)


def _needed(steps: Mapping[Side, Sequence[Step]], wanted: Iterable[Value]) -> dict[Side, list[Step]]:
    needed = set(wanted)
    result: dict[Side, list[Step]] = {}
    for side, sequence in steps.items():
        chosen = []
        for step in reversed(sequence):
            if any((side, name) in needed for name in step.outputs):
                chosen.append(step)
                needed.update((side, name) for name in step.inputs)
        result[side] = chosen[::-1]
    return result


class _Planner:
    def __init__(
        self,
        steps: Mapping[Side, Sequence[Step]],
        rows: Sequence[Row],
        measured: Sequence[Value],
        given: Iterable[Value],
        kept: Iterable[Value],
    ) -> None:
        self._steps = steps
        self._rows = rows
        self._measured = set(measured)
        self._given = list(given)
        self._kept = set(kept)
        self._there: set[Value] = set()
        self._pending_rows = set(range(len(rows)))
        self._rows_of: dict[Value, list[int]] = {}
        for index, row in enumerate(rows):
            for side, value in row.values.items():
                self._rows_of.setdefault((side, value), []).append(index)
        self._producer = {(side, name): step for side in steps for step in steps[side] for name in step.outputs}
        self._done: set[int] = set()
        self._actions: list[Action] = []

    def run(self, order: Sequence[Step] | None = None) -> list[Action]:
        start = Action(None)
        self._actions.append(start)
        self._arrive(start, self._given)
        if order is None:
            for side in self._steps:
                for step in self._steps[side]:
                    self._schedule(step)
        else:
            for step in order:
                self._append(step)
        self._place_drops()
        return self._actions

    def _append(self, step: Step) -> None:
        action = Action(step)
        self._actions.append(action)
        self._arrive(action, [(step.side, name) for name in step.outputs])

    def _schedule(self, step: Step) -> None:
        if id(step) in self._done:
            return
        self._done.add(id(step))
        action = Action(step)
        self._actions.append(action)
        outputs = [(step.side, name) for name in step.outputs]
        self._arrive(action, outputs)
        for value in outputs:
            for index in self._rows_of.get(value, ()):
                if index in self._pending_rows:
                    for side, name in self._rows[index].values.items():
                        self._require((side, name))

    def _require(self, value: Value) -> None:
        """Schedule what produces a value, ancestors first, without recursion (networks are deep)."""
        stack = [value]
        while stack:
            current = stack[-1]
            step = self._producer.get(current)
            if step is None or id(step) in self._done:
                stack.pop()
                continue
            missing = [
                (step.side, name)
                for name in step.inputs
                if (step.side, name) in self._producer and id(self._producer[step.side, name]) not in self._done
            ]
            if missing:
                stack.extend(reversed(missing))
            else:
                stack.pop()
                self._done.add(id(step))
                self._append(step)

    def _arrive(self, action: Action, values: Iterable[Value]) -> None:
        arrived = list(values)
        self._there.update(arrived)
        for value in arrived:
            if value in self._measured:
                action.measure.append(value)
            for index in self._rows_of.get(value, ()):
                row = self._rows[index]
                if index in self._pending_rows and all(item in self._there for item in row.values.items()):
                    self._pending_rows.remove(index)
                    action.rows.append(index)

    def _place_drops(self) -> None:
        last: dict[Value, int] = {}
        for position, action in enumerate(self._actions):
            for index in action.rows:
                last.update((item, position) for item in self._rows[index].values.items())
            last.update((value, position) for value in action.measure)
            if action.step is not None:
                side = action.step.side
                last.update(((side, name), position) for name in (*action.step.inputs, *action.step.outputs))
        last.update((value, 0) for value in self._given if value not in last)
        for value, position in last.items():
            if value not in self._kept:
                self._actions[position].drop.append(value)

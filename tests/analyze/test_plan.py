"""The schedule: everything runs once, after what it reads; rows as soon as they can be measured; nothing lives on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gfpq_inspect.analyze.engine.interface import Row
from gfpq_inspect.analyze.engine.plan import plan_calibration, plan_measurement
from gfpq_inspect.analyze.lanes import Side

FIRST, SECOND = Side.FIRST, Side.SECOND


def step(side: Side, inputs: str, outputs: str) -> Any:
    return SimpleNamespace(side=side, inputs=tuple(inputs), outputs=tuple(outputs))


def walk(actions: list, given: set) -> None:
    """Run a plan without computing: everything that is touched must be there, and nothing may be left."""
    live = set(given)
    for action in actions:
        if action.step is not None:
            needed = {(action.step.side, name) for name in action.step.inputs}
            assert needed <= live
            live |= {(action.step.side, name) for name in action.step.outputs}
        assert set(action.measure) <= live
        for value in action.drop:
            live.remove(value)
    assert not live


def test_chain_is_dropped_link_by_link() -> None:
    steps = {FIRST: [step(FIRST, "x", "a"), step(FIRST, "a", "b"), step(FIRST, "bx", "c")]}
    rows = [Row(name, {FIRST: name}) for name in "xabc"]
    actions = plan_measurement(steps, rows, [(FIRST, "x")])
    walk(actions, {(FIRST, "x")})
    assert [action.rows for action in actions] == [[0], [1], [2], [3]]
    assert actions[2].drop == [(FIRST, "a")]
    assert set(actions[3].drop) == {(FIRST, "b"), (FIRST, "x"), (FIRST, "c")}


def test_two_models_advance_together() -> None:
    names = "xabcdefgh"
    steps = {side: [step(side, names[i], names[i + 1]) for i in range(len(names) - 1)] for side in (FIRST, SECOND)}
    rows = [Row(name, {FIRST: name, SECOND: name}) for name in names]
    actions = plan_measurement(steps, rows, [(FIRST, "x"), (SECOND, "x")])
    walk(actions, {(FIRST, "x"), (SECOND, "x")})
    alive = most = 2
    for action in actions:
        alive += len(action.step.outputs) if action.step else 0
        most = max(most, alive)
        alive -= len(action.drop)
    assert most <= 4
    assert sorted(index for action in actions for index in action.rows) == list(range(len(rows)))


def test_rows_of_one_model_alone_and_unread_outputs() -> None:
    steps = {FIRST: [step(FIRST, "x", "ab")], SECOND: [step(SECOND, "x", "q"), step(SECOND, "q", "a")]}
    rows = [Row("a", {FIRST: "a", SECOND: "a"}), Row("b", {FIRST: "b"}), Row("q", {SECOND: "q"})]
    actions = plan_measurement(steps, rows, [(FIRST, "x"), (SECOND, "x")])
    walk(actions, {(FIRST, "x"), (SECOND, "x")})


def test_kept_values_stay() -> None:
    steps = {FIRST: [step(FIRST, "x", "a")]}
    actions = plan_measurement(steps, [Row("a", {FIRST: "a"})], [(FIRST, "x")], kept=[(FIRST, "a")])
    assert all((FIRST, "a") not in action.drop for action in actions)


@pytest.mark.parametrize("depth", [3000])
def test_deep_networks_do_not_recurse(depth: int) -> None:
    steps = {side: [step(side, [f"v{i}"], [f"v{i + 1}"]) for i in range(depth)] for side in (FIRST, SECOND)}
    # Only the last values are compared, so that all of the second model hangs on one row.
    rows = [Row("end", {FIRST: f"v{depth}", SECOND: f"v{depth}"})]
    actions = plan_measurement(steps, rows, [(FIRST, "v0"), (SECOND, "v0")])
    walk(actions, {(FIRST, "v0"), (SECOND, "v0")})


def test_calibration_runs_only_what_points_need() -> None:
    steps = {
        FIRST: [step(FIRST, "x", "a"), step(FIRST, "a", "b"), step(FIRST, "a", "c"), step(FIRST, "bc", "d")],
        SECOND: [step(SECOND, "x", "a")],
    }
    actions = plan_calibration(steps, [(FIRST, "x"), (FIRST, "b")], [(FIRST, "x"), (SECOND, "x")])
    assert [action.step.outputs for action in actions if action.step] == [("a",), ("b",)]
    assert [value for action in actions for value in action.measure] == [(FIRST, "x"), (FIRST, "b")]
    walk(actions, {(FIRST, "x"), (SECOND, "x")})

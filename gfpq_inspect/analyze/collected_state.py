"""Everything that is pooled over samples, as plain values and arrays, and back: what a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gfpq_inspect.analyze.assemble import Collected
from gfpq_inspect.analyze.custom_metrics import CustomScores
from gfpq_inspect.analyze.engine.interface import PointEvidence, RowProblem, RowState
from gfpq_inspect.analyze.metrics import Pool
from gfpq_inspect.analyze.spread import SpreadCollector

SPREADS = ("cosine_spread", "sqnr_spread", "ratio_spread")
_MADE_ANEW = frozenset({"_scale", "_upper"})
"""What the collectors are made with; the rest of them is what they have seen."""


def collected_state(collected: Collected, custom: CustomScores | None) -> dict[str, Any]:
    """What was pooled so far.

    Raises:
        UsageError: A task metric of the caller's own cannot say its state.
    """
    return {
        "samples": collected.samples,
        "pool": seen_by(collected.pool),
        "isolation": collected.isolation,
        "evidence": [dataclasses.asdict(entry) for entry in collected.evidence],
        "spreads": {name: seen_by(getattr(collected, name)) for name in SPREADS},
        "problems": [[*place, int(found.state), found.reason] for place, found in collected.problems.items()],
        "task": collected.task.state() if collected.task is not None else None,
        "origins": collected.origins.state() if collected.origins is not None else None,
        "custom": custom.state() if custom is not None else None,
    }


def restore_collected(collected: Collected, custom: CustomScores | None, state: Mapping[str, Any]) -> None:
    """Go on from a state; both are of the same run."""
    collected.samples = int(state["samples"])
    restore(collected.pool, state["pool"])
    collected.isolation = state["isolation"]
    collected.evidence = [PointEvidence(**entry) for entry in state["evidence"]]
    for name in SPREADS:
        restore(getattr(collected, name), state["spreads"][name])
    collected.problems = {
        (row, column): RowProblem(RowState(found), reason) for row, column, found, reason in state["problems"]
    }
    if collected.task is not None:
        collected.task.restore(state["task"])
    if collected.origins is not None:
        collected.origins.restore(state["origins"])
    if custom is not None:
        custom.restore(state["custom"])


def seen_by(collector: Pool | SpreadCollector) -> dict[str, Any]:
    """What a collector has seen: plain values, arrays, lists of arrays."""
    return {name: value for name, value in vars(collector).items() if name not in _MADE_ANEW}


def restore(collector: Pool | SpreadCollector, state: Mapping[str, Any]) -> None:
    """Give a collector what another of its kind has seen."""
    for name, value in state.items():
        setattr(collector, name, value)

"""What one phase of a comparison hands to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.batches import Feeder
from gfpq_inspect.analyze.engine.interface import Experiment, Facts
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.lane_cache import LaneCache
from gfpq_inspect.analyze.result import Coefficient, Finding, Judgement, LayerRow, Task
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.analyze.task_meter import TaskMeter
from gfpq_inspect.models.pair import Pairing


@dataclass(frozen=True)
class Setup:
    """What is made before anything is measured."""

    pairing: Pairing | None
    table: tuple[TableRow, ...]
    experiment: Experiment
    engine: LayeredEngine
    cache: LaneCache | None
    feeder: Feeder
    facts: Facts
    task: TaskMeter
    batch: int
    workers: int


@dataclass(frozen=True)
class Judged:
    """What follows from what was measured."""

    rows: list[LayerRow]
    coefficients: list[Coefficient]
    judgement: Judgement
    task: Task | None
    details: dict[str, Any]


@dataclass(frozen=True)
class Causes:
    """What the checks found, and the evidence of layers."""

    findings: tuple[Finding, ...]
    layers: Mapping[str, Mapping[str, Any]]
    evidence_samples: int


NO_CAUSES = Causes((), {}, 0)

"""From what a run measured to causes: the pass for evidence, then all checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.batches import Batch, Feeder, run_in_order
from gfpq_inspect.analyze.channels import PAIRS, ChannelEvidence, ChannelMeasurer, EvidenceMeasurement
from gfpq_inspect.analyze.engine.interface import Experiment, Facts, LayerDone, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.merged.looks import EvidenceSums
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.registry import run_checks
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.analyze.result import Finding
from gfpq_inspect.analyze.tiles import STRIDE

EVIDENCE_ELEMENTS = 48_000_000
"""Elements of all rows that the pass for evidence reads: it sees as many samples as that allows, at least `FEWEST`."""

FEWEST = 2
MOST = 128
"""Samples beyond which a share, a range or a mean of a channel says nothing new."""


@dataclass(frozen=True)
class _Chosen:
    """Some of the samples, evenly from the set."""

    feeder: Feeder
    stride: int
    most: int

    def batches(self) -> Iterator[Batch]:
        taken = 0
        for batch in self.feeder.batches(1):
            if batch.first % self.stride == 0:
                taken += 1
                yield batch
            if taken == self.most:
                return


@dataclass(frozen=True)
class Budget:
    """Which samples evidence is taken of, and how much of them.

    Attributes:
        every: Of so many samples one is looked at.
        most: At most so many in all.
        stride: Of so many tiles of a tensor histograms look at one; see `tiles`.
    """

    every: int
    most: int
    stride: int

    @property
    def share(self) -> float:
        """Share of the tiles of a large tensor."""
        return 1 / self.stride

    def chosen(self, first: int, samples: int) -> list[int]:
        """Places within a batch of the samples that are looked at."""
        return [
            place
            for place in range(samples)
            if (first + place) % self.every == 0 and (first + place) // self.every < self.most
        ]


def budget_for(experiment: Experiment, facts: Facts, count: int, *, every_tile: bool) -> Budget:
    """Samples evenly from a set of `count`."""
    elements = sum(_size(facts, entry) for row in experiment.rows for entry in row.values.items())
    most = max(FEWEST, min(count, MOST, EVIDENCE_ELEMENTS // max(1, elements)))
    return Budget(max(1, count // most), min(most, count), 1 if every_tile else STRIDE)


class Looker:
    """Collects the evidence that an engine takes while it measures.

    Args:
        engine: Runs all lanes in one graph, if it can.
        facts: Shapes.
        budget: Which samples.
    """

    def __init__(self, engine: MergedEngine, facts: Facts, budget: Budget) -> None:
        engine.look_at(budget.stride)
        self._engine = engine
        self._sums = EvidenceSums(engine.experiment, facts.shapes)
        self._budget = budget
        self._seen = 0

    def measure(self, batch: Batch, deltas: Sequence[Any] | None, layer_done: LayerDone | None) -> Measurement:
        """As the engine's own, with evidence of the samples that are chosen."""
        chosen = self._budget.chosen(batch.first, batch.samples)
        return self._engine.measure_and_look(batch.feeds, batch.samples, deltas, layer_done, chosen)

    def add(self, batch: Batch, measurement: Measurement) -> None:
        """Take what a batch has brought; batches come in order."""
        for place, looks in measurement.looks:
            self._sums.add(batch.first + place, looks)
            self._seen += 1
        measurement.looks.clear()

    def result(self) -> ChannelEvidence | None:
        """All of it; None where samples are missing: a pass of its own takes it then."""
        return self._sums.result() if self._seen == self._budget.most else None


def looker_for(engine: LayeredEngine, experiment: Experiment, facts: Facts, budget: Budget) -> Looker | None:
    """Who collects the evidence while all lanes of an experiment are measured; None where a pass of its own has to."""
    if isinstance(engine, MergedEngine) and engine.experiment is experiment and engine.is_merged:
        return Looker(engine, facts, budget)
    return None


def gather_evidence(
    engine: LayeredEngine,
    feeder: Feeder,
    budget: Budget,
    *,
    deltas: Sequence[int] | None,
    workers: int,
) -> ChannelEvidence:
    """Run the lanes that tables of channels need over some of the samples.

    Args:
        engine: What ran; its sessions are used again.
        feeder: The samples.
        budget: Which of them.
        deltas: Coefficient of every point, or None where each sample has its own.
        workers: Samples in flight.

    Returns:
        Evidence of evenly spread samples; the same for any number of workers.
    """
    wanted = {name for pair in PAIRS.values() for name in pair}
    lanes = [lane for lane in engine.experiment.lanes if lane.name in wanted]
    reduced = engine.with_fewer_lanes(lanes, lambda experiment: ChannelMeasurer(experiment, deltas, budget.stride))
    evidence = ChannelEvidence()

    def work(batch: Batch) -> EvidenceMeasurement:
        measured = reduced.measure(batch.feeds, batch.samples, deltas)
        assert isinstance(measured, EvidenceMeasurement)
        measured.channels.number(batch.first)
        return measured

    chosen = _Chosen(feeder, budget.every, budget.most)
    for _, measured in run_in_order(chosen.batches(), work, workers):
        evidence.add(measured.channels)
    return evidence


def _size(facts: Facts, value: tuple[Side, str]) -> int:
    size = 1
    for length in facts.shapes.get(value, ()):
        size *= max(1, length)
    return size


def diagnose(case: Case, progress: Progress) -> tuple[Finding, ...]:
    """Run all checks on a case.

    Args:
        case: What was measured.
        progress: Told that it begins.
    """
    progress.phase("looking for causes", 1)
    return run_checks(case)

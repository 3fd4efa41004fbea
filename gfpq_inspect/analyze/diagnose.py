"""From what a run measured to causes: the pass for evidence, then all checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gfpq_inspect.analyze.batches import Batch, Feeder, run_in_order
from gfpq_inspect.analyze.channels import PAIRS, ChannelEvidence, ChannelMeasurer, EvidenceMeasurement
from gfpq_inspect.analyze.engine.interface import Facts
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.registry import run_checks
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.analyze.result import Finding

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


def gather_evidence(
    engine: LayeredEngine, feeder: Feeder, facts: Facts, *, count: int, deltas: Sequence[int] | None, workers: int
) -> ChannelEvidence:
    """Run the lanes that tables of channels need over some of the samples.

    Args:
        engine: What ran; its sessions are used again.
        feeder: The samples.
        facts: Shapes.
        count: Number of samples.
        deltas: Coefficient of every point, or None where each sample has its own.
        workers: Samples in flight.

    Returns:
        Evidence of evenly spread samples; the same for any number of workers.
    """
    elements = sum(_size(facts, entry) for row in engine.experiment.rows for entry in row.values.items())
    most = max(FEWEST, min(count, MOST, EVIDENCE_ELEMENTS // max(1, elements)))
    wanted = {name for pair in PAIRS.values() for name in pair}
    lanes = [lane for lane in engine.experiment.lanes if lane.name in wanted]
    reduced = engine.with_fewer_lanes(lanes, lambda experiment: ChannelMeasurer(experiment, deltas))
    evidence = ChannelEvidence()

    def work(batch: Batch) -> EvidenceMeasurement:
        measured = reduced.measure(batch.feeds, batch.samples, deltas)
        assert isinstance(measured, EvidenceMeasurement)
        measured.channels.number(batch.first)
        return measured

    chosen = _Chosen(feeder, max(1, count // most), most)
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

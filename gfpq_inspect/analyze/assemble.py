"""From pooled sums to rows of the result: scores, shares, coverage."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.table import NOT_IN_DUMP
from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Measurement, PointEvidence, RowProblem, RowState
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.metrics import (
    TINY_ELEMENTS,
    Pool,
    added_in_order,
    cosines,
    equality_of,
    norm_ratios,
    scores_of,
    sqnrs_db,
)
from gfpq_inspect.analyze.propagation import OriginVotes
from gfpq_inspect.analyze.result import Comparison, Coverage, Isolation, LayerRow, Scores, Status
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.analyze.spread import COSINE_SCALE, DECIBEL_SCALE, RATIO_SCALE, SpreadCollector
from gfpq_inspect.analyze.task_meter import TaskMeter


@dataclass
class Collected:
    """Everything that is pooled over samples; its size does not depend on how many there are.

    Attributes:
        experiment: What was run.
        pool: Sums of every row and comparison.
        isolation: float64 [rows, 2, 3], see `Measurement`.
        evidence: Evidence of every point.
        problems: (row, comparison) to why it was not scored.
        task: What every lane decides.
        origins: Where errors begin, where something is quantized.
        samples: Samples seen.
    """

    experiment: Experiment
    pool: Pool
    isolation: NDArray[np.float64]
    evidence: list[PointEvidence]
    cosine_spread: SpreadCollector
    sqnr_spread: SpreadCollector
    ratio_spread: SpreadCollector
    problems: dict[tuple[int, int], RowProblem] = field(default_factory=dict)
    task: TaskMeter | None = None
    origins: OriginVotes | None = None
    samples: int = 0

    @classmethod
    def empty(
        cls, experiment: Experiment, task: TaskMeter | None = None, origins: OriginVotes | None = None
    ) -> Collected:
        """Nothing seen yet."""
        rows, columns = len(experiment.rows), len(experiment.comparisons)
        return cls(
            experiment=experiment,
            pool=Pool(rows, columns),
            isolation=np.zeros((rows, len(Side), 3)),
            evidence=[PointEvidence() for _ in experiment.points],
            cosine_spread=SpreadCollector(rows * columns, COSINE_SCALE),
            sqnr_spread=SpreadCollector(rows * columns, DECIBEL_SCALE),
            ratio_spread=SpreadCollector(rows * columns, RATIO_SCALE, upper=True),
            task=task,
            origins=origins,
        )

    def add(self, first: int, measurement: Measurement) -> None:
        """Add the next batch; batches must come in sample order.

        Args:
            first: Index of its first sample.
            measurement: Its sums.
        """
        self.pool.add(measurement.sums)
        self.isolation = added_in_order(self.isolation, measurement.isolation)
        for known, seen in zip(self.evidence, measurement.evidence, strict=True):
            known.add(seen)
        flat = (measurement.samples, -1)
        self.cosine_spread.add(cosines(measurement.sums).reshape(flat))
        self.sqnr_spread.add(sqnrs_db(measurement.sums).reshape(flat))
        self.ratio_spread.add(norm_ratios(measurement.sums).reshape(flat))
        for place, problem in measurement.problems.items():
            earlier = self.problems.get(place)
            if earlier is None or problem.state > earlier.state:
                self.problems[place] = problem
        if self.task is not None:
            self.task.add(first, measurement.samples, measurement.captured)
        if self.origins is not None:
            self.origins.add(measurement.sums)
        self.samples += measurement.samples


def layer_rows(
    table: Sequence[TableRow], collected: Collected, facts: Facts, identities: Sequence[str]
) -> list[LayerRow]:
    """The table with its scores, not yet judged.

    Args:
        table: What was to be measured, in order.
        collected: What was measured.
        facts: Shapes.
        identities: Sample names, for the worst sample of each row.
    """
    keys = {(side.value, layer.key): row.row.key for row in table for side, layer in row.layers.items()}
    rows = []
    for index, entry in enumerate(table):
        scores = _scores(index, entry, collected, facts, identities)
        status, reason = _row_status(entry, scores)
        understood = entry.unmatched is None or entry.unmatched.understood
        ran = any(item in facts.shapes for item in entry.row.values.items())
        if ran and not understood and not any(item in facts.floating for item in entry.row.values.items()):
            understood, reason = True, "it computes shapes or indices, not features"
        layer = entry.layer
        side = Side.FIRST if Side.FIRST in entry.layers else Side.SECOND
        shape = facts.shapes.get((side, entry.row.values[side]), ())
        second = entry.layers.get(Side.SECOND)
        into = entry.unmatched.folded_into if entry.unmatched else None
        rows.append(
            LayerRow(
                key=entry.row.key,
                layer=layer.key,
                name=layer.name,
                type=layer.type,
                index=index,
                side="both" if len(entry.layers) == 2 else side.value,
                partner=second.key if second is not None and Side.FIRST in entry.layers else None,
                status=status,
                reason=reason,
                understood=understood,
                shape=shape,
                elements=math.prod(shape),
                quantized=layer.quantization is not None and collected.experiment.quantizes,
                quantization_reason=layer.quantization_reason,
                is_output=entry.is_output,
                scores=scores,
                isolation=_isolation(collected.isolation[index, 0]),
                tuned_isolation=_isolation(collected.isolation[index, 1]),
                multiply_adds=layer.multiply_adds,
                source_line=layer.source_line,
                inputs=entry.inputs,
                notes=layer.notes,
                folded_into=keys.get((side.value, into)) if into else None,
            )
        )
    return rows


def _scores(
    index: int, entry: TableRow, collected: Collected, facts: Facts, identities: Sequence[str]
) -> dict[str, Scores]:
    scores = {}
    experiment = collected.experiment
    for column, comparison in enumerate(experiment.comparisons):
        sides = (experiment.lane(comparison.lane).side, experiment.lane(comparison.reference).side)
        if any(side not in entry.row.values for side in sides):
            continue
        problem = collected.problems.get((index, column))
        sums = collected.pool.sums[index, column]
        if problem is None:
            shape = facts.shapes.get((sides[1], entry.row.values[sides[1]]), ())
            scores[comparison.name] = _scored(index, column, collected, math.prod(shape) >= TINY_ELEMENTS, identities)
        elif problem.state is RowState.NOT_FLOAT:
            scores[comparison.name] = equality_of(sums, problem.reason)
        else:
            status = Status.SHAPE_MISMATCH if problem.state is RowState.SHAPE_MISMATCH else Status.SKIPPED
            scores[comparison.name] = Scores(status=status, reason=problem.reason)
    return scores


def _scored(index: int, column: int, collected: Collected, by_sample: bool, identities: Sequence[str]) -> Scores:
    cell = index * len(collected.experiment.comparisons) + column
    if not by_sample:
        return scores_of(collected.pool.sums[index, column])
    return scores_of(
        collected.pool.sums[index, column],
        collected.cosine_spread.spread(cell, identities),
        collected.sqnr_spread.spread(cell, identities),
        collected.ratio_spread.spread(cell, identities),
    )


def _row_status(entry: TableRow, scores: dict[str, Scores]) -> tuple[Status, str]:
    """A row's own status; scores of a row without a partner are those of its own model alone."""
    if entry.unmatched is not None:
        return Status.UNMATCHED, entry.unmatched.reason
    # Of the float lanes only: where the lanes of one model differ, a network finds more or fewer things (detections).
    across = scores.get("drift", scores.get("total"))
    if across is not None and across.status is Status.SHAPE_MISMATCH:
        return Status.SHAPE_MISMATCH, f"the second model's tensor has another shape: {across.reason}"
    if scores and all(score.status is Status.SKIPPED for score in scores.values()):
        return Status.SKIPPED, next(iter(scores.values())).reason
    return Status.OK, entry.reason


def _isolation(products: NDArray[np.float64]) -> Isolation | None:
    """Shares of the pooled error; None where there is no error."""
    data, weight, whole = (float(value) for value in products)
    if not whole > 0:
        return None
    share_data, share_weight = data / whole, weight / whole
    return Isolation(share_data, share_weight, 1.0 - share_data - share_weight)


def coverage_of(rows: Sequence[LayerRow]) -> Coverage:
    """How much of the table was compared, and why the rest was not."""
    compared = [row for row in rows if row.status is Status.OK]
    unmatched = [row for row in rows if row.status is Status.UNMATCHED]
    left = [row for row in rows if row.status is not Status.OK]
    noun = "layer output" if len(rows) == 1 else "layer outputs"
    sentence = f"{len(compared)} of {len(rows)} {noun} compared"
    if left:
        reasons = Counter(_coverage_reason(row) for row in left)
        sentence += f", {len(left)} not: " + "; ".join(f"{count} {text}" for text, count in reasons.items())
    return Coverage(
        total=len(rows),
        compared=len(compared),
        skipped=len(left) - len(unmatched),
        unmatched=len(unmatched),
        sentence=f"{sentence}.",
    )


def _coverage_reason(row: LayerRow) -> str:
    if row.reason == NOT_IN_DUMP:
        return row.reason
    where = {"first": " (first model only)", "second": " (second model only)"}.get(row.side, "")
    if row.status is Status.SHAPE_MISMATCH:
        return "with another shape in the second model"
    if row.folded_into is not None:
        return f"folded in the other model{where}"
    if row.status is Status.UNMATCHED and not row.understood:
        return f"without a counterpart{where}"
    return f"{row.type}{where}: {row.reason}" if row.status is Status.UNMATCHED else row.reason


def comparisons_measured(rows: Sequence[LayerRow], comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons that have at least one row."""
    return tuple(entry for entry in comparisons if any(entry.name in row.scores for row in rows))

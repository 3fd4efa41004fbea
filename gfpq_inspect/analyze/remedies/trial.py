"""Measures a changed network, quantized, against the float network: all that a remedy is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.batches import Batch, Feeder, first_sample, run_in_order
from gfpq_inspect.analyze.engine.choose import engine_for
from gfpq_inspect.analyze.engine.interface import Experiment, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.lanes import FLOAT, TUNED, Lane, Side
from gfpq_inspect.analyze.metrics import Pool, scores_of
from gfpq_inspect.analyze.points import points_of
from gfpq_inspect.analyze.result import Comparison, Scores
from gfpq_inspect.analyze.rows import table_rows
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.pair import pair_layers
from gfpq_inspect.quantize import gfpq_of, kernels

_KEPT_BYTES = 512 << 20

_TOTAL = Comparison("total", "tuned", "float", "total", "changed network, quantized, against the float network")


@dataclass(frozen=True)
class Trial:
    """What one run showed.

    Attributes:
        scores: Row key to scores of the quantized network against the float one.
        outputs: Row keys of the network outputs.
    """

    scores: Mapping[str, Scores]
    outputs: tuple[str, ...]

    @property
    def worst_output(self) -> float:
        """Lowest cosine of a network output."""
        return min(self.cosine(key) for key in self.outputs)

    @property
    def output_db(self) -> float:
        """Lowest SQNR of a network output, in dB; 200 where all are exact."""
        return min(self.sqnr_db(key) for key in self.outputs)

    def cosine(self, key: str) -> float:
        """Cosine of a row; 1 where nothing could be scored."""
        value = self.scores[key].cosine if key in self.scores else None
        return 1.0 if value is None else value

    def sqnr_db(self, key: str) -> float:
        """SQNR of a row in dB; 200 where it is exact."""
        value = self.scores[key].sqnr_db if key in self.scores else None
        return 200.0 if value is None else value


@dataclass
class _Kept:
    """What trials of one network share.

    Attributes:
        batches: The samples, where they are small enough to stay in memory.
        graph: Graph of the magnitudes; remedies that leave weights alone leave it alone too.
        magnitudes: Graph value to the largest magnitude of each sample.
    """

    batches: list[Batch] | None = None
    graph: object = None
    magnitudes: dict[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """Runs trials of one network.

    Attributes:
        first: The float network.
        source: The samples that it is judged by.
        bits: Bit width of the run.
        workers: Batches in flight.
    """

    first: Model
    source: SampleSource
    bits: int
    workers: int = 2
    _kept: _Kept = field(default_factory=_Kept, init=False, repr=False, compare=False)

    def run(self, changed: Model, steps: Mapping[str, int] | None = None, lane: Lane = TUNED) -> Trial:
        """Run a changed network against the float one.

        Args:
            changed: The network with a remedy applied; the float network itself for no remedy.
            steps: Graph value to steps by which the coefficient of its data is moved.
            lane: How the changed network runs: quantized as a whole, or its data only.

        Raises:
            ModelError: The changed network does not run.
        """
        models = {Side.FIRST: self.first, Side.SECOND: changed}
        table = table_rows(models, pair_layers(self.first, changed))
        experiment = Experiment(
            models=models,
            lanes=(FLOAT, lane),
            comparisons=(replace(_TOTAL, lane=lane.name),),
            rows=tuple(row.row for row in table),
            points=points_of(Side.SECOND, changed, gfpq_of(self.bits)),
            weights=WeightTable(models, gfpq_of(self.bits)),
            bits=self.bits,
            per_sample=False,
        )
        # The kernels of a comparison, so that what is promised here is what `compare --plan` finds.
        engine = engine_for(experiment, engine="layered")
        names = {entry.name: entry.name for entry in self.first.inputs}
        feeder = Feeder(self.source, models, dict.fromkeys(Side, names))
        deltas = self._coefficients(engine, changed, feeder, steps or {})
        pool = Pool(len(experiment.rows), 1)

        def work(batch: Batch) -> Measurement:
            return engine.measure(batch.feeds, batch.samples, deltas)

        for _, measurement in run_in_order(self._batches(feeder), work, self.workers):
            pool.add(measurement.sums)
        scored = {}
        for index, row in enumerate(table):
            if Side.FIRST in row.row.values and Side.SECOND in row.row.values:
                scored[row.row.key] = scores_of(pool.sums[index, 0])
        return Trial(scored, tuple(row.row.key for row in table if row.is_output and row.row.key in scored))

    def _batches(self, feeder: Feeder) -> Iterator[Batch]:
        """The samples one by one; read and prepared once where they are small."""
        if self._kept.batches is None:
            first = first_sample(feeder)
            size = sum(array.nbytes for array in first.feeds[Side.FIRST].values())
            if size * self.source.count > _KEPT_BYTES:
                return feeder.batches(1)
            self._kept.batches = list(feeder.batches(1))
        return iter(self._kept.batches)

    def _coefficients(
        self, engine: LayeredEngine, changed: Model, feeder: Feeder, steps: Mapping[str, int]
    ) -> list[int]:
        points = engine.experiment.points
        if not points:
            return []
        kept = self._kept
        known = kept.magnitudes if kept.graph is changed.graph else {}
        if any(point.value not in known for point in points):

            def work(batch: Batch) -> NDArray[np.float64]:
                return engine.calibrate(batch.feeds, batch.samples)

            found = np.concatenate([part for _, part in run_in_order(self._batches(feeder), work, self.workers)])
            known = {**known, **{point.value: found[:, index] for index, point in enumerate(points)}}
            if changed.graph is self.first.graph:
                kept.graph, kept.magnitudes = changed.graph, known
        deltas = []
        for point in points:
            delta = max(kernels.coefficient_of(float(value), point.bits) for value in known[point.value])
            deltas.append(delta + steps.get(point.value, 0))
        return deltas

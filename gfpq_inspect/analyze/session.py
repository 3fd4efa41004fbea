"""One comparison from models and samples to a `Result`."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePath

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from gfpq_inspect import __version__
from gfpq_inspect.analyze.assemble import Collected, coverage_of, layer_rows
from gfpq_inspect.analyze.batches import (
    Batch,
    Feeder,
    Stopped,
    batch_size,
    first_sample,
    run_in_order,
    stacking_holds,
)
from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.evidence import data_coefficients, weight_coefficients
from gfpq_inspect.analyze.findings.master import check_master
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for
from gfpq_inspect.analyze.points import has_quant_layers, points_of
from gfpq_inspect.analyze.progress import Progress, Silence
from gfpq_inspect.analyze.result import ModelFacts, Result, Run, Timing
from gfpq_inspect.analyze.rows import TableRow, table_rows
from gfpq_inspect.analyze.task import AccuracyMeter
from gfpq_inspect.analyze.verdict import DEFAULT_THRESHOLD, judge_rows, judgement_of, rules_for
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import Pairing, pair_inputs, pair_layers
from gfpq_inspect.quantize import kernels, set_thread_limit, thread_limit


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare and how.

    Attributes:
        first: The float model.
        source: Samples for its inputs (and, by name or place, for those of the second).
        second: The second model (fine-tuned, or another export), or None.
        bits: 8 or 16, or None to compare in float only.
        coefficients: 'set' for a calibration over all samples, 'sample' for a coefficient from each sample.
        threshold: Cosine below which a layer is flagged.
        judge: See `verdict.rules_for`.
        workers: Batches in flight, one thread each.
        batch: Samples a batch, or None to choose; no figure depends on it.
        view: 'as stored' or 'folded', for the record.
        labels: True classes, for the accuracy of every lane, or None.
        command: As it was typed, for the record.
        timing: Whether the result carries durations and host facts.
    """

    first: Model
    source: SampleSource
    second: Model | None = None
    bits: int | None = 8
    coefficients: str = "set"
    threshold: float = DEFAULT_THRESHOLD
    judge: str = "default"
    workers: int = 2
    batch: int | None = None
    view: str = "as stored"
    labels: Labels | None = None
    command: str = ""
    timing: bool = True


def compare_networks(request: ComparisonRequest, progress: Progress | None = None) -> Result:
    """Run all lanes of one or two models side by side and measure every layer.

    Args:
        request: What to compare.
        progress: Told how far it is.

    Returns:
        The whole analysis. When interrupted while measuring, the analysis of the samples seen so far, marked partial.

    Raises:
        UsageError: Options that make no sense together.
        ModelError: A network that does not run.
        InputError: Samples that do not fit.
        QuantizationError: Weights that cannot be quantized.
        KeyboardInterrupt: Interrupted before a single sample was measured.
    """
    return _Session(request, progress or Silence()).run()


class _Session:
    """The state of one run."""

    def __init__(self, request: ComparisonRequest, progress: Progress) -> None:
        if request.bits not in (None, 8, 16):
            raise UsageError(f"GFPQ has 8 and 16 bits, not {request.bits}; give 8 or 16.")
        if request.bits is None and request.second is None:
            raise UsageError("nothing to compare: without quantization a second model is needed.")
        if request.coefficients not in ("set", "sample"):
            raise UsageError(f"coefficients come from 'set' or from each 'sample', not from '{request.coefficients}'.")
        if request.workers < 1:
            raise UsageError(f"at least one worker is needed, not {request.workers}.")
        if request.batch is not None and request.batch < 1:
            raise UsageError(f"a batch holds at least one sample, not {request.batch}.")
        self._request = request
        self._progress = progress
        self._phases: dict[str, float] = {}
        self._started = datetime.now(UTC)
        self._clock = time.perf_counter()
        self._models = {Side.FIRST: request.first}
        if request.second is not None:
            self._models[Side.SECOND] = request.second
        second, quantized = request.second is not None, request.bits is not None
        self._comparisons = comparisons_for(second=second, quantized=quantized)
        labels = request.labels
        if labels is not None and len(labels.classes) < request.source.count:
            raise InputError(
                f"there are {len(labels.classes)} labels ({labels.origin}) for {request.source.count} samples; "
                "give a label for each sample."
            )
        self._rules = rules_for(request.judge, request.threshold, self._comparisons, second=second, quantized=quantized)

    def run(self) -> Result:
        with self._phase("prepare"):
            pairing = self._pairing()
            table = table_rows(self._models, pairing)
            experiment = self._experiment(table)
            engine = LayeredEngine(experiment)
            feeder = Feeder(self._request.source, self._models, self._input_names())
            facts = engine.trial(first_sample(feeder).feeds, 1)
            size = self._batch_size(engine, feeder, facts)
        with _one_thread_a_worker(self._request.workers):
            deltas, magnitudes = self._calibrate(engine, feeder, size)
            accuracy = AccuracyMeter(self._request.labels) if self._request.labels is not None else None
            collected, partial = self._measure(engine, feeder, size, deltas, accuracy)
        with self._phase("judge"):
            rows = judge_rows(layer_rows(table, collected, facts, self._request.source.identities), self._rules)
            names = {(side, value): row.row.key for row in table for side, value in row.row.values.items()}
            coefficients = data_coefficients(experiment.points, collected.evidence, deltas, magnitudes, names)
            coefficients += weight_coefficients(self._models, experiment.weights, self._request.bits)
            judgement = judgement_of(rows, self._rules, partial=partial)
            row_keys = {row.layers[Side.FIRST].key: row.row.key for row in table if Side.FIRST in row.layers}
            finding = check_master(self._models, pairing, experiment.weights, self._request.bits, row_keys)
        return Result(
            run=self._run_facts(pairing, engine.name, collected.samples),
            comparisons=self._comparisons,
            coverage=coverage_of(rows),
            judgement=judgement,
            layers=tuple(rows),
            coefficients=tuple(coefficients),
            findings=(finding,),
            timing=self._timing() if self._request.timing else None,
            details={"task": accuracy.result()} if accuracy is not None else {},
        )

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - begin

    def _pairing(self) -> Pairing | None:
        if self._request.second is None:
            return None
        return pair_layers(self._request.first, self._request.second)

    def _input_names(self) -> dict[Side, dict[str, str]]:
        first = self._request.first
        names = {Side.FIRST: {entry.name: entry.name for entry in first.inputs}}
        second = self._request.second
        if second is not None:
            file = second.origin.structure_file or second.origin.weights_file
            names[Side.SECOND] = pair_inputs(first.inputs, second.inputs, file)
        return names

    def _experiment(self, table: tuple[TableRow, ...]) -> Experiment:
        bits = self._request.bits
        quantized = bits is not None
        points = tuple(point for side, model in self._models.items() for point in points_of(side, model, bits))
        return Experiment(
            models=self._models,
            lanes=lanes_for(second=Side.SECOND in self._models, quantized=quantized),
            comparisons=self._comparisons,
            rows=tuple(row.row for row in table),
            points=points,
            weights=WeightTable(self._models, bits),
            bits=bits,
            per_sample=self._request.coefficients == "sample",
            captured=tuple(row.row.key for row in table if row.is_output) if self._request.labels else (),
        )

    def _batch_size(self, engine: LayeredEngine, feeder: Feeder, facts: Facts) -> int:
        size = batch_size(facts) if self._request.batch is None else self._request.batch
        share = -(-self._request.source.count // max(1, self._request.workers))
        size = max(1, min(size, share))
        return size if size > 1 and stacking_holds(engine, feeder) else 1

    def _calibrate(
        self, engine: LayeredEngine, feeder: Feeder, size: int
    ) -> tuple[list[int] | None, list[float] | None]:
        """Coefficients that cover the whole set (UPDATE): the largest of those that each sample alone would give."""
        points = engine.experiment.points
        if self._request.coefficients == "sample" or self._request.bits is None:
            return None, None
        magnitudes = np.zeros(len(points))
        deltas = np.full(len(points), np.iinfo(np.int64).min, dtype=np.int64)
        if not points:
            return [], []
        with self._phase("calibrate"):
            self._progress.phase("calibrating", self._request.source.count)

            def work(batch: Batch) -> NDArray[np.float64]:
                return engine.calibrate(batch.feeds, batch.samples)

            for batch, found in run_in_order(feeder.batches(size), work, self._request.workers):
                magnitudes = np.maximum(magnitudes, found.max(axis=0))
                # The largest is not enough: an all-zero sample counts as 1e-6, the original's rule.
                for index, point in enumerate(points):
                    for magnitude in (found[:, index].min(), found[:, index].max()):
                        deltas[index] = max(deltas[index], kernels.coefficient_of(float(magnitude), point.bits))
                self._progress.advance(batch.samples, self._request.source.identities[batch.first])
        return deltas.tolist(), magnitudes.tolist()

    def _measure(
        self,
        engine: LayeredEngine,
        feeder: Feeder,
        size: int,
        deltas: list[int] | None,
        accuracy: AccuracyMeter | None,
    ) -> tuple[Collected, bool]:
        """Run all lanes over all samples; stops early, with what there is, when interrupted."""
        collected = Collected.empty(engine.experiment)
        watch = _Watch(self._progress, engine.layer_count)
        self._progress.phase("measuring", self._request.source.count * engine.layer_count)

        def work(batch: Batch) -> Measurement:
            return engine.measure(batch.feeds, batch.samples, deltas, watch.for_batch(batch.samples))

        with self._phase("measure"):
            try:
                for batch, measurement in run_in_order(feeder.batches(size), work, self._request.workers, watch.stop):
                    collected.add(measurement)
                    if accuracy is not None:
                        accuracy.add(batch.first, batch.samples, measurement.captured)
            except KeyboardInterrupt:
                if not collected.samples:
                    raise
                return collected, True
        return collected, False

    def _run_facts(self, pairing: Pairing | None, engine: str, samples: int) -> Run:
        request = self._request
        facts = request.source.facts()
        notes = list(pairing.notes) if pairing is not None else []
        notes += [
            f"The {side.value} model is quantized at its own Quant layers."
            for side, model in self._models.items()
            if request.bits is not None and has_quant_layers(model)
        ]
        return Run(
            tool_version=__version__,
            command=request.command,
            models=tuple(_model_facts(side, model) for side, model in self._models.items()),
            inputs=replace(facts, sample_count=samples, samples=facts.samples[:samples]),
            bits=request.bits,
            coefficients=request.coefficients,
            calibration=self._calibration_text(),
            view=request.view,
            engine=engine,
            versions={
                "numpy": np.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
            notes=tuple(notes),
        )

    def _calibration_text(self) -> str:
        if self._request.bits is None:
            return "nothing was quantized"
        if self._request.coefficients == "sample":
            return "every sample has its own data coefficients, from its own tensors (INIT)"
        count = self._request.source.count
        samples = "1 sample" if count == 1 else f"all {count} samples"
        text = f"data coefficients from a calibration pass of the float network over {samples} (UPDATE)"
        return f"{text}, for each model its own" if self._request.second is not None else text

    def _timing(self) -> Timing:
        return Timing(
            started=self._started.isoformat(timespec="seconds"),
            elapsed_s=time.perf_counter() - self._clock,
            phases_s=dict(self._phases),
            peak_memory_mb=_peak_memory_mb(),
            host={
                "system": platform.system(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "processors": str(os.cpu_count() or 0),
                "workers": str(self._request.workers),
            },
        )


@contextmanager
def _one_thread_a_worker(workers: int) -> Iterator[None]:
    """Keep the kernels of several workers from fighting for the processors."""
    before = thread_limit()
    set_thread_limit(max(1, before // max(1, workers)))
    try:
        yield
    finally:
        set_thread_limit(before)


class _Watch:
    """Tells the progress of all workers, one at a time, and lets them stop in the middle of a batch."""

    def __init__(self, progress: Progress, layers: int) -> None:
        self._progress = progress
        self._layers = layers
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def for_batch(self, samples: int) -> Callable[[Layer], None]:
        """What a worker calls after each layer of a batch."""

        def layer_done(layer: Layer) -> None:
            if self.stop.is_set():
                raise Stopped
            with self._lock:
                self._progress.advance(samples, layer.name)

        return layer_done


def _model_facts(side: Side, model: Model) -> ModelFacts:
    origin = model.origin
    return ModelFacts(
        role=side.value,
        framework=origin.framework,
        name=origin.name,
        structure_file=_base_name(origin.structure_file),
        weights_file=_base_name(origin.weights_file),
        structure_source=origin.structure_source,
        sha256=dict(sorted(origin.sha256.items())),
        notes=origin.notes,
    )


def _base_name(path: str | None) -> str | None:
    """Reports show no folders: they differ from machine to machine."""
    return None if path is None else PurePath(path).name


def _peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MB (2^20 bytes); None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if platform.system() != "Darwin" else peak / 1024**2

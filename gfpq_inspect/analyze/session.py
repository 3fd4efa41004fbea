"""One comparison from models and samples to a `Result`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect import __version__
from gfpq_inspect.analyze.assemble import Collected, coverage_of, layer_rows
from gfpq_inspect.analyze.batches import (
    Batch,
    Feeder,
    batch_size,
    first_sample,
    run_in_order,
    stacking_holds,
)
from gfpq_inspect.analyze.calibrating import EACH_ITS_OWN, Calibrated, calibration_record, from_file, is_apart
from gfpq_inspect.analyze.calibration import Calibration
from gfpq_inspect.analyze.custom_metrics import CustomMeasurer, CustomScores
from gfpq_inspect.analyze.details import layer_details, with_evidence
from gfpq_inspect.analyze.diagnose import diagnose, gather_evidence
from gfpq_inspect.analyze.dumps.comparison import dump_lanes
from gfpq_inspect.analyze.dumps.table import dump_table
from gfpq_inspect.analyze.engine.choose import engine_for
from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.evidence import data_coefficients, weight_coefficients
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for, second_alone, second_as_it_is
from gfpq_inspect.analyze.points import has_quant_layers, points_of, runs_as_it_is
from gfpq_inspect.analyze.progress import Progress, Silence
from gfpq_inspect.analyze.propagation import OriginVotes, multiply_adds_of_probes, propagation
from gfpq_inspect.analyze.record import Clock, model_facts, versions
from gfpq_inspect.analyze.request import ComparisonRequest, check_request, format_of
from gfpq_inspect.analyze.result import Coefficient, Finding, LayerRow, Result, Run
from gfpq_inspect.analyze.rows import TableRow, table_rows
from gfpq_inspect.analyze.task_meter import TaskMeter, TaskPlan, judgement_with_task
from gfpq_inspect.analyze.verdict import judge_rows, judgement_of, rules_for
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.analyze.workers import Watch, one_thread_a_worker
from gfpq_inspect.models.pair import Pairing, pair_inputs
from gfpq_inspect.models.pair_quantized import pair_models
from gfpq_inspect.quantize import Gfpq

AFFORDABLE_MULTIPLY_ADDS = 200_000_000_000
"""Local errors are measured without being asked for up to this cost: some seconds on two processors."""


def compare_networks(
    request: ComparisonRequest, progress: Progress | None = None, look: Callable[[Case], None] | None = None
) -> Result:
    """Run all lanes of one or two models side by side and measure every layer.

    Args:
        request: What to compare.
        progress: Told how far it is.
        look: Shown everything that the findings are made of, for what a result has no room for; not where the run was
            interrupted.

    Returns:
        The whole analysis. When interrupted while measuring, the analysis of the samples seen so far, marked partial.

    Raises:
        UsageError: Options that make no sense together.
        ModelError: A network that does not run.
        InputError: Samples that do not fit.
        QuantizationError: Weights that cannot be quantized.
        KeyboardInterrupt: Interrupted before a single sample was measured.
    """
    return _Session(request, progress or Silence(), look).run()


@dataclass(frozen=True)
class _Setup:
    """What is made before anything is measured."""

    pairing: Pairing | None
    table: tuple[TableRow, ...]
    experiment: Experiment
    engine: LayeredEngine
    feeder: Feeder
    facts: Facts
    batch: int


class _Session:
    """One run, phase by phase."""

    def __init__(
        self, request: ComparisonRequest, progress: Progress, look: Callable[[Case], None] | None = None
    ) -> None:
        check_request(request)
        self._look = look
        self._request = request
        self._progress = progress
        self._clock = Clock()
        self._custom: CustomScores | None = None
        self._models = {Side.FIRST: request.first}
        if request.second is not None:
            self._models[Side.SECOND] = request.second
        self._format = format_of(request)
        self._pairing = None
        if request.second is not None and request.dump is None:
            self._pairing, self._models[Side.SECOND] = pair_models(request.first, request.second)
        second, quantized = request.second is not None, self._format is not None or self._second_quantizes_itself()
        self._probe_cost = multiply_adds_of_probes(self._models) * request.source.count if quantized else 0
        isolate = self._probe_cost <= AFFORDABLE_MULTIPLY_ADDS if request.isolate is None else request.isolate
        self._isolate = isolate and quantized
        self._quantized = quantized
        self._lanes = lanes_for(second=second, quantized=quantized, isolate=self._isolate)
        self._comparisons = comparisons_for(second=second, quantized=quantized, isolate=self._isolate)
        if self._format is None and quantized:
            self._lanes, self._comparisons = second_alone(self._lanes, self._comparisons)
        if self._second_quantizes_itself() and runs_as_it_is(self._models[Side.SECOND]):
            self._lanes, self._comparisons = second_as_it_is(self._lanes, self._comparisons)
            self._isolate = self._isolate and self._format is not None
        if request.dump is not None:
            self._lanes, self._comparisons = dump_lanes(request.dump.role, quantized=quantized, isolate=self._isolate)
        self._rules = replace(
            rules_for(request.judge, request.threshold, self._comparisons, second=second, quantized=quantized),
            dump=None if request.dump is None else request.dump.role.value,
        )

    def run(self) -> Result:
        request = self._request
        with self._clock.phase("prepare"):
            setup = self._prepare()
        with one_thread_a_worker(request.workers):
            calibrated = self._calibrate(setup)
            collected, partial = self._measure(setup, calibrated.deltas)
        with self._clock.phase("judge"):
            table, experiment = setup.table, setup.experiment
            rows = judge_rows(layer_rows(table, collected, setup.facts, request.source.identities), self._rules)
            names = {(side, value): row.row.key for row in table for side, value in row.row.values.items()}
            coefficients = data_coefficients(experiment, collected.evidence, calibrated, names)
            coefficients += weight_coefficients(self._models, experiment.weights)
            task = collected.task.result(self._rules.comparison.lane) if collected.task is not None else None
            judgement = judgement_with_task(judgement_of(rows, self._rules, partial=partial), task)
            details = self._details(setup, collected)
        findings: tuple[Finding, ...] = ()
        if not partial:  # who interrupts a run does not wait for another pass
            with self._clock.phase("diagnose"), one_thread_a_worker(request.workers):
                case = self._case(setup, rows, coefficients, calibrated.deltas)
                case = replace(case, seen=collected.evidence if is_apart(request) else None)
                findings = diagnose(case, self._progress)
                if self._look is not None:
                    self._look(case)
                details = with_evidence(details, layer_details(case, request.source.identities), case.evidence.samples)
        return Result(
            run=self._record(setup, collected.samples, calibrated),
            comparisons=self._comparisons,
            coverage=coverage_of(rows),
            judgement=judgement,
            layers=tuple(rows),
            coefficients=tuple(coefficients),
            findings=findings,
            timing=self._clock.timing(request.workers) if request.timing else None,
            task=task,
            details=details,
        )

    def _case(
        self, setup: _Setup, rows: list[LayerRow], coefficients: list[Coefficient], deltas: list[Any] | None
    ) -> Case:
        """All that the checks look at; takes another pass over some of the samples."""
        request = self._request
        evidence = gather_evidence(
            setup.engine,
            setup.feeder,
            setup.facts,
            count=request.source.count,
            deltas=deltas,
            workers=request.workers,
        )
        return Case(
            experiment=setup.experiment,
            pairing=setup.pairing,
            table=setup.table,
            rows=rows,
            threshold=request.threshold,
            coefficients=coefficients,
            evidence=evidence,
            source=request.source,
            synthetic=request.source.facts().synthetic,
            input_names=self._input_names(),
            master=request.master,
            snapshots=request.snapshots,
            view=request.view,
            dump=request.dump,
        )

    def _prepare(self) -> _Setup:
        request = self._request
        pairing = self._pairing
        dump = request.dump
        table = table_rows(self._models, pairing) if dump is None else dump_table(dump, request.first)
        experiment = self._experiment(table)
        engine = engine_for(experiment, request.device)
        if request.metrics:
            engine.wrap_measurer(lambda inner: CustomMeasurer(inner, experiment, request.metrics))
            self._custom = CustomScores(experiment)
        feeder = Feeder(request.source, self._models, self._input_names())
        facts = engine.trial(first_sample(feeder).feeds, 1)
        size = self._batch_size(engine, feeder, facts)
        return _Setup(pairing, table, experiment, engine, feeder, facts, size)

    def _input_names(self) -> dict[Side, dict[str, str]]:
        first = self._request.first
        names = {Side.FIRST: {entry.name: entry.name for entry in first.inputs}}
        second = self._request.second
        if second is not None and self._request.dump is not None:
            names[Side.SECOND] = {entry.name: entry.name for entry in second.inputs}
        elif second is not None:
            file = second.origin.structure_file or second.origin.weights_file
            names[Side.SECOND] = pair_inputs(first.inputs, second.inputs, file)
        return names

    def _experiment(self, table: tuple[TableRow, ...]) -> Experiment:
        simulated = self._format
        return Experiment(
            models=self._models,
            lanes=self._lanes,
            comparisons=self._comparisons,
            rows=tuple(row.row for row in table),
            points=tuple(point for side, model in self._models.items() for point in points_of(side, model, simulated)),
            weights=WeightTable(self._models, simulated),
            bits=simulated.bits if isinstance(simulated, Gfpq) else None,
            per_sample=self._request.coefficients == "sample",
            captured=tuple(row.row.key for row in table if row.is_output),
        )

    def _batch_size(self, engine: LayeredEngine, feeder: Feeder, facts: Facts) -> int:
        size = batch_size(facts) if self._request.batch is None else self._request.batch
        share = -(-self._request.source.count // self._request.workers)
        size = max(1, min(size, share))
        return size if size > 1 and stacking_holds(engine, feeder) else 1

    def _calibrate(self, setup: _Setup) -> Calibrated:
        """Coefficients that cover the whole set."""
        request = self._request
        calibration = Calibration(setup.experiment.points)
        if request.coefficients == "sample" or not self._quantized:
            return EACH_ITS_OWN
        if not calibration.points:
            return Calibrated([], [])
        stored = from_file(request, setup.experiment)
        if stored is not None:
            return stored
        source, feeder = request.source, setup.feeder
        if request.calibration is not None:
            source = request.calibration
            # A calibration set of its own holds no tensors of a dump, and needs none: the network alone runs over it.
            models = self._models if request.dump is None else {Side.FIRST: request.first}
            feeder = Feeder(source, models, self._input_names())

        def work(batch: Batch) -> NDArray[np.float64]:
            return calibration.look(setup.engine, batch.feeds, batch.samples)

        with self._clock.phase("calibrate"):
            self._progress.phase("calibrating", source.count)
            for batch, found in run_in_order(feeder.batches(setup.batch), work, request.workers):
                calibration.add(found)
                self._progress.advance(batch.samples, source.identities[batch.first])
        return Calibrated(calibration.result(), calibration.magnitudes)

    def _second_quantizes_itself(self) -> bool:
        return Side.SECOND in self._models and self._models[Side.SECOND].quantizes_itself

    def _measure(self, setup: _Setup, deltas: list[Any] | None) -> tuple[Collected, bool]:
        """Run all lanes over all samples; stops early, with what there is, when interrupted."""
        request, engine = self._request, setup.engine
        collected = Collected.empty(setup.experiment, *self._observers(setup))
        watch = Watch(self._progress)
        if self._probe_cost:
            self._progress.note(self._cost_text())
        self._progress.phase("measuring", request.source.count * engine.layer_count)

        def work(batch: Batch) -> Measurement:
            return engine.measure(batch.feeds, batch.samples, deltas, watch.for_batch(batch.samples))

        with self._clock.phase("measure"):
            try:
                batches = setup.feeder.batches(setup.batch)
                for batch, measurement in run_in_order(batches, work, request.workers, watch.stop):
                    collected.add(batch.first, measurement)
                    if self._custom is not None:
                        self._custom.add(measurement)
            except KeyboardInterrupt:
                if not collected.samples:
                    raise
                return collected, True
        return collected, False

    def _observers(self, setup: _Setup) -> tuple[TaskMeter, OriginVotes | None]:
        request = self._request
        plan = TaskPlan(request.labels, request.task_outputs, request.task_metrics)
        task = TaskMeter(plan, setup.table, setup.facts, request.source.identities)
        return task, self._origin_votes(setup) if self._quantized else None

    def _origin_votes(self, setup: _Setup) -> OriginVotes:
        # Where features of a tuned network moved, an error against the first model's says nothing of where it began.
        judged = self._rules.comparison
        tuned = any(entry.name == "tuned" for entry in self._comparisons)
        name = "tuned" if tuned and judged.kind in ("total", "drift") else judged.name
        column, comparison = next((i, entry) for i, entry in enumerate(self._comparisons) if entry.name == name)
        lanes = (comparison.reference, comparison.lane)
        sides = [setup.experiment.lane(lane).side for lane in lanes]
        return OriginVotes(setup.table, column, self._rules.threshold, setup.facts, sides)

    def _details(self, setup: _Setup, collected: Collected) -> dict[str, Any]:
        details: dict[str, Any] = {}
        if self._isolate:
            split = propagation(setup.table, self._comparisons, collected.pool.sums)
            details["layers"] = {key: {"propagation": parts} for key, parts in split.items()}
        if collected.origins is not None:
            details["origins"] = collected.origins.result(self._comparisons)
        if self._custom is not None:
            details["metrics"] = self._custom.result()
        return details

    def _cost_text(self) -> str:
        cost = f"{self._probe_cost / 1e9:.3g} thousand million multiply-adds"
        if self._isolate:
            return f"Each quantized layer also runs by itself, to tell its own error from what arrived: {cost} more."
        return f"Local errors are left out, they would take {cost} more; --isolate asks for them."

    def _record(self, setup: _Setup, samples: int, calibrated: Calibrated) -> Run:
        request = self._request
        notes = list(setup.pairing.notes) if setup.pairing is not None else []
        notes += request.dump.notes if request.dump is not None else ()
        notes += [
            f"The {side.value} model is quantized at its own Quant layers."
            for side, model in self._models.items()
            if self._format is not None and has_quant_layers(model) and not model.quantizes_itself
        ]
        if self._quantized and not self._isolate:
            notes.append(self._cost_text() if request.isolate is None else "Local errors were not asked for.")
        notes += calibrated.notes
        facts = request.source.facts()
        second = request.second is not None and request.dump is None
        text, calibration_inputs = calibration_record(request, quantized=self._quantized, second=second)
        return Run(
            tool_version=__version__,
            command=request.command,
            models=tuple(model_facts(side, model) for side, model in self._models.items()),
            inputs=replace(facts, sample_count=samples, samples=facts.samples[:samples]),
            bits=None if self._format is None else self._format.bits,
            number_format=None if self._format is None else self._format.name,
            coefficients=request.coefficients,
            calibration=text,
            calibration_inputs=calibration_inputs,
            view=request.view,
            engine=setup.engine.name,
            versions=versions(),
            notes=tuple(notes),
        )

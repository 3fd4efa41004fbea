"""One comparison from models and samples to a `Result`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gfpq_inspect import __version__
from gfpq_inspect.analyze.assemble import Collected, coverage_of, layer_rows
from gfpq_inspect.analyze.batches import Feeder, batch_size, first_sample, stacking_holds
from gfpq_inspect.analyze.calibrating import Calibrated, calibration_record, is_apart, own_points_text
from gfpq_inspect.analyze.channels import ChannelEvidence
from gfpq_inspect.analyze.checkpoint import Checkpoint
from gfpq_inspect.analyze.custom_metrics import CustomMeasurer, CustomScores
from gfpq_inspect.analyze.details import layer_details, with_evidence
from gfpq_inspect.analyze.diagnose import Budget, Looker, budget_for, diagnose, gather_evidence, looker_for
from gfpq_inspect.analyze.dumps.comparison import dump_lanes
from gfpq_inspect.analyze.dumps.table import dump_table
from gfpq_inspect.analyze.engine.choose import engine_for
from gfpq_inspect.analyze.engine.interface import Experiment, Facts
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.evidence import data_coefficients, weight_coefficients
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.interrupts import interrupts_held
from gfpq_inspect.analyze.lane_cache import CacheFolder, LaneCache, lane_cache, why_not
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for, second_alone, second_as_it_is
from gfpq_inspect.analyze.memory import fitting, give_back
from gfpq_inspect.analyze.passes import Passes
from gfpq_inspect.analyze.phases import NO_CAUSES, Causes, Judged, Setup
from gfpq_inspect.analyze.points import has_quant_layers, points_of, runs_as_it_is
from gfpq_inspect.analyze.progress import Progress, Silence
from gfpq_inspect.analyze.propagation import OriginVotes, multiply_adds_of_probes, propagation
from gfpq_inspect.analyze.record import Clock, model_facts, versions
from gfpq_inspect.analyze.request import ComparisonRequest, check_request, format_of
from gfpq_inspect.analyze.result import Coefficient, Comparison, LayerRow, Result, Run
from gfpq_inspect.analyze.rows import TableRow, table_rows
from gfpq_inspect.analyze.run_key import run_key
from gfpq_inspect.analyze.task_meter import TaskMeter, TaskPlan, judgement_with_task
from gfpq_inspect.analyze.verdict import judge_rows, judgement_of, rules_for, stopped_before_causes
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.analyze.workers import one_thread_a_worker
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.pair import pair_inputs
from gfpq_inspect.models.pair_quantized import pair_models
from gfpq_inspect.quantize import Gfpq

READ_AT_ONCE = 16
"""Samples in memory while nothing but their content is looked at."""
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
        with self._clock.phase("prepare"):
            setup = self._prepare()
            passes = self._passes(setup)
            give_back()
        collected = self._collected(setup)
        with one_thread_a_worker(setup.workers):
            with self._clock.phase("calibrate"):
                calibrated = passes.calibrate()
                give_back()
            if self._probe_cost:
                self._progress.note(self._cost_text())
            with self._clock.phase("measure"):
                partial = passes.measure(collected, self._custom, calibrated)
        found, whole = NO_CAUSES, False
        try:
            with self._clock.phase("judge"), interrupts_held():
                judged = self._judged(setup, collected, calibrated, partial=partial)
            if not partial:  # who interrupts a run does not wait for another pass
                with self._clock.phase("diagnose"), one_thread_a_worker(setup.workers):
                    found = self._causes(setup, judged, collected, calibrated, passes.looker)
            whole = True
        except KeyboardInterrupt:
            whole = partial
        if not whole:
            judged = replace(judged, judgement=stopped_before_causes(judged.judgement))
        details = judged.details
        if found.evidence_samples:
            details = with_evidence(details, found.layers, found.evidence_samples, self._budget(setup).share)
        return Result(
            run=self._record(setup, collected.samples, calibrated, passes),
            comparisons=self._comparisons,
            coverage=coverage_of(judged.rows),
            judgement=judged.judgement,
            layers=tuple(judged.rows),
            coefficients=tuple(judged.coefficients),
            findings=found.findings,
            timing=self._clock.timing(self._request.workers) if self._request.timing else None,
            task=judged.task,
            details=details,
        )

    def _judged(self, setup: Setup, collected: Collected, calibrated: Calibrated, *, partial: bool) -> Judged:
        """From sums to scores, verdicts and coefficients."""
        table, experiment, identities = setup.table, setup.experiment, self._request.source.identities
        rows = judge_rows(layer_rows(table, collected, setup.facts, identities), self._rules)
        names = {(side, value): row.row.key for row in table for side, value in row.row.values.items()}
        coefficients = data_coefficients(experiment, collected.evidence, calibrated, names)
        coefficients += weight_coefficients(self._models, experiment.weights)
        task = setup.task.result(self._rules.comparison.lane)
        judgement = judgement_with_task(judgement_of(rows, self._rules, partial=partial), task)
        return Judged(rows, coefficients, judgement, task, self._details(setup, collected))

    def _causes(
        self, setup: Setup, judged: Judged, collected: Collected, calibrated: Calibrated, looker: Looker | None
    ) -> Causes:
        """The evidence of some of the samples, from another pass where there is none yet, and what all checks say."""
        evidence = None if looker is None else looker.result()
        evidence = self._evidence(setup, calibrated.deltas) if evidence is None else evidence
        case = self._case(setup, judged.rows, judged.coefficients, evidence)
        case = replace(case, seen=collected.evidence if is_apart(self._request) else None)
        findings = diagnose(case, self._progress)
        if self._look is not None:
            self._look(case)
        return Causes(findings, layer_details(case, self._request.source.identities), case.evidence.samples)

    def _case(
        self, setup: Setup, rows: list[LayerRow], coefficients: list[Coefficient], evidence: ChannelEvidence
    ) -> Case:
        """All that the checks look at."""
        request = self._request
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

    def _evidence(self, setup: Setup, deltas: list[Any] | None) -> ChannelEvidence:
        """Another pass over some of the samples."""
        engine, request = setup.engine, self._request
        if setup.engine.experiment is not setup.experiment:  # lanes that the cache spared show their channels here
            engine = engine_for(setup.experiment, request.device, request.engine)
        return gather_evidence(engine, setup.feeder, self._budget(setup), deltas=deltas, workers=setup.workers)

    def _budget(self, setup: Setup) -> Budget:
        """Who looks at the histograms themselves wants them whole."""
        count = self._request.source.count
        return budget_for(setup.experiment, setup.facts, count, every_tile=self._look is not None)

    def _prepare(self) -> Setup:
        request = self._request
        pairing = self._pairing
        dump = request.dump
        table = table_rows(self._models, pairing) if dump is None else dump_table(dump, request.first)
        experiment = self._experiment(table)
        feeder = self._feeder(request.source)
        cache = self._lane_cache(experiment, feeder)
        engine = engine_for(experiment if cache is None else cache.reduced(), request.device, request.engine)
        if request.metrics:
            engine.wrap_measurer(lambda inner: CustomMeasurer(inner, experiment, request.metrics))
            self._custom = CustomScores(experiment)
        facts = engine.trial(first_sample(feeder).feeds, 1)
        task = self._task_meter(table, facts)
        size, workers = self._batch_size(engine, feeder, facts)
        return Setup(pairing, table, experiment, engine, cache, feeder, facts, task, size, workers)

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

    def _batch_size(self, engine: LayeredEngine, feeder: Feeder, facts: Facts) -> tuple[int, int]:
        """Samples a batch, and workers; no figure depends on either."""
        request = self._request
        size, workers = batch_size(facts) if request.batch is None else request.batch, request.workers
        if request.max_memory is not None:
            size, workers = fitting(
                request.max_memory, engine.experiment, facts, count=request.source.count, size=size, workers=workers
            )
        size = max(1, min(size, -(-request.source.count // workers)))
        return size if size > 1 and stacking_holds(engine, feeder) else 1, workers

    def _second_quantizes_itself(self) -> bool:
        return Side.SECOND in self._models and self._models[Side.SECOND].quantizes_itself

    def _passes(self, setup: Setup) -> Passes:
        request = self._request
        checkpoint = None
        if request.checkpoint is not None:
            key = run_key(request, self._models, self._lanes)
            if setup.cache is not None and setup.cache.hit:
                key["the cache"] = "used"  # what a run with it measures lacks what it knows
            checkpoint = Checkpoint(request.checkpoint, key, resume=request.resume, tell=self._tell)
        return Passes(
            request=request,
            experiment=setup.experiment,
            engine=setup.engine,
            feeder=setup.feeder,
            make_feeder=lambda: self._feeder(request.calibration or request.source),
            batch=setup.batch,
            workers=setup.workers,
            progress=self._progress,
            checkpoint=checkpoint,
            cache=setup.cache,
            make_engine=lambda part: engine_for(part, request.device, request.engine),
            looker=looker_for(setup.engine, setup.experiment, setup.facts, self._budget(setup)),
        )

    def _feeder(self, source: SampleSource) -> Feeder:
        # A calibration set of its own holds no tensors of a dump, and needs none: the network alone runs over it.
        alone = self._request.dump is not None and source is not self._request.source
        models = {Side.FIRST: self._request.first} if alone else self._models
        digests = self._request.checkpoint is not None or self._request.cache is not None
        return Feeder(source, models, self._input_names(), digests=digests)

    def _tell(self, text: str) -> None:
        """Something went wrong that the run does not depend on."""
        (self._request.warn or self._progress.note)(text)

    def _lane_cache(self, experiment: Experiment, feeder: Feeder) -> LaneCache | None:
        """What earlier runs learnt of the float network; the content of the samples is read for its key."""
        request = self._request
        if request.cache is None or not self._quantized:
            return None
        reason = why_not(request)
        if reason:
            self._tell(f"The cache is not used: {reason}.")
            return None
        folder = CacheFolder(request.cache, self._tell)
        digests = {"measured": self._content(request.source, feeder)}
        digests["calibration"] = digests["measured"]
        if request.calibration is not None:
            digests["calibration"] = self._content(request.calibration, self._feeder(request.calibration))
        return lane_cache(request, experiment, folder, digests, self._votes_comparison().name)

    def _content(self, source: SampleSource, feeder: Feeder) -> str:
        """Digest of all samples."""
        self._progress.phase("reading", source.count)
        digest = ""
        for batch in feeder.batches(READ_AT_ONCE):
            digest = batch.digest
            self._progress.advance(batch.samples, source.identities[batch.first])
        return digest

    def _collected(self, setup: Setup) -> Collected:
        """Nothing seen yet."""
        return Collected.empty(setup.experiment, setup.task, self._origin_votes(setup) if self._quantized else None)

    def _task_meter(self, table: tuple[TableRow, ...], facts: Facts) -> TaskMeter:
        request = self._request
        plan = TaskPlan(request.labels, request.task_outputs, request.task_metrics)
        return TaskMeter(plan, table, facts, request.source.identities)

    def _votes_comparison(self) -> Comparison:
        # Where features of a tuned network moved, an error against the first model's says nothing of where it began.
        judged = self._rules.comparison
        tuned = any(entry.name == "tuned" for entry in self._comparisons)
        name = "tuned" if tuned and judged.kind in ("total", "drift") else judged.name
        return next(entry for entry in self._comparisons if entry.name == name)

    def _origin_votes(self, setup: Setup) -> OriginVotes:
        comparison = self._votes_comparison()
        lanes = (comparison.reference, comparison.lane)
        sides = [setup.experiment.lane(lane).side for lane in lanes]
        column = self._comparisons.index(comparison)
        return OriginVotes(setup.table, column, self._rules.threshold, setup.facts, sides)

    def _details(self, setup: Setup, collected: Collected) -> dict[str, Any]:
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

    def _record(self, setup: Setup, samples: int, calibrated: Calibrated, passes: Passes) -> Run:
        request = self._request
        notes = list(setup.pairing.notes) if setup.pairing is not None else []
        notes += request.dump.notes if request.dump is not None else ()
        notes += [
            own_points_text(setup.experiment, side, calibrated)
            for side, model in self._models.items()
            if self._format is not None and has_quant_layers(model) and not model.quantizes_itself
        ]
        if self._quantized and not self._isolate:
            notes.append(self._cost_text() if request.isolate is None else "Local errors were not asked for.")
        notes += calibrated.notes
        notes += passes.engine_notes
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
            engine=passes.engine_name,
            versions=versions(),
            notes=tuple(notes),
        )

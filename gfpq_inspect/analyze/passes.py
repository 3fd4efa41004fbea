"""The passes over all samples: calibration, then measurement. Each goes on where a checkpoint left it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.assemble import Collected
from gfpq_inspect.analyze.batches import Batch, Feeder, run_in_order
from gfpq_inspect.analyze.calibrating import EACH_ITS_OWN, Calibrated, from_file
from gfpq_inspect.analyze.calibration import Calibration
from gfpq_inspect.analyze.checkpoint import Checkpoint, State
from gfpq_inspect.analyze.collected_state import collected_state, restore_collected
from gfpq_inspect.analyze.custom_metrics import CustomScores
from gfpq_inspect.analyze.diagnose import Looker
from gfpq_inspect.analyze.engine.interface import Experiment, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.interrupts import interrupts_held
from gfpq_inspect.analyze.lane_cache import LaneCache
from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.workers import Watch
from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.source import SampleSource


@dataclass
class Passes:
    """What both passes need, and what of them is worth keeping.

    Attributes:
        request: What is compared.
        experiment: What is run.
        engine: What runs it.
        feeder: The samples that are measured.
        make_feeder: Feeds the calibration set, where it is another.
        batch: Samples a batch.
        workers: Batches in flight.
        progress: Told how far it is.
        checkpoint: Where to keep what is known so far, or None.
        cache: What earlier runs learnt of the float network, or None.
        make_engine: Makes an engine for a part of the experiment.
        looker: Collects the evidence that the engine takes on the way, or None.
    """

    request: ComparisonRequest
    experiment: Experiment
    engine: LayeredEngine
    feeder: Feeder
    make_feeder: Callable[[], Feeder]
    batch: int
    workers: int
    progress: Progress
    checkpoint: Checkpoint | None
    cache: LaneCache | None
    make_engine: Callable[[Experiment], LayeredEngine]
    looker: Looker | None = None
    _state: State = field(init=False)
    _ran: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Go on from the checkpoint, where there is one."""
        self._state = (self.checkpoint.state if self.checkpoint is not None else None) or {}

    def calibrate(self) -> Calibrated:
        """Coefficients that cover the whole set.

        Raises:
            InputError: Samples that do not fit, or others than those of the run to be resumed.
            KeyboardInterrupt: Interrupted; the checkpoint holds what is known.
        """
        request = self.request
        calibration = Calibration(self.experiment.points)
        if request.coefficients == "sample" or not self.experiment.quantizes:
            return EACH_ITS_OWN
        if not calibration.points:
            return Calibrated([], [])
        stored = from_file(request, self.experiment)
        if stored is not None:
            return stored
        self._run_calibration(calibration)
        return Calibrated(calibration.result(), calibration.magnitudes)

    def _run_calibration(self, calibration: Calibration) -> None:
        own = self.request.calibration
        source, feeder = (self.request.source, self.feeder) if own is None else (own, self.make_feeder())
        known = self._state.get("calibration") or {"samples": 0, "digest": ""}
        if self.cache is not None and not known["samples"]:
            self._calibrate_unknown(calibration, self.cache, feeder, source)
            return
        start = int(known["samples"])
        if start:
            calibration.restore(known["ranges"])
        if start == source.count and own is None:
            return  # the pass that measures reads the same samples and compares the digest

        def work(batch: Batch) -> NDArray[np.float64]:
            return calibration.look(self.engine, batch.feeds, batch.samples)

        batches = feeder.batches(self.batch, start, known["digest"])
        try:
            self.progress.phase("calibrating", source.count - start)
            for batch, found in run_in_order(batches, work, self.workers):
                with interrupts_held():
                    calibration.add(found)
                    done, digest = batch.first + batch.samples, batch.digest
                    # The arrays of the state are never changed in place, so that it may be written later.
                    self._keep(calibration={"samples": done, "digest": digest, "ranges": calibration.state()})
                self.progress.advance(batch.samples, source.identities[batch.first])
        except KeyboardInterrupt:
            self.save()
            raise

    def _calibrate_unknown(
        self, calibration: Calibration, cache: LaneCache, feeder: Feeder, source: SampleSource
    ) -> None:
        """Calibrate the models that no earlier run calibrated on these samples."""
        known = cache.known_calibration()
        ranges = calibration.state()
        for side, entry in known.items():
            for name, array in ranges.items():
                array[cache.points_of(side)] = entry[name]
        unknown = [side for side in self.experiment.models if side not in known and cache.points_of(side)]
        if unknown:
            alone = len(unknown) < len(self.experiment.models)
            experiment = cache.alone(unknown[0]) if alone else self.experiment
            engine = self.make_engine(experiment) if alone else self.engine
            part = Calibration(experiment.points)
            self.progress.phase("calibrating", source.count)

            def work(batch: Batch) -> NDArray[np.float64]:
                return part.look(engine, batch.feeds, batch.samples)

            for batch, found in run_in_order(feeder.batches(self.batch), work, self.workers):
                part.add(found)
                self.progress.advance(batch.samples, source.identities[batch.first])
            places = cache.points_of(unknown[0]) if alone else list(range(len(experiment.points)))
            for name, array in part.state().items():
                ranges[name][places] = array
        calibration.restore(ranges)
        cache.keep_calibration(calibration, known)
        self._keep(calibration={"samples": source.count, "digest": cache.digests["calibration"], "ranges": ranges})

    def measure(self, collected: Collected, custom: CustomScores | None, calibrated: Calibrated) -> bool:
        """Run all lanes over all samples.

        Args:
            collected: Takes what is measured.
            custom: Takes what metrics of the caller's own give, or None.
            calibrated: Coefficients.

        Returns:
            Whether it was interrupted; `collected` then holds the samples seen so far.

        Raises:
            InputError: Samples that do not fit, or others than those of the run to be resumed.
            KeyboardInterrupt: Interrupted before a single sample was measured.
        """
        known = self._state.get("measured")
        if known:
            restore_collected(collected, custom, known["collected"])
        if self.cache is not None and self.cache.complete:
            self.cache.fill(collected, self.request.source.count)
            self._state = {**self._state, **self.cache.engine_facts}
            return False
        start, digest = collected.samples, known["digest"] if known else ""
        watch, engine, looker = Watch(self.progress), self.engine, self.looker

        def work(batch: Batch) -> Measurement:
            if looker is not None:
                return looker.measure(batch, calibrated.deltas, watch.for_batch(batch.samples))
            return engine.measure(batch.feeds, batch.samples, calibrated.deltas, watch.for_batch(batch.samples))

        try:
            self.progress.phase("measuring", (self.request.source.count - start) * engine.layer_count)
            batches = self.feeder.batches(self.batch, start, digest)
            for batch, measurement in run_in_order(batches, work, self.workers, watch.stop):
                with interrupts_held():
                    found = measurement if self.cache is None else self.cache.widened(measurement)
                    collected.add(batch.first, found)
                    if looker is not None:
                        looker.add(batch, measurement)
                    if custom is not None:
                        custom.add(measurement)
                    digest, self._ran = batch.digest, True
                    self._offer_measured(collected, custom, digest)
        except KeyboardInterrupt:
            if not collected.samples:
                self.save()
                raise
            self._keep_measured(collected, custom, digest)
            return True
        self._check_same(digest)
        self._keep_measured(collected, custom, digest)
        if self.cache is not None:
            self.cache.fill(collected, collected.samples)
            self.cache.keep_lanes(collected, self.engine_name, self.engine_notes)
        return False

    @property
    def engine_name(self) -> str:
        """What ran: where nothing was left to run, what ran before."""
        return str(self._state.get("engine", self.engine.name))

    @property
    def engine_notes(self) -> tuple[str, ...]:
        """What a reader should know of what ran."""
        return tuple(self._state.get("engine_notes", self.engine.notes))

    def save(self) -> None:
        """Write what is known now."""
        if self.checkpoint is not None:
            with interrupts_held():
                self.checkpoint.save(lambda: self._state)

    def _keep(self, **parts: Any) -> None:
        """Remember, and write from time to time."""
        self._state = {**self._state, **parts}
        if self.checkpoint is not None:
            self.checkpoint.offer(lambda: self._state)

    def _with_measured(self, collected: Collected, custom: CustomScores | None, digest: str) -> State:
        measured = {"digest": digest, "collected": collected_state(collected, custom)}
        facts = {"engine": self.engine_name, "engine_notes": list(self.engine_notes)}
        if self._ran:
            facts = {"engine": self.engine.name, "engine_notes": list(self.engine.notes)}
        self._state = {**self._state, "measured": measured, **facts}
        return self._state

    def _offer_measured(self, collected: Collected, custom: CustomScores | None, digest: str) -> None:
        if self.checkpoint is not None:
            self.checkpoint.offer(lambda: self._with_measured(collected, custom, digest))

    def _keep_measured(self, collected: Collected, custom: CustomScores | None, digest: str) -> None:
        if self.checkpoint is not None:
            with interrupts_held():
                self.checkpoint.save(lambda: self._with_measured(collected, custom, digest))

    def _check_same(self, digest: str) -> None:
        """A source must give the same samples in both passes; those of a resumed run were read at other times."""
        known = self._state.get("calibration")
        if known and digest and self.request.calibration is None and known["digest"] != digest:
            raise InputError("the samples have changed since the calibration; start the run anew.")

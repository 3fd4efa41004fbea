"""The merged engine: all lanes of one or two models in one graph; what it cannot take the layered engine runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Feeds, LayerDone, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine, Tensors
from gfpq_inspect.analyze.engine.merged.graph import Graph
from gfpq_inspect.analyze.engine.merged.looks import EvidencePlan, LookingWeaver, SampleLooks
from gfpq_inspect.analyze.engine.merged.operators import operators_refused
from gfpq_inspect.analyze.engine.merged.part import Crossing, PartWeaver
from gfpq_inspect.analyze.engine.merged.parted import PartedRun, Split, add_sample, after, parted_notes, split_of
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.analyze.engine.merged.segments import Segment
from gfpq_inspect.analyze.engine.merged.shared import Shared, shared_of
from gfpq_inspect.analyze.engine.merged.trust import first_difference
from gfpq_inspect.analyze.engine.merged.weave import Weaver
from gfpq_inspect.analyze.engine.merged.weights import LaneWeights
from gfpq_inspect.analyze.engine.merged.woven import Ground
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.engine.rows import Measurer
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.engine.tensors import aligned, sample_of
from gfpq_inspect.analyze.lanes import Lane, reference_lane
from gfpq_inspect.errors import ModelError

Outcome = TypeVar("Outcome")


class MergedEngine(LayeredEngine):
    """See the module; the methods are those of `interface.Engine`.

    Shapes come from a trial, which the layered engine runs; the graph is made before the first batch.

    Args:
        experiment: What to run.
        blocked: Whether channels may be kept in blocks.
        merge: Whether lanes are merged at all; without, this is the layered engine, with the same kernels.
        stacked: Whether the graph takes a batch at once instead of one sample after the other: samples of small
            networks take less time than a run's overhead. The layered engine takes what cannot be stacked.

    Raises:
        ModelError: A layer that ONNX Runtime refuses.
    """

    def __init__(
        self, experiment: Experiment, *, blocked: bool = True, merge: bool = True, stacked: bool = False
    ) -> None:
        self._merge = merge
        self._stacked = stacked
        self._stack: dict[str, int] = {}
        self._look_stride: int | None = None
        self._own_reason = None if merge else "it was asked for"
        shared = shared_of(experiment, blocked=blocked)
        try:
            super().__init__(experiment, blocked=shared.blocked())
        except ModelError:
            plain = "ONNX Runtime does not run an optimised layer by itself"
            shared = replace(shared_of(experiment, blocked=False), plain=plain)
            super().__init__(experiment)
        self._checked = not self._blocked
        self._take(shared)

    def _take(self, shared: Shared) -> None:
        self._shared = shared
        self._lock = threading.Lock()
        self._plan_of_looks: EvidencePlan | None = None
        self._facts: Facts | None = None
        self._dtypes: dict[Value, np.dtype[Any] | None] = {}
        self._graphs: dict[str, Graph] = {}
        self._refusal: str | None = self._own_reason or shared.refusal or operators_refused()
        self._split = split_of(self, shared.refused, {})
        if self._stacked and self._refusal is None:
            self._refusal = self._unstackable()

    def _unstackable(self) -> str | None:
        """Why samples cannot be stacked in one graph, or None."""
        if not self._split.is_whole:
            return "some layers run by themselves, and the network is too small for a graph a sample"
        for steps in self._steps.values():
            for step in steps:
                if not step.batch_safe and not step.constant:
                    return f"the layer '{step.layer.name}' takes samples one at a time"
        return None

    @property
    def name(self) -> str:  # type: ignore[override]  # a constant there, a finding here
        """What ran, and why not all of it in one graph."""
        if self._refusal is not None:
            return LayeredEngine.name
        if not self._split.is_whole:
            return "merged in parts (ONNX Runtime, all lanes in one graph, some layers by themselves)"
        return "merged (ONNX Runtime, all lanes in one graph)"

    @property
    def is_merged(self) -> bool:
        """Whether lanes run in one graph, as far as is known by now."""
        return self._refusal is None

    @property
    def is_plain(self) -> bool:
        """Whether no channels are kept in blocks."""
        return not self._blocked

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run should know."""
        if not self._merge:
            return ()
        if self._refusal is not None:
            return (f"All layers ran in the layered engine: {self._refusal}.",)
        notes = parted_notes(self.experiment, self._split.refused, self._split.apart)
        if self._shared.plain is not None:
            notes += (f"The lanes ran in one graph, but without blocked channels: {self._shared.plain}.",)
        return notes

    def with_fewer_lanes(self, lanes: Sequence[Lane], make_measurer: Callable[[Experiment], Measurer]) -> LayeredEngine:
        """See `LayeredEngine.with_fewer_lanes`; the graphs make room, a later batch would make them anew."""
        with self._lock:
            self._graphs.clear()
            self._split.graphs.clear()
        return super().with_fewer_lanes(lanes, make_measurer)

    def wrap_measurer(self, wrap: Callable[[Measurer], Measurer]) -> None:
        """Metrics of the caller's own see whole tensors, which only the layered engine has."""
        super().wrap_measurer(wrap)
        self._own_reason = self._own_reason or "metrics of the caller's own look at whole tensors"
        self._refusal = self._own_reason

    # ---------------------------------------------------------------------------------------------------------- trials

    def trial(self, feeds: Feeds, samples: int, *, digests: bool = False) -> Facts:
        """See `interface.Engine.trial`; remembers what a single sample showed."""
        if not self._checked:
            self._checked = True
            problem = self._blocked_problem(feeds, samples)
            if problem is not None:
                super().__init__(self.experiment, self._row_measurer)
                self._take(replace(shared_of(self.experiment, blocked=False), plain=problem))
                self._dtypes.clear()
        facts = super().trial(feeds, samples, digests=digests)
        if samples == 1 and self._facts is None:
            self._facts = facts
        return facts

    def _blocked_problem(self, feeds: Feeds, samples: int) -> str | None:
        """Why the blocked layers cannot be trusted, or None: each is held against the model's own nodes."""
        plain = LayeredEngine(self.experiment)
        try:
            return first_difference(self.run_layers(feeds, samples), plain)
        except Exception as error:  # whatever the blocked layers cannot run, the model's own nodes may
            return " ".join(str(error).split())[:200]

    def _run_float(self, step: Step, live: Tensors, samples: int) -> None:
        super()._run_float(step, live, samples)
        for name in step.outputs:
            array = live[step.side, name]
            self._dtypes[step.side, name] = array.dtype if isinstance(array, np.ndarray) else None

    # --------------------------------------------------------------------------------------------------------- batches

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """See `interface.Engine.calibrate`."""

        def work(split: Split) -> NDArray[np.float64]:
            if self._stacked:
                return self._graph("calibration", feeds, samples).magnitudes(_aligned(feeds))
            if split.is_whole:
                rows = [self._graph("calibration", part).magnitudes(part) for part in _parts(feeds, samples)]
            else:
                rows = [self._parted(split, part).magnitudes(part) for part in _parts(feeds, samples)]
            return np.concatenate(rows)

        done = None if self._is_odd("calibration", samples) else self._attempt(work)
        return super().calibrate(feeds, samples) if done is None else done

    def _is_odd(self, kind: str, samples: int) -> bool:
        """Whether a batch is not as large as those of the graph: the layered engine takes it, with the same bits."""
        with self._lock:
            return self._stacked and samples != self._stack.setdefault(kind, samples)

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """See `interface.Engine.measure`."""
        return self.measure_and_look(feeds, samples, deltas, layer_done)

    def look_at(self, stride: int) -> None:
        """Make taps take evidence of whole tensors too, where `measure_and_look` asks for it.

        Args:
            stride: Tiles of which histograms look at one.
        """
        self._look_stride = stride

    def measure_and_look(
        self,
        feeds: Feeds,
        samples: int,
        deltas: Sequence[Any] | None,
        layer_done: LayerDone | None = None,
        looked_at: Collection[int] = (),
    ) -> Measurement:
        """As `measure`, with the evidence of some of the samples, where all lanes run in one graph.

        Args:
            feeds: The batch.
            samples: Samples in it.
            deltas: As in `measure`.
            layer_done: As in `measure`.
            looked_at: Places of those samples in the batch.
        """

        def work(split: Split) -> Measurement:
            measurement = self._row_measurer.empty(samples)
            if self._stacked:
                if odd:
                    measurement = LayeredEngine.measure(self, feeds, samples, deltas)
                else:
                    self._graph("measurement", feeds, samples).measure(_aligned(feeds), deltas, measurement, 0)
                self._look(feeds, samples, deltas, measurement, looked_at)
                return measurement
            for index, part in enumerate(_parts(feeds, samples)):
                if split.is_whole:
                    graph = self._graph("measurement", part)
                    looks = self._looks() if index in looked_at else None
                    graph.measure(part, deltas, measurement, index, looks=looks)
                    if looks is not None:
                        measurement.looks.append((index, looks))
                else:
                    add_sample(measurement, self._parted(split, part).measure(part, deltas), index)
            return measurement

        odd = self._is_odd("measurement", samples)
        done = self._attempt(work)
        if done is None:
            return LayeredEngine.measure(self, feeds, samples, deltas, layer_done)
        if layer_done is not None:
            for action in self._plan:
                if action.step is not None:
                    layer_done(action.step.layer)
        return done

    def _look(
        self,
        feeds: Feeds,
        samples: int,
        deltas: Sequence[Any] | None,
        measurement: Measurement,
        looked_at: Collection[int],
    ) -> None:
        """Run some samples of a stacked batch again, each by itself, for the evidence of whole tensors."""
        if self._look_stride is None or not looked_at:
            return
        parts = _parts(feeds, samples)
        for index in sorted(looked_at):
            graph = self._graph("looks", parts[index], 1)
            looks = self._looks()
            if looks is not None:
                graph.measure(parts[index], deltas, self._row_measurer.empty(1), 0, looks=looks)
                measurement.looks.append((index, looks))

    def _looks(self) -> SampleLooks | None:
        plan = self._plan_of_looks
        if self._look_stride is None or plan is None or not plan.complete:
            return None
        return SampleLooks(plan, len(self.experiment.points), self._look_stride)

    def _attempt(self, work: Callable[[Split], Outcome]) -> Outcome | None:
        """Do it in graphs, taking out what they cannot hold; None where the layered engine does all from then on."""
        while self._refusal is None:
            split = self._split
            try:
                return work(split)
            except Exception as error:  # the layered engine has the last word on what does not run
                self._make_way(split, error)
        return None

    def _make_way(self, split: Split, error: Exception) -> None:
        with self._lock:
            if split is not self._split:
                return  # another thread has found it out
            found = None if self._stacked else after(self, split, error)
            if found is None:
                self._refusal = " ".join(str(error).split())[:200]
            else:
                self._split = found
            self._graphs.clear()

    def _parted(self, split: Split, feeds: Feeds) -> PartedRun:
        if self._facts is None:
            self.trial(feeds, 1)
        with self._lock:
            self._dtypes.update(
                ((side, name), array.dtype) for side, arrays in feeds.items() for name, array in arrays.items()
            )
        return PartedRun(self, split, self._woven_part, self._lock)

    def _woven_part(self, segment: Segment, crossing: Crossing, lanes: Sequence[Lane], calibration: bool) -> Graph:
        ground, weights = self._ground(self._dtypes)
        woven = PartWeaver(ground, lanes, weights, segment=segment, crossing=crossing).part(calibration=calibration)
        return Graph(woven, self._shared.bases, {}, len(self.experiment.points), 1)

    def _graph(self, kind: str, feeds: Feeds, samples: int = 1) -> Graph:
        with self._lock:
            if self._refusal is not None:
                raise NotMerged(self._refusal)
            if kind not in self._graphs:
                if self._facts is None:
                    self.trial(_parts(feeds, samples)[0], 1)
                self._graphs[kind] = self._woven(kind, feeds, samples)
            return self._graphs[kind]

    def _woven(self, kind: str, feeds: Feeds, samples: int) -> Graph:
        experiment, bases = self.experiment, self._shared.bases
        dtypes = dict(self._dtypes)
        inputs = {}
        for side, arrays in feeds.items():
            for value, array in arrays.items():
                dtypes[side, value] = array.dtype
                inputs[side, value] = (array.dtype, array.shape)
        ground, weights = self._ground(dtypes, samples)
        if kind == "calibration":
            lanes = [reference_lane(side) for side in experiment.models]
            woven = Weaver(ground, lanes, weights).calibration(self._calibration_plan)
        elif self._look_stride is not None and samples == 1:
            looking = LookingWeaver(ground, experiment.lanes, weights)
            woven = looking.measurement(self._plan)
            self._plan_of_looks = looking.plan
        else:
            woven = Weaver(ground, experiment.lanes, weights).measurement(self._plan)
            if not self._stacked:
                self._plan_of_looks = None
        return Graph(woven, bases, inputs, len(experiment.points), samples)

    def _ground(self, dtypes: dict[Value, np.dtype[Any] | None], samples: int = 1) -> tuple[Ground, LaneWeights]:
        assert self._facts is not None
        bases = self._shared.bases
        ground = Ground(self.experiment, bases, self._facts, dtypes, self._constants, samples)
        return ground, LaneWeights(bases, self._shared.placed)


def _aligned(feeds: Feeds) -> Feeds:
    return {
        side: {name: aligned(np.ascontiguousarray(array)) for name, array in arrays.items()}
        for side, arrays in feeds.items()
    }


def _parts(feeds: Feeds, samples: int) -> list[Feeds]:
    """One sample each."""
    return [
        {
            side: {
                name: aligned(np.ascontiguousarray(sample_of(array, index, samples))) for name, array in arrays.items()
            }
            for side, arrays in feeds.items()
        }
        for index in range(samples)
    ]

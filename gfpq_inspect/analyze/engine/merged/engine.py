"""The merged engine: all lanes of one or two models in one graph; what it cannot take the layered engine runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Feeds, LayerDone, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine, Tensors
from gfpq_inspect.analyze.engine.merged.graph import Graph, operators_refused
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.analyze.engine.merged.shared import Shared
from gfpq_inspect.analyze.engine.merged.weave import Ground, Weaver
from gfpq_inspect.analyze.engine.merged.weights import LaneWeights
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.engine.rows import Measurer
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.engine.tensors import sample_of
from gfpq_inspect.analyze.lanes import reference_lane


class MergedEngine(LayeredEngine):
    """See the module; the methods are those of `interface.Engine`.

    Shapes come from a trial, which the layered engine runs; the graph is made before the first batch.

    Args:
        experiment: What to run.
        shared: What both engines compute with.
    """

    def __init__(self, experiment: Experiment, shared: Shared) -> None:
        super().__init__(experiment, blocked=shared.blocked())
        self._shared = shared
        self._lock = threading.Lock()
        self._facts: Facts | None = None
        self._dtypes: dict[Value, np.dtype[Any] | None] = {}
        self._graphs: dict[str, Graph] = {}
        self._refusal = shared.refusal or operators_refused()

    @property
    def name(self) -> str:  # type: ignore[override]  # a constant there, a finding here
        """What ran, and why not all of it in one graph."""
        if self._refusal is not None:
            return LayeredEngine.name
        return "merged (ONNX Runtime, all lanes in one graph)"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run should know."""
        if self._refusal is not None:
            return (f"All layers ran in the layered engine: {self._refusal}.",)
        if self._shared.plain is not None:
            return (f"The lanes ran in one graph, but without blocked channels: {self._shared.plain}.",)
        return ()

    def wrap_measurer(self, wrap: Callable[[Measurer], Measurer]) -> None:
        """Metrics of the caller's own see whole tensors, which only the layered engine has."""
        super().wrap_measurer(wrap)
        self._refusal = self._refusal or "metrics of the caller's own look at whole tensors"

    # ---------------------------------------------------------------------------------------------------------- trials

    def trial(self, feeds: Feeds, samples: int, *, digests: bool = False) -> Facts:
        """See `interface.Engine.trial`; remembers what a single sample showed."""
        facts = super().trial(feeds, samples, digests=digests)
        if samples == 1 and self._facts is None:
            self._facts = facts
        return facts

    def _run_float(self, step: Step, live: Tensors, samples: int) -> None:
        super()._run_float(step, live, samples)
        for name in step.outputs:
            array = live[step.side, name]
            self._dtypes[step.side, name] = array.dtype if isinstance(array, np.ndarray) else None

    # --------------------------------------------------------------------------------------------------------- batches

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """See `interface.Engine.calibrate`."""

        def work() -> NDArray[np.float64]:
            rows = [self._graph("calibration", part).magnitudes(part) for part in _parts(feeds, samples)]
            return np.concatenate(rows)

        return self._attempt(work, lambda: super(MergedEngine, self).calibrate(feeds, samples))

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """See `interface.Engine.measure`."""

        def work() -> Measurement:
            measurement = self._row_measurer.empty(samples)
            for index, part in enumerate(_parts(feeds, samples)):
                self._graph("measurement", part).measure(part, deltas, measurement, index)
            return measurement

        done = self._attempt(work, lambda: None)
        if done is None:
            return super().measure(feeds, samples, deltas, layer_done)
        if layer_done is not None:
            for action in self._plan:
                if action.step is not None:
                    layer_done(action.step.layer)
        return done

    def _attempt(self, work: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Do it in one graph; whatever stands in the way, the layered engine does it, from then on."""
        if self._refusal is None:
            try:
                return work()
            except NotMerged as error:
                self._refusal = str(error)
            except Exception as error:  # the layered engine has the last word on what does not run
                self._refusal = " ".join(str(error).split())[:200]
        return otherwise()

    def _graph(self, kind: str, feeds: Feeds) -> Graph:
        with self._lock:
            if self._refusal is not None:
                raise NotMerged(self._refusal)
            if kind not in self._graphs:
                if self._facts is None:
                    self.trial(feeds, 1)
                self._graphs[kind] = self._woven(kind, feeds)
            return self._graphs[kind]

    def _woven(self, kind: str, feeds: Feeds) -> Graph:
        assert self._facts is not None
        experiment, bases = self.experiment, self._shared.bases
        dtypes = dict(self._dtypes)
        inputs = {}
        for side, arrays in feeds.items():
            for value, array in arrays.items():
                dtypes[side, value] = array.dtype
                inputs[side, value] = (array.dtype, array.shape)
        ground = Ground(experiment, bases, self._facts, dtypes, self._constants, 1)
        weights = LaneWeights(bases, self._shared.placed)
        if kind == "measurement":
            woven = Weaver(ground, experiment.lanes, weights).measurement(self._plan)
        else:
            lanes = [reference_lane(side) for side in experiment.models]
            woven = Weaver(ground, lanes, weights).calibration(self._calibration_plan)
        return Graph(woven, bases, inputs, len(experiment.points), 1)


def _parts(feeds: Feeds, samples: int) -> list[Feeds]:
    """One sample each."""
    if samples == 1:
        return [feeds]
    return [
        {
            side: {name: np.ascontiguousarray(sample_of(array, index, samples)) for name, array in arrays.items()}
            for side, arrays in feeds.items()
        }
        for index in range(samples)
    ]

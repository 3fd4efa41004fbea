"""Runs a plan in parts where one graph cannot hold all of it: graphs and single layers by turns, sample by sample.

Every tensor that crosses from part to part is handed over lane by lane, so that the parts together give what the
layered engine gives. What a graph turns out not to hold is taken out of it, and the rest goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Feeds, Measurement, RowState
from gfpq_inspect.analyze.engine.layered import LayeredEngine, Tensors, _given
from gfpq_inspect.analyze.engine.merged.graph import Graph
from gfpq_inspect.analyze.engine.merged.part import Crossing, Sharing, layers_of, sharing_of
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey, NotMerged
from gfpq_inspect.analyze.engine.merged.segments import Looks, Segment, segments_of_plan, with_first_points
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.engine.quantizer import Quantizer
from gfpq_inspect.analyze.engine.tensors import as_floating, stacked
from gfpq_inspect.analyze.lanes import Lane, reference_lane
from gfpq_inspect.quantize import kernels

_MOST_FINDS = 24
"""Layers and rows that may turn out not to be held, one by one, before the layered engine takes all."""

_MOST_NAMES = 20
"""Layers that a note names; more are counted."""

Weave = Callable[[Segment, Crossing, Sequence[Lane], bool], Graph]


@dataclass(frozen=True)
class Split:
    """What does not run in a graph, and the parts that follow from it; never changed, but replaced.

    Attributes:
        refused: Layers that run by themselves, and why.
        apart: Rows and values that are looked at beside the graph, and why.
        measurement: Parts of the measurement.
        calibration: Parts of the calibration.
        graphs: Made so far: number of the part, what its lanes share, and whether it calibrates.
        finds: How much was found out on the way.
    """

    refused: Mapping[LayerKey, str]
    apart: Mapping[int | Value, str]
    measurement: Sequence[Segment]
    calibration: Sequence[Segment]
    graphs: dict[tuple[int, Sharing, bool], Graph] = field(default_factory=dict)
    finds: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether nothing stays out of the graph."""
        return not self.refused and not self.apart

    @property
    def merges(self) -> bool:
        """Whether any layer runs in a graph."""
        return any(segment.merged and layers_of(segment.actions) for segment in self.measurement)


def split_of(engine: LayeredEngine, refused: Mapping[LayerKey, str], apart: Mapping[int | Value, str]) -> Split:
    """Cut an engine's plans."""
    experiment = engine.experiment
    given = [(side, entry.value) for side, model in experiment.models.items() for entry in model.inputs]
    wanted = frozenset(apart)
    measured = Looks(rows=experiment.rows, kept=engine._captured_values(), apart=wanted)
    looked = Looks(points=list(dict.fromkeys((point.side, point.value) for point in experiment.points)), apart=wanted)
    return Split(
        refused,
        apart,
        with_first_points(segments_of_plan(engine._plan, given, refused, measured), experiment.points),
        segments_of_plan(engine._calibration_plan, given, refused, looked),
    )


class PartedRun:
    """One sample's way through all parts.

    Args:
        engine: Runs single layers and measures single rows.
        split: The parts.
        weave: Makes the graph of a part.
        lock: Held while graphs are made.
    """

    def __init__(self, engine: LayeredEngine, split: Split, weave: Weave, lock: threading.Lock) -> None:
        self._engine = engine
        self._split = split
        self._weave = weave
        self._lock = lock

    def measure(self, feeds: Feeds, deltas: Sequence[Any] | None) -> Measurement:
        """Measure one sample.

        Raises:
            NotMerged: A part does not run in a graph.
        """
        engine, split = self._engine, self._split
        measurement = engine._row_measurer.empty(1)
        lanes = engine.experiment.lanes
        live: dict[str, Tensors] = {lane.name: _given(feeds, lane.side) for lane in lanes}
        elsewhere = {index for segment in split.measurement if segment.merged for index in segment.first_at}
        quantizer = Quantizer(
            engine._points,
            engine._formats,
            deltas,
            samples=1,
            constants=engine._constants,
            evidence=measurement.evidence,
            seen=elsewhere,
        )
        for number, segment in enumerate(split.measurement):
            if segment.merged:
                graph = self._graph(number, segment, live, lanes, calibration=False)
                with _answers_for(segment):
                    graph.measure(feeds, deltas, measurement, 0, live=live)
            for action in segment.actions:
                if action.step is not None and not segment.merged:
                    engine._run_lanes(action.step, live, quantizer, 1)
                for index in action.rows:
                    if not segment.merged or index in split.apart:
                        engine._row_measurer.measure(index, live, 1, measurement)
                engine._drop(action, live, quantizer)
        engine._row_measurer.capture(live, measurement)
        return measurement

    def magnitudes(self, feeds: Feeds) -> NDArray[np.float64]:
        """Calibrate on one sample; float64 [1, points].

        Raises:
            NotMerged: A part does not run in a graph.
        """
        engine, split = self._engine, self._split
        lanes = [reference_lane(side) for side in engine.experiment.models]
        live: dict[str, Tensors] = {lane.name: _given(feeds, lane.side) for lane in lanes}
        found = np.zeros((1, len(engine.experiment.points)))
        for number, segment in enumerate(split.calibration):
            if segment.merged:
                graph = self._graph(number, segment, live, lanes, calibration=True)
                with _answers_for(segment):
                    found = np.maximum(found, graph.magnitudes(feeds, live))
            for action in segment.actions:
                if action.step is not None and not segment.merged:
                    engine._run_float(action.step, live[reference_lane(action.step.side).name], 1)
                for side, name in action.measure:
                    if not segment.merged or (side, name) in split.apart:
                        row = stacked(as_floating(live[reference_lane(side).name][side, name]), 1)[0]
                        columns = [index for key, index in engine._points.items() if key[:2] == (side, name)]
                        found[0, columns] = kernels.largest_magnitude(row)[0]
                for side, name in action.drop:
                    live[reference_lane(side).name].pop((side, name), None)
        return found

    def _graph(
        self, number: int, segment: Segment, live: Mapping[str, Tensors], lanes: Sequence[Lane], *, calibration: bool
    ) -> Graph:
        sharing = sharing_of(live, segment, lanes)
        key = (number, sharing, calibration)
        with self._lock:
            if key not in self._split.graphs:
                with _answers_for(segment):
                    crossing = Crossing(sharing, self._split.apart)
                    self._split.graphs[key] = self._weave(segment, crossing, lanes, calibration)
            return self._split.graphs[key]


class PartRefused(NotMerged):
    """A part as a whole does not run in a graph.

    Attributes:
        layers: Its layers.
    """

    def __init__(self, reason: str, layers: Sequence[LayerKey]) -> None:
        super().__init__(reason)
        self.layers = layers


@contextmanager
def _answers_for(segment: Segment) -> Iterator[None]:
    """What goes wrong without a layer to blame is the whole part's fault."""
    try:
        yield
    except NotMerged as error:
        if error.layer is None and error.look is None:
            raise PartRefused(str(error), layers_of(segment.actions)) from error
        raise


def after(engine: LayeredEngine, split: Split, error: Exception) -> Split | None:
    """The parts once something turned out not to run in a graph; None where nothing is left to merge."""
    reason = " ".join(str(error).split())[:200]
    refused, apart = dict(split.refused), dict(split.apart)
    if isinstance(error, PartRefused):
        refused.update((key, reason) for key in error.layers)
    elif isinstance(error, NotMerged) and error.look is not None and error.look not in apart:
        apart[error.look] = reason
    elif isinstance(error, NotMerged) and error.layer is not None and error.layer not in refused:
        refused[error.layer] = reason
    else:
        return None
    if split.finds >= _MOST_FINDS:
        return None
    found = split_of(engine, refused, apart)
    found = Split(found.refused, found.apart, found.measurement, found.calibration, finds=split.finds + 1)
    return found if found.merges else None


def add_sample(whole: Measurement, one: Measurement, index: int) -> None:
    """Put one sample's measurement into that of its batch.

    Args:
        whole: The batch's.
        one: The sample's.
        index: The sample's place in the batch.
    """
    whole.sums[index] = one.sums[0]
    whole.isolation[index] = one.isolation[0]
    for key, problem in one.problems.items():
        if problem.state is RowState.NOT_FLOAT and index:  # not by sample: the batch's first row holds all of it
            whole.sums[index][key] = 0
            whole.sums[0][key] += one.sums[0][key]
    whole.problems.update(one.problems)
    for into, seen in zip(whole.evidence, one.evidence, strict=True):
        into.add(seen)
    for entry, array in one.captured.items():
        known = whole.captured.get(entry)
        joined = known is not None and isinstance(array, np.ndarray) and array.ndim
        whole.captured[entry] = np.concatenate([known, array]) if joined else array


def parted_notes(
    experiment: Experiment, refused: Mapping[LayerKey, str], apart: Mapping[int | Value, str]
) -> tuple[str, ...]:
    """For the report: what did not run in a graph, and why."""
    notes = []
    if refused:
        models = experiment.models
        names = {(side, layer.key): layer.key for side, model in models.items() for layer in model.layers}
        if len(models) > 1:
            names = {key: f"{name} ({key[0].value} model)" for key, name in names.items()}
        count = sum(bool(layer.nodes) for model in models.values() for layer in model.layers)
        by_reason: dict[str, list[str]] = {}
        for key, name in names.items():
            if key in refused:
                by_reason.setdefault(refused[key], []).append(name)
        listed = "; ".join(f"{_listed(found)}: {reason}" for reason, found in by_reason.items())
        notes.append(f"{len(refused)} of {count} layers ran in the layered engine, the others in graphs ({listed}).")
    rows = [experiment.rows[index].key for index in apart if isinstance(index, int)]
    if rows:
        reasons = list(dict.fromkeys(reason for index, reason in apart.items() if isinstance(index, int)))
        notes.append(f"Tensors measured beside the graph: {_listed(rows)} ({'; '.join(reasons)}).")
    return tuple(notes)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown

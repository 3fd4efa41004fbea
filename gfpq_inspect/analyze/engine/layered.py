"""The layered engine: lanes advance layer by layer, in lock step; general, simple, and exact.

What lanes share is computed once: a lane whose inputs and weights are the very arrays of another lane gets that lane's
output, so a lane costs nothing before its first quantized tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.blocked_layers import BlockedLayers
from gfpq_inspect.analyze.engine.interface import (
    Array,
    Experiment,
    Facts,
    Feeds,
    LayerDone,
    Measurement,
)
from gfpq_inspect.analyze.engine.plan import Action, Value, plan_calibration, plan_measurement
from gfpq_inspect.analyze.engine.quantizer import Quantizer
from gfpq_inspect.analyze.engine.rows import Measurer, RowMeasurer
from gfpq_inspect.analyze.engine.steps import Step, StepBuilder
from gfpq_inspect.analyze.engine.tensors import (
    aligned,
    as_floating,
    is_floating,
    sample_digests,
    sample_of,
    sample_shape,
    size_in_bytes,
    stacked,
)
from gfpq_inspect.analyze.lanes import Lane, Side, reference_lane
from gfpq_inspect.errors import ModelError, Problem, UserError
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.number_format import range_of

Tensors = dict[Value, Array]


class LayeredEngine:
    """See the module; the methods are those of `interface.Engine`.

    Args:
        experiment: What to run.
        measurer: What is done with each row's tensors; by default the scores of the experiment's comparisons.
        steps: Layers ready to run, of an engine with the same models, points and weights.
        blocked: For each model the layers that are computed as the merged graph does; none by default.

    Raises:
        ModelError: A layer that ONNX Runtime refuses.
    """

    name = "layered (ONNX Runtime, one session a layer)"

    def __init__(
        self,
        experiment: Experiment,
        measurer: Measurer | None = None,
        steps: Mapping[Side, list[Step]] | None = None,
        blocked: Mapping[Side, BlockedLayers] | None = None,
    ) -> None:
        self.experiment = experiment
        self._blocked = blocked or {}
        self._points = {(point.side, point.value, point.bits): i for i, point in enumerate(experiment.points)}
        self._formats = [point.format for point in experiment.points]
        self._at_output = {(point.side, point.value): point.bits for point in experiment.points if point.at_output}
        self._steps = dict(steps or {side: self._build(side, model) for side, model in experiment.models.items()})
        given = [(side, entry.value) for side, model in experiment.models.items() for entry in model.inputs]
        self._plan = plan_measurement(self._steps, experiment.rows, given, self._captured_values())
        points = [(point.side, point.value) for point in experiment.points]
        self._calibration_plan = plan_calibration(self._steps, points, given)
        self._lanes_of = {side: [lane for lane in experiment.lanes if lane.side is side] for side in experiment.models}
        self._probes = [lane for lane in experiment.lanes if lane.fed_by is not None]
        self._constants = _constant_values(self._steps)
        self._row_measurer: Measurer = measurer or RowMeasurer(experiment, self._constants)
        self.layer_count = sum(len(sequence) for sequence in self._steps.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the run should know."""
        return ()

    def with_fewer_lanes(self, lanes: Sequence[Lane], make_measurer: Callable[[Experiment], Measurer]) -> LayeredEngine:
        """An engine that runs some of the lanes and does something else with their tensors; it shares all sessions.

        Args:
            lanes: Lanes of this engine's experiment.
            make_measurer: Given the experiment with these lanes, what to do with each row's tensors.
        """
        experiment = replace(self.experiment, lanes=tuple(lanes), comparisons=(), captured=())
        return LayeredEngine(experiment, make_measurer(experiment), self._steps)

    def wrap_measurer(self, wrap: Callable[[Measurer], Measurer]) -> None:
        """Put a measurer around the one that measures rows, so that it sees the same tensors."""
        self._row_measurer = wrap(self._row_measurer)

    def _build(self, side: Side, model: Model) -> list[Step]:
        return self._builder(side, model).build()

    def _builder(
        self, side: Side, model: Model, provider: str | tuple[str, Mapping[str, str]] = "CPUExecutionProvider"
    ) -> StepBuilder:
        experiment = self.experiment
        quantized: dict[str, dict[str, int]] = {}
        for point in experiment.points:
            if point.side is side and not point.at_output:
                for key in point.layers:
                    quantized.setdefault(key, {})[point.value] = point.bits
        weights = {layer.key: experiment.weights.of_layer(side, layer) for layer in model.layers}
        variants = (lane.weights for lane in experiment.lanes if lane.side is side)
        blocked = self._blocked.get(side)
        return StepBuilder(side, model, quantized, weights, variants, provider=provider, blocked=blocked)

    def _captured_values(self) -> list[Value]:
        rows = [row for row in self.experiment.rows if row.key in self.experiment.captured]
        return [item for row in rows for item in row.values.items()]

    def trial(self, feeds: Feeds, samples: int, *, digests: bool = False) -> Facts:
        """Run the float lanes on a few samples; see `interface.Engine.trial`."""
        live: Tensors = _given(feeds)
        shapes = {value: sample_shape(array, samples) for value, array in live.items()}
        sizes = {value: size_in_bytes(array) for value, array in live.items()}
        floating = {value for value, array in live.items() if is_floating(array)}
        found: dict[Value, tuple[bytes, ...]] = {}
        peak = largest = 0
        for action in self._plan:
            step = action.step
            if step is not None:
                self._run_float(step, live, samples)
                for value in ((step.side, name) for name in step.outputs):
                    counted = 1 if value in self._constants else samples
                    shapes[value] = sample_shape(live[value], counted)
                    sizes[value] = size_in_bytes(live[value])
                    if is_floating(live[value]):
                        floating.add(value)
                    if digests:
                        found[value] = sample_digests(live[value], counted)
                touched = sum(sizes[step.side, name] for name in (*step.inputs, *step.outputs))
                largest = max(largest, touched * len(self._lanes_of[step.side]))
            peak = max(peak, sum(sizes[value] * len(self._lanes_of[value[0]]) for value in live))
            for value in action.drop:
                live.pop(value, None)
        return Facts(shapes, frozenset(floating), peak // samples, largest // samples, found)

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Run the float lanes as far as needed; largest magnitude of every point, float64 [samples, points]."""
        magnitudes = np.zeros((samples, len(self._points)))
        live = _given(feeds)
        for action in self._calibration_plan:
            if action.step is not None:
                self._run_float(action.step, live, samples)
            for value in action.measure:
                columns = [index for key, index in self._points.items() if key[:2] == value]
                rows = stacked(as_floating(live[value]), 1 if value in self._constants else samples)
                magnitudes[:, columns] = kernels.largest_magnitudes(rows)[:, None]
            for value in action.drop:
                live.pop(value, None)
        return magnitudes

    def ranges(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Smallest and largest finite value of every point, float64 [samples, points, 2]."""
        found = np.zeros((samples, len(self._points), 2))
        live = _given(feeds)
        for action in self._calibration_plan:
            if action.step is not None:
                self._run_float(action.step, live, samples)
            for value in action.measure:
                columns = [index for key, index in self._points.items() if key[:2] == value]
                rows = stacked(as_floating(live[value]), 1 if value in self._constants else samples)
                found[:, columns] = np.array([range_of(row) for row in rows])[:, None]
            for value in action.drop:
                live.pop(value, None)
        return found

    def run_layers(self, feeds: Feeds, samples: int) -> Iterator[tuple[Step, dict[str, Array], list[Array]]]:
        """Run the float lanes layer by layer; each step with what it read and what it gave."""
        live = _given(feeds)
        for action in self._plan:
            step = action.step
            if step is not None:
                read = {name: live[step.side, name] for name in step.inputs}
                self._run_float(step, live, samples)
                yield step, read, [live[step.side, name] for name in step.outputs]
            for value in action.drop:
                live.pop(value, None)

    def run_layer(self, step: Step, values: Mapping[str, Array], samples: int) -> list[Array]:
        """Run this engine's own step of the same layer on given values, with the weights as stored."""
        own = next(entry for entry in self._steps[step.side] if entry.layer.key == step.layer.key)
        return self._execute(own, values, reference_lane(step.side), samples)

    def _run_float(self, step: Step, live: Tensors, samples: int) -> None:
        lane = reference_lane(step.side)
        values = {name: live[step.side, name] for name in step.inputs}
        results = self._execute(step, values, lane, samples)
        live.update(((step.side, name), array) for name, array in zip(step.outputs, results, strict=True))

    def _execute(self, step: Step, values: Mapping[str, Array], lane: Lane, samples: int) -> list[Array]:
        """Run a step, sample by sample where stacking samples could change bits."""
        try:
            if samples == 1 or step.batch_safe or self._is_constant(step):
                return step.run(values, lane.weights)
            pieces = []
            for index in range(samples):
                part = {
                    name: array if (step.side, name) in self._constants else aligned(sample_of(array, index, samples))
                    for name, array in values.items()
                }
                pieces.append(step.run(part, lane.weights))
            return [np.concatenate(arrays) for arrays in zip(*pieces, strict=True)]
        except UserError:
            raise
        except Exception as error:
            raise _layer_failed(step, self.experiment.models[step.side], values, error) from error

    def _is_constant(self, step: Step) -> bool:
        return all((step.side, name) in self._constants for name in step.outputs)

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """Run all lanes and measure them; see `interface.Engine.measure`."""
        measurement = self._row_measurer.empty(samples)
        lanes = self.experiment.lanes
        live: dict[str, Tensors] = {lane.name: _given(feeds, lane.side) for lane in lanes}
        quantizer = self._quantizer(deltas, samples, measurement)
        for action in self._plan:
            if action.step is not None:
                self._run_lanes(action.step, live, quantizer, samples)
            for index in action.rows:
                self._row_measurer.measure(index, live, samples, measurement)
            self._drop(action, live, quantizer)
            if action.step is not None and layer_done is not None:
                layer_done(action.step.layer)
        self._row_measurer.capture(live, measurement)
        return measurement

    def _quantizer(self, deltas: Sequence[Any] | None, samples: int, measurement: Measurement) -> Quantizer:
        return Quantizer(
            self._points,
            self._formats,
            deltas,
            samples=samples,
            constants=self._constants,
            evidence=measurement.evidence,
        )

    def _run_lanes(self, step: Step, live: dict[str, Tensors], quantizer: Quantizer, samples: int) -> None:
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Array]] = {}
        for lane in self._lanes_of[step.side]:
            source = live[lane.fed_by or lane.name]
            values = {name: source[step.side, name] for name in step.inputs}
            if lane.quantizes_data:
                for name, bits in step.quantized.items():
                    if name in values:
                        values[name] = quantizer.quantized(lane, name, bits, values[name])
            identity = (tuple(id(array) for array in values.values()), step.weight_identity(lane.weights))
            if identity not in known:
                known[identity] = self._execute(step, values, lane, samples)
            for name, array in zip(step.outputs, known[identity], strict=True):
                value = (step.side, name)
                handed_on = lane.quantizes_data and value in self._at_output
                tensor = quantizer.quantized(lane, name, self._at_output[value], array) if handed_on else array
                live[lane.name][value] = tensor

    def _drop(self, action: Action, live: dict[str, Tensors], quantizer: Quantizer) -> None:
        for row in (self.experiment.rows[index] for index in action.rows):
            for lane in self._probes:
                if lane.side in row.values:
                    live[lane.name].pop((lane.side, row.values[lane.side]), None)
        for side, name in action.drop:
            for lane in self._lanes_of[side]:
                live[lane.name].pop((side, name), None)
            quantizer.forget(side, name)


def _given(feeds: Feeds, only: Side | None = None) -> Tensors:
    """The inputs as the first live tensors."""
    return {
        (side, name): aligned(array)
        for side, arrays in feeds.items()
        if only is None or side is only
        for name, array in arrays.items()
    }


def _constant_values(steps: Mapping[Side, Sequence[Step]]) -> frozenset[Value]:
    """Values that no sample reaches."""
    constants: set[Value] = set()
    for side, sequence in steps.items():
        for step in sequence:
            if step.constant or all((side, name) in constants for name in step.inputs):
                constants.update((side, name) for name in step.outputs)
    return frozenset(constants)


def _layer_failed(step: Step, model: Model, values: Mapping[str, Array], error: Exception) -> ModelError:
    shapes = ", ".join(f"{name} {np.shape(array)}" for name, array in values.items())
    text = " ".join(str(error).split())
    return ModelError(
        Problem(
            f"ONNX Runtime could not run this layer of type {step.layer.type} on {shapes} ({text[:300]})",
            file=model.origin.structure_file or model.origin.weights_file,
            layer=step.layer.name,
            line=step.layer.source_line,
            remedy="check the input shape, and that weights and structure belong together",
        )
    )

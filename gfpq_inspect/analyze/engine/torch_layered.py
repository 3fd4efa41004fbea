"""The layered engine on PyTorch: lanes, weights, coefficients and plan are the same, tensors stay on one device.

What has no counterpart in PyTorch runs on the CPU, layer by layer, and the report names those layers. Importing this
module needs PyTorch; `engine_for` says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import (
    Experiment,
    Feeds,
    LayerDone,
    Measurement,
    PointEvidence,
    RowProblem,
)
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.quantizer import Quantizer, evidence_of
from gfpq_inspect.analyze.engine.rows import LiveTensors, Measurer, RowMeasurer, problem_of
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.engine.torch_device import (
    TorchDevice,
    as_floating,
    is_floating,
    on_host,
    parts,
    stacked,
)
from gfpq_inspect.analyze.engine.torch_steps import TorchStep
from gfpq_inspect.analyze.lanes import Lane, Side, reference_lane
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of, kernels
from gfpq_inspect.quantize.number_format import range_of

_MOST_NAMED = 8


class TorchEngine(LayeredEngine):
    """See the module; the methods are those of `interface.Engine`.

    Args:
        experiment: What to run.
        device: 'cpu', 'cuda' or 'cuda:N'.

    Raises:
        ModelError: A layer that ONNX Runtime refuses.
        UsageError: There is no such device.
        MissingExtraError: CuPy is not installed.
        QuantizationError: CuPy finds no GPU.
    """

    def __init__(self, experiment: Experiment, device: str) -> None:
        self._device = TorchDevice(device)
        super().__init__(experiment)
        self._row_measurer = _TorchRowMeasurer(experiment, self._constants, self._device)

    @property
    def name(self) -> str:  # type: ignore[override]  # here it tells what has run where
        """For the report."""
        steps = [step for sequence in self._steps.values() for step in sequence if isinstance(step, TorchStep)]
        text = f"layered (PyTorch {torch.__version__} on {self._device.text})"
        left = [f"{step.layer.name} ({step.on_cpu})" for step in steps if step.on_cpu is not None]
        if not left:
            return text
        more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
        return f"{text}; {len(left)} of {len(steps)} layers on the CPU: {', '.join(left[:_MOST_NAMED])}{more}"

    def with_fewer_lanes(self, lanes: Sequence[Lane], make_measurer: Callable[[Experiment], Measurer]) -> LayeredEngine:
        """An engine for the CPU that runs some of the lanes: what it is for looks at tensors one by one."""
        experiment = replace(self.experiment, lanes=tuple(lanes), comparisons=(), captured=())
        steps = {
            side: [step.host if isinstance(step, TorchStep) else step for step in sequence]
            for side, sequence in self._steps.items()
        }
        return LayeredEngine(experiment, make_measurer(experiment), steps)

    def _build(self, side: Side, model: Model) -> list[Step]:
        nodes = {node.name: node for node in model.graph.graph.node}
        initializers = {tensor.name: tensor for tensor in model.graph.graph.initializer}
        return [
            TorchStep(
                step,
                [nodes[name] for name in step.layer.nodes],
                model=model,
                weights=self.experiment.weights.of_layer(side, step.layer),
                initializers=initializers,
                device=self._device,
            )
            for step in super()._build(side, model)
        ]

    def _taken(self, feeds: Feeds) -> dict[Side, dict[str, Any]]:
        return {
            side: {name: self._device.take(array) for name, array in arrays.items()} for side, arrays in feeds.items()
        }

    def _run_float(self, step: Step, live: dict[tuple[Side, str], Any], samples: int) -> None:
        # Only the trial comes here, whose tensors are on the host.
        values = {name: self._device.take(live[step.side, name]) for name in step.inputs}
        results = self._execute(step, values, reference_lane(step.side), samples)
        live.update(((step.side, name), on_host(value)) for name, value in zip(step.outputs, results, strict=True))

    def _execute(self, step: Step, values: Mapping[str, Any], lane: Lane, samples: int) -> list[Any]:
        if samples == 1 or step.batch_safe or self._is_constant(step):
            return super()._execute(step, values, lane, 1)
        pieces = []
        for index in range(samples):
            part = {
                name: value if (step.side, name) in self._constants else _sample_of(value, index, samples)
                for name, value in values.items()
            }
            pieces.append(super()._execute(step, part, lane, 1))
        return [_joined(values) for values in zip(*pieces, strict=True)]

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Run the float lanes as far as needed; largest magnitude of every point, float64 [samples, points]."""
        magnitudes = np.zeros((samples, len(self._points)))

        def look(columns: list[int], rows: list[torch.Tensor]) -> None:
            magnitudes[:, columns] = [[self._device.largest_magnitude(row)[0]] for row in rows]

        self._look_at_points(feeds, samples, look)
        return magnitudes

    def ranges(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Smallest and largest finite value of every point, float64 [samples, points, 2]."""
        found = np.zeros((samples, len(self._points), 2))

        def look(columns: list[int], rows: list[torch.Tensor]) -> None:
            found[:, columns] = np.array([_range(row) for row in rows])[:, None]

        self._look_at_points(feeds, samples, look)
        return found

    def _look_at_points(
        self, feeds: Feeds, samples: int, look: Callable[[list[int], list[torch.Tensor]], None]
    ) -> None:
        live = {(side, name): value for side, values in self._taken(feeds).items() for name, value in values.items()}
        for action in self._calibration_plan:
            step = action.step
            if step is not None:
                values = {name: live[step.side, name] for name in step.inputs}
                results = self._execute(step, values, reference_lane(step.side), samples)
                live.update(((step.side, name), value) for name, value in zip(step.outputs, results, strict=True))
            for value in action.measure:
                columns = [index for key, index in self._points.items() if key[:2] == value]
                tensor = stacked(as_floating(live[value]), 1 if value in self._constants else samples)
                look(columns, list(tensor))
            for value in action.drop:
                live.pop(value, None)

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """Run all lanes and measure them; see `interface.Engine.measure`."""
        return super().measure(self._taken(feeds), samples, deltas, layer_done)

    def _quantizer(self, deltas: Sequence[Any] | None, samples: int, measurement: Measurement) -> Quantizer:
        return _TorchQuantizer(
            self._points,
            self._formats,
            deltas,
            samples=samples,
            constants=self._constants,
            evidence=measurement.evidence,
            device=self._device,
        )


class _TorchQuantizer(Quantizer):
    """Quantizes where the tensors are; formats other than GFPQ are computed on the host."""

    def __init__(self, *arguments: Any, device: TorchDevice, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._device = device

    def _quantize(self, point: int, array: Any, samples: int) -> Any:
        number_format = self._formats[point]
        if not isinstance(array, torch.Tensor):
            return super()._quantize(point, array, samples)
        if not isinstance(number_format, Gfpq):
            return self._device.take(super()._quantize(point, on_host(array), samples))
        working = as_floating(array)
        if self._fixed(point):
            assert self._deltas is not None
            result = self._device.apply(working, number_format.bits, self._deltas[point])
        else:
            pieces = [
                self._device.apply(part, number_format.bits, self._delta(part, number_format))
                for part in parts(working, samples)
            ]
            result = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
        return result.to(array.dtype)

    def _delta(self, part: torch.Tensor, number_format: NumberFormat) -> int:
        return kernels.coefficient_of(self._device.largest_magnitude(part)[0], number_format.bits)

    def _take_evidence(self, point: int, array: Any, copy: Any, samples: int) -> None:
        number_format = self._formats[point]
        if not isinstance(array, torch.Tensor) or not isinstance(number_format, Gfpq):
            super()._take_evidence(point, on_host(array), on_host(copy), samples)
            return
        before, after = as_floating(array), as_floating(copy)
        if self._fixed(point):
            assert self._deltas is not None
            self._evidence[point].add(self._look(before, after, number_format, self._deltas[point]))
            return
        for source, target in zip(parts(before, samples), parts(after, samples), strict=True):
            delta = self._delta(source, number_format)
            self._evidence[point].add(self._look(source, target, number_format, delta))

    def _look(self, before: torch.Tensor, after: torch.Tensor, number_format: Gfpq, delta: int) -> PointEvidence:
        """As `evidence_of`, counted on the device."""
        bits = number_format.bits
        magnitude, nonfinite = self._device.largest_magnitude(before)
        if nonfinite or not self._device.on_gpu:
            return evidence_of(on_host(before), on_host(after), bits, delta)
        grid, dtype = gfpq_of(bits), np.float32 if before.dtype == torch.float32 else np.float64
        top, above = grid.value(grid.highest_code, delta), grid.value(grid.highest_code + 1, delta)
        limits = [float(np.nextafter(dtype(top), dtype(np.inf))), float(dtype(above))]
        size = before.abs()
        counts = [torch.count_nonzero(before), torch.count_nonzero(after)]
        counts += [torch.count_nonzero(size >= limit) for limit in limits]
        nonzero, left, over, beyond = torch.stack(counts).tolist()
        return PointEvidence(
            finite=before.numel(),
            nonzero=nonzero,
            snapped=over - beyond,
            beyond=beyond,
            flushed=nonzero - left,
            magnitude=magnitude,
            delta_low=delta,
            delta_high=delta,
        )


class _TorchRowMeasurer(RowMeasurer):
    """Measures rows where the tensors are."""

    def __init__(self, experiment: Experiment, constants: Any, device: TorchDevice) -> None:
        super().__init__(experiment, constants)
        self._device = device

    @staticmethod
    def _problem(reference: object, tensor: object) -> RowProblem | None:
        if not isinstance(reference, torch.Tensor) or not isinstance(tensor, torch.Tensor):
            return problem_of(on_host(reference), on_host(tensor))
        if is_floating(reference) and is_floating(tensor) and reference.shape == tensor.shape:
            return None
        return problem_of(on_host(reference), on_host(tensor))

    def _similarity(
        self, reference: Any, tensors: Sequence[Any], samples: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = [self._device.take(value) for value in (reference, *tensors)]
        if not all(isinstance(value, torch.Tensor) for value in values):
            return super()._similarity(reference, tensors, samples)
        double = any(value.dtype == torch.float64 for value in values)
        arrays = [stacked(as_floating(value.double() if double else value), samples) for value in values]
        return self._device.similarity(arrays[0], arrays[1:])

    @staticmethod
    def _count_equal(index: int, column: int, reference: Any, tensor: Any, into: Measurement) -> None:
        RowMeasurer._count_equal(index, column, on_host(reference), on_host(tensor), into)

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """Hand out the tensors that were asked for, on the host."""
        super().capture(live, into)
        into.captured = {key: on_host(value) for key, value in into.captured.items()}


def _sample_of(value: Any, index: int, samples: int) -> Any:
    if not isinstance(value, torch.Tensor) or not value.dim() or value.shape[0] % samples:
        return value
    return parts(value, samples)[index]


def _joined(values: Sequence[Any]) -> Any:
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values))
    return np.concatenate(values)


def _range(row: torch.Tensor) -> tuple[float, float]:
    if row.numel() == 0 or not bool(torch.isfinite(row).all()):
        return range_of(on_host(row))
    low, high = torch.stack(torch.aminmax(row)).tolist()
    return low, high

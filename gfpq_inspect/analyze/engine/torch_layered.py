"""The layered engine on PyTorch: lanes, weights, coefficients and plan are the same, tensors stay on one device.

What has no counterpart in PyTorch runs on the CPU, layer by layer, and the report names those layers. Importing this
module needs PyTorch; `engine_for` says what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Facts, Feeds, LayerDone, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.quantizer import Quantizer
from gfpq_inspect.analyze.engine.rows import Measurer
from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.engine.torch_call import UnsupportedError
from gfpq_inspect.analyze.engine.torch_device import TorchDevice, as_floating, on_host, parts, stacked
from gfpq_inspect.analyze.engine.torch_measure import TorchQuantizer, TorchRowMeasurer
from gfpq_inspect.analyze.engine.torch_pending import Pending, pending_of
from gfpq_inspect.analyze.engine.torch_provider import BoundStep, provider_for
from gfpq_inspect.analyze.engine.torch_steps import TorchStep, reason_against
from gfpq_inspect.analyze.lanes import Lane, Side, reference_lane
from gfpq_inspect.models.model import Model

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
        self._row_measurer = TorchRowMeasurer(experiment, self._constants, self._device)

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
        return self._on_cpu(experiment, make_measurer(experiment))

    def _on_cpu(self, experiment: Experiment, measurer: Measurer | None = None) -> LayeredEngine:
        steps = {
            side: [step.host if isinstance(step, TorchStep) else step for step in sequence]
            for side, sequence in self._steps.items()
        }
        return LayeredEngine(experiment, measurer, steps)

    def _build(self, side: Side, model: Model) -> list[Step]:
        nodes = {node.name: node for node in model.graph.graph.node}
        initializers = {tensor.name: tensor for tensor in model.graph.graph.initializer}
        steps = super()._build(side, model)
        of_step = {step.layer.key: [nodes[name] for name in step.layer.nodes] for step in steps}
        lacking = {key for key, members in of_step.items() if reason_against(members) is not None}
        bound = self._bound_steps(side, model, lacking)
        return [
            TorchStep(
                step,
                of_step[step.layer.key],
                model=model,
                weights=self.experiment.weights.of_layer(side, step.layer),
                initializers=initializers,
                device=self._device,
                bound=bound.get(step.layer.key),
            )
            for step in steps
        ]

    def _bound_steps(self, side: Side, model: Model, lacking: set[str]) -> dict[str, BoundStep]:
        """The layers that PyTorch lacks, for ONNX Runtime's own provider where there is one."""
        provider = provider_for(self._device) if lacking else None
        if provider is None:
            return {}
        found = {}
        for step in self._builder(side, model, provider).build():
            if step.layer.key in lacking:
                with suppress(UnsupportedError):  # the CPU is left
                    found[step.layer.key] = BoundStep(step, self._device)
        return found

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

    def trial(self, feeds: Feeds, samples: int, *, digests: bool = False) -> Facts:
        """Run the float lanes on a few samples; see `interface.Engine.trial`.

        Digests are of the same layers on the CPU: they tell whether a layer mixes samples, while a GPU's library takes
        another algorithm, and other last bits, for another number of samples.
        """
        if digests:
            return self._on_cpu(self.experiment).trial(feeds, samples, digests=True)
        facts = super().trial(feeds, samples)
        return replace(facts, room_bytes=self._device.room_bytes()) if self._device.on_gpu else facts

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Run the float lanes as far as needed; largest magnitude of every point, float64 [samples, points]."""
        magnitudes = np.zeros((samples, len(self._points)))
        pending = Pending()

        def look(columns: list[int], rows: torch.Tensor) -> None:
            def receive(found: list[NDArray[np.float64]]) -> None:
                magnitudes[:, columns] = found[0][:, None]

            if rows.shape[1]:
                pending.add([torch.where(torch.isfinite(rows), rows, 0).abs().amax(dim=1)], receive)

        self._look_at_points(feeds, samples, look)
        pending.fetch()
        return magnitudes

    def ranges(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Smallest and largest finite value of every point, float64 [samples, points, 2]."""
        found = np.zeros((samples, len(self._points), 2))
        pending = Pending()

        def look(columns: list[int], rows: torch.Tensor) -> None:
            def receive(limits: list[NDArray[np.float64]]) -> None:
                low, high = limits
                empty = low > high  # nothing finite
                found[:, columns, 0] = np.where(empty, 0.0, low)[:, None]
                found[:, columns, 1] = np.where(empty, 0.0, high)[:, None]

            if rows.shape[1]:
                finite = torch.isfinite(rows)
                low = torch.where(finite, rows, torch.inf).amin(dim=1)
                pending.add([low, torch.where(finite, rows, -torch.inf).amax(dim=1)], receive)

        self._look_at_points(feeds, samples, look)
        pending.fetch()
        return found

    def _look_at_points(self, feeds: Feeds, samples: int, look: Callable[[list[int], torch.Tensor], None]) -> None:
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
                look(columns, tensor)
            for value in action.drop:
                live.pop(value, None)

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """Run all lanes and measure them; see `interface.Engine.measure`."""
        return super().measure(self._taken(feeds), samples, deltas, layer_done)

    def _quantizer(self, deltas: Sequence[Any] | None, samples: int, measurement: Measurement) -> Quantizer:
        return TorchQuantizer(
            self._points,
            self._formats,
            deltas,
            samples=samples,
            constants=self._constants,
            evidence=measurement.evidence,
            device=self._device,
            pending=pending_of(measurement),
        )


def _sample_of(value: Any, index: int, samples: int) -> Any:
    if not isinstance(value, torch.Tensor) or not value.dim() or value.shape[0] % samples:
        return value
    return parts(value, samples)[index]


def _joined(values: Sequence[Any]) -> Any:
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values))
    return np.concatenate(values)

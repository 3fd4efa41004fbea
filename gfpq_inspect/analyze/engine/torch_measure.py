"""Quantizing and measuring where PyTorch's tensors are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment, Measurement, PointEvidence, RowProblem
from gfpq_inspect.analyze.engine.quantizer import Quantizer
from gfpq_inspect.analyze.engine.rows import LiveTensors, RowMeasurer, Target, problem_of
from gfpq_inspect.analyze.engine.torch_device import (
    TorchDevice,
    as_floating,
    is_floating,
    on_host,
    parts,
    stacked,
)
from gfpq_inspect.analyze.engine.torch_pending import Pending, PendingMeasurement, as_tensor, pending_of
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of, kernels


class TorchQuantizer(Quantizer):
    """Quantizes where the tensors are; formats other than GFPQ are computed on the host."""

    def __init__(self, *arguments: Any, device: TorchDevice, pending: Pending, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._device = device
        self._pending = pending

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
            self._look(point, before, after, self._deltas[point])
            return
        for source, target in zip(parts(before, samples), parts(after, samples), strict=True):
            self._look(point, source, target, self._delta(source, number_format))

    def _look(self, point: int, before: torch.Tensor, after: torch.Tensor, delta: int) -> None:
        """As `quantizer.evidence_of`, counted on the device."""
        if before.numel() == 0:
            return
        grid = gfpq_of(self._formats[point].bits)
        dtype = np.float32 if before.dtype == torch.float32 else np.float64
        top, above = grid.value(grid.highest_code, delta), grid.value(grid.highest_code + 1, delta)
        limits = [float(np.nextafter(dtype(top), dtype(np.inf))), float(dtype(above))]
        finite = torch.isfinite(before)
        size = torch.where(finite, before, 0).abs()
        counts = [torch.count_nonzero(finite), torch.count_nonzero(size)]
        counts += [torch.count_nonzero((size > 0) & (after == 0))]
        counts += [torch.count_nonzero(size >= limit) for limit in limits]
        evidence = self._evidence[point]

        def receive(found: list[NDArray[np.float64]]) -> None:
            elements, nonzero, flushed, over, beyond = (int(number) for number in found[0])
            evidence.add(
                PointEvidence(
                    finite=elements,
                    nonzero=nonzero,
                    snapped=over - beyond,
                    beyond=beyond,
                    flushed=flushed,
                    magnitude=float(found[1]),
                    delta_low=delta,
                    delta_high=delta,
                )
            )

        self._pending.add([torch.stack(counts), size.max()], receive)


class TorchRowMeasurer(RowMeasurer):
    """Measures rows where the tensors are."""

    def __init__(self, experiment: Experiment, constants: Any, device: TorchDevice) -> None:
        super().__init__(experiment, constants)
        self._device = device

    def empty(self, samples: int) -> Measurement:
        """A measurement of which nothing is known yet."""
        return PendingMeasurement(**vars(super().empty(samples)))

    @staticmethod
    def _problem(reference: object, tensor: object, samples: int) -> RowProblem | None:
        if not isinstance(reference, torch.Tensor) or not isinstance(tensor, torch.Tensor):
            return problem_of(on_host(reference), on_host(tensor), samples)
        if is_floating(reference) and is_floating(tensor) and reference.shape == tensor.shape:
            return None
        return problem_of(on_host(reference), on_host(tensor), samples)

    def _similarity(self, reference: Any, tensors: Sequence[Any], samples: int) -> tuple[Any, Any]:
        values = [self._device.take(value) for value in (reference, *tensors)]
        if not all(isinstance(value, torch.Tensor) for value in values):
            return super()._similarity(reference, tensors, samples)
        double = any(value.dtype == torch.float64 for value in values)
        arrays = [stacked(as_floating(value.double() if double else value), samples) for value in values]
        return self._device.similarity(arrays[0], arrays[1:])

    def _keep(self, target: Target, sums: Any, products: Any, into: Measurement) -> None:
        def receive(found: list[NDArray[np.float64]]) -> None:
            target.put(found[0], found[1], into)

        pending_of(into).add([as_tensor(sums), as_tensor(products)], receive)

    @staticmethod
    def _count_equal(index: int, column: int, reference: Any, tensor: Any, into: Measurement) -> None:
        RowMeasurer._count_equal(index, column, on_host(reference), on_host(tensor), into)

    def capture(self, live: LiveTensors, into: Measurement) -> None:
        """Hand out the tensors that were asked for, on the host, and fetch all numbers."""
        super().capture(live, into)
        into.captured = {key: on_host(value) for key, value in into.captured.items()}
        pending_of(into).fetch()

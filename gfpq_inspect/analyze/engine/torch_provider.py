"""Layers that PyTorch lacks, on ONNX Runtime's CUDA provider where it is installed: tensors stay where they are.

The wheel `onnxruntime` has no such provider, `onnxruntime-gpu` has it; without it these layers run on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnxruntime
import torch
from torch.utils.dlpack import from_dlpack

from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.engine.torch_call import UnsupportedError
from gfpq_inspect.analyze.engine.torch_device import TorchDevice
from gfpq_inspect.analyze.lanes import Weights

CUDA_PROVIDER = "CUDAExecutionProvider"

Provider = tuple[str, dict[str, str]]


def provider_for(device: TorchDevice) -> Provider | None:
    """ONNX Runtime's provider for the GPU, or None where there is none."""
    if not device.on_gpu or CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return None
    index = torch.cuda.current_device() if device.device.index is None else device.device.index
    return CUDA_PROVIDER, {"device_id": str(index), "use_tf32": "0"}


class BoundStep:
    """A step whose sessions read and write tensors of a device in place.

    Args:
        step: The layer, with sessions made for the provider.
        device: Where its tensors are.

    Raises:
        UnsupportedError: The layer holds an operator that only the host computes.
    """

    def __init__(self, step: Step, device: TorchDevice) -> None:
        if any(part.host is not None for part in step.parts):
            raise UnsupportedError("an operator that only the host computes")
        self._step = step
        self._device = device
        self._there: dict[int, tuple[Any, torch.Tensor]] = {}

    def run(self, values: Mapping[str, torch.Tensor], weights: Weights) -> list[torch.Tensor]:
        """Compute the outputs; see `Step.run`.

        Raises:
            UnsupportedError: A value is no tensor.
        """
        known: dict[str, torch.Tensor] = dict(values)
        if self._device.on_gpu:
            torch.cuda.current_stream(self._device.device).synchronize()  # the session has a stream of its own
        for part in self._step.parts:
            session = part.sessions[weights]
            binding = session.io_binding()
            for name in part.segment.inputs:
                self._bind(binding, name, known[name])
            for name in part.fed:
                self._bind(binding, name, self._taken(self._step.fed_array(part, name, weights)))
            for name in part.segment.outputs:
                binding.bind_output(name, self._device.device.type, self._device.device.index or 0)
            session.run_with_iobinding(binding)
            for name, value in zip(part.segment.outputs, binding.get_outputs(), strict=True):
                if not value.is_tensor():
                    raise UnsupportedError(f"{name} is no tensor")
                known[name] = from_dlpack(value)
        return [known[name] for name in self._step.outputs]

    @staticmethod
    def _bind(binding: Any, name: str, tensor: torch.Tensor) -> None:
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.from_dlpack(tensor.contiguous()))

    def _taken(self, array: Any) -> torch.Tensor:
        """An array as a tensor of the device, copied once; the array is kept, so that its identity stays its own."""
        if id(array) not in self._there:
            self._there[id(array)] = array, self._device.take(array)
        return self._there[id(array)][1]

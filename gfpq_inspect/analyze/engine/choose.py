"""Which engine runs a comparison."""

from __future__ import annotations

import re

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.errors import MissingExtraError, UsageError

CPU = "cpu"
"""ONNX Runtime on the processors."""


def check_device(device: str) -> None:
    """Refuse what is no device before anything is opened.

    Raises:
        UsageError: It is none of the known ones.
    """
    if device != CPU and not re.fullmatch(r"cuda(:\d+)?|torch-cpu", device):
        raise UsageError(f"the device {device!r} is unknown; give cpu, cuda or cuda:N.")


def engine_for(experiment: Experiment, device: str = CPU) -> LayeredEngine:
    """The engine for a device.

    Args:
        experiment: What to run.
        device: 'cpu' is ONNX Runtime; 'cuda' and 'cuda:N' are PyTorch on a GPU; 'torch-cpu' is PyTorch on the
            processors, which shows what does not come from the GPU where a result differs.

    Raises:
        UsageError: The device is unknown, or PyTorch does not find it.
        MissingExtraError: PyTorch or CuPy is not installed.
        QuantizationError: CuPy finds no GPU.
        ModelError: A layer that does not run.
    """
    check_device(device)
    if device == CPU:
        return LayeredEngine(experiment)
    try:
        from gfpq_inspect.analyze.engine.torch_layered import TorchEngine  # noqa: PLC0415  (optional, slow to import)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"--device {device}", "torch") from error
    return TorchEngine(experiment, device.removeprefix("torch-"))

"""Which engine runs a comparison."""

from __future__ import annotations

import re

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
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


ENGINES = ("auto", "merged", "layered")
"""What can be asked for; 'auto' merges the lanes of networks that are worth it."""

WORTH_MULTIPLY_ADDS = 10_000_000
"""A sample of a smaller network takes less time than the overhead of a run: its graph takes a batch at a time."""


def check_engine(engine: str) -> None:
    """Refuse what is no engine before anything is opened.

    Raises:
        UsageError: It is none of the known ones.
    """
    if engine not in ENGINES:
        raise UsageError(f"the engine {engine!r} is unknown; give {', '.join(ENGINES)}.")


def _on_cpu(experiment: Experiment, engine: str) -> LayeredEngine:
    layers = [layer for model in experiment.models.values() for layer in model.layers]
    # The kernels go by the network alone, so that both engines give the same numbers.
    large = sum(layer.multiply_adds or 0 for layer in layers) >= WORTH_MULTIPLY_ADDS
    made = MergedEngine(experiment, blocked=large, merge=engine != "layered", stacked=not large)
    if engine == "merged" and not made.is_merged and not large:
        return MergedEngine(experiment, blocked=False)
    return made


def engine_for(experiment: Experiment, device: str = CPU, engine: str = "auto") -> LayeredEngine:
    """The engine for a device.

    Args:
        experiment: What to run.
        engine: One of `ENGINES`; on the processors only.
        device: 'cpu' is ONNX Runtime; 'cuda' and 'cuda:N' are PyTorch on a GPU; 'torch-cpu' is PyTorch on the
            processors, which shows what does not come from the GPU where a result differs.

    Raises:
        UsageError: The device is unknown, or PyTorch does not find it.
        MissingExtraError: PyTorch or CuPy is not installed.
        QuantizationError: CuPy finds no GPU.
        ModelError: A layer that does not run.
    """
    check_device(device)
    check_engine(engine)
    if device == CPU:
        return _on_cpu(experiment, engine)
    try:
        from gfpq_inspect.analyze.engine.torch_layered import TorchEngine  # noqa: PLC0415  (optional, slow to import)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(f"--device {device}", "torch") from error
    return TorchEngine(experiment, device.removeprefix("torch-"))

"""What a result records of its run: models, versions, durations."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import PurePath

import numpy as np
import onnx
import onnxruntime

from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import ModelFacts, Timing
from gfpq_inspect.models.model import Model


class Clock:
    """Durations of a run and its phases."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._begin = time.perf_counter()
        self._phases: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside as time of a phase."""
        begin = time.perf_counter()
        yield
        self._phases[name] = self._phases.get(name, 0.0) + time.perf_counter() - begin

    def timing(self, workers: int) -> Timing:
        """Everything that differs from run to run."""
        return Timing(
            started=self._started.isoformat(timespec="seconds"),
            elapsed_s=time.perf_counter() - self._begin,
            phases_s=dict(self._phases),
            peak_memory_mb=peak_memory_mb(),
            host={
                "system": platform.system(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "processors": str(os.cpu_count() or 0),
                "workers": str(workers),
            },
        )


def model_facts(side: Side, model: Model) -> ModelFacts:
    """What a report says of a model."""
    origin = model.origin
    return ModelFacts(
        role=side.value,
        framework=origin.framework,
        name=origin.name,
        structure_file=_base_name(origin.structure_file),
        weights_file=_base_name(origin.weights_file),
        structure_source=origin.structure_source,
        sha256=dict(sorted(origin.sha256.items())),
        notes=origin.notes,
    )


def _base_name(path: str | None) -> str | None:
    """Reports show no folders: they differ from machine to machine."""
    return None if path is None else PurePath(path).name


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {"numpy": np.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def calibration_text(quantized: bool, coefficients: str, count: int, *, second: bool) -> str:
    """Where the data coefficients come from, one clause."""
    if not quantized:
        return "nothing was quantized"
    if coefficients == "sample":
        return "every sample has its own data coefficients, from its own tensors (INIT)"
    samples = "1 sample" if count == 1 else f"all {count} samples"
    text = f"data coefficients from a calibration pass of the float network over {samples} (UPDATE)"
    return f"{text}, for each model its own" if second else text


def peak_memory_mb() -> float | None:
    """Largest resident memory of this process so far, in MB (2^20 bytes); None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415 - absent on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if platform.system() != "Darwin" else peak / 1024**2

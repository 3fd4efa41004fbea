"""ONNX Runtime's own `qdq_loss_debug`: every tensor of both networks in memory, then SQNR of each pair."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.quantization import qdq_loss_debug as debug

from .interface import Job, run
from .onnxruntime_static import Reader, quantized


def activations(job: Job, network: Path) -> dict[str, Any]:
    """All tensors of a network over all samples."""
    augmented = network.with_suffix(".augmented.onnx")
    debug.modify_model_output_intermediate_tensors(str(network), str(augmented))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # The analysis makes this session itself; timed apart, so that start-up can be left out.
    begun = time.perf_counter()
    onnxruntime.InferenceSession(str(augmented), options, providers=["CPUExecutionProvider"])
    made = time.perf_counter()
    found: dict[str, Any] = debug.collect_activations(str(augmented), Reader(job), options)
    collected = time.perf_counter()
    job.start_up_s += made - begun
    job.phases_s["collect"] = job.phases_s.get("collect", 0.0) + collected - made
    return found


def work(job: Job) -> None:
    network = quantized(job)
    matched = debug.create_activation_matching(activations(job, network), activations(job, job.model))
    with job.phase("score"):
        scores = debug.compute_activation_error(matched)
    with job.phase("score weights"):
        weights = debug.compute_weight_error(debug.create_weight_matching(str(job.model), str(network)))
    job.compared = len(scores)
    assert weights


if __name__ == "__main__":
    run(work, ["onnxruntime", "onnx", "numpy"])

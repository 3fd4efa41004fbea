"""What PPQ and its descendant esp-ppq share: int8 by default settings, then one of their two analyses."""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

from .interface import Job, run


def work(job: Job, package: str, analysis: str) -> None:
    """Quantize and analyse.

    Args:
        job: The network and its samples.
        package: `ppq` or `esp_ppq`.
        analysis: `graphwise` (errors as they accumulate; 4 096 sampled elements of each computing layer) or `layerwise`
            (one layer quantized at a time, judged at the network's output).
    """
    torch = importlib.import_module("torch")
    api, core = importlib.import_module(f"{package}.api"), importlib.import_module(f"{package}.core")
    analyse = getattr(importlib.import_module(f"{package}.quantization.analyse"), f"{analysis}_error_analyse")
    loader: list[Any] = [torch.from_numpy(images) for feed in job.samples() for images in feed.values()]
    with job.phase("quantize"):
        graph = api.quantize_onnx_model(
            onnx_import_file=str(job.model),
            calib_dataloader=loader,
            calib_steps=len(loader),
            input_shape=list(loader[0].shape),
            platform=core.TargetPlatform.PPL_CUDA_INT8,
            device="cpu",
        )
    with job.phase("analyse"):
        job.compared = len(analyse(graph=graph, running_device="cpu", dataloader=loader, steps=len(loader)))


def main(package: str, analysis: str) -> None:
    """The script of one package and analysis."""
    distribution = package.replace("_", "-")
    run(partial(work, package=package, analysis=analysis), [distribution, "torch", "onnx", "numpy"])

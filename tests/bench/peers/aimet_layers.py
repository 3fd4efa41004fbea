"""AIMET's per-layer analysis: the mean squared error of each layer's output, two sessions a layer."""

from __future__ import annotations

from typing import Any

import onnx
from aimet_onnx.common.defs import CallbackFunc, QuantScheme
from aimet_onnx.quant_analyzer import QuantAnalyzer

from .interface import Images, Job, run


def forward(session: Any, feeds: list[dict[str, Images]]) -> None:
    """Show the quantizers all samples."""
    for feed in feeds:
        session.run(None, feed)


def no_score(session: Any, argument: object) -> float:
    """The analysis that scores the whole network is not asked for."""
    return 0.0


def work(job: Job) -> None:
    feeds = list(job.samples())
    analyzer = QuantAnalyzer(onnx.load(job.model), feeds[0], CallbackFunc(forward, feeds), CallbackFunc(no_score))
    analyzer.enable_per_layer_mse_loss([list(feed.values()) for feed in feeds], len(feeds))
    with job.phase("quantize"):
        simulation = analyzer.create_quantsim_and_encodings(QuantScheme.post_training_tf, 8, 8, None)
    with job.phase("analyse"):
        job.compared = len(analyzer.export_per_layer_mse_loss(simulation, str(job.folder / "aimet")))


if __name__ == "__main__":
    run(work, ["aimet-onnx", "onnxruntime", "onnx", "torch", "numpy"])

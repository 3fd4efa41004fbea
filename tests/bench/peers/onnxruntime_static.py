"""ONNX Runtime's static quantization (QDQ, its defaults), for the peers that compare two networks but make none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from .interface import Images, Job


class Reader(CalibrationDataReader):  # type: ignore[misc]  # its package has no types
    """The samples of a job, one at a time."""

    def __init__(self, job: Job) -> None:
        self._samples: Iterator[dict[str, Images]] = job.samples()

    def get_next(self) -> dict[str, Images] | None:
        return next(self._samples, None)


def quantized(job: Job) -> Path:
    """The quantized network's file, beside the float one; calibrated on all samples."""
    path = job.folder / "quantized.onnx"
    with job.phase("quantize"):
        quantize_static(str(job.model), str(path), Reader(job), quant_format=QuantFormat.QDQ)
    return path

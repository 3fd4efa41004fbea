"""What makes two runs the same: hashes of the networks, the data and everything that changes a number."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence

from gfpq_inspect import __version__
from gfpq_inspect.analyze.lanes import Lane, Side
from gfpq_inspect.analyze.record import versions
from gfpq_inspect.analyze.request import ComparisonRequest, format_of
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.tensors import completed


def run_key(request: ComparisonRequest, models: Mapping[Side, Model], lanes: Sequence[Lane]) -> dict[str, str]:
    """Part of a run to its hash or value, so that a difference can be named.

    The content of the samples is not in it: whoever goes on with a run compares digests as the samples are read.

    Args:
        request: What is compared.
        models: The models, as they are paired.
        lanes: The lanes that run.
    """
    chosen = format_of(request)
    key = {"the program": program_key()}
    for side, model in models.items():
        key[f"the {side.value} network"] = model_digest(model)
    key["the samples' names"] = source_key(request.source)
    if request.calibration is not None:
        key["the calibration set"] = source_key(request.calibration)
    if request.stored_coefficients is not None:
        key["the coefficient file"] = digest_of(repr(request.stored_coefficients.file))
    if request.labels is not None:
        key["the labels"] = digest_of(repr(request.labels.classes))
    return key | {
        "the format": "float" if chosen is None else chosen.name,
        "the lanes": " ".join(lane.name for lane in lanes),
        "--coefficients": request.coefficients,
        "--threshold": repr(request.threshold),
        "--judge": request.judge,
        "--device": request.device,
        "--engine": request.engine,
        "--task-output": " ".join(request.task_outputs),
        "the metrics": " ".join([*request.task_metrics, *request.metrics]),
    }


def program_key() -> str:
    """Versions of everything that computes, and the machine's architecture."""
    found = {"gfpq-inspect": __version__, **versions(), "machine": platform.machine()}
    return ", ".join(f"{name} {version}" for name, version in found.items())


def source_key(source: SampleSource) -> str:
    """Names and preprocessing of samples."""
    record = sorted(source.facts().preprocessing.items())
    return digest_of(repr((source.count, list(source.identities), list(source.names), record)))


def model_digest(model: Model) -> str:
    """Of all that a model computes: nodes, weights, inputs, and the table of layers with what is quantized."""
    found = hashlib.sha256()
    graph = model.graph.graph
    for entry in graph.node:
        found.update(entry.SerializeToString(deterministic=True))
    for tensor in graph.initializer:
        found.update(completed(tensor).SerializeToString(deterministic=True))
    for value in (*graph.input, *graph.output):
        found.update(value.SerializeToString(deterministic=True))
    found.update(repr(sorted(model.origin.sha256.items())).encode())
    found.update(repr((model.inputs, model.outputs, model.batchable, model.quantizes_itself)).encode())
    for layer in model.layers:
        found.update(repr((layer.key, layer.type, layer.kind, layer.quantization)).encode())
    return found.hexdigest()


def digest_of(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

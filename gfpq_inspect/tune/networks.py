"""The networks that the commands of this room change: opened from their files, and checked after the change."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.errors import InternalError, UsageError
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import CaffeNetwork, CaffeOptions, find_structure, read_network
from gfpq_inspect.models.caffe.weights import StoredWeights
from gfpq_inspect.models.fold import Fold
from gfpq_inspect.models.model import Model, ModelInput, Network
from gfpq_inspect.models.onnx.network import OnnxNetwork, read_onnx
from gfpq_inspect.models.open import sniff
from gfpq_inspect.models.run import run_model
from gfpq_inspect.tune.prototxt import Source

OUTPUT_TOLERANCE = 1e-3
"""Relative difference of a value beyond which folding is taken for a bug of ours; rounding stays below 1e-5."""
Values: TypeAlias = Mapping[str, NDArray[Any]]
_SEED = 20190520


@dataclass(frozen=True)
class CaffeFiles:
    """A Caffe network and its files.

    Attributes:
        network: As read, phase TEST.
        stored: The weight file.
        source: The prototxt; None for the structure inside the weights.
        paths: Files that were read.
    """

    network: CaffeNetwork
    stored: StoredWeights
    source: Source | None
    paths: tuple[Path, ...]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files that a changed network is written to."""
        return (".caffemodel",) if self.source is None else (".prototxt", ".caffemodel")


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX model and its file."""

    network: OnnxNetwork
    paths: tuple[Path, ...]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Suffixes of the files that a changed network is written to."""
        return (".onnx",)

    @property
    def proto(self) -> onnx.ModelProto:
        """The model as it is worked with: constants as initializers, every node named."""
        return self.network.proto


def open_files(paths: Sequence[Path], *, allow_unknown_fields: bool = False) -> CaffeFiles | OnnxFile:
    """Open a network from a prototxt and a caffemodel (in either order), a caffemodel alone, or an ONNX model.

    Args:
        paths: The files.
        allow_unknown_fields: Ignore fields of layers that are not known, with a note.

    Raises:
        UsageError: Other files, or too many.
        ModelError: A file is missing or damaged.
    """
    kinds = [sniff(path) for path in paths]
    if kinds == ["onnx"]:
        return OnnxFile(read_onnx(paths[0]), tuple(paths))
    if "onnx" in kinds or not 1 <= len(paths) <= 2:
        raise UsageError("give NET.prototxt and WEIGHTS.caffemodel, or one ONNX model")
    weights = [path for path, kind in zip(paths, kinds, strict=True) if kind == "caffe weights"]
    structures = [path for path, kind in zip(paths, kinds, strict=True) if kind == "prototxt"]
    if len(weights) != 1:
        what = "no weights among them" if not weights else "both are weights"
        raise UsageError(f"{' and '.join(map(str, paths))}: {what}; give NET.prototxt and WEIGHTS.caffemodel")
    structure, _ = find_structure(weights[0], structures[0] if structures else None, None)
    options = CaffeOptions(allow_unknown_fields=allow_unknown_fields)
    network = read_network(weights[0], structure, options=options)
    source = Source.read(structure) if structure is not None else None
    read = tuple(path for path in (structure, weights[0]) if path is not None)
    return CaffeFiles(network, read_caffemodel(weights[0]), source, read)


def seeded_inputs(inputs: Sequence[ModelInput]) -> dict[str, NDArray[np.generic]]:
    """Draw noise for every input: uniform from [-1, 1), integers 0 or 1."""
    drawn: dict[str, NDArray[np.generic]] = {}
    for index, one in enumerate(inputs):
        generator = np.random.default_rng([_SEED, index])
        kind = np.dtype(one.dtype)
        values = generator.uniform(-1, 1, one.shape) if kind.kind == "f" else generator.integers(0, 2, one.shape)
        drawn[one.name] = values.astype(kind)
    return drawn


def single_samples(network: Network, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Model, dict[str, tuple[int, ...]]]:
    """Build a network for one sample at a time where it allows that; returns it and the shapes of its inputs."""
    model = network.build(dict(shapes))
    ours = {one.name: (1, *one.shape[1:]) for one in model.inputs if one.shape}
    if model.batchable and any(one.shape[:1] != (1,) for one in model.inputs):
        model = network.build(ours)
    return model, {one.name: one.shape for one in model.inputs}


def check_folded(before: Model, after: Model, folds: Sequence[Fold]) -> float:
    """Run a network and its folded form on the same noise.

    Args:
        before: The network.
        after: The folded one, read back from its files.
        folds: What was folded.

    Returns:
        Over all outputs, the largest difference relative to the largest magnitude of that output. An output whose
        layer sorts or decides (DetectionOutput, ArgMax) can change as a whole by a difference in the last place: where
        its shape or an element of it jumps, what that layer reads is compared instead.

    Raises:
        InternalError: A folded layer computes something else.
    """
    feed = seeded_inputs(before.inputs)
    first, second = run_model(before, feed), run_model(after, feed)
    rows = {row.key: row for row in after.layers}
    for fold in folds:
        row = rows[fold.base]
        wrong = _difference(first[fold.output], second[row.outputs[0]])
        fed = max((_difference(first[name], second[name]) for name in row.inputs if name in first), default=0.0)
        if not (wrong <= OUTPUT_TOLERANCE or wrong <= 1e3 * fed):
            raise InternalError(
                f"folding changed the output of layer '{fold.base}' by {wrong:.3g} of its largest value"
            )
    pairs = _outputs(before, after)
    return max((_output_difference(pair, (before, after), (first, second)) for pair in pairs), default=0.0)


def _output_difference(pair: tuple[str, str], models: tuple[Model, Model], values: tuple[Values, Values]) -> float:
    difference = _difference(values[0][pair[0]], values[1][pair[1]])
    if difference <= OUTPUT_TOLERANCE:
        return difference
    read = [
        next(row.inputs for row in model.layers if value in row.outputs)
        for model, value in zip(models, pair, strict=True)
    ]
    return max(_difference(values[0][one], values[1][other]) for one, other in zip(*read, strict=True))


def _difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    expected, got = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if expected.shape != got.shape:
        return float("inf")
    scale = float(np.abs(expected).max(initial=0.0))
    difference = float(np.abs(expected - got).max(initial=0.0))
    return difference / scale if scale else difference


def _outputs(before: Model, after: Model) -> list[tuple[str, str]]:
    """Pair the outputs of two models by the names that the framework gives them."""
    blobs = [
        {value: blob for row in model.layers for value, blob in zip(row.outputs, row.blob_names, strict=True)}
        for model in (before, after)
    ]
    by_blob = {blobs[1].get(value, value): value for value in after.outputs}
    pairs = [(value, by_blob.get(blobs[0].get(value, value), "")) for value in before.outputs]
    if len(before.outputs) != len(after.outputs) or any(not other for _, other in pairs):
        raise InternalError(f"the outputs changed from {before.outputs} to {after.outputs}")
    return pairs


def reopen(files: Mapping[str, bytes], *, allow_unknown_fields: bool = False) -> CaffeFiles | OnnxFile:
    """Open a network from files that were not written yet.

    Args:
        files: Content by suffix: '.prototxt' and '.caffemodel', '.caffemodel' alone, or '.onnx'.
        allow_unknown_fields: As in `open_files`.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"changed{suffix}" for suffix in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        return open_files(paths, allow_unknown_fields=allow_unknown_fields)

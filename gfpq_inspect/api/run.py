"""`gfpq_inspect.compare` and `gfpq_inspect.load`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from gfpq_inspect.analyze.custom_metrics import MetricFunction
from gfpq_inspect.analyze.prepare import ComparisonOptions, build, prepare
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.analyze.task_metrics import MetricLike
from gfpq_inspect.analyze.verdict import DEFAULT_THRESHOLD
from gfpq_inspect.api.comparison import Comparison
from gfpq_inspect.errors import UsageError
from gfpq_inspect.inputs.callables import Array, Values
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network
from gfpq_inspect.quantize import FunctionFormat, NumberFormat
from gfpq_inspect.quantize.kernels import FloatArray

File: TypeAlias = "str | os.PathLike[str]"
NetworkLike: TypeAlias = "File | Model"
InputLike: TypeAlias = "File | Sequence[File] | Values"
FormatLike: TypeAlias = "str | NumberFormat | Callable[[FloatArray], FloatArray] | None"


def load(
    network: File,
    structure: File | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    fold: bool = False,
) -> Model:
    """Read a network, for `compare`.

    Args:
        network: A caffemodel, an HDF5 snapshot, a prototxt without weights, or an ONNX model.
        structure: Prototxt of a Caffe network; without it, it is looked for beside the weights.
        input_shapes: Input name to shape, where the file leaves it open.
        fold: Fold BatchNorm, Scale and Bias into the kernels before them.

    Raises:
        ModelError: A file is missing, damaged or of another kind, or a shape is missing.
        UsageError: Files that make no sense together.
    """
    opened = open_network(Path(network), None if structure is None else Path(structure))
    shapes = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    return build(opened, shapes, fold=fold)


def compare(
    first: NetworkLike,
    second: NetworkLike | None = None,
    *,
    inputs: InputLike | None = None,
    labels: Sequence[int] | Array | File | None = None,
    task_metrics: Sequence[str] | Mapping[str, MetricLike] = (),
    calibration: InputLike | None = None,
    load_coefficients: File | None = None,
    format: FormatLike = "gfpq8",
    metrics: Mapping[str, MetricFunction] | None = None,
    first_structure: File | None = None,
    second_structure: File | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    preprocessing: InputOptions | None = None,
    coefficients: str = "set",
    isolate: bool | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    judge: str = "default",
    fold: bool = False,
    workers: int = 2,
    max_memory: str | None = None,
    cache: File | None = None,
    checkpoint: File | None = None,
    resume: bool = False,
) -> Comparison:
    """Compare a float network with its quantized form, layer by layer.

    Args:
        first: The float network: a file, or a model that `load` gave.
        second: The fine-tuned or quantized network, or None to simulate a format on the first alone.
        inputs: Samples: files, folders or patterns (each perhaps as 'NAME=...'); an array [samples, ...]; a mapping
            from input name to array; or a function without arguments that gives an iterable of samples, the same ones
            at every call. None for seeded noise.
        labels: True class of every sample, for the accuracy of each lane; or a file of them, or 'beside' for those that
            come with the samples. None for those that stand in the samples' list or beside the data.
        task_metrics: Metrics of the task: names of installed ones, or name to metric (`analyze.task_metrics`).
        calibration: Samples that the coefficients come from, as `inputs`; None for the same samples.
        load_coefficients: File of coefficients, instead of a calibration.
        format: What to simulate: a name ('gfpq8', 'gfpq16', 'int8', 'int8-per-channel', 'uint8', 'fp8-e4m3',
            'fp8-e5m2', or a plug-in's); an object with the attributes of `quantize.NumberFormat`; a function from a
            float array to its quantized copy, called with every tensor that would be quantized, one sample at a time,
            and with every weight; or None to simulate nothing.
        metrics: Metric name to a function of two arrays, the reference's and the lane's tensor of one sample
            ([1, ...], same shape); called for every layer, comparison and sample. See `Comparison.layers`.
        first_structure: Prototxt of the first, where it is not beside its weights.
        second_structure: Prototxt of the second.
        input_shapes: Input name to shape, where a file leaves it open.
        preprocessing: How images and arrays become what the network reads.
        coefficients: 'set' for one calibration over all samples, 'sample' for coefficients of each sample's own.
        isolate: Whether each layer's own error is told from what arrived from before; None: where that costs little.
        threshold: Cosine below which a layer is flagged.
        judge: What the verdict stands on: 'default', 'total', or a comparison's name.
        fold: Fold BatchNorm, Scale and Bias first, as the chip's compiler does.
        workers: Batches in flight, one thread each.
        max_memory: Memory that the process should not exceed ('500M', '2G'): picks the batch.
        cache: Folder that keeps what runs learn of the float network, so that the next is cheaper.
        checkpoint: File that keeps what is known so far while the run lasts; it stays until the caller removes it.
        resume: Go on from the checkpoint, where there is one.

    Returns:
        The comparison.

    Raises:
        ModelError: A network that cannot be used.
        InputError: Samples that cannot be used.
        QuantizationError: Weights that cannot be quantized, no such format, or a function that fails.
        UsageError: Arguments that make no sense together, or a metric that fails.
    """
    number_format = _number_format(format)
    request = prepare(
        ComparisonOptions(
            first=_network(first),
            second=None if second is None else _network(second),
            first_structure=None if first_structure is None else Path(first_structure),
            second_structure=None if second_structure is None else Path(second_structure),
            input_shapes={name: tuple(shape) for name, shape in (input_shapes or {}).items()},
            inputs=_inputs(inputs),
            preprocessing=preprocessing or InputOptions(),
            number_format=number_format,
            bits=None,
            coefficients=coefficients,
            threshold=threshold,
            judge=judge,
            fold=fold,
            workers=workers,
            max_memory=max_memory,
            cache=None if cache is None else Path(cache),
            labels=_labels(labels),
            task_metrics=task_metrics,
            calibration=_inputs(calibration),
            load_coefficients=None if load_coefficients is None else Path(load_coefficients),
            command="gfpq_inspect.compare(...)",
        )
    )
    request = replace(request, isolate=isolate, metrics=dict(metrics or {}))
    if checkpoint is not None:
        request = replace(request, checkpoint=Path(checkpoint), resume=resume)
    elif resume:
        raise UsageError("resume goes on from a checkpoint; name it.")
    return Comparison(compare_networks(request))


def _network(given: NetworkLike) -> Path | Model:
    return given if isinstance(given, Model) else Path(given)


def _labels(given: Sequence[int] | Array | File | None) -> str | Labels | None:
    if given is None or isinstance(given, str | os.PathLike):
        return None if given is None else os.fspath(given)
    return Labels(tuple(int(label) for label in given), "labels")


def _inputs(given: InputLike | None) -> Sequence[str] | Values:
    if given is None:
        return ()
    if isinstance(given, str | os.PathLike):
        return (os.fspath(given),)
    if isinstance(given, list | tuple):
        if not all(isinstance(entry, str | os.PathLike) for entry in given):
            raise UsageError("a list of inputs holds files; stack arrays into one, samples along its first axis.")
        return tuple(os.fspath(entry) for entry in given)
    return given  # type: ignore[return-value]  # what is left of the alias are values


def _number_format(given: FormatLike) -> str | NumberFormat | None:
    if given is None or isinstance(given, str | NumberFormat):
        return given
    if not callable(given):
        raise UsageError(f"a format is a name, a NumberFormat or a function, not {type(given).__name__}.")
    return FunctionFormat(given, getattr(given, "__name__", "custom"))

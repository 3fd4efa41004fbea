"""From files and options to a `ComparisonRequest`: what the command line and the Python interface share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from gfpq_inspect.analyze.dumps.prepare import prepare_with_dump, takes_dump
from gfpq_inspect.analyze.findings.case import Snapshot
from gfpq_inspect.analyze.groups import with_group_coefficients
from gfpq_inspect.analyze.memory import parse_size
from gfpq_inspect.analyze.remedies.plan import apply_plan, read_plan
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.stored_coefficients import StoredSet
from gfpq_inspect.analyze.task_metrics import MetricLike, checked, find_metrics
from gfpq_inspect.analyze.verdict import DEFAULT_THRESHOLD
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.callables import Values, open_values
from gfpq_inspect.inputs.coefficients import read_coefficients
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions, resolve_input_shapes
from gfpq_inspect.inputs.transform import with_prototxt_defaults
from gfpq_inspect.models.fold import fold_model
from gfpq_inspect.models.model import Model, ModelInput, Network, Origin
from gfpq_inspect.models.open import open_network
from gfpq_inspect.quantize import NumberFormat, format_named


@dataclass(frozen=True)
class ComparisonOptions:
    """All that `compare` can be told.

    Attributes:
        first: The float network: caffemodel, HDF5 snapshot, prototxt or ONNX; a loaded model; or a dump.
        second: The second network, a dump, or None.
        first_structure: Prototxt of the first, or None to look for one.
        second_structure: Prototxt of the second, or None to look for one.
        input_shapes: Input name to shape; the shape of a network's only input may stand under ''.
        inputs: What to feed: files, folders, patterns, each perhaps as `NAME=...`; empty for seeded noise; or values
            from Python, as `inputs.callables.open_values` takes them.
        preprocessing: How data become what the network reads.
        number_format: Format to simulate, by name or as an object; None for GFPQ with `bits`.
        bits: 8 or 16, or None to compare two networks in float only.
        coefficients: 'set' or 'sample'.
        threshold: Cosine below which a layer is flagged.
        judge: 'default', 'total' or the name of a comparison.
        fold: Fold BatchNorm, Scale and Bias first: the deployment view.
        workers: Batches in flight.
        device: 'cpu', or 'cuda' for PyTorch on a GPU.
        engine: 'auto', 'merged' (all lanes in one graph) or 'layered' (one layer after the other).
        master: The float master that the second network's fine-tuning kept, or None.
        snapshots: Folder with snapshots of that fine-tuning, or None.
        plan: Bit widths of layers that `gfpq-inspect remedy` wrote, or None.
        group_coefficients: One input coefficient a group of grouped convolutions.
        isolate: Whether each layer's own error is told from what arrived from before; None: where that costs little.
        allow_missing: Layers without stored weights keep Caffe's filler values.
        allow_unknown_fields: Unknown prototxt fields are ignored.
        labels: True classes: a file, 'beside' for those that come with the samples (folder names too), 'none', or None
            for those that the samples' list or file holds.
        task_outputs: Outputs whose largest value is the decision; empty to tell them from their values.
        task_metrics: Task metrics: names of installed ones or 'python:module:attribute', or name to metric.
        calibration: Samples for the coefficients, as `inputs`; empty for the same samples.
        calibration_samples: Use the first so many of them.
        load_coefficients: File of coefficients, instead of a calibration.
        max_memory: Memory that the process should not exceed ('500M', '2G'), or None.
        cache: Folder that keeps what runs learn of the float network, or None.
        command: As it was typed, for the record.
        timing: Whether the result carries durations and host facts.
    """

    first: Path | Model
    second: Path | Model | None = None
    first_structure: Path | None = None
    second_structure: Path | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    inputs: Sequence[str] | Values = ()
    preprocessing: InputOptions = field(default_factory=InputOptions)
    number_format: str | NumberFormat | None = None
    bits: int | None = 8
    coefficients: str = "set"
    threshold: float = DEFAULT_THRESHOLD
    judge: str = "default"
    fold: bool = False
    workers: int = 2
    device: str = "cpu"
    engine: str = "auto"
    master: Path | None = None
    snapshots: Path | None = None
    plan: Path | None = None
    group_coefficients: bool = False
    isolate: bool | None = None
    allow_missing: bool = False
    allow_unknown_fields: bool = False
    labels: str | Labels | None = None
    task_outputs: Sequence[str] = ()
    task_metrics: Sequence[str] | Mapping[str, MetricLike] = ()
    calibration: Sequence[str] | Values = ()
    calibration_samples: int | None = None
    load_coefficients: Path | None = None
    max_memory: str | None = None
    cache: Path | None = None
    command: str = ""
    timing: bool = True


def prepare(options: ComparisonOptions) -> ComparisonRequest:
    """Open, translate and connect everything that a comparison needs.

    Args:
        options: What to compare and how.

    Returns:
        The request that `compare_networks` takes.

    Raises:
        ModelError: A network that cannot be used.
        InputError: Input that cannot be used.
        UsageError: Options that make no sense together.
    """
    if takes_dump(options):
        return prepare_with_dump(options, prepare)
    first = _open(options, options.first, options.first_structure, options.second, options.second_structure)
    second = None
    if options.second is not None:
        second = _open(options, options.second, options.second_structure, options.first, options.first_structure)
    shapes_first, shapes_second = _input_shapes(options, first, second)
    first_model = build(first, shapes_first, fold=options.fold)
    second_model = None if second is None else build(second, shapes_second, fold=options.fold)
    if options.plan is not None:
        plan = read_plan(options.plan)
        first_model = apply_plan(first_model, plan, options.plan)
        second_model = None if second_model is None else apply_plan(second_model, plan, options.plan)
    if options.group_coefficients:
        first_model = with_group_coefficients(first_model)
        second_model = None if second_model is None else with_group_coefficients(second_model)
    history = _history(options, shapes_first if second is None else shapes_second)
    preprocessing = _with_prototxt_defaults(options.preprocessing, first_model)
    source = _source(options.inputs, first_model, preprocessing)
    return ComparisonRequest(
        first=first_model,
        second=second_model,
        source=source,
        number_format=_number_format(options.number_format),
        bits=options.bits,
        coefficients=options.coefficients,
        isolate=options.isolate,
        threshold=options.threshold,
        judge=options.judge,
        workers=options.workers,
        device=options.device,
        engine=options.engine,
        view="folded" if options.fold else "as stored",
        master=history.master,
        snapshots=history.snapshots,
        labels=_labels(options.labels, source),
        task_outputs=tuple(options.task_outputs),
        task_metrics=_task_metrics(options.task_metrics),
        calibration=_calibration(options, first_model, preprocessing),
        stored_coefficients=_stored_coefficients(options),
        cache=options.cache,
        max_memory=None if options.max_memory is None else parse_size(options.max_memory),
        command=options.command,
        timing=options.timing,
    )


def _number_format(given: str | NumberFormat | None) -> NumberFormat | None:
    return format_named(given) if isinstance(given, str) else given


def _source(inputs: Sequence[str] | Values, model: Model, preprocessing: InputOptions) -> FeedSource:
    if isinstance(inputs, list | tuple):
        return open_inputs([str(entry) for entry in inputs], model.inputs, preprocessing, batchable=model.batchable)
    values = cast(Values, inputs)
    return open_values(values, model.inputs, preprocessing, batchable=model.batchable, name="inputs")


def _labels(given: str | Labels | None, source: FeedSource) -> Labels | None:
    """True classes of the samples; those that nobody asked for are used where they can be classes, and else not."""
    if given is None:
        found = source.labels()
        return None if found is None or found.guessed else replace(found, guessed=True)
    if isinstance(given, Labels):
        return given
    if given == "none":
        return None
    if given == "beside":
        found = source.labels()
        if found is None:
            raise InputError(
                "no labels come with the samples; give --labels FILE, lines of 'path label', or a folder a class."
            )
        return replace(found, guessed=False)
    return source.labels(Path(given))


def _task_metrics(given: Sequence[str] | Mapping[str, MetricLike]) -> dict[str, MetricLike]:
    if isinstance(given, Mapping):
        return {name: checked(name, metric) for name, metric in given.items()}
    return find_metrics(given)


def _calibration(options: ComparisonOptions, model: Model, preprocessing: InputOptions) -> FeedSource | None:
    """The calibration set, read and preprocessed as the evaluation set is."""
    given = options.calibration
    if isinstance(given, list | tuple) and not given:
        if options.calibration_samples is not None:
            raise UsageError("--calibration-samples says how many of --calibration to use; give --calibration.")
        return None
    if options.load_coefficients is not None:
        raise UsageError("--load-coefficients takes the place of a calibration; leave --calibration out.")
    return _source(given, model, replace(preprocessing, samples=options.calibration_samples))


def _stored_coefficients(options: ComparisonOptions) -> StoredSet | None:
    if options.load_coefficients is None:
        return None
    path = options.load_coefficients
    return StoredSet(path.name, read_coefficients(path, bits=options.bits or 8))


@dataclass(frozen=True)
class _Loaded:
    """A model that was built before, in the place of a network that still is to be."""

    model: Model

    @property
    def origin(self) -> Origin:
        """See `Network`."""
        return self.model.origin

    @property
    def declared_inputs(self) -> tuple[ModelInput, ...]:
        """See `Network`."""
        return self.model.inputs

    def build(self, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
        """The model, for the shapes that it was built for."""
        for entry in self.model.inputs:
            shape = (input_shapes or {}).get(entry.name, entry.shape)
            if shape != entry.shape:
                raise UsageError(
                    f"the model was loaded for {entry.name} of shape {entry.shape}, not {shape}; "
                    "give the shape to load()."
                )
        return self.model


@dataclass(frozen=True)
class _History:
    master: Model | None
    snapshots: tuple[Snapshot, ...]


def _history(options: ComparisonOptions, shapes: Mapping[str, tuple[int, ...]]) -> _History:
    """The float master and the snapshots, with the structure of the second network where they bring none."""
    whose, structure = options.second, options.second_structure
    if whose is None:
        whose, structure = options.first, options.first_structure

    def opened(path: Path) -> Model:
        return build(_open(options, path, None, whose, structure), shapes, fold=options.fold)

    master = opened(options.master) if options.master is not None else None
    snapshots = snapshot_files(options.snapshots) if options.snapshots is not None else []
    return _History(master, tuple(Snapshot(path.name, opened(path)) for path in snapshots))


def snapshot_files(folder: Path) -> list[Path]:
    """Weight files of a folder in the order of training: by the last number in their names, as Caffe's solver gives it.

    Raises:
        InputError: There is no such folder, or it holds no weights.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; --snapshots takes the folder that the solver writes to.")
    files = [path for path in folder.iterdir() if path.name.endswith((".caffemodel", ".caffemodel.h5", ".onnx"))]
    if not files:
        raise InputError(f"{folder} holds no .caffemodel, .caffemodel.h5 or .onnx; give the folder of the snapshots.")

    def step(path: Path) -> tuple[int, str]:
        numbers = re.findall(r"[0-9]+", path.name.removesuffix(".h5"))
        return (int(numbers[-1]) if numbers else -1, path.name)

    return sorted(files, key=step)


def build(network: Network, shapes: Mapping[str, tuple[int, ...]], *, fold: bool = False) -> Model:
    """Translate a network for one sample at a time where its batch axis counts samples.

    A prototxt often declares the batch that somebody trained with; what the network computes for one sample does not
    depend on it.

    Args:
        network: As opened.
        shapes: Input name to shape, for inputs whose shape the user gave.
        fold: Fold BatchNorm, Scale and Bias into the kernels before them.
    """
    model = network.build(shapes)
    if model.batchable and any(entry.shape[0] != 1 for entry in model.inputs if entry.shape):
        single = {entry.name: (1, *entry.shape[1:]) for entry in model.inputs if entry.shape}
        model = network.build({**shapes, **single})
    return fold_model(model) if fold else model


def _open(
    options: ComparisonOptions,
    path: Path | Model,
    structure: Path | None,
    other: Path | Model | None,
    other_structure: Path | None,
) -> Network:
    if isinstance(path, Model):
        return _Loaded(path)
    return open_network(
        path,
        None if structure is None else structure,
        _structure_beside(other, other_structure),
        allow_missing=options.allow_missing,
        allow_unknown_fields=options.allow_unknown_fields,
        weights_stay=True,
    )


def _with_prototxt_defaults(preprocessing: InputOptions, model: Model) -> InputOptions:
    """What the user left open is as the data layer of a training prototxt says; the input's record names it."""
    structure = model.origin.structure_file
    if model.origin.framework != "caffe" or structure is None:
        return preprocessing
    return with_prototxt_defaults(preprocessing, Path(structure))


def _structure_beside(weights: Path | Model | None, structure: Path | None) -> Path | None:
    """The prototxt that the other network uses: the one given, else the one of its weights' stem."""
    if structure is not None or weights is None or isinstance(weights, Model):
        return structure
    if weights.suffix.lower() == ".prototxt":
        return weights
    beside = weights.with_name(weights.name.removesuffix(".h5")).with_suffix(".prototxt")
    return beside if beside.is_file() else None


def _input_shapes(
    options: ComparisonOptions, first: Network, second: Network | None
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Give each network the shapes that name its inputs; a name that neither has is refused."""
    networks = [first] if second is None else [first, second]
    known = [{entry.name for entry in network.declared_inputs} | {""} for network in networks]
    for name in options.input_shapes:
        if not any(name in names for names in known):
            raise UsageError(
                f"--input-shape names input '{name}', but the network has "
                + ", ".join(sorted(f"'{entry}'" for names in known for entry in names if entry))
            )
    resolved = [
        resolve_input_shapes(
            {name: shape for name, shape in options.input_shapes.items() if name in names}, network.declared_inputs
        )
        for names, network in zip(known, networks, strict=True)
    ]
    return resolved[0], resolved[1] if second is not None else {}

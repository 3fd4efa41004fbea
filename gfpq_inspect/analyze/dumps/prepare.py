"""From a dump and a network, or from two dumps, to a `ComparisonRequest`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.comparison import DumpComparison, DumpRole
from gfpq_inspect.analyze.request import ComparisonRequest, format_of
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.dumps.dump import Dump
from gfpq_inspect.inputs.dumps.folder import is_dump, open_dump
from gfpq_inspect.inputs.dumps.match import DumpMatch, Left, match_dump
from gfpq_inspect.inputs.dumps.model import dump_model, tools_text, value_of
from gfpq_inspect.inputs.dumps.own_input import DUMP_INPUT, dump_feeds, input_reading, sample_that_matches
from gfpq_inspect.inputs.dumps.pair_dumps import pair_dumps
from gfpq_inspect.inputs.dumps.samples import SamplePlan, plan_samples
from gfpq_inspect.inputs.dumps.source import DumpSource, one_sample
from gfpq_inspect.inputs.dumps.store import ValueStore
from gfpq_inspect.inputs.dumps.values import Reading
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_model

if TYPE_CHECKING:
    from gfpq_inspect.analyze.prepare import ComparisonOptions

Prepare = Callable[["ComparisonOptions"], ComparisonRequest]


def takes_dump(options: ComparisonOptions) -> bool:
    """Whether either side of a comparison is a dump."""
    return any(isinstance(path, Path) and is_dump(path) for path in (options.first, options.second))


def prepare_with_dump(options: ComparisonOptions, prepare: Prepare) -> ComparisonRequest:
    """As `prepare.prepare`, where at least one side is a dump.

    Args:
        options: What to compare and how.
        prepare: Does the same for networks alone.

    Raises:
        InputError: A dump that cannot be used, or samples that do not belong to it.
        ModelError: A network that cannot be used.
        UsageError: Options that make no sense together.
    """
    store = ValueStore()
    paths = [path if isinstance(path, Path) and is_dump(path) else None for path in (options.first, options.second)]
    _check_options(options, paths)
    if paths[0] is not None and options.second is None:
        raise UsageError(
            f"{paths[0]} is a dump, which can only be compared with something: name the network, or a second dump"
        )
    if paths[0] is not None and paths[1] is not None:
        return _two_dumps(options, open_dump(paths[0], store), open_dump(paths[1], store))
    path = paths[0] or paths[1]
    assert path is not None
    role = DumpRole.REFERENCE if paths[0] is not None else DumpRole.TESTED
    return _with_network(options, prepare, open_dump(path, store), role)


def _check_options(options: ComparisonOptions, paths: list[Path | None]) -> None:
    named = (("--float-prototxt", options.first_structure), ("--quant-prototxt", options.second_structure))
    for path, (option, structure) in zip(paths, named, strict=True):
        if path is not None and structure is not None:
            raise UsageError(f"{option} {structure} is the structure of a network, but {path} is a dump; leave it out")
    if options.master is not None or options.snapshots is not None:
        raise UsageError("--master and --snapshots belong to a fine-tuned network, not to a dump; leave them out")
    if all(path is not None for path in paths) and options.inputs:
        raise UsageError("two dumps are compared as they are: leave --input out")


def _with_network(options: ComparisonOptions, prepare: Prepare, dump: Dump, role: DumpRole) -> ComparisonRequest:
    network = options.second if role is DumpRole.REFERENCE else options.first
    structure = options.second_structure if role is DumpRole.REFERENCE else options.first_structure
    assert network is not None
    own_input = _asks_for_own_input(options)
    if own_input:
        _check_preprocessing(options)
    if not own_input and _is_empty(options.inputs):
        raise InputError(
            f"{dump.path} was dumped for certain data: give them with --input (or --nnie-cfg), or --input {DUMP_INPUT} "
            "to feed the network with the input that the dump itself holds"
        )
    alone = replace(
        options,
        first=network,
        second=None,
        first_structure=structure,
        second_structure=None,
        inputs=() if own_input else options.inputs,
        labels=None if own_input else options.labels,
    )
    request = prepare(alone)
    model = request.first
    own = _own_source(request, dump) if own_input else None
    source = own if own is not None else request.source
    shapes = {entry.name: entry.shape for entry in model.inputs}
    match, plan = _matched(model, dump, source, shapes, limited=options.preprocessing.samples is not None)
    readings = {value_of(entry.tensor): entry.reading for entry in match.matched}
    fed = [(entry.tensor, entry.reading.layout.shape) for entry in match.matched]
    paired = DumpSource(source, shapes, [readings], plan)
    notes = (plan.rule, *_notes(dump, match.left))
    comparison = DumpComparison(role, (dump,), paired, match=match, notes=notes)
    second = dump_model(dump, fed, batchable=model.batchable)
    labels = _labels(request.labels if own is None else _own_labels(options.labels, own), plan, source.count)
    return replace(
        request,
        second=second,
        source=paired,
        labels=labels,
        dump=comparison,
        calibration=_calibration(request, source, paired),
    )


def _own_labels(given: str | Labels | None, source: FeedSource) -> Labels | None:
    """Labels of samples that a dump holds, which brings none itself."""
    if given is None or isinstance(given, Labels) or given == "none":
        return given if isinstance(given, Labels) else None
    if given == "beside":
        raise UsageError(f"no labels come with --input {DUMP_INPUT}; give --labels FILE")
    return source.labels(Path(given))


def _labels(labels: Labels | None, plan: SamplePlan, count: int) -> Labels | None:
    """The labels of the samples that are compared."""
    if labels is None or len(labels.classes) < count:
        return labels  # too few are refused with the request
    return replace(labels, classes=tuple(labels.classes[index] for index, _ in plan.pairs))


def _calibration(request: ComparisonRequest, source: SampleSource, paired: DumpSource) -> SampleSource | None:
    """The compiler's coefficients cover all images that it was given, also those that the dump does not hold."""
    stored = request.stored_coefficients is not None or request.coefficients != "set"
    if request.calibration is not None or stored or format_of(request) is None:
        return request.calibration
    return source if paired.count < source.count else None


def _asks_for_own_input(options: ComparisonOptions) -> bool:
    inputs = options.inputs
    if not isinstance(inputs, list | tuple):
        return False
    # A gate's configuration puts its own folder before names of files.
    asked = [text for text in map(str, inputs) if Path(text).name == DUMP_INPUT and not Path(text).exists()]
    if asked and len(inputs) > 1:
        raise UsageError(f"--input {DUMP_INPUT} feeds all inputs of the network from the dump; give it alone")
    return bool(asked)


def _check_preprocessing(options: ComparisonOptions) -> None:
    given = options.preprocessing
    for name in ("mean", "scale", "channel_order", "resize", "frame_size"):
        if getattr(given, name) is not None:
            raise UsageError(
                f"--{name.replace('_', '-')} has no effect on --input {DUMP_INPUT}, which is what the network reads "
                "already; leave it out"
            )


def _is_empty(inputs: object) -> bool:
    return isinstance(inputs, list | tuple) and not inputs


def _own_source(request: ComparisonRequest, dump: Dump) -> FeedSource:
    source = request.source
    assert isinstance(source, FeedSource)
    feeds = dump_feeds(request.first, dump)
    return FeedSource(feeds, source.plans, source.options)


def _matched(
    model: Model, dump: Dump, source: Any, shapes: Mapping[str, tuple[int, ...]], *, limited: bool
) -> tuple[DumpMatch, SamplePlan]:
    """Match tensors by the first sample of the dump, and samples by what the tensors hold."""
    match = match_dump(model, dump, _values(model, one_sample(source, shapes, 0)))
    if not match.matched and not match.broken:
        nearest = [f"'{entry.tensor.name}' ({entry.reason})" for entry in match.left if not entry.understood]
        raise InputError(
            f"{dump.path}: no tensor of the dump belongs to a layer of the network: {'; '.join(nearest[:3])}; "
            "check that both are of the same network"
        )

    def find() -> int | None:
        try:
            readings = [(entry.name, input_reading(model, entry, dump)) for entry in model.inputs]
        except InputError:
            return None
        known = [(name, reading) for name, reading in readings if reading is not None]
        return sample_that_matches(known, source.batches(1, shapes))

    plan = plan_samples(dump, match.held, source.identities, limited=limited, find=find)
    first = plan.pairs[0]
    if first != (0, 0):
        match = match_dump(model, dump, _values(model, one_sample(source, shapes, first[0])), first[1])
    return match, plan


def _values(model: Model, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return run_model(model, {entry.value: arrays[entry.name] for entry in model.inputs})


def _notes(dump: Dump, left: Iterable[Left]) -> list[str]:
    """What was found and needs no row."""
    reasons = Counter(entry.reason if "'" not in entry.reason else "" for entry in left if entry.understood)
    notes = []
    read = sum(entry.understood and not entry.tensor.is_output for entry in left)
    parameters = sum(count for reason, count in reasons.items() if reason.startswith("parameters"))
    if parameters:
        files = "file of parameters was" if parameters == 1 else "files of parameters were"
        notes.append(f"{parameters} {files} not compared: parameters are no outputs of layers.")
    read -= parameters
    if read > 0:
        tensors = "tensor that a layer reads is" if read == 1 else "tensors that layers read are"
        notes.append(f"{read} {tensors} compared where they are made.")
    if dump.other_files:
        shown = ", ".join(dump.other_files[:6])
        more = f" and {len(dump.other_files) - 6} more" if len(dump.other_files) > 6 else ""
        notes.append(f"Files of the dump that are no tensors: {shown}{more}.")
    return notes


def _two_dumps(options: ComparisonOptions, first: Dump, second: Dump) -> ComparisonRequest:
    pairs = pair_dumps(first, second)
    if not pairs.pairs and not pairs.broken:
        raise InputError(
            f"{first.path} and {second.path} have no tensor in common ('{first.tensors[0].name}', "
            f"'{second.tensors[0].name}', ...); compare dumps of the same network"
        )
    held = max((pair.first.samples for pair in pairs.pairs), default=1)
    names = (
        first.samples
        if len(first.samples) == held and all(first.samples)
        else tuple(f"sample[{index}]" for index in range(held))
    )
    plan = plan_samples(second, held, names)
    one = {value_of(pair.first.tensor): pair.first for pair in pairs.pairs}
    other = {f"second:{value_of(pair.second.tensor)}": pair.second for pair in pairs.pairs}
    source = DumpSource(
        None,
        {},
        [one, other],
        plan,
        identities=names,
        description=f"dumps of {held} {'sample' if held == 1 else 'samples'}",
    )
    role = DumpRole.BOTH
    notes = (*_notes(first, [left for _, left in pairs.left]), *_notes(second, ()))
    batchable = all(reading.layout.shape[:1] == (1,) for reading in (*one.values(), *other.values()))
    comparison = DumpComparison(role, (first, second), source, pairs=pairs, notes=notes)
    first_model = dump_model(first, _fed(one), batchable=batchable)
    second_model = _renamed(dump_model(second, _fed(other), batchable=batchable))
    return ComparisonRequest(
        first=first_model,
        second=second_model,
        source=source,
        bits=None,
        threshold=options.threshold,
        judge=options.judge,
        workers=options.workers,
        command=options.command,
        timing=options.timing,
        dump=comparison,
    )


def _fed(readings: Mapping[str, Reading]) -> list[tuple[Any, tuple[int, ...]]]:
    return [(reading.tensor, reading.layout.shape) for reading in readings.values()]


def _renamed(model: Model) -> Model:
    """The second dump's values get names of their own: the two share a source."""
    inputs = tuple(replace(entry, name=f"second:{entry.name}", value=f"second:{entry.value}") for entry in model.inputs)
    layers = tuple(
        replace(layer, outputs=tuple(f"second:{value}" for value in layer.outputs)) for layer in model.layers
    )
    return replace(model, inputs=inputs, layers=layers)


def dump_title(comparison: DumpComparison) -> str:
    """What takes part, for people."""
    return " and ".join(f"{dump.name} ({tools_text(dump)})" for dump in comparison.dumps)

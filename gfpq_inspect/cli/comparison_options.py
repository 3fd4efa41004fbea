"""Options of commands that compare networks, and the one way from them to a result."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.input_options import (
    ChannelOrder,
    FrameSize,
    Inputs,
    Layout,
    Mean,
    NnieConfiguration,
    Resize,
    Samples,
    Scale,
    Seed,
    all_inputs,
)
from gfpq_inspect.cli.long_run_options import Kept, MemoryArguments, termination_interrupts
from gfpq_inspect.cli.network_options import AllowMissing, AllowUnknownFields, InputShapes
from gfpq_inspect.cli.progress import shown_progress
from gfpq_inspect.cli.task_options import TaskArguments
from gfpq_inspect.errors import UsageError
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from gfpq_inspect.analyze.findings.case import Case
    from gfpq_inspect.analyze.prepare import ComparisonOptions
    from gfpq_inspect.analyze.result import Result


@dataclass(frozen=True, kw_only=True)
class ComparisonArguments(TaskArguments, MemoryArguments):
    """What to compare and how, as given on the command line or in a gate's configuration; the float network apart."""

    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="[QUANT]",
            help="The fine-tuned network, or a folder of dumped tensors; without it FLOAT against itself, quantized.",
        ),
    ] = None
    float_prototxt: Annotated[
        Path | None,
        typer.Option(help="Structure of FLOAT; otherwise looked for beside it."),
    ] = None
    quant_prototxt: Annotated[
        Path | None,
        typer.Option(help="Structure of QUANT; otherwise looked for beside it."),
    ] = None
    input_shape: InputShapes = None
    allow_missing: AllowMissing = False
    allow_unknown_fields: AllowUnknownFields = False
    fold: Annotated[
        bool, typer.Option("--fold", help="Fold BatchNorm, Scale and Bias first, as the chip's compiler does.")
    ] = False
    master: Annotated[
        Path | None, typer.Option(help="The float master that fine-tuning QUANT kept: for findings on training.")
    ] = None
    snapshots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of snapshots of that fine-tuning, for the same.")
    ] = None
    isolate: Annotated[
        bool | None,
        typer.Option(
            "--isolate/--no-isolate",
            help="Run each quantized layer by itself too, to tell its own error from what arrived; otherwise where "
            "that costs little.",
        ),
    ] = None
    group_coefficients: Annotated[
        bool,
        typer.Option("--group-coefficients", help="One input coefficient for each group of grouped convolutions."),
    ] = False
    plan: Annotated[Path | None, typer.Option(help="Bit widths of layers, as gfpq-inspect remedy wrote them.")] = None
    inputs: Inputs = None
    nnie_cfg: NnieConfiguration = None
    mean: Mean = None
    scale: Scale = None
    channel_order: ChannelOrder = None
    layout: Layout = None
    resize: Resize = None
    frame_size: FrameSize = None
    samples: Samples = None
    seed: Seed = 0
    bits: Annotated[str, typer.Option(help="8, 16, or 'float' to compare two networks without quantizing.")] = "8"
    number_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Simulate this format instead of GFPQ with --bits: gfpq8, gfpq16, int8, int8-per-channel, uint8, "
            "fp8-e4m3, fp8-e5m2, or one of a plug-in.",
        ),
    ] = None
    coefficients: Annotated[
        str, typer.Option(help="set: one calibration over all samples; sample: from each sample's own data.")
    ] = "set"
    threshold: Annotated[float, typer.Option(help="Cosine below which a layer is flagged.")] = 0.98
    judge: Annotated[
        str, typer.Option(help="What the exit code stands on: default, total, or a comparison's name.")
    ] = "default"
    workers: Annotated[int, typer.Option(min=1, max=256, help="Batches in flight, one thread each.")] = 2
    device: Annotated[
        str, typer.Option(help="cpu (ONNX Runtime), or cuda: PyTorch on a GPU, tensors staying there between layers.")
    ] = "cpu"
    engine: Annotated[
        str,
        typer.Option(
            help="auto, merged (all lanes in one graph) or layered (one layer after the other); the numbers agree."
        ),
    ] = "auto"
    no_timing: Annotated[
        bool,
        typer.Option("--no-timing", help="Leave durations and host facts out, so that equal runs give equal bytes."),
    ] = False


def comparison_options(first: Path, given: ComparisonArguments) -> ComparisonOptions:
    """Turn arguments into what the analyzer takes.

    Args:
        first: The float network.
        given: All other arguments.

    Raises:
        UsageError: Arguments that make no sense.
    """
    from gfpq_inspect.analyze.prepare import ComparisonOptions
    from gfpq_inspect.inputs.options import InputOptions, parse_input_shapes

    return ComparisonOptions(
        first=first,
        second=given.second,
        first_structure=given.float_prototxt,
        second_structure=given.quant_prototxt,
        input_shapes=parse_input_shapes(given.input_shape or ()),
        inputs=all_inputs(given.inputs, given.nnie_cfg),
        preprocessing=InputOptions(
            mean=given.mean,
            scale=given.scale,
            channel_order=given.channel_order,
            layout=given.layout,
            resize=given.resize,
            frame_size=given.frame_size,
            samples=given.samples,
            seed=given.seed,
        ),
        number_format=given.number_format,
        bits=_bit_width(given.bits),
        coefficients=given.coefficients,
        threshold=given.threshold,
        judge=given.judge,
        fold=given.fold,
        master=given.master,
        snapshots=given.snapshots,
        plan=given.plan,
        group_coefficients=given.group_coefficients,
        isolate=given.isolate,
        workers=given.workers,
        device=given.device,
        engine=given.engine,
        allow_missing=given.allow_missing,
        allow_unknown_fields=given.allow_unknown_fields,
        labels=given.labels,
        task_outputs=tuple(given.task_output or ()),
        task_metrics=tuple(given.task_metric or ()),
        calibration=tuple(given.calibration or ()),
        calibration_samples=given.calibration_samples,
        load_coefficients=given.load_coefficients,
        max_memory=given.max_memory,
        cache=given.cache,
        command=command_line(),
        timing=not given.no_timing,
    )


def files_read(first: Path | None, given: ComparisonArguments) -> list[Path]:
    """All files that arguments name for reading; texts that are no file's name (`beside`, 104,117,123) among them."""
    named: list[Path] = [] if first is None else [first]
    for entry in fields(given):
        value = getattr(given, entry.name)
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str):
                named += [Path(part), Path(part.partition("=")[2] or part)]
            elif isinstance(part, Path):
                named.append(part)
    return [path for path in named if path.is_file()]


def run_comparison(
    first: Path,
    given: ComparisonArguments,
    *,
    quiet: bool,
    look: Callable[[Case], None] | None = None,
    keep: Kept | None = None,
) -> Result:
    """Compare two networks, with progress where a person watches.

    Args:
        first: The float network.
        given: All other arguments.
        quiet: No progress.
        look: See `compare_networks`.
        keep: Where to keep what is known so far.

    Returns:
        The result; `judgement.partial` where the run was interrupted.

    Raises:
        UserError: Files or options that cannot be used.
    """
    from gfpq_inspect.analyze.prepare import prepare
    from gfpq_inspect.analyze.session import compare_networks

    request = replace(prepare(comparison_options(first, given)), warn=_warn)
    if keep is not None:
        request = replace(request, checkpoint=keep.path, resume=keep.resume)
    with shown_progress(quiet=quiet) as progress, termination_interrupts():
        return compare_networks(request, progress, look)


def _warn(text: str) -> None:
    print(f"gfpq-inspect: warning: {visible(text)}", file=sys.stderr)


def _bit_width(text: str) -> int | None:
    """Read --bits."""
    widths: dict[str, int | None] = {"8": 8, "16": 16, "float": None}
    if text not in widths:
        raise UsageError(f"--bits {text} is unknown; give 8, 16 or float")
    return widths[text]


def command_line() -> str:
    """The command as typed, with file names in place of paths: a report names no machine's folders.

    A run that was resumed is recorded as one that was not stopped: it is the same.
    """
    words = ["gfpq-inspect", *(word for word in sys.argv[1:] if word != "--resume")]
    return shlex.join(word if "://" in word else _without_folders(word) for word in words)


def _without_folders(word: str) -> str:
    """Cut a path's folders off, also behind NAME=."""
    name, equals, path = word.rpartition("=")
    return f"{name}{equals}{path.rsplit('/', 1)[-1]}" if "/" in path else word

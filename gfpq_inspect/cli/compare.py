"""`gfpq-inspect compare`: the main job, from files to reports and an exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
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
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_INTERRUPTED, EXIT_PASS, complain
from gfpq_inspect.cli.network_options import AllowMissing, AllowUnknownFields, InputShapes
from gfpq_inspect.cli.progress import shown_progress
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import check_writable, write_atomically

if TYPE_CHECKING:
    from gfpq_inspect.analyze.result import Result


def compare(
    first: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float network: .caffemodel, .h5 or .onnx.")],
    second: Annotated[
        Path | None,
        typer.Argument(metavar="[QUANT]", help="The fine-tuned network; without it FLOAT against itself, quantized."),
    ] = None,
    *,
    float_prototxt: Annotated[
        Path | None,
        typer.Option(help="Structure of FLOAT; otherwise looked for beside it."),
    ] = None,
    quant_prototxt: Annotated[
        Path | None,
        typer.Option(help="Structure of QUANT; otherwise looked for beside it."),
    ] = None,
    input_shape: InputShapes = None,
    allow_missing: AllowMissing = False,
    allow_unknown_fields: AllowUnknownFields = False,
    fold: Annotated[
        bool, typer.Option("--fold", help="Fold BatchNorm, Scale and Bias first, as the chip's compiler does.")
    ] = False,
    master: Annotated[
        Path | None, typer.Option(help="The float master that fine-tuning QUANT kept: for findings on training.")
    ] = None,
    snapshots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of snapshots of that fine-tuning, for the same.")
    ] = None,
    group_coefficients: Annotated[
        bool,
        typer.Option("--group-coefficients", help="One input coefficient for each group of grouped convolutions."),
    ] = False,
    plan: Annotated[Path | None, typer.Option(help="Bit widths of layers, as gfpq-inspect remedy wrote them.")] = None,
    inputs: Inputs = None,
    nnie_cfg: NnieConfiguration = None,
    mean: Mean = None,
    scale: Scale = None,
    channel_order: ChannelOrder = None,
    layout: Layout = None,
    resize: Resize = None,
    frame_size: FrameSize = None,
    samples: Samples = None,
    seed: Seed = 0,
    bits: Annotated[str, typer.Option(help="8, 16, or 'float' to compare two networks without quantizing.")] = "8",
    number_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Simulate this format instead of GFPQ with --bits: gfpq8, gfpq16, int8, int8-per-channel, uint8, "
            "fp8-e4m3, fp8-e5m2, or one of a plug-in.",
        ),
    ] = None,
    coefficients: Annotated[
        str, typer.Option(help="set: one calibration over all samples; sample: from each sample's own data.")
    ] = "set",
    threshold: Annotated[float, typer.Option(help="Cosine below which a layer is flagged.")] = 0.98,
    judge: Annotated[
        str, typer.Option(help="What the exit code stands on: default, total, or a comparison's name.")
    ] = "default",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole result.")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report as one page.")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the layer table.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False,
    no_timing: Annotated[
        bool,
        typer.Option("--no-timing", help="Leave durations and host facts out, so that equal runs give equal bytes."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Batches in flight, one thread each.")] = 2,
    device: Annotated[
        str, typer.Option(help="cpu (ONNX Runtime), or cuda: PyTorch on a GPU, tensors staying there between layers.")
    ] = "cpu",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and no report on standard output.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every layer.")] = False,
) -> int:
    """Compare a float network with its quantized form, layer by layer.

    Exit code 0: the verdict is good; 1: it is not; 2: usage or bad input; 130: interrupted.

    Example: gfpq-inspect compare float.caffemodel quant.caffemodel --input 'photographs/*.jpg' --html report.html
    """
    from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare  # noqa: PLC0415  (imported when it runs)
    from gfpq_inspect.analyze.session import compare_networks  # noqa: PLC0415
    from gfpq_inspect.inputs.options import InputOptions, parse_input_shapes  # noqa: PLC0415

    outputs = {"json": json_file, "html": html_file, "csv": csv_file}
    _check_outputs([path for path in outputs.values() if path is not None], overwrite=force)
    options = ComparisonOptions(
        first=first,
        second=second,
        first_structure=float_prototxt,
        second_structure=quant_prototxt,
        input_shapes=parse_input_shapes(input_shape or ()),
        inputs=all_inputs(inputs, nnie_cfg),
        preprocessing=InputOptions(
            mean=mean,
            scale=scale,
            channel_order=channel_order,
            layout=layout,
            resize=resize,
            frame_size=frame_size,
            samples=samples,
            seed=seed,
        ),
        number_format=number_format,
        bits=_bit_width(bits),
        coefficients=coefficients,
        threshold=threshold,
        judge=judge,
        fold=fold,
        master=master,
        snapshots=snapshots,
        plan=plan,
        group_coefficients=group_coefficients,
        workers=workers,
        device=device,
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        command=_command_line(),
        timing=not no_timing,
    )
    request = prepare(options)
    with shown_progress(quiet=quiet) as progress:
        result = compare_networks(request, progress)
    written = _write(result, outputs, overwrite=force, timing=not no_timing)
    if not quiet:
        from gfpq_inspect.report.terminal import make_console, render_terminal  # noqa: PLC0415

        render_terminal(result, make_console(), verbose=verbose, files=written)
    if result.judgement.partial:
        complain("interrupted: the report covers the samples seen so far")
        return EXIT_INTERRUPTED
    return EXIT_PASS if result.judgement.good else EXIT_GATE_FAILED


def _bit_width(text: str) -> int | None:
    """Read --bits."""
    widths: dict[str, int | None] = {"8": 8, "16": 16, "float": None}
    if text not in widths:
        raise UsageError(f"--bits {text} is unknown; give 8, 16 or float")
    return widths[text]


def _check_outputs(paths: list[Path], *, overwrite: bool) -> None:
    """Refuse before the run what could not be written after it."""
    for index, path in enumerate(paths):
        if path in paths[:index]:
            raise UsageError(f"{path} is named for two reports; give each its own file")
        check_writable(path, overwrite=overwrite)


def _write(result: Result, outputs: dict[str, Path | None], *, overwrite: bool, timing: bool) -> list[Path]:
    """Write the files that were asked for; return their paths."""
    written = []
    for kind, path in outputs.items():
        if path is not None:
            write_atomically(path, _renderer(kind, timing=timing)(result), overwrite=overwrite)
            written.append(path)
    return written


def _renderer(kind: str, *, timing: bool) -> Callable[[Result], str]:
    """The renderer of a kind of file; each brings its own libraries, so it is imported only when asked for."""
    if kind == "json":
        from gfpq_inspect.report.jsonfile import render_json  # noqa: PLC0415

        return lambda result: render_json(result, timing=timing)
    if kind == "html":
        from gfpq_inspect.report.html import render_html  # noqa: PLC0415

        return render_html
    from gfpq_inspect.report.csvfile import render_csv  # noqa: PLC0415

    return render_csv


def _command_line() -> str:
    """The command as typed, with file names in place of paths: a report names no machine's folders."""
    words = ["gfpq-inspect", *sys.argv[1:]]
    return shlex.join(word if "://" in word else _without_folders(word) for word in words)


def _without_folders(word: str) -> str:
    """Cut a path's folders off, also behind NAME=."""
    name, equals, path = word.rpartition("=")
    return f"{name}{equals}{path.rsplit('/', 1)[-1]}" if "/" in path else word

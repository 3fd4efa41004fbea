"""`gfpq-inspect tune`: recovers precision of a network, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.comparison_options import command_line
from gfpq_inspect.cli.fold import FILES, FORCE, OUTPUT, split_files
from gfpq_inspect.cli.input_options import FeedArguments
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_PASS
from gfpq_inspect.cli.network_options import AllowUnknownFields, InputShapes
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.progress import shown_progress
from gfpq_inspect.errors import MissingExtraError, UsageError
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.tune.networks import CaffeFiles, OnnxFile
    from gfpq_inspect.tune.recover.run import TunedFiles

CHECKPOINT_SUFFIX = ".checkpoint"
REPORT_SUFFIXES = (".json", ".html")


@with_option_groups
def tune(
    files: FILES,
    *,
    feed: FeedArguments,
    output: OUTPUT = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|beside",
            help="True classes: a class a line, lines 'name label', .npy, .npz or idx; 'beside': those that come with "
            "the samples, folder names too. Without, the float network is the teacher.",
        ),
    ] = None,
    holdout: Annotated[float, typer.Option(help="Share of the samples that training is watched by.")] = 0.2,
    judged: Annotated[
        float, typer.Option(help="Share that nothing sees but the comparison at the end; 0: judge by --holdout's.")
    ] = 0.2,
    bits: Annotated[int, typer.Option(help="Bit width, 8 or 16; layers named *_hp always get 16.")] = 8,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Fold BatchNorm, Scale and Bias first, as the chip does.")
    ] = True,
    closed_form: Annotated[
        bool, typer.Option("--closed-form/--no-closed-form", help="Do the steps that need no training first.")
    ] = True,
    epochs: Annotated[int, typer.Option(min=0, help="Passes over the training samples at most.")] = 20,
    steps: Annotated[int, typer.Option(min=0, help="Steps of training at most; 0 for none.")] = 100,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate, relative to each tensor's size; otherwise a few are tried.")
    ] = None,
    momentum: Annotated[float, typer.Option(help="Of the solver, as Caffe means it.")] = 0.9,
    batch: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 8,
    patience: Annotated[int, typer.Option(min=1, help="Evaluations without progress after which training ends.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of every draw.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from OUT_PREFIX.checkpoint, which a stopped run leaves.")
    ] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Begin no further step after that; the best so far is written, and --resume --force goes on.",
        ),
    ] = None,
    input_shape: InputShapes = None,
    allow_unknown_fields: AllowUnknownFields = False,
    force: FORCE = False,
    no_timing: Annotated[
        bool, typer.Option("--no-timing", help="Leave durations and host facts out of the report.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> int:
    """Recover precision that quantization costs a network: closed-form steps, then training with a float master.

    Writes the tuned network with weights on the grid (OUT_PREFIX.prototxt and .caffemodel, or .onnx), its float master
    (OUT_PREFIX_master...), the parameters for the mapper, and a report of before and after (.html, .json). Needs
    PyTorch, the extra 'torch'.

    Exit code 0: error was removed; 1: nothing better was found, and the network was quantized as it is.

    Example: gfpq-inspect tune net.prototxt net.caffemodel net_tuned --input 'photographs/*.jpg'
    """
    _need_torch()
    from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
    from gfpq_inspect.inputs.options import parse_input_shapes, resolve_input_shapes
    from gfpq_inspect.tune.networks import open_files
    from gfpq_inspect.tune.recover.run import TuneRequest, tune_network
    from gfpq_inspect.tune.recover.training import TuneSettings

    if time_limit is not None and not time_limit > 0:
        raise UsageError(f"--time-limit {time_limit:g}: give seconds, more than 0; leave it out for no limit.")
    paths, prefix = split_files(files, output)
    shown, prefix = (
        prefix,
        prefix.absolute(),
    )  # a long run writes where it was told to, whatever becomes of the working folder
    settings = TuneSettings(bits, epochs, steps, rate, momentum, batch, patience, seed, closed_form)
    opened = open_files(paths, allow_unknown_fields=allow_unknown_fields)
    outputs = _outputs(opened, prefix, overwrite=force)
    checkpoint = prefix.with_name(prefix.name + CHECKPOINT_SUFFIX)
    if checkpoint.exists() and not resume and not force:
        raise UsageError(f"{checkpoint}: a run was stopped here; go on with --resume, or begin anew with --force")
    prepared = prepare(
        ComparisonOptions(
            first=_weights_of(opened),
            first_structure=_structure_of(opened),
            input_shapes=parse_input_shapes(input_shape or ()),
            inputs=feed.sources,
            preprocessing=feed.preprocessing(seed),
            bits=bits,
            labels=labels,
            allow_unknown_fields=allow_unknown_fields,
        )
    )
    shapes = resolve_input_shapes(parse_input_shapes(input_shape or ()), opened.network.declared_inputs)
    request = TuneRequest(
        opened,
        prepared.source,
        prepared.labels if labels is not None else None,
        settings,
        shapes,
        fold=fold,
        holdout=holdout,
        judged=judged,
        checkpoint=checkpoint,
        resume=resume,
        time_limit_s=time_limit,
        allow_unknown_fields=allow_unknown_fields,
        command=command_line(),
        timing=not no_timing,
    )
    with shown_progress(quiet=quiet) as progress:
        done = tune_network(request, progress)
    _write(done, outputs, prefix, timing=not no_timing, overwrite=force)
    if not done.stopped:
        checkpoint.unlink(missing_ok=True)
    _tell(done, [str(shown.with_name(shown.name + suffix)) for suffix in outputs])
    return EXIT_PASS if done.outcome.improved else EXIT_GATE_FAILED


def _need_torch() -> None:
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise MissingExtraError("gfpq-inspect tune", "torch")


def _weights_of(opened: CaffeFiles | OnnxFile) -> Path:
    return opened.paths[-1]


def _structure_of(opened: CaffeFiles | OnnxFile) -> Path | None:
    return opened.paths[0] if len(opened.paths) > 1 else None


def _outputs(opened: CaffeFiles | OnnxFile, prefix: Path, *, overwrite: bool) -> dict[str, Path]:
    from gfpq_inspect.tune.outputs import output_paths
    from gfpq_inspect.tune.parameters import parameter_suffixes

    beside = parameter_suffixes(caffe=opened.network.origin.framework == "caffe")
    master = [f"_master{suffix}" for suffix in opened.suffixes]
    return output_paths(
        prefix, (*opened.suffixes, *master, *beside, *REPORT_SUFFIXES), opened.paths, overwrite=overwrite
    )


def _write(done: TunedFiles, outputs: dict[str, Path], prefix: Path, *, timing: bool, overwrite: bool) -> None:
    from gfpq_inspect.report.html import render_html
    from gfpq_inspect.report.jsonfile import render_json
    from gfpq_inspect.tune.outputs import write_together

    contents: dict[str, bytes | str] = {
        **done.quantized.files,
        **{f"_master{suffix}": content for suffix, content in done.master.items()},
        **done.parameters(prefix.name),
        ".json": render_json(done.result, timing=timing),
        ".html": render_html(done.result),
    }
    write_together({outputs[suffix]: content for suffix, content in contents.items()}, overwrite=overwrite)


def _tell(done: TunedFiles, written: list[str]) -> None:
    from gfpq_inspect.tune.recover.explain import summary

    for line in summary(done.outcome, done.result, done.split):
        print(visible(line))
    print(f"Wrote {', '.join(written)}.")

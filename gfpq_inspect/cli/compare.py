"""`gfpq-inspect compare`: the main job, from files to reports and an exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.comparison_options import ComparisonArguments, files_read, run_comparison
from gfpq_inspect.cli.gate_options import GateArguments, close_gate, open_gate
from gfpq_inspect.cli.long_run_options import Kept, ResumeArguments, kept
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_INTERRUPTED, EXIT_PASS, complain
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.report_files import HistogramsKept, ReportFiles, check_outputs, write_reports
from gfpq_inspect.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gfpq_inspect.analyze.result import Result


@with_option_groups
def compare(
    first: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float network, or a dump: a folder.")],
    comparison: ComparisonArguments,
    files: ReportFiles,
    *,
    gate: Annotated[
        bool, typer.Option("--gate", help="Judge by configured limits, as gfpq-inspect gate does, not by --threshold.")
    ] = False,
    judged: GateArguments,
    resumed: ResumeArguments,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and no report on standard output.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every layer.")] = False,
) -> int:
    """Compare a float network with its quantized form, layer by layer.

    Exit code 0: the verdict is good; 1: it is not; 2: usage or bad input; 130: interrupted. With
    --gate the gate decides.

    Example: gfpq-inspect compare float.caffemodel quant.caffemodel --input 'photographs/*.jpg' --html report.html
    """
    if not gate and judged != GateArguments():
        raise UsageError(
            "--config, --update-baseline, --junit, --sarif, --markdown and --github belong to --gate; add it"
        )
    keep = kept(resumed, files.paths, force=files.force)
    files = replace(files, force=files.force or keep.goes_on)
    opened = open_gate(judged) if gate else None
    read = files_read(first, comparison) + (opened.files_read if opened is not None else [])
    check_outputs([*files.paths, *judged.outputs.values()], overwrite=files.force, read=read)

    def show(result: Result, written: list[Path]) -> None:
        if not quiet:
            from gfpq_inspect.report.terminal import make_console, render_terminal

            render_terminal(result, make_console(), verbose=verbose, files=written)

    result, _ = compare_and_write(first, comparison, files, quiet=quiet, keep=keep, show=show)
    if not result.judgement.partial:
        keep.finished()
    if opened is not None:
        models = {"first": first, "second": comparison.second or first}
        return close_gate(
            opened, judged, result, models, force=files.force, quiet=quiet, verbose=verbose, advice=keep.advice
        )
    if result.judgement.partial:
        complain(f"interrupted: the report covers what was seen so far{keep.advice}")
        return EXIT_INTERRUPTED
    return EXIT_PASS if result.judgement.good else EXIT_GATE_FAILED


def compare_and_write(
    first: Path,
    comparison: ComparisonArguments,
    files: ReportFiles,
    *,
    quiet: bool,
    keep: Kept | None = None,
    show: Callable[[Result, list[Path]], None] | None = None,
) -> tuple[Result, list[Path]]:
    """Compare two networks and write the files that were asked for.

    Args:
        first: The float network.
        comparison: All other arguments.
        files: What to write; checked before.
        quiet: No progress.
        keep: Where to keep what is known so far.
        show: Shows the result, also where a full disk took none of the files.

    Returns:
        The result and the files.

    Raises:
        UserError: Files or options that cannot be used.
        OutputError: Files that could not be written; what was measured is kept.
        KeyboardInterrupt: Interrupted before anything was measured.
    """
    keep = keep or Kept()
    histograms = HistogramsKept() if files.full_histograms is not None else None
    try:
        result = run_comparison(first, comparison, quiet=quiet, look=histograms, keep=keep)
    except KeyboardInterrupt:
        complain(f"nothing was measured yet{keep.advice}")
        raise
    try:
        written = write_reports(result, files, timing=not comparison.no_timing, histograms=histograms)
    except OutputError as error:
        if show is not None:
            show(result, [])
        raise OutputError(f"{error}{keep.advice}") from error
    if show is not None:
        show(result, written)
    return result, written

"""`gfpq-inspect compare`: the main job, from files to reports and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.comparison_options import ComparisonArguments, run_comparison
from gfpq_inspect.cli.gate_options import GateArguments, close_gate, open_gate
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_INTERRUPTED, EXIT_PASS, complain
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.report_files import HistogramsKept, ReportFiles, check_outputs, write_reports
from gfpq_inspect.errors import UsageError

if TYPE_CHECKING:
    from gfpq_inspect.analyze.result import Result


@with_option_groups
def compare(
    first: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float network: .caffemodel, .h5 or .onnx.")],
    comparison: ComparisonArguments,
    files: ReportFiles,
    *,
    gate: Annotated[
        bool, typer.Option("--gate", help="Judge by configured limits, as gfpq-inspect gate does, not by --threshold.")
    ] = False,
    judged: GateArguments,
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
    check_outputs([*files.paths, *judged.outputs.values()], overwrite=files.force)
    opened = open_gate(judged) if gate else None
    result, written = compare_and_write(first, comparison, files, quiet=quiet)
    if not quiet:
        from gfpq_inspect.report.terminal import make_console, render_terminal  # noqa: PLC0415

        render_terminal(result, make_console(), verbose=verbose, files=written)
    if opened is not None:
        models = {"first": first, "second": comparison.second or first}
        return close_gate(opened, judged, result, models, force=files.force, quiet=quiet, verbose=verbose)
    if result.judgement.partial:
        complain("interrupted: the report covers the samples seen so far")
        return EXIT_INTERRUPTED
    return EXIT_PASS if result.judgement.good else EXIT_GATE_FAILED


def compare_and_write(
    first: Path, comparison: ComparisonArguments, files: ReportFiles, *, quiet: bool
) -> tuple[Result, list[Path]]:
    """Compare two networks and write the files that were asked for.

    Args:
        first: The float network.
        comparison: All other arguments.
        files: What to write; checked before.
        quiet: No progress.

    Returns:
        The result and the files.

    Raises:
        UserError: Files or options that cannot be used.
    """
    histograms = HistogramsKept() if files.full_histograms is not None else None
    result = run_comparison(first, comparison, quiet=quiet, look=histograms)
    return result, write_reports(result, files, timing=not comparison.no_timing, histograms=histograms)

"""`gfpq-inspect compare`: the main job, from files to reports and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gfpq_inspect.cli.comparison_options import ComparisonArguments, run_comparison
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_INTERRUPTED, EXIT_PASS, complain
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.report_files import HistogramsKept, ReportFiles, check_outputs, write_reports


@with_option_groups
def compare(
    first: Annotated[Path, typer.Argument(metavar="FLOAT", help="The float network: .caffemodel, .h5 or .onnx.")],
    comparison: ComparisonArguments,
    files: ReportFiles,
    *,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and no report on standard output.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every layer.")] = False,
) -> int:
    """Compare a float network with its quantized form, layer by layer.

    Exit code 0: the verdict is good; 1: it is not; 2: usage or bad input; 130: interrupted.

    Example: gfpq-inspect compare float.caffemodel quant.caffemodel --input 'photographs/*.jpg' --html report.html
    """
    check_outputs(files.paths, overwrite=files.force)
    histograms = HistogramsKept() if files.full_histograms is not None else None
    result = run_comparison(first, comparison, quiet=quiet, look=histograms)
    written = write_reports(result, files, timing=not comparison.no_timing, histograms=histograms)
    if not quiet:
        from gfpq_inspect.report.terminal import make_console, render_terminal  # noqa: PLC0415

        render_terminal(result, make_console(), verbose=verbose, files=written)
    if result.judgement.partial:
        complain("interrupted: the report covers the samples seen so far")
        return EXIT_INTERRUPTED
    return EXIT_PASS if result.judgement.good else EXIT_GATE_FAILED

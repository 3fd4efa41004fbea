"""`gfpq-inspect diff`: two saved results side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_PASS
from gfpq_inspect.cli.report_files import check_outputs
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.text import visible


def diff(
    before: Annotated[Path, typer.Argument(metavar="A.json", help="The earlier result, as compare --json saved it.")],
    after: Annotated[Path, typer.Argument(metavar="B.json", help="The later one.")],
    *,
    noticeable: Annotated[
        float, typer.Option(metavar="DB", help="Smallest change of a layer in dB that counts.")
    ] = 0.5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the difference as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write it as Markdown.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every layer that moved.")] = False,
) -> int:
    """Tell what got better, worse, new and gone from one result to another.

    Exit code 0: nothing got worse; 1: a layer, the verdict or the accuracy did, a layer is gone, or a finding is new;
    2: usage or bad input.

    Example: gfpq-inspect diff before.json after.json
    """
    from gfpq_inspect.report.diff import (
        diff_results,
        render_diff_json,
        render_diff_markdown,
        render_diff_terminal,
    )
    from gfpq_inspect.report.jsonfile import read_result
    from gfpq_inspect.report.terminal import make_console

    if not math.isfinite(noticeable) or noticeable < 0:
        raise UsageError(f"--noticeable {noticeable:g} is no change in dB; give a number, 0 or more")
    outputs = {"json": json_file, "markdown": markdown}
    wanted = {kind: path for kind, path in outputs.items() if path is not None}
    check_outputs(wanted.values(), overwrite=force, read=(before, after))
    found = diff_results(read_result(before, details=False), read_result(after, details=False), noticeable)
    for kind, path in wanted.items():
        render = render_diff_json if kind == "json" else render_diff_markdown
        write_atomically(path, render(found), overwrite=force)
    if not quiet:
        render_diff_terminal(found, make_console(), verbose=verbose)
        for path in wanted.values():
            print(f"wrote {visible(str(path))}")
    return EXIT_GATE_FAILED if found.is_worse else EXIT_PASS

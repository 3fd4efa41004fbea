"""`gfpq-inspect report`: render a saved result again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.report_files import check_outputs
from gfpq_inspect.errors import UsageError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.report.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.analyze.result import Result

Output = Path | None


def report(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="A result saved with compare --json.")],
    *,
    html: Annotated[Output, typer.Option(help="Write the report as one page.")] = None,
    csv: Annotated[Output, typer.Option(help="Write the layer table as comma-separated values.")] = None,
    parquet: Annotated[Output, typer.Option(help="Write the layer table as Parquet.")] = None,
    markdown: Annotated[Output, typer.Option(help="Write a summary for a pull request's comment.")] = None,
    dot: Annotated[Output, typer.Option(help="Write a Graphviz graph coloured by similarity.")] = None,
    model_explorer: Annotated[Output, typer.Option(help="Write node data for Model Explorer.")] = None,
    json: Annotated[Output, typer.Option(help="Write the result again, in this version's schema.")] = None,
    baseline: Annotated[
        Output, typer.Option(help="An earlier result to set beside it, in --html and --markdown.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False,
) -> None:
    """Render a saved result again: HTML, CSV, Parquet, Markdown, Graphviz, Model Explorer.

    The same result gives the same bytes. Example: gfpq-inspect report result.json --html report.html
    """
    from gfpq_inspect.report.jsonfile import read_result

    outputs = {
        "html": html,
        "csv": csv,
        "parquet": parquet,
        "markdown": markdown,
        "dot": dot,
        "model_explorer": model_explorer,
        "json": json,
    }
    wanted = {kind: path for kind, path in outputs.items() if path is not None}
    if not wanted:
        raise UsageError("nothing to write: give at least one of --html, --csv, --parquet, --markdown, --dot, ...; "
                         "gfpq-inspect show prints a result")  # fmt: skip
    check_outputs(wanted.values(), overwrite=force, read=[result, *([baseline] if baseline is not None else [])])
    saved = read_result(result)
    before = read_result(baseline, details=False) if baseline is not None else None
    for kind, path in wanted.items():
        write_atomically(path, renderer(kind, before)(saved), overwrite=force)
        print(f"wrote {visible(str(path))}")


def renderer(kind: str, baseline: Result | None) -> Callable[[Result], str | bytes]:
    """The renderer of a kind of file; each brings its own libraries, so it is imported only when asked for."""
    if kind == "html":
        from gfpq_inspect.report.html import render_html

        return lambda result: render_html(result, baseline)
    if kind == "markdown":
        from gfpq_inspect.report.markdown import render_markdown

        return lambda result: render_markdown(result, baseline)
    if kind == "csv":
        from gfpq_inspect.report.csvfile import render_csv

        return render_csv
    if kind == "parquet":
        from gfpq_inspect.report.parquetfile import render_parquet

        return render_parquet
    if kind == "json":
        from gfpq_inspect.report.jsonfile import render_json

        return render_json
    from gfpq_inspect.report import overlays

    return overlays.render_dot if kind == "dot" else overlays.render_model_explorer

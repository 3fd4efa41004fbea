"""The files that a comparison is written to: refused before the run what could not be written after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.errors import OutputError, UsageError, UserError
from gfpq_inspect.files import check_writable, write_atomically

if TYPE_CHECKING:
    from gfpq_inspect.analyze.findings.case import Case
    from gfpq_inspect.analyze.result import Result


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where to write the result and its reports."""

    json_file: Annotated[Path | None, typer.Option("--json", help="Write the whole result.")] = None
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the report as one page.")] = None
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the layer table.")] = None
    full_histograms: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write every code of every quantized tensor, for NumPy.")
    ] = None
    save_coefficients: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the coefficients with their 16-byte blocks (JSON).")
    ] = None
    save_param_dict: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the coefficients of data as nnie.gfpq_param_dict.")
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Replace output files that exist.")] = False

    @property
    def outputs(self) -> dict[str, Path]:
        """Kind of report to file, of those that were asked for."""
        wanted = {
            "json": self.json_file,
            "csv": self.csv_file,
            "coefficients": self.save_coefficients,
            "param_dict": self.save_param_dict,
            "html": self.html_file,
        }
        return {kind: path for kind, path in wanted.items() if path is not None}

    @property
    def paths(self) -> list[Path]:
        """All files that were asked for."""
        return [*self.outputs.values(), *([self.full_histograms] if self.full_histograms is not None else [])]


class HistogramsKept:
    """Holds what `--full-histograms` writes, from the analysis until the files are written."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def __call__(self, case: Case) -> None:
        """Take it from what the findings are made of."""
        from gfpq_inspect.analyze.full_histograms import full_histograms

        self.content = full_histograms(case)


def check_outputs(paths: Iterable[Path], *, overwrite: bool, read: Iterable[Path] = ()) -> None:
    """Refuse before the run what could not be written after it.

    Args:
        paths: Files to write.
        overwrite: Whether files of these names may be replaced.
        read: Files that the command reads; none of them is ever replaced.

    Raises:
        UsageError: A file is named for two reports, or is one that the command reads.
        OutputError: One cannot be written, or exists.
    """
    seen: set[Path] = set()
    kept = [path for path in read if path.is_file()]
    for path in paths:
        if path.is_file() and any(path.samefile(other) for other in kept):
            raise UsageError(f"{path} is read by this command and would be lost; choose another name")
        if path in seen:
            raise UsageError(f"{path} is named for two reports; give each its own file")
        seen.add(path)
        check_writable(path, overwrite=overwrite)


def write_reports(
    result: Result, files: ReportFiles, *, timing: bool, histograms: HistogramsKept | None = None
) -> list[Path]:
    """Write the files that were asked for.

    Args:
        result: What was found.
        files: Where to write it.
        timing: Whether durations and host facts are written.
        histograms: What `--full-histograms` writes; an interrupted run has none.

    Returns:
        Their paths.

    Raises:
        OutputError: Some cannot be written; the others are.
    """
    contents: list[tuple[Path, Callable[[], str | bytes]]] = [
        (path, partial(renderer(kind, timing=timing), result)) for kind, path in files.outputs.items()
    ]
    if files.full_histograms is not None and histograms is not None and histograms.content is not None:
        content = histograms.content
        contents.append((files.full_histograms, lambda: content))
    written, failed = [], []
    for path, make in contents:  # what one file has no room for, another may
        try:
            write_atomically(path, make(), overwrite=files.force)
            written.append(path)
        except UserError as error:
            failed.append(str(error))
            if path == files.json_file and _write_core(result, path, files.force, timing=timing):
                written.append(path)
                failed[-1] += f"; written without the evidence of layers, marked partial: {path}"
    if failed:
        kept = [f"Written were: {', '.join(map(str, written))}."] if written else []
        raise OutputError("\n".join([*failed, *kept]))
    return written


def _write_core(result: Result, path: Path, overwrite: bool, *, timing: bool) -> bool:
    """Write the result without the evidence of single layers; whether that found room."""
    core = replace(result, details={}, judgement=replace(result.judgement, partial=True))
    try:
        write_atomically(path, renderer("json", timing=timing)(core), overwrite=overwrite)
    except UserError:
        return False
    return True


def renderer(kind: str, *, timing: bool) -> Callable[[Result], str]:
    """The renderer of a kind of file; each brings its own libraries, so it is imported only when asked for."""
    if kind == "json":
        from gfpq_inspect.report.jsonfile import render_json

        return lambda result: render_json(result, timing=timing)
    if kind == "html":
        from gfpq_inspect.report.html import render_html

        return render_html
    if kind in ("coefficients", "param_dict"):
        from gfpq_inspect.report.coefficientfile import render_coefficients, render_param_dict

        return render_coefficients if kind == "coefficients" else render_param_dict
    from gfpq_inspect.report.csvfile import render_csv

    return render_csv

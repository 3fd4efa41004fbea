"""Options of commands that end in a gate, and what they do with a result."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.comparison_options import ComparisonArguments
from gfpq_inspect.cli.main import EXIT_GATE_FAILED, EXIT_INTERRUPTED, EXIT_PASS, complain
from gfpq_inspect.errors import OutputError, UsageError
from gfpq_inspect.files import check_writable, write_atomically

if TYPE_CHECKING:
    from gfpq_inspect.analyze.result import Result
    from gfpq_inspect.gate.baseline import Baseline
    from gfpq_inspect.gate.outcome import GateReport
    from gfpq_inspect.gate.places import Places
    from gfpq_inspect.gate.settings import GateSettings


@dataclass(frozen=True, kw_only=True)
class GateArguments:
    """How to judge, and where to write the verdict."""

    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The limits; otherwise gfpq-inspect.toml or pyproject.toml of this folder or above."
        ),
    ] = None
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write the baseline anew from this result, then judge.")
    ] = False
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the checks as JUnit XML.")] = None
    sarif: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the failures as SARIF 2.1.0.")] = None
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the verdict as Markdown.")] = None
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github",
            help="Mark files and write the step's summary; default: where GITHUB_ACTIONS is set.",
        ),
    ] = None

    @property
    def outputs(self) -> dict[str, Path]:
        """Kind of verdict to file, of those that were asked for."""
        wanted = {"junit": self.junit, "sarif": self.sarif, "markdown": self.markdown}
        return {kind: path for kind, path in wanted.items() if path is not None}


@dataclass(frozen=True)
class Gate:
    """A gate that was read and found ready before anything is run.

    Attributes:
        settings: What it was told.
        baseline: The committed baseline, or None.
    """

    settings: GateSettings
    baseline: Baseline | None

    @property
    def files_read(self) -> list[Path]:
        """The configuration and the baseline: no report may take their place."""
        baseline = self.settings.baseline
        named = (self.settings.file, baseline.file if baseline is not None else None)
        return [path for path in named if path is not None]


def open_gate(given: GateArguments) -> Gate:
    """Read the configuration and the baseline, and refuse what could not be written later.

    Raises:
        UsageError: There is no configuration, or it has no meaning.
        InputError: The baseline is missing or damaged.
        OutputError: The baseline could not be written.
    """
    from gfpq_inspect.cli.configured import configured_arguments
    from gfpq_inspect.gate.baseline import read_baseline
    from gfpq_inspect.gate.configuration import open_settings

    settings = open_settings(given.config)
    configured_arguments(settings, None, ComparisonArguments(), ())  # refuses what has no meaning, used here or not
    baseline = None
    if settings.baseline is None:
        if given.update_baseline:
            raise UsageError(f"{settings.source}: gate.baseline.file is missing: name the baseline to update")
    elif given.update_baseline:
        check_writable(settings.baseline.file, overwrite=True)
    else:
        baseline = read_baseline(settings.baseline.file)
    return Gate(settings, baseline)


def close_gate(
    gate: Gate,
    given: GateArguments,
    result: Result,
    models: Mapping[str, Path],
    *,
    force: bool,
    quiet: bool,
    verbose: bool,
    advice: str = "",
) -> int:
    """Judge a result, write the verdict in every form that was asked for, and print it.

    Args:
        gate: From `open_gate`.
        given: The options.
        result: The result.
        models: 'first' and 'second' to the file that the user named, where there is one.
        force: Replace output files that exist.
        quiet: Print nothing but errors.
        verbose: Print every check.
        advice: How to go on with an interrupted run, for the end of a sentence.

    Returns:
        The exit code.

    Raises:
        UsageError: A limit that cannot decide anything for this network.
        OutputError: A file cannot be written.
    """
    from gfpq_inspect.gate.baseline import baseline_of, update_baseline
    from gfpq_inspect.gate.judge import judge, judged_comparison

    settings, baseline, notes = gate.settings, gate.baseline, []
    if given.update_baseline and settings.baseline is not None and not result.judgement.partial:
        name = judged_comparison(result, settings).name
        changed = update_baseline(settings.baseline.file, result, name)
        notes.append(f"{'wrote' if changed else 'unchanged:'} {settings.baseline.file}")
        baseline = baseline_of(result, name)
    report = judge(result, settings, today=datetime.datetime.now(datetime.UTC).date(), baseline=baseline)
    places = _places(gate, result, models)
    for kind, path in given.outputs.items():
        write_atomically(path, _rendered(kind, report, places), overwrite=force)
        notes.append(f"wrote {path}")
    _show(report, places, given, notes, quiet=quiet, verbose=verbose)
    if result.judgement.partial:
        complain(f"interrupted: the gate saw only a part of the samples{advice}")
        return EXIT_INTERRUPTED
    return EXIT_PASS if report.passed else EXIT_GATE_FAILED


def _rendered(kind: str, report: GateReport, places: Places) -> str:
    from gfpq_inspect.gate import junit, markdown, sarif

    if kind == "markdown":
        return markdown.render_markdown(report)
    return junit.render_junit(report, places) if kind == "junit" else sarif.render_sarif(report, places)


def _show(
    report: GateReport, places: Places, given: GateArguments, notes: list[str], *, quiet: bool, verbose: bool
) -> None:
    """Print the verdict; in a GitHub workflow so that no layer's name is taken for a command."""
    from gfpq_inspect.cli.gate_text import gate_text
    from gfpq_inspect.gate import github
    from gfpq_inspect.gate.markdown import render_markdown

    on_github = given.github if given.github is not None else github.is_github(os.environ)
    if not quiet:
        text = gate_text(report, notes, verbose=verbose)
        print(github.fenced(text) if on_github else text)
    if not on_github:
        return
    for line in github.workflow_commands(report, places):
        print(line)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            github.append_summary(Path(summary), render_markdown(report))
        except OutputError as error:
            complain(str(error))  # the verdict stands without it


def _places(gate: Gate, result: Result, models: Mapping[str, Path]) -> Places:
    """The files that checks point to, as the repository has them."""
    from gfpq_inspect.gate.places import Places

    structures = {}
    for facts in result.run.models:
        named = models.get(facts.role)
        if named is not None and facts.structure_file is not None:
            candidates = [named.with_name(facts.structure_file), *_siblings(models, facts.structure_file)]
            found = next((path for path in candidates if path.is_file()), None)
            shown = _in_repository(found) if found is not None else ""
            if shown and shown.endswith(".prototxt"):
                structures[facts.role] = shown
    baseline = gate.settings.baseline
    return Places(
        configuration=_in_repository(gate.settings.file) if gate.settings.file is not None else "",
        structures=structures,
        baseline=_in_repository(baseline.file) if baseline is not None else "",
    )


def _siblings(models: Mapping[str, Path], name: str) -> list[Path]:
    return [path.with_name(name) for path in models.values()]


def _in_repository(path: Path) -> str:
    """A path relative to the repository, or '' of one that lies outside."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    try:
        # Links are kept: a linked folder is part of the repository under its own name.
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()  # noqa: PTH100 (links stay as they are written)
    except ValueError:
        return ""

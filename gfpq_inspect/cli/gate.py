"""`gfpq-inspect gate`: a comparison, or a saved one, held against limits and a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.compare import compare_and_write
from gfpq_inspect.cli.comparison_options import ComparisonArguments, files_read
from gfpq_inspect.cli.configured import configured_arguments, option_names
from gfpq_inspect.cli.gate_options import GateArguments, close_gate, open_gate
from gfpq_inspect.cli.long_run_options import Kept, ResumeArguments, kept
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.cli.report_files import ReportFiles, check_outputs, write_reports
from gfpq_inspect.errors import UsageError
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from gfpq_inspect.gate.settings import GateSettings

RESULT_SUFFIX = ".json"


@with_option_groups
def gate(
    context: typer.Context,
    first: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FLOAT|RESULT.json]",
            help="The float network, or a result that compare --json saved; otherwise as configured.",
        ),
    ] = None,
    *,
    comparison: ComparisonArguments,
    files: ReportFiles,
    judged: GateArguments,
    resumed: ResumeArguments,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but errors and what CI reads.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every check.")] = False,
) -> int:
    """Hold a comparison against limits and a committed baseline.

    Limits, allowances and the baseline stand in [tool.gfpq-inspect.gate] of pyproject.toml, or in gfpq-inspect.toml;
    [tool.gfpq-inspect.compare] may hold the comparison's arguments, so that `gfpq-inspect gate` alone runs it all.

    Exit code 0: the gate passes; 1: it fails; 2: usage, bad input or a configuration without meaning; 130: interrupted.

    Example: gfpq-inspect gate result.json --config limits.toml --junit gate.xml
    """
    opened = open_gate(judged)
    explicit = [name for name in context.params if _is_typed(context, name)]
    saved = first is not None and _is_saved(first)
    first, comparison = configured_arguments(opened.settings, first, comparison, explicit)
    if first is None:
        raise UsageError(
            f"nothing to judge: name the networks or a result, or set compare.float in {opened.settings.source}"
        )
    if saved:
        _refuse_for_saved(explicit)
    keep = Kept() if saved else kept(resumed, files.paths, force=files.force)
    files = replace(files, force=files.force or keep.goes_on)
    read = [*files_read(first, comparison), *opened.files_read]
    check_outputs([*files.paths, *judged.outputs.values()], overwrite=files.force, read=read)
    if saved:
        # Its networks were run before; where the configuration names them, failures still point to their prototxts.
        from gfpq_inspect.report.jsonfile import read_result

        result, models = read_result(first), _configured_models(opened.settings)
        written = write_reports(result, files, timing=not comparison.no_timing)
    else:
        result, written = compare_and_write(first, comparison, files, quiet=quiet, keep=keep)
        if not result.judgement.partial:
            keep.finished()
        models = {"first": first, "second": comparison.second or first}
    code = close_gate(
        opened, judged, result, models, force=files.force, quiet=quiet, verbose=verbose, advice=keep.advice
    )
    if not quiet:
        for path in written:
            print(f"  wrote {visible(str(path))}")
    return code


def _refuse_for_saved(explicit: Sequence[str]) -> None:
    """Refuse options that say how to compare where the comparison was run before.

    Raises:
        UsageError: There is one.
    """
    idle = {entry.name for group in (ComparisonArguments, ResumeArguments) for entry in fields(group)} - {"no_timing"}
    for name in explicit:
        if name in idle:
            option = next((key for key, field in option_names().items() if field == name), name)
            what = "a second network" if name == "second" else f"--{option}"
            raise UsageError(f"a saved result is judged as it was run: {what} has no meaning with it; leave it out")


def _is_saved(path: Path) -> bool:
    """Whether a file is JSON rather than a network; no network's file begins with a brace."""
    if path.suffix.lower() == RESULT_SUFFIX:
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(1) == b"{"
    except OSError:
        return False  # whoever reads the network says what is wrong


def _configured_models(settings: GateSettings) -> dict[str, Path]:
    """The networks that the configuration names, where they exist."""
    named = {"first": settings.compare.get("float"), "second": settings.compare.get("quant")}
    paths = {role: settings.folder / name for role, name in named.items() if isinstance(name, str)}
    return {role: path for role, path in paths.items() if path.is_file()}


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line; some releases of Typer bring their own enumeration."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"

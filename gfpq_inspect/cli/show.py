"""`gfpq-inspect show`: print a saved result, or one layer of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    result: Annotated[Path, typer.Argument(metavar="RESULT.json", help="A result saved with compare --json.")],
    layer: Annotated[str | None, typer.Argument(metavar="[LAYER]", help="Print everything about one layer.")] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="List every layer and every check.")] = False,
) -> None:
    """Print a saved result, or one layer of it.

    Example: gfpq-inspect show result.json conv4_3
    """
    from gfpq_inspect.report.jsonfile import read_result
    from gfpq_inspect.report.terminal import make_console, render_terminal
    from gfpq_inspect.report.terminal_layer import find_row, render_layer

    saved = read_result(result)
    if layer is None:
        render_terminal(saved, make_console(), verbose=verbose)
    else:
        render_layer(saved, find_row(saved, layer), make_console())

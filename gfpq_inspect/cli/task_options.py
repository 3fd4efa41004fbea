"""Options on what the network is for, and on the samples that its coefficients come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, kw_only=True)
class TaskArguments:
    """True classes and metrics; calibration apart from evaluation."""

    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|beside|none",
            help="True classes: a class a line, lines 'name label', .npy, .npz or idx; 'beside': those that come with "
            "the samples, folder names too. By default those of a list or an array beside the data.",
        ),
    ] = None
    task_output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Output whose largest value is the decision; otherwise told from its values."
        ),
    ] = None
    task_metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A task metric: of an installed plug-in, or python:module:attribute."),
    ] = None
    calibration: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE", help="Samples for the coefficients, as --input; otherwise those of --input."
        ),
    ] = None
    calibration_samples: Annotated[
        int | None, typer.Option(min=1, help="Calibrate on the first so many samples of --calibration.")
    ] = None
    load_coefficients: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Coefficients of data from this file (ours, or nnie.gfpq_param_dict)."),
    ] = None

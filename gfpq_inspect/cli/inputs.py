"""`gfpq-inspect inputs`: what a network is really fed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gfpq_inspect.cli.input_options import FeedArguments, Seed
from gfpq_inspect.cli.network_options import AllowMissing, AllowUnknownFields, InputShapes, input_shapes, open_files
from gfpq_inspect.cli.option_groups import with_option_groups
from gfpq_inspect.files import check_writable, write_atomically
from gfpq_inspect.text import visible

if TYPE_CHECKING:
    from rich.console import Console

    from gfpq_inspect.inputs.contact_sheet import ContactSheet
    from gfpq_inspect.inputs.feed_source import FeedSource
    from gfpq_inspect.inputs.statistics import InputStatistics

_SHOWN_CHANNELS = 16


@with_option_groups
def inputs(
    net: Annotated[Path, typer.Argument(metavar="NET", help="A prototxt, a caffemodel or an ONNX model.")],
    weights: Annotated[Path | None, typer.Argument(metavar="[WEIGHTS]", help="The weights of a Caffe network.")] = None,
    *,
    feed: FeedArguments,
    input_shape: InputShapes = None,
    seed: Seed = 0,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet (PNG) of the pictures as the network sees them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the contact sheet if it exists.")] = False,
    allow_missing: AllowMissing = False,
    allow_unknown_fields: AllowUnknownFields = False,
) -> None:
    """Show what a network is really fed: shapes, ranges, channels, first numbers, and a contact sheet.

    Example: gfpq-inspect inputs net.prototxt --input 'photographs/*.jpg' --mean 104,117,123 --sheet sheet.png
    """
    from gfpq_inspect.inputs.opening import open_inputs
    from gfpq_inspect.inputs.transform import with_prototxt_defaults
    from gfpq_inspect.report.terminal import make_console

    if sheet is not None:
        check_writable(sheet, overwrite=force)
    network = open_files(
        net,
        weights,
        allow_missing=allow_missing,
        allow_unknown_fields=allow_unknown_fields,
        keep_losses=False,
        phase="TEST",
        stages=None,
        level=0,
        shapes_only=True,
    )
    model = network.build(input_shapes(input_shape, network))
    options = feed.preprocessing(seed)
    structure = model.origin.structure_file if model.origin.framework == "caffe" else None
    options = with_prototxt_defaults(options, Path(structure) if structure else None)
    source = open_inputs(feed.sources, model.inputs, options, batchable=model.batchable)
    statistics, sheets = _read(source, pictures=sheet is not None)
    console = make_console()
    _print_source(source, console)
    for name in source.names:
        _print_input(name, statistics[name], console)
    if sheet is not None:
        _write_sheet(sheet, sheets, console, overwrite=force)


def _read(source: FeedSource, *, pictures: bool) -> tuple[dict[str, InputStatistics], dict[str, ContactSheet]]:
    """Read all samples once."""
    from gfpq_inspect.inputs.contact_sheet import ContactSheet, is_picture
    from gfpq_inspect.inputs.statistics import InputStatistics

    statistics = {name: InputStatistics(plan) for name, plan in source.plans.items()}
    sheets = {name: ContactSheet(plan) for name, plan in source.plans.items() if pictures and is_picture(plan)}
    shapes = {name: plan.sample_shape for name, plan in source.plans.items()}
    for identity, batch in zip(source.identities, source.batches(1, shapes), strict=True):
        for name, values in batch.items():
            statistics[name].add(values)
            if name in sheets:
                sheets[name].add(values, identity)
    return statistics, sheets


def _print_source(source: FeedSource, console: Console) -> None:
    facts = source.facts()
    if facts.synthetic:
        console.print("Synthetic input: seeded noise, no evidence of accuracy. Give --input.", style="bold yellow")
    console.print(visible(facts.description))
    for key, text in facts.preprocessing.items():
        console.print(visible(f"  {key}: {text}"))
    console.print(f"  SHA-256 of all samples: {facts.sha256}")


def _print_input(name: str, statistics: InputStatistics, console: Console) -> None:
    from rich.table import Table

    plan = statistics.preprocessing
    shape = "x".join(map(str, plan.sample_shape)) or "a scalar"
    console.print()
    console.print(visible(f"Input {name}: {plan.dtype} {shape}, {statistics.samples} samples"), style="bold")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("channel")
    for title in ("minimum", "maximum", "mean", "deviation"):
        table.add_column(title, justify="right")
    table.add_column("first values of the first sample")
    rows = list(zip(statistics.channels(), statistics.first_values(), strict=True))
    for index, (channel, first) in enumerate(rows[:_SHOWN_CHANNELS]):
        numbers = (channel.minimum, channel.maximum, channel.mean, channel.deviation)
        table.add_row(str(index), *(f"{number:.6g}" for number in numbers), " ".join(f"{value:.6g}" for value in first))
    console.print(table)
    if len(rows) > _SHOWN_CHANNELS:
        console.print(f"and {len(rows) - _SHOWN_CHANNELS} further channels")
    for hint in statistics.hints():
        console.print(f"! {hint}", style="yellow")


def _write_sheet(path: Path, sheets: dict[str, ContactSheet], console: Console, *, overwrite: bool) -> None:
    """Write the sheet of each input that has pictures; the second one's file carries the input's name."""
    if not sheets:
        console.print("No input takes pictures; no contact sheet was written.")
    for index, (name, pictures) in enumerate(sheets.items()):
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        target = path if index == 0 else path.with_name(f"{path.stem}-{safe}{path.suffix}")
        write_atomically(target, pictures.png(), overwrite=overwrite)
        console.print(visible(f"Wrote {target}"))

"""One layer at a prompt: every score of every lane, what made the error, coefficients, neighbours."""

from __future__ import annotations

import difflib
from typing import Any

from rich.console import Console
from rich.text import Text

from gfpq_inspect.analyze.result import Coefficient, LayerRow, Result, Scores, Spread, Status
from gfpq_inspect.errors import UsageError
from gfpq_inspect.report import story
from gfpq_inspect.report.codec import field_types
from gfpq_inspect.report.terminal import section
from gfpq_inspect.report.terminal_table import (
    NO_LIMIT,
    VERDICT_STYLES,
    Column,
    Glyphs,
    emit,
    fitted,
    glyphs_for,
    header,
    line,
    paragraph,
    share_bar,
)
from gfpq_inspect.report.text import percent, shortened, visible

METRIC_FIELDS = tuple(
    name
    for name in field_types(Scores)
    if name not in {"status", "reason", "flags", "first_nonfinite"} and not name.endswith("_spread")
)
VALUE_WIDTH = 12
WIDE_BAR = 24


def find_row(result: Result, name: str) -> LayerRow:
    """Find a layer by its key or name.

    Args:
        result: The result.
        name: What the user typed; escapes as they were printed are understood too.

    Raises:
        UsageError: There is none, or several; near names are told.
    """
    for candidates in (
        [row for row in result.layers if row.key == name],
        [row for row in result.layers if name in {row.name, row.layer}],
        [row for row in result.layers if visible(row.key) == name],
        [row for row in result.layers if row.key.lower() == name.lower()],
    ):
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            keys = ", ".join(shortened(row.key, story.NAME_WIDTH) for row in candidates[:6])
            raise UsageError(f"several layers are called '{shortened(name, story.NAME_WIDTH)}': name one of {keys}")
    near = difflib.get_close_matches(name, [row.key for row in result.layers], n=3, cutoff=0.5)
    hint = f"; near to it: {', '.join(shortened(key, story.NAME_WIDTH) for key in near)}" if near else ""
    raise UsageError(f"no layer is called '{shortened(name, story.NAME_WIDTH)}'{hint}")


def render_layer(result: Result, row: LayerRow, console: Console) -> None:
    """Print everything about one layer."""
    glyphs = glyphs_for(console)
    style = VERDICT_STYLES[row.verdict]
    title = Text(f"{glyphs.of(row.verdict)} ", style=style)
    title.append(fitted(row.name, NO_LIMIT // 2, glyphs), style="bold").append(f"  {visible(row.type)}", style="dim")
    title.append(f"  {row.verdict.value}", style=style)
    emit(console, title)
    for fact in facts(result, row):
        paragraph(console, visible(fact), indent=2)
    print_scores(result, row, console)
    print_spreads(result, row, console)
    print_shares(row, console, glyphs)
    print_coefficients(result, row, console, glyphs)


def facts(result: Result, row: LayerRow) -> list[str]:
    """Sentences about a layer, those that apply."""
    shape = "x".join(map(str, row.shape)) or "no tensor"
    found = [f"Layer {row.index + 1} of {len(result.layers)}, {shape}, {row.elements:,} elements a sample."]
    if row.quantization_reason:
        found.append(f"{'Quantized' if row.quantized else 'Float'}: {row.quantization_reason}.")
    if row.status is not Status.OK:
        found.append(f"Not compared ({row.status.value}): {row.reason}.")
    elif row.reason:
        found.append(f"{row.reason}.")
    if row.cause:
        found.append(f"Cause: {story.why(result, row)}.")
    if row.partner is not None and row.partner != row.layer:
        found.append(f"In the second network: {shortened(row.partner, story.NAME_WIDTH)}.")
    if row.inputs:
        found.append(f"Reads {', '.join(shortened(key, story.NAME_WIDTH) for key in row.inputs)}.")
    readers = [other.key for other in result.layers if row.key in other.inputs]
    if readers:
        found.append(f"Read by {', '.join(shortened(key, story.NAME_WIDTH) for key in readers[:8])}.")
    return [*found, *row.notes]


def print_scores(result: Result, row: LayerRow, console: Console) -> None:
    """Print a table with a line a score and a column a lane, as many lanes side by side as fit."""
    lanes = [comparison for comparison in result.comparisons if comparison.name in row.scores]
    if not lanes:
        return
    section(console, "Scores")
    label = max(map(len, METRIC_FIELDS))
    room = max(1, (console.width - 2 - label) // (VALUE_WIDTH + 3))
    for start in range(0, len(lanes), room):
        group = lanes[start : start + room]
        columns = [
            Column("", label),
            *(Column(lane.name, max(VALUE_WIDTH, len(lane.name)), right=True) for lane in group),
        ]
        emit(console, header(columns))
        statuses = [(row.scores[lane.name].status.value, "") for lane in group]
        emit(console, line(columns, [("status", "dim"), *statuses]))
        for name in METRIC_FIELDS:
            values = [getattr(row.scores[lane.name], name) for lane in group]
            if any(values) or name in {"cosine", "sqnr_db"}:
                cells = [(number(name, value), "") for value in values]
                emit(console, line(columns, [(name, "dim"), *cells]))
        for lane in group:
            scores = row.scores[lane.name]
            if scores.reason:
                paragraph(console, f"{lane.name}: {visible(scores.reason)}", indent=2, style="yellow")


def number(name: str, value: Any) -> str:
    """A score with the digits that matter."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    return f"{value:.8f}" if name == "cosine" else f"{value:.6g}"


def print_spreads(result: Result, row: LayerRow, console: Console) -> None:
    """Print how the judged scores vary over samples."""
    scores = story.judged_scores(result, row)
    spreads = [("cosine", scores.cosine_spread), ("sqnr_db", scores.sqnr_db_spread)] if scores is not None else []
    told = [(name, spread) for name, spread in spreads if isinstance(spread, Spread)]
    if not told:
        return
    section(console, f"Over {result.run.inputs.sample_count} samples ({result.judgement.comparison})")
    for name, spread in told:
        sample = f" at {shortened(spread.minimum_sample, story.NAME_WIDTH)}" if spread.minimum_sample else ""
        values = (spread.mean, spread.percentile_5, spread.minimum)
        mean, fifth, lowest = (number(name, value) for value in values)
        paragraph(console, f"{name}: mean {mean}, 5th percentile {fifth}, lowest {lowest}{sample}", indent=2)


def print_shares(row: LayerRow, console: Console, glyphs: Glyphs) -> None:
    """Print what data, weights and their interaction contribute."""
    told = [("first network", row.isolation), ("tuned network", row.tuned_isolation)]
    if all(isolation is None for _, isolation in told):
        return
    section(console, "What made the error")
    for name, isolation in told:
        if isolation is None:
            continue
        shares = (
            f"data {percent(isolation.share_data)}, weights {percent(isolation.share_weight)}, "
            f"interaction {percent(isolation.interaction)}: {isolation.dominant}"
        )
        emit(console, Text.assemble(f"  {name}  ", share_bar(isolation, WIDE_BAR, glyphs), f"  {shares}"))


def print_coefficients(result: Result, row: LayerRow, console: Console, glyphs: Glyphs) -> None:
    """Print the quantization of what the layer reads."""
    own = [coefficient for coefficient in result.coefficients if coefficient.layer == row.layer]
    if not own:
        return
    section(console, "Coefficients")
    columns = [
        Column("network", 7),
        Column("tensor", 24),
        Column("role", 6),
        Column("bits", 4, right=True),
        Column("delta", 9, right=True),
        Column("maximum", 11, right=True),
        Column("grid top", 11, right=True),
        Column("flushed", 8, right=True),
    ]
    emit(console, header(columns))
    for coefficient in own:
        emit(console, line(columns, coefficient_cells(coefficient, glyphs)))


def coefficient_cells(coefficient: Coefficient, glyphs: Glyphs) -> list[tuple[str, str]]:
    """The cells of one coefficient; a range where every sample had its own."""
    low, high = coefficient.delta_low, coefficient.delta_high
    delta = str(coefficient.delta) if coefficient.delta is not None else f"{low}..{high}"
    if coefficient.number_format is not None and not coefficient.number_format.startswith("gfpq"):
        delta = "" if coefficient.scale is None else f"{coefficient.scale:.4g}"
    return [
        (coefficient.model, ""),
        (fitted(coefficient.tensor, 24, glyphs), ""),
        (coefficient.role, ""),
        (str(coefficient.bits), ""),
        (delta, ""),
        (f"{coefficient.maximum:.6g}", ""),
        (f"{coefficient.grid_top:.6g}", ""),
        (percent(coefficient.flushed_share), ""),
    ]

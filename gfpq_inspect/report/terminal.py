"""The report at a prompt: verdict, where it starts, the worst layers, findings, coverage, files.

Made of plain lines, so that it reads the same in a terminal of 80 or 200 columns, without colour, in a pipe and in a CI
log. In a pipe no line is wrapped and each layer keeps one line.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gfpq_inspect.analyze.result import Comparison, Finding, LayerRow, Result, Scores, Status, Verdict
from gfpq_inspect.report import story
from gfpq_inspect.report.terminal_table import (
    DATA_STYLE,
    INTERACTION_STYLE,
    NO_LIMIT,
    VERDICT_STYLES,
    WEIGHT_STYLE,
    Cell,
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
from gfpq_inspect.report.text import cosine_text, plural, sqnr_text, visible

COSINE_WIDTH, SQNR_WIDTH = 8, 5
LANE_WIDTH = COSINE_WIDTH + SQNR_WIDTH
LONGEST_NAME = 72
BAR_WIDTH = 12
SHORTEST_NAME = 14
WORST_AT_LEAST, WORST_AT_MOST = 8, 20
STACKED_AT_MOST = 6
CHANGES_SHOWN = 5
SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan", "passed": "green", "not applicable": "dim"}


class PipedConsole(Console):
    """A console whose reader may leave early, which is no verdict: Rich itself would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Let the command line end as programs in a pipe do."""
        raise BrokenPipeError


def make_console(stream: TextIO | None = None) -> Console:
    """Return a console that is plain in a pipe and honours NO_COLOR and COLUMNS.

    Args:
        stream: Where it writes; standard output by default.
    """
    console = PipedConsole(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = NO_LIMIT
    return console


def render_terminal(
    result: Result, console: Console, *, verbose: bool = False, files: Sequence[Path | str] = ()
) -> None:
    """Print the report.

    Args:
        result: The result.
        console: Where to; its width, colours and encoding are honoured.
        verbose: List every layer and every check.
        files: Files that were written, named last.
    """
    glyphs = glyphs_for(console)
    print_verdict(result, console, glyphs, verbose=verbose)
    print_first_bad(result, console)
    print_worst(result, console, glyphs)
    print_findings(result, console, glyphs, verbose=verbose)
    print_coverage(result, console, verbose=verbose)
    if verbose:
        section(console, f"All {len(result.layers)} layers, along the network")
        print_layers(result, result.layers, console, glyphs)
    if files:
        emit(console)
        for path in files:
            emit(console, f"wrote {visible(str(path))}")


def section(console: Console, title: str) -> None:
    """Print a heading, one empty line above it."""
    emit(console)
    emit(console, Text(title, style="bold"))


def print_verdict(result: Result, console: Console, glyphs: Glyphs, *, verbose: bool) -> None:
    """Print the verdict, what was compared and what to know before believing it."""
    judgement = result.judgement
    word, style = ("PASS", "bold green") if judgement.good else ("FAIL", "bold red")
    mark = Text(f"{glyphs.good if judgement.good else glyphs.flagged} {word}  ", style=style)
    paragraph(console, visible(judgement.sentence), indent=8, style="bold", first=mark)
    for told in judgement.lines:
        paragraph(console, visible(told), indent=2)
    paragraph(console, f"{story.models_text(result)}; {visible(result.run.inputs.description)}.", indent=2)
    paragraph(console, f"Judged: {visible(story.judged_text(result))}; {visible(result.run.calibration)}.", indent=2)
    if dump := story.dump_text(result):
        paragraph(console, f"Dump: {visible(dump)}", indent=2)
    notices = story.notices(result)
    if notices:
        emit(console)
    for notice in notices:
        paragraph(console, visible(notice), indent=2, style="yellow", first=Text("! ", style="bold yellow"))
    print_outputs(result, console, glyphs)
    print_task(result, console, verbose=verbose)


def print_outputs(result: Result, console: Console, glyphs: Glyphs) -> None:
    """Print the judged scores of each network output."""
    outputs = story.outputs(result)
    if outputs:
        section(console, "Network outputs")
        print_layers(result, outputs[:WORST_AT_LEAST], console, glyphs)


def print_task(result: Result, console: Console, *, verbose: bool) -> None:
    """Print accuracy or agreement of every lane, and the first samples that are decided otherwise."""
    for table in story.task_tables(result):
        emit(console)
        paragraph(console, table.title, indent=0, style="bold")
        print_cells(table.columns, table.rows, console)
        paragraph(console, table.basis, indent=2, style="dim")
        shown = table.changes if verbose else table.changes[:CHANGES_SHOWN]
        if shown:
            emit(console, "  decided otherwise:")
            print_cells(story.CHANGE_COLUMNS, shown, console)
        rest = len(table.changes) - len(shown) + table.changes_left_out
        if rest:
            paragraph(console, f"and {rest} more: the result file lists up to 200 a lane", indent=2)


def print_cells(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print a small table of texts, the first column to the left; where it is too wide, a paragraph a row."""
    widths = [max(cell_len(text) for text in column) for column in zip(columns, *rows, strict=True)]
    if 2 + sum(widths) + 2 * (len(widths) - 1) > console.width:
        for cells in rows:
            told = ", ".join(f"{name} {text}" for name, text in zip(columns[1:], cells[1:], strict=True))
            paragraph(console, f"{cells[0]}: {told}", indent=4)
        return
    for cells in (columns, *rows):
        first = cells[0] + " " * (widths[0] - cell_len(cells[0]))
        others = (" " * (width - cell_len(text)) + text for text, width in zip(cells[1:], widths[1:], strict=True))
        emit(console, Text("  " + "  ".join((first, *others)), style="dim" if cells is columns else ""))


def print_first_bad(result: Result, console: Console) -> None:
    """Print where the damage starts and what made it."""
    found = story.first_bad(result)
    if found is None:
        return
    row = found.row
    section(console, "First bad layer")
    name = fitted(row.name, NO_LIMIT // 2, glyphs_for(console))
    paragraph(
        console,
        f"{name} ({visible(row.type)}, {row.index + 1} of {len(result.layers)}): {visible(found.numbers)}",
        indent=2,
    )
    paragraph(console, f"Cause: {visible(found.why)}.", indent=2)
    if found.origin:
        paragraph(console, f"{found.origin}.", indent=2)
    if votes := story.votes_text(result):
        paragraph(console, f"{votes}.", indent=2)
    causes = story.causes_text(result)
    if len(story.counted(result)) > 1:
        paragraph(console, f"Causes of all {len(story.counted(result))} layers that count: {causes}.", indent=2)


def print_worst(result: Result, console: Console, glyphs: Glyphs) -> None:
    """Print the worst layers, every flagged one up to a limit."""
    rows = story.worst_first(result)
    flagged = sum(row.verdict is Verdict.FLAGGED for row in rows)
    if not rows:
        return
    wanted = max(WORST_AT_LEAST, min(flagged, WORST_AT_MOST))
    columns = table_columns(result, console, rows)
    shown = rows[: wanted if columns else min(wanted, STACKED_AT_MOST)]
    section(console, "Worst layers")
    print_layers(result, shown, console, glyphs)
    print_legend(result, console, glyphs)
    rest = flagged - sum(row.verdict is Verdict.FLAGGED for row in shown)
    if rest > 0:
        emit(console, f"  and {plural(rest, 'more flagged layer')}: -v lists them all")


def print_legend(result: Result, console: Console, glyphs: Glyphs) -> None:
    """Explain the bar and the signs once."""
    legend = Text("  bar: ", style="dim")
    legend.append(glyphs.data * 2, style=DATA_STYLE).append(" data  ", style="dim")
    legend.append(glyphs.weight * 2, style=WEIGHT_STYLE).append(" weights  ", style="dim")
    legend.append(glyphs.interaction * 2, style=INTERACTION_STYLE).append(" interaction", style="dim")
    signs = Text(f"{glyphs.flagged} flagged  {glyphs.watch} watch  {glyphs.good} good", style="dim")
    narrow = cell_len(legend.plain) + 3 + cell_len(signs.plain) > console.width
    if any(row.isolation is not None for row in result.layers):
        emit(console, legend if narrow else Text.assemble(legend, "   ", signs))
        if narrow:
            emit(console, Text.assemble("  ", signs))


def table_columns(result: Result, console: Console, rows: Sequence[LayerRow]) -> list[Column]:
    """Columns of a table with every lane, as wide as the console has room for; none where the lanes do not fit."""
    lanes = story.lanes_shown(result)
    columns = [Column("", 1), Column("layer", SHORTEST_NAME)]
    for lane in lanes:
        width = max(LANE_WIDTH, cell_len(lane.name) + SQNR_WIDTH - 1)
        columns.append(Column(f"{lane.name:<{width - 2}}dB", width))
    columns.append(Column("data|weights", BAR_WIDTH))
    used = 2 + sum(column.width for column in columns) + 2 * (len(columns) - 1)
    spare = console.width - used
    if spare < 0:
        return []
    longest = max((cell_len(visible(row.name[:NO_LIMIT])) for row in rows), default=0)
    name_width = min(max(longest, SHORTEST_NAME), SHORTEST_NAME + spare, LONGEST_NAME)
    columns[1] = Column("layer", name_width)
    spare -= name_width - SHORTEST_NAME
    cause_width = max((len(row.cause or "") for row in rows), default=0)
    if spare >= cause_width + 2 and cause_width:
        columns.append(Column("cause", cause_width))
        spare -= cause_width + 2
    type_width = max((cell_len(visible(row.type)) for row in rows), default=0)
    if spare >= type_width + 2:
        columns.append(Column("type", type_width))
    return columns


def print_layers(result: Result, rows: Sequence[LayerRow], console: Console, glyphs: Glyphs) -> None:
    """Print layers as a table, or lane below lane where the console is too narrow for all lanes."""
    columns = table_columns(result, console, rows)
    lanes = story.lanes_shown(result)
    if not columns:
        for row in rows:
            print_stacked(result, row, lanes, console, glyphs)
        return
    emit(console, header(columns))
    for row in rows:
        emit(console, line(columns, table_cells(result, row, columns, lanes, glyphs)))


def table_cells(
    result: Result, row: LayerRow, columns: Sequence[Column], lanes: Sequence[Comparison], glyphs: Glyphs
) -> list[Cell]:
    """The cells of one layer."""
    cells: list[Cell] = [
        (glyphs.of(row.verdict), VERDICT_STYLES[row.verdict]),
        (fitted(row.name, columns[1].width, glyphs), "bold" if row.verdict is Verdict.FLAGGED else ""),
    ]
    for lane, column in zip(lanes, columns[2:], strict=False):
        judged = lane.name == result.judgement.comparison
        style = VERDICT_STYLES[row.verdict] if judged else ""
        cells.append((score_text(row, row.scores.get(lane.name), column.width), style))
    cells.append(share_bar(story.isolation_of(result, row), BAR_WIDTH, glyphs))
    titles = [column.title for column in columns]
    if "cause" in titles:
        cells.append((row.cause or "", ""))
    if "type" in titles:
        cells.append((visible(row.type), "dim"))
    return cells


def score_text(row: LayerRow, scores: Scores | None, width: int) -> str:
    """Cosine and SQNR of one lane at the ends of a cell, or the status where there is none."""
    if scores is None:
        return "–" if row.status is Status.OK else row.status.value.lower().replace("_", " ")[:width]
    if scores.cosine is None:
        return scores.status.value[:width]
    mark = "" if scores.status in {Status.OK, Status.EXACT} else "!"
    cosine = cosine_text(scores.cosine, most_digits=6) + mark
    return f"{cosine}{sqnr_text(scores):>{max(1, width - len(cosine))}}"


def print_stacked(result: Result, row: LayerRow, lanes: Sequence[Comparison], console: Console, glyphs: Glyphs) -> None:
    """Print one layer with a line a lane."""
    title = Text("  ")
    title.append(f"{glyphs.of(row.verdict)} ", style=VERDICT_STYLES[row.verdict])
    cause = f"  {row.cause}" if row.cause else ""
    kind = visible(row.type)
    room = max(SHORTEST_NAME, console.width - 6 - len(cause) - cell_len(kind))
    title.append(fitted(row.name, room, glyphs), style="bold")
    title.append(f"  {kind}", style="dim")
    title.append(cause, style=VERDICT_STYLES[row.verdict])
    emit(console, title)
    columns = [Column("", 13), Column("", LANE_WIDTH + 3), Column("", 2), Column("", BAR_WIDTH)]
    isolation = story.isolation_of(result, row)
    for position, lane in enumerate(lanes):
        if lane.name not in row.scores:
            continue
        judged = lane.name == result.judgement.comparison
        style = VERDICT_STYLES[row.verdict] if judged else ""
        cells: list[Cell] = [(lane.name, style), (score_text(row, row.scores[lane.name], LANE_WIDTH + 3), style)]
        bar = share_bar(isolation, BAR_WIDTH, glyphs) if position == 0 and isolation else Text()
        emit(console, line(columns, [*cells, ("dB", "dim"), bar], indent=4))
    if not row.scores and row.reason:
        paragraph(console, visible(row.reason), indent=4)


def print_findings(result: Result, console: Console, glyphs: Glyphs, *, verbose: bool) -> None:
    """Print what was found with its remedy; passed checks only as a count unless asked for."""
    if not result.findings:
        return
    told = [f for f in result.findings if f.severity in {"error", "warning", "note"}]
    quiet = [f for f in result.findings if f.severity in {"passed", "not applicable"}]
    section(console, "Findings")
    for finding in sorted(told, key=lambda f: story.SEVERITIES.index(f.severity)):
        print_finding(finding, console, glyphs)
    if verbose:
        for finding in quiet:
            print_finding(finding, console, glyphs)
    elif quiet:
        passed = sum(f.severity == "passed" for f in quiet)
        emit(console, f"  {plural(passed, 'check')} passed, {len(quiet) - passed} not applicable: -v lists them")


def print_finding(finding: Finding, console: Console, glyphs: Glyphs) -> None:
    """Print one finding: what, how much, what to do, where."""
    style = SEVERITY_STYLES.get(finding.severity, "")
    word = Text(f"  {finding.severity:<8} ", style=style)
    paragraph(console, visible(finding.title), indent=11, style="bold", first=word)
    paragraph(console, visible(finding.measured), indent=11)
    if finding.remedy and finding.severity in {"error", "warning", "note"}:
        paragraph(
            console,
            visible(finding.remedy),
            indent=12 + cell_len(glyphs.arrow),
            first=Text(f"           {glyphs.arrow} ", style=style),
        )
    if finding.layers:
        names = [fitted(key, 40, glyphs) for key in finding.layers[:4]]
        more = f" and {len(finding.layers) - 4} more" if len(finding.layers) > 4 else ""
        paragraph(console, f"layers: {', '.join(names)}{more}", indent=11, style="dim")


def print_coverage(result: Result, console: Console, *, verbose: bool) -> None:
    """Print what was compared and, shortly, what was not and why."""
    section(console, "Coverage")
    paragraph(console, visible(result.coverage.sentence), indent=2)
    missing = story.not_compared(result)
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in missing:
        reasons.setdefault((row.status.value.lower().replace("_", " "), row.reason), []).append(row.name)
    glyphs = glyphs_for(console)
    limit = len(reasons) if verbose else 6
    for (status, reason), names in list(reasons.items())[:limit]:
        shown = ", ".join(fitted(name, 32, glyphs) for name in names[:3])
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        paragraph(console, f"{status}: {shown}{more}{': ' + visible(reason) if reason else ''}", indent=4, style="dim")
    if len(reasons) > limit:
        emit(console, f"    and {plural(len(reasons) - limit, 'more reason')}: -v lists them")

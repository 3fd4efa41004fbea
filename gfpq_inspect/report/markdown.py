"""A short summary in Markdown, for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.analyze.result import LayerRow, Result, Verdict
from gfpq_inspect.report import story
from gfpq_inspect.report.compare import compare_results
from gfpq_inspect.report.text import cosine_text, percent, plural, sqnr_text
from gfpq_inspect.text import markdown as escaped
from gfpq_inspect.text import markdown_name as code

WORST_ROWS = 10
SIGNS = {Verdict.GOOD: "✅", Verdict.WATCH: "🔶", Verdict.FLAGGED: "❌", Verdict.NOT_JUDGED: "➖"}


def render_markdown(result: Result, baseline: Result | None = None) -> str:
    """Write the summary: verdict, where it starts, the worst layers, findings, coverage.

    Args:
        result: The result.
        baseline: An earlier result of the same network to set beside it.

    Returns:
        GitHub-flavoured Markdown; names are escaped, so that none becomes a link, a mention or markup.
    """
    judgement = result.judgement
    lines = [f"### {'✅' if judgement.good else '❌'} {escaped(judgement.sentence)}", ""]
    lines.append(f"{escaped(story.models_text(result))}; {escaped(result.run.inputs.description)}. ")
    lines[-1] += f"Judged: {escaped(story.judged_text(result))}."
    lines += [f"\n{escaped(sentence)}" for sentence in judgement.lines]
    for table in story.task_tables(result):
        lines += ["", *plain_table(table.columns, table.rows)]
    lines += [f"\n> **Note:** {escaped(notice)}" for notice in story.notices(result)]
    found = story.first_bad(result)
    if found is not None:
        row = found.row
        lines += ["", f"**First bad layer:** {code(row.name)} ({escaped(row.type)}), {escaped(found.numbers)}."]
        lines.append(f"Cause: {escaped(found.why)}.{f' {escaped(found.origin)}.' if found.origin else ''}")
    if baseline is not None:
        lines += [
            "",
            "**Against the baseline:** " + " ".join(map(escaped, compare_results(result, baseline).sentences)),
        ]
    lines += ["", *worst_table(result), ""]
    for finding in result.findings:
        if finding.severity in {"error", "warning"}:
            remedy = f" *{escaped(finding.remedy)}*" if finding.remedy else ""
            lines.append(f"- **{finding.severity}:** {escaped(finding.title)}. {escaped(finding.measured)}{remedy}")
    return "\n".join([*lines, "", escaped(result.coverage.sentence), ""]).replace("\n\n\n", "\n\n")


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of texts, numbers to the right."""
    head = ["| " + " | ".join(map(escaped, columns)) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    return head + ["| " + " | ".join(map(escaped, row)) + " |" for row in rows]


def worst_table(result: Result) -> list[str]:
    """A table of the worst layers with every lane."""
    lanes = story.lanes_shown(result)
    titles = ["", "layer", *(f"{lane.name} cosine / dB" for lane in lanes), "data / weights", "cause"]
    lines = ["| " + " | ".join(escaped(title) for title in titles) + " |"]
    lines.append("|" + "---|" * 2 + "---:|" * len(lanes) + "---:|---|")
    rows = story.worst_first(result)
    shown = [row for row in rows if row.verdict is Verdict.FLAGGED][:WORST_ROWS] or rows[:3]
    lines += ["| " + " | ".join(table_cells(result, row)) + " |" for row in shown]
    rest = sum(row.verdict is Verdict.FLAGGED for row in rows) - len(shown)
    if rest > 0:
        lines += ["", f"and {plural(rest, 'more flagged layer')}"]
    return lines


def table_cells(result: Result, row: LayerRow) -> list[str]:
    """The cells of one layer."""
    cells = [SIGNS[row.verdict], code(row.name)]
    for lane in story.lanes_shown(result):
        scores = row.scores.get(lane.name)
        cells.append("–" if scores is None else f"{cosine_text(scores.cosine)} / {sqnr_text(scores)}")
    isolation = story.isolation_of(result, row)
    cells.append(f"{percent(isolation.share_data)} / {percent(isolation.share_weight)}" if isolation else "–")
    return [*cells, row.cause or ""]

"""A gate as Markdown: for a step's summary or a comment on a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.gate.outcome import Check, GateReport
from gfpq_inspect.text import markdown, markdown_name, plural

MOST_ROWS = 50


def render_markdown(report: GateReport) -> str:
    """Write a gate as GitHub-flavoured Markdown; no name becomes a link, a mention or markup."""
    sign = "✅" if report.passed else "❌"
    lines = [f"### {sign} {markdown(report.sentence)}", ""]
    lines.append(f"Judged: {markdown(report.comparison)}, by the limits of {markdown_name(report.source)}.")
    if report.failures:
        lines += ["", *_table(report.failures, ("check", "where", "what"))]
    if report.allowed:
        lines += ["", f"<details><summary>{plural(len(report.allowed), 'failure')} allowed for a time</summary>", ""]
        lines += [*_table(report.allowed, ("check", "where", "what", "allowed until")), "", "</details>"]
    if report.not_judged:
        lines += [
            "",
            f"<details><summary>{plural(len(report.not_judged), 'layer')} without a figure to judge</summary>",
            "",
        ]
        lines += [f"- {markdown_name(key)}: {markdown(why)}" for key, why in report.not_judged[:MOST_ROWS]]
        lines += ["", *_rest(len(report.not_judged)), "</details>"]
    lines += [f"\n> {markdown(notice)}" for notice in report.notices]
    return "\n".join([*lines, ""])


def _table(checks: Sequence[Check], titles: Sequence[str]) -> list[str]:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for check in checks[:MOST_ROWS]:
        cells = [check.rule, markdown_name(check.subject), markdown(check.sentence)]
        if len(titles) > len(cells):
            allowance = check.allowance
            cells.append(markdown(f"{allowance.expires}: {allowance.reason}") if allowance is not None else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines + _rest(len(checks))


def _rest(count: int) -> list[str]:
    return ["", f"and {count - MOST_ROWS} more"] if count > MOST_ROWS else []

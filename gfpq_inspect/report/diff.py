"""Two results side by side as text, Markdown and JSON: what got better, worse, came and went."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from gfpq_inspect.analyze.result import LayerRow, Result, Scores
from gfpq_inspect.analyze.task_result import LaneDecisions
from gfpq_inspect.report.compare import Delta, compare_results, quality_db, setup_sentences, verdict_sentence
from gfpq_inspect.report.terminal_table import Column, emit, fitted, glyphs_for, header, line, paragraph
from gfpq_inspect.report.text import cosine_text, plural, sqnr_text, visible
from gfpq_inspect.text import markdown, markdown_name

FORMAT = "gfpq-inspect diff"
MOST_SHOWN = 20
MOST_MARKDOWN_ROWS = 50
LONGEST_NAME = 72
SHORTEST_NAME = 14
STYLES = {"worse": "red", "better": "green"}
COUNTED_SEVERITIES = ("error", "warning")
POINTS_NOTICEABLE = 0.005


@dataclass(frozen=True)
class TaskChange:
    """The loss of an output's top-1 accuracy in both results, in percentage points."""

    output: str
    before: float
    after: float


@dataclass(frozen=True)
class Diff:
    """Two results compared.

    Attributes:
        comparison: Name of the comparison that is set side by side.
        sentences: The difference in words.
        worse: Layers that got worse, the most first.
        better: Layers that got better, the most first.
        same: How many did not move.
        new: Layers that only the later result scored, with the reason where the earlier did not.
        gone: Layers that only the earlier one scored, likewise.
        tasks: Outputs whose accuracy moved.
        new_findings: Titles of errors and warnings that only the later one has.
        gone_findings: Titles that only the earlier one has.
        verdict_lost: The earlier verdict was good, the later is not.
    """

    comparison: str
    sentences: tuple[str, ...]
    worse: tuple[Delta, ...]
    better: tuple[Delta, ...]
    same: int
    new: tuple[tuple[str, str], ...]
    gone: tuple[tuple[str, str], ...]
    tasks: tuple[TaskChange, ...]
    new_findings: tuple[str, ...]
    gone_findings: tuple[str, ...]
    verdict_lost: bool

    @property
    def is_worse(self) -> bool:
        """Whether something got worse or went."""
        lost = any(change.after > change.before + POINTS_NOTICEABLE for change in self.tasks)
        return bool(self.worse or self.gone or self.new_findings or self.verdict_lost or lost)


def diff_results(before: Result, after: Result, noticeable_db: float) -> Diff:
    """Compare two results of a network.

    Args:
        before: The earlier one.
        after: The later one.
        noticeable_db: Smallest change of a layer's SQNR that counts.
    """
    difference = compare_results(after, before)
    name = difference.comparison
    moved: dict[str, list[Delta]] = {"worse": [], "better": [], "same": []}
    for delta in difference.deltas:
        if quality_db(delta.before) is not None and quality_db(delta.after) is not None:
            moved[delta.direction_by(noticeable_db)].append(delta)
    titles = [_findings(result) for result in (before, after)]
    return Diff(
        comparison=name,
        sentences=(verdict_sentence(after, before), *setup_sentences(after, before)),
        worse=tuple(sorted(moved["worse"], key=_change)),
        better=tuple(sorted(moved["better"], key=_change, reverse=True)),
        same=len(moved["same"]),
        new=_only_in(after, before, name),
        gone=_only_in(before, after, name),
        tasks=tuple(_task_changes(before, after)),
        new_findings=tuple(title for key, title in titles[1].items() if key not in titles[0]),
        gone_findings=tuple(title for key, title in titles[0].items() if key not in titles[1]),
        verdict_lost=before.judgement.good and not after.judgement.good,
    )


def _change(delta: Delta) -> float:
    before, after = quality_db(delta.before), quality_db(delta.after)
    assert before is not None
    assert after is not None
    return after - before


def _findings(result: Result) -> dict[str, str]:
    return {finding.id: finding.title for finding in result.findings if finding.severity in COUNTED_SEVERITIES}


def _only_in(result: Result, other: Result, name: str) -> tuple[tuple[str, str], ...]:
    """Layers scored in one result only, with the other's reason where it has the layer."""
    rows = {row.key: row for row in other.layers}
    found = []
    for row in result.layers:
        if not _is_scored(row, name):
            continue
        counterpart = rows.get(row.key)
        if counterpart is None:
            found.append((row.key, ""))
        elif not _is_scored(counterpart, name):
            scores = counterpart.scores.get(name)
            found.append((row.key, counterpart.reason or (scores.reason if scores is not None else "")))
    return tuple(found)


def _is_scored(row: LayerRow, name: str) -> bool:
    scores = row.scores.get(name)
    return scores is not None and quality_db(scores) is not None


def _task_changes(before: Result, after: Result) -> list[TaskChange]:
    if before.task is None or after.task is None:
        return []
    earlier = {output.output: output.lane(before.task.judged_lane) for output in before.task.outputs}
    found = []
    for output in after.task.outputs:
        losses = [_loss(earlier.get(output.output)), _loss(output.lane(after.task.judged_lane))]
        if losses[0] is not None and losses[1] is not None:
            found.append(TaskChange(output.output, losses[0], losses[1]))
    return found


def _loss(lane: LaneDecisions | None) -> float | None:
    return lane.loss_points if lane is not None else None


def render_diff_json(diff: Diff) -> str:
    """Write a difference as JSON: the same bytes for the same two results."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "comparison": diff.comparison,
        "is_worse": diff.is_worse,
        "verdict_lost": diff.verdict_lost,
        "sentences": diff.sentences,
        "worse": [_layer_document(delta) for delta in diff.worse],
        "better": [_layer_document(delta) for delta in diff.better],
        "same": diff.same,
        "new": [{"layer": key, "reason": reason} for key, reason in diff.new],
        "gone": [{"layer": key, "reason": reason} for key, reason in diff.gone],
        "accuracy_loss_points": [
            {"output": change.output, "before": change.before, "after": change.after} for change in diff.tasks
        ],
        "new_findings": diff.new_findings,
        "gone_findings": diff.gone_findings,
    }
    return json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _layer_document(delta: Delta) -> dict[str, Any]:
    def scores(entry: Scores) -> dict[str, Any]:
        return {
            "status": entry.status.value,
            "cosine": entry.cosine,
            "sqnr_db": entry.sqnr_db,
            "norm_ratio": entry.norm_ratio,
        }

    return {
        "layer": delta.key,
        "sqnr_change_db": delta.sqnr_change_db,
        "before": scores(delta.before),
        "after": scores(delta.after),
    }


def render_diff_markdown(diff: Diff) -> str:
    """Write a difference as GitHub-flavoured Markdown; names are escaped."""
    lines = [f"### {'❌' if diff.is_worse else '✅'} {markdown(_headline(diff))}", ""]
    lines.append(" ".join(markdown(sentence) for sentence in diff.sentences))
    for title, deltas in (("Worse", diff.worse), ("Better", diff.better)):
        if deltas:
            lines += ["", f"**{title}**", "", "| layer | cosine before | now | dB before | now | change |"]
            lines.append("|---|---:|---:|---:|---:|---:|")
            lines += [_markdown_row(delta) for delta in deltas[:MOST_MARKDOWN_ROWS]]
            lines += _more(len(deltas), MOST_MARKDOWN_ROWS)
    for title, entries in (("New", diff.new), ("Gone", diff.gone)):
        if entries:
            named = [
                markdown_name(key) + (f" ({markdown(why)})" if why else "") for key, why in entries[:MOST_MARKDOWN_ROWS]
            ]
            lines += ["", f"**{title}:** {', '.join(named)}", *_more(len(entries), MOST_MARKDOWN_ROWS)]
    lines += [f"\n{markdown(text)}" for text in _further(diff)]
    return "\n".join([*lines, ""])


def _markdown_row(delta: Delta) -> str:
    scores = (delta.before, delta.after)
    numbers = [*(cosine_text(entry.cosine) for entry in scores), *(sqnr_text(entry) for entry in scores)]
    return f"| {markdown_name(delta.key)} | {' | '.join(numbers)} | {_change_text(delta)} |"


def _more(count: int, shown: int) -> list[str]:
    return ["", f"and {count - shown} more"] if count > shown else []


def _change_text(delta: Delta) -> str:
    return f"{delta.sqnr_change_db:+.1f}" if delta.sqnr_change_db is not None else "–"


def _headline(diff: Diff) -> str:
    counts = f"{plural(len(diff.worse), 'layer')} worse, {len(diff.better)} better, {diff.same} the same"
    return f"{counts}, {len(diff.new)} new, {len(diff.gone)} gone ({diff.comparison})."


def _further(diff: Diff) -> list[str]:
    """Accuracy and findings, a sentence each."""
    texts = [
        f"Top-1 loss at '{change.output}': {change.before:.2f} points before, {change.after:.2f} now."
        for change in diff.tasks
    ]
    texts += [f"New finding: {title}." for title in diff.new_findings]
    return texts + [f"Gone finding: {title}." for title in diff.gone_findings]


def render_diff_terminal(diff: Diff, console: Console, *, verbose: bool = False) -> None:
    """Print a difference.

    Args:
        diff: The difference.
        console: Where to; its width, colours and encoding are honoured.
        verbose: List every layer that moved.
    """
    paragraph(console, _headline(diff), indent=2, style="bold")
    for sentence in diff.sentences:
        paragraph(console, visible(sentence), indent=2)
    for title, deltas in (("Worse", diff.worse), ("Better", diff.better)):
        if deltas:
            emit(console)
            emit(console, Text(title, style=STYLES[title.lower()]))
            _print_table(deltas if verbose else deltas[:MOST_SHOWN], console)
            if not verbose and len(deltas) > MOST_SHOWN:
                emit(console, f"  and {len(deltas) - MOST_SHOWN} more (--verbose lists them)")
    for title, entries in (("New", diff.new), ("Gone", diff.gone)):
        _print_names(title, entries if verbose else entries[:MOST_SHOWN], len(entries), console)
    for text in _further(diff):
        paragraph(console, visible(text), indent=2)


def _print_table(deltas: Sequence[Delta], console: Console) -> None:
    glyphs = glyphs_for(console)
    numbers = [
        Column("cosine before", 13, right=True),
        Column("now", 10, right=True),
        Column("dB before", 9, right=True),
        Column("now", 6, right=True),
        Column("change", 6, right=True),
    ]
    room = console.width - 2 - sum(column.width + 2 for column in numbers)
    longest = max(len(visible(delta.key)) for delta in deltas)
    columns = [Column("layer", max(SHORTEST_NAME, min(longest, room, LONGEST_NAME))), *numbers]
    emit(console, header(columns))
    for delta in deltas:
        style = STYLES.get(delta.direction, "")
        cells = [
            fitted(delta.key, columns[0].width, glyphs),
            cosine_text(delta.before.cosine),
            cosine_text(delta.after.cosine),
            sqnr_text(delta.before),
            sqnr_text(delta.after),
            _change_text(delta),
        ]
        emit(console, line(columns, [(cell, style if at == len(cells) - 1 else "") for at, cell in enumerate(cells)]))


def _print_names(title: str, entries: Sequence[tuple[str, str]], count: int, console: Console) -> None:
    if not entries:
        return
    emit(console)
    emit(console, title)
    glyphs = glyphs_for(console)
    for key, why in entries:
        name = fitted(key, min(LONGEST_NAME, max(SHORTEST_NAME, console.width - 4)), glyphs)
        paragraph(console, f"{name}{f': {visible(why)}' if why else ''}", indent=2)
    if count > len(entries):
        emit(console, f"  and {count - len(entries)} more (--verbose lists them)")

"""A gate for GitHub: workflow commands that mark files, and the step's summary."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from gfpq_inspect.errors import OutputError
from gfpq_inspect.gate.outcome import Check, GateReport
from gfpq_inspect.gate.places import Places
from gfpq_inspect.text import plural, visible

MOST_ANNOTATIONS = 10
"""GitHub shows ten errors a step and drops the others without a word."""
SUMMARY_LIMIT_BYTES = 1 << 20
"""Of a step's summary; a longer one is refused as a whole."""
TITLE = "gfpq-inspect gate"


def is_github(environment: Mapping[str, str]) -> bool:
    """Whether this runs in a GitHub workflow."""
    return environment.get("GITHUB_ACTIONS", "").lower() == "true"


def workflow_commands(report: GateReport, places: Places) -> list[str]:
    """Workflow commands, a line each: an error a failure, the last one for what is left out, and the notices."""
    failures = report.failures
    shown = failures if len(failures) <= MOST_ANNOTATIONS else failures[: MOST_ANNOTATIONS - 1]
    lines = [_error(check, places) for check in shown]
    left = len(failures) - len(shown)
    if left:
        lines.append(f"::error title={_property(TITLE)}::{plural(left, 'more failure')}; see the summary")
    return lines + [f"::notice title={_property(TITLE)}::{_data(notice)}" for notice in report.notices]


def _error(check: Check, places: Places) -> str:
    file, line = places.of(check)
    properties = []
    if file:
        properties.append(f"file={_property(file)}")
    if line is not None:
        properties.append(f"line={line}")
    properties.append(f"title={_property(f'{TITLE}: {check.rule}')}")
    return f"::error {','.join(properties)}::{_data(f'{check.subject}: {check.sentence}')}"


def _data(text: str) -> str:
    """The message of a workflow command: whatever a layer is called, it begins no command of its own."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def fenced(text: str) -> str:
    """Text in whose lines GitHub looks for no commands: a layer may be called `::add-mask::` or `##[group]`."""
    token = secrets.token_hex(16)
    return f"::stop-commands::{token}\n{text.rstrip()}\n::{token}::"


def append_summary(path: Path, markdown: str) -> None:
    """Add to the step's summary.

    Args:
        path: The file that GITHUB_STEP_SUMMARY names.
        markdown: What to add.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        room = SUMMARY_LIMIT_BYTES - (path.stat().st_size if path.exists() else 0)
        content = _cut(markdown, room)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(content)
    except OSError as error:
        raise OutputError(f"{path}: the step's summary cannot be written: {error.strerror}") from error


def _cut(markdown: str, room: int) -> str:
    """As many whole lines as there is room for."""
    if len(markdown.encode("utf-8")) <= room:
        return markdown
    note = "\n\nThe rest is left out: the summary of a step has no more room.\n"
    kept = markdown.encode("utf-8")[: max(0, room - len(note))].decode("utf-8", "ignore")
    return (kept[: kept.rfind("\n")] + note) if room > len(note) else ""

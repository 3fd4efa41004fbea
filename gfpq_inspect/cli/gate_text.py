"""A gate at a prompt: the verdict, then every failure on a line of its own."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from gfpq_inspect.gate.outcome import Check, GateReport, Outcome
from gfpq_inspect.text import plural, shortened, visible

NAME_WIDTH = 60
MOST_FAILURES = 200
MOST_LISTED = 10
SIGNS = {Outcome.PASSED: "ok", Outcome.FAILED: "FAIL", Outcome.ALLOWED: "allowed"}


def gate_text(report: GateReport, notes: Sequence[str], *, verbose: bool) -> str:
    """Write a gate as plain lines, wrapped where the output is a terminal.

    Args:
        report: The gate.
        notes: What else was done, a line each.
        verbose: List every check and every layer that was not judged.
    """
    lines = [f"{'PASS' if report.passed else 'FAIL'}  {report.sentence}"]
    lines.append(f"      Judged {report.comparison}, by {report.source}.")
    lines += [_check_line(check) for check in report.failures[:MOST_FAILURES]]
    if len(report.failures) > MOST_FAILURES:
        lines.append(f"  and {plural(len(report.failures) - MOST_FAILURES, 'more failure')}")
    lines += [_check_line(check) for check in report.allowed]
    if verbose:
        lines += [_check_line(check) for check in report.of(Outcome.PASSED)]
    lines += _not_judged(report, len(report.not_judged) if verbose else MOST_LISTED)
    lines += [f"  note     {notice}" for notice in report.notices]
    lines += [f"  {note}" for note in notes]
    return "\n".join(_wrapped(visible(line)) for line in lines)


def _check_line(check: Check) -> str:
    until = ""
    if check.allowance is not None:
        until = f"; allowed until {check.allowance.expires}: {check.allowance.reason}"
    place = f" [{check.place}]" if check.place and check.rule != "allow-expired" else f" [{check.rule}]"
    return f"  {SIGNS[check.outcome]:<8} {shortened(check.subject, NAME_WIDTH)}: {check.sentence}{until}{place}"


def _not_judged(report: GateReport, most: int) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for key, why in report.not_judged:
        reasons.setdefault(why, []).append(shortened(key, NAME_WIDTH))
    lines = []
    for why, keys in reasons.items():
        named = ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
        lines.append(f"  not judged ({why}): {named}")
    return lines[:most] + ([f"  and {plural(len(lines) - most, 'further reason')}"] if len(lines) > most else [])


def _wrapped(line: str) -> str:
    if not sys.stdout.isatty():
        return line
    width = max(40, shutil.get_terminal_size().columns)
    indent = " " * 11 if line.startswith("  ") else " " * 6
    return textwrap.fill(
        line, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False, replace_whitespace=False
    )

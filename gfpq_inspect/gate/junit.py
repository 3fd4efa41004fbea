"""A gate as JUnit XML: one test case a check, for the test tab of a CI service."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from gfpq_inspect.gate.outcome import Check, GateReport, Outcome
from gfpq_inspect.gate.places import Places
from gfpq_inspect.gate.settings import RULES
from gfpq_inspect.text import visible

SUITE = "gfpq-inspect gate"


def render_junit(report: GateReport, places: Places) -> str:
    """Write a gate as JUnit XML.

    Args:
        report: The gate.
        places: Files that checks point to.

    Returns:
        XML in ASCII, with a test suite a rule; allowed failures are skipped tests that tell the reason.
    """
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {_counts(SUITE, report.checks)}>"]
    for rule in RULES:
        checks = tuple(check for check in report.checks if check.rule == rule)
        if checks:
            lines.append(f"  <testsuite {_counts(rule, checks)}>")
            lines += [line for check in checks for line in _case(check, places)]
            lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _counts(name: str, checks: tuple[Check, ...]) -> str:
    failed = sum(check.outcome is Outcome.FAILED for check in checks)
    skipped = sum(check.outcome is Outcome.ALLOWED for check in checks)
    return f'name={attribute(name)} tests="{len(checks)}" failures="{failed}" errors="0" skipped="{skipped}"'


def _case(check: Check, places: Places) -> list[str]:
    file, line = places.of(check)
    # Two limits on one layer are two cases: services tell cases apart by class name and name.
    limit = f" [{check.place}]" if check.place else ""
    start = f"    <testcase classname={attribute(f'gfpq-inspect.{check.rule}')} name={attribute(check.subject + limit)}"
    if file:
        start += f" file={attribute(file)}"
    if line is not None:
        start += f' line="{line}"'
    if check.outcome is Outcome.PASSED:
        return [f"{start}/>"]
    if check.outcome is Outcome.ALLOWED and check.allowance is not None:
        until = f"{check.sentence}; allowed until {check.allowance.expires}: {check.allowance.reason}"
        return [f"{start}>", f"      <skipped message={attribute(until)}/>", "    </testcase>"]
    message = f"{check.subject}: {check.sentence}"
    return [
        f"{start}>",
        f"      <failure type={attribute(check.rule)} message={attribute(message)}/>",
        "    </testcase>",
    ]


def attribute(text: str) -> str:
    """A quoted attribute in ASCII; characters that XML cannot hold become visible escapes first."""
    return quoteattr(visible(text)).encode("ascii", "xmlcharrefreplace").decode("ascii")

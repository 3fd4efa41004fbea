"""What a gate found: every check with its outcome. All forms (terminal, JUnit, SARIF, ...) are made from this alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gfpq_inspect.gate.settings import Allowance


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    ALLOWED = "allowed"


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
        rule: A key of `settings.RULES`.
        outcome: How it ended.
        subject: What it is about, untrusted text: a row key, 'first network', 'input', ...
        sentence: What was found, with numbers, without the subject.
        place: Key of the limit in the configuration, or '' for what is always checked.
        layer: Layer name where the check is about a layer, or None.
        type: Its type.
        side: Which network's files the layer stands in: 'first' or 'second'.
        line: Its line in that network's prototxt, from 1, or None.
        allowance: What allows the failure.
    """

    rule: str
    outcome: Outcome
    subject: str
    sentence: str
    place: str = ""
    layer: str | None = None
    type: str | None = None
    side: str = "first"
    line: int | None = None
    allowance: Allowance | None = None


@dataclass(frozen=True)
class GateReport:
    """The verdict of a gate.

    Attributes:
        source: Where the configuration stands.
        comparison: What was judged, for people: 'tuned against float'.
        sentence: The verdict in a sentence.
        checks: In the order of the network, what concerns the whole run first.
        not_judged: Row key and why no limit could be held against it, for rows that a limit matches.
        notices: What a person should know, a sentence each.
    """

    source: str
    comparison: str
    sentence: str
    checks: tuple[Check, ...]
    not_judged: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing failed that is not allowed."""
        return not self.failures

    def __bool__(self) -> bool:
        return self.passed

    @property
    def failures(self) -> tuple[Check, ...]:
        """Checks that failed."""
        return self.of(Outcome.FAILED)

    @property
    def allowed(self) -> tuple[Check, ...]:
        """Checks that failed and may."""
        return self.of(Outcome.ALLOWED)

    def of(self, outcome: Outcome) -> tuple[Check, ...]:
        """Checks that ended in one way."""
        return tuple(check for check in self.checks if check.outcome is outcome)

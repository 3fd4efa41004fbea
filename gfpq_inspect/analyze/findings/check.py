"""What a check is: a small object that looks at a case and says what it found, or why it does not apply.

Checks stand in the order of a decision tree: a fault of the set-up makes everything below it meaningless, so it is
named first and silences blame further down (spec: decision tree).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from gfpq_inspect.analyze.result import Finding

if TYPE_CHECKING:
    from gfpq_inspect.analyze.findings.case import Case

Cell = str | float | int | None


class Group(IntEnum):
    """The branches of the tree, in order."""

    COMPARABILITY = 0
    FLOAT_REFERENCE = 1
    PREPROCESSING = 2
    CONFIGURATION = 3
    ABLATION = 4
    TENSOR = 6
    FINE_TUNING = 7


@dataclass(frozen=True)
class Outcome:
    """What a check found in one case.

    Attributes:
        severity: 'error', 'warning', 'note', 'passed' or 'not applicable'.
        measured: One sentence with numbers.
        layers: Row keys, worst first.
        columns: Names of the evidence's columns.
        rows: The evidence.
        title: Another title than the check's own for this outcome.
        remedy: Another remedy than the check's own.
    """

    severity: str
    measured: str
    layers: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    title: str | None = None
    remedy: str | None = None


def passed(measured: str) -> Outcome:
    """Nothing is the matter."""
    return Outcome("passed", measured)


def not_applicable(needs: str) -> Outcome:
    """The check could not look; `needs` completes 'Not applicable: needs ...'."""
    return Outcome("not applicable", f"Not applicable: needs {needs}.")


def found(
    severity: str,
    measured: str,
    *,
    layers: Sequence[str] = (),
    columns: Sequence[str] = (),
    rows: Sequence[Sequence[Cell]] = (),
    title: str | None = None,
    remedy: str | None = None,
) -> Outcome:
    """Something is the matter; long evidence is cut to its first 50 rows."""
    return Outcome(
        severity,
        measured,
        tuple(dict.fromkeys(layers)),
        tuple(columns),
        tuple(tuple(_plain(cell) for cell in row) for row in rows[:50]),
        title,
        remedy,
    )


def _plain(cell: object) -> Cell:
    """A value that JSON holds, rounded to what a reader can use."""
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    return float(f"{float(cell):.5g}")  # type: ignore[arg-type] # NumPy's scalars are floats too


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        id: Stable, in kebab case.
        group: Where it stands in the tree.
        title: What is checked: shown when nothing is the matter, or when it does not apply.
        failure: What is the matter, when it is.
        why: Why it matters.
        remedy: What to do.
        how: How it is computed.
        run: Looks at a case.
        direct: Names a cause that explains bad layers by itself, so that the set-up as a whole is not suspected.
    """

    id: str
    group: Group
    title: str
    failure: str
    why: str
    remedy: str
    how: str
    run: Callable[[Case], Outcome]
    direct: bool = True

    def finding(self, case: Case) -> Finding:
        """Look, and say it as the reports show it."""
        return self.finding_of(self.run(case))

    def finding_of(self, outcome: Outcome) -> Finding:
        """An outcome with this check's texts."""
        told = outcome.severity in ("error", "warning", "note")
        return Finding(
            id=self.id,
            title=outcome.title or (self.failure if told else self.title),
            severity=outcome.severity,
            measured=outcome.measured,
            why=self.why if told else "",
            remedy=(outcome.remedy or self.remedy) if told else "",
            how=self.how,
            layers=outcome.layers,
            evidence_columns=outcome.columns,
            evidence_rows=outcome.rows,
        )

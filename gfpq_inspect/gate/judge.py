"""The gate itself: a result and settings in, every check with its outcome out."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace

from gfpq_inspect.analyze.result import Comparison, Finding, LayerRow, Result, Scores, Status
from gfpq_inspect.errors import UsageError
from gfpq_inspect.gate.baseline import Baseline
from gfpq_inspect.gate.limits import Held, hold_layer_limit, hold_task_limit
from gfpq_inspect.gate.outcome import Check, GateReport, Outcome
from gfpq_inspect.gate.regression import about, baseline_checks, new_layers
from gfpq_inspect.gate.select import assign, matches, names_of, refuse_idle_allowances
from gfpq_inspect.gate.settings import TASK_METRICS, Allowance, GateSettings, Limit
from gfpq_inspect.text import plural, shortened

SHOWN_NAME = 60


def judge(
    result: Result, settings: GateSettings, *, today: datetime.date, baseline: Baseline | None = None
) -> GateReport:
    """Judge a result.

    Args:
        result: The result.
        settings: What the gate was told.
        today: The day that allowances are held against.
        baseline: The committed baseline, where the settings name one.

    Returns:
        Every check with its outcome.

    Raises:
        UsageError: A limit or allowance that cannot decide anything for this network.
    """
    comparison = judged_comparison(result, settings)
    refuse_idle_allowances(
        settings.allow, result, tuple(baseline.layers) if baseline is not None else (), settings.source
    )
    limited = _limit_checks(result, settings, comparison)
    checks = [*_run_checks(result, settings, today), *_soundness_checks(result, settings, comparison), *limited.checks]
    notices = _notices(result)
    if baseline is not None and settings.baseline is not None:
        checks += baseline_checks(result, comparison.name, baseline, settings.baseline)
        added = new_layers(result, comparison.name, baseline)
        if added:
            named = ", ".join(f"'{shortened(key, SHOWN_NAME)}'" for key in added[:5])
            notices.append(f"{plural(len(added), 'layer')} not in the baseline yet: {named}.")
    if not any(check.rule not in ("partial", "allow-expired") for check in checks):
        checks.append(Check("nothing-judged", Outcome.FAILED, "run", "no layer was held against any limit"))
    checks = [_allowed(check, settings.allow, result, today) for check in checks]
    notices += _unused(settings.allow, checks, today)
    return GateReport(
        source=settings.source,
        comparison=f"{comparison.lane} against {comparison.reference}",
        sentence=_sentence(checks),
        checks=tuple(checks),
        not_judged=tuple(limited.not_judged.items()),
        notices=tuple(notices),
    )


def judged_comparison(result: Result, settings: GateSettings) -> Comparison:
    """The comparison that a gate judges.

    Raises:
        UsageError: The result has no comparison of that name.
    """
    return _comparison_named(result, settings.comparison or result.judgement.comparison, "gate.comparison", settings)


def _comparison_named(result: Result, name: str, place: str, settings: GateSettings) -> Comparison:
    for comparison in result.comparisons:
        if comparison.name == name:
            return comparison
    known = ", ".join(comparison.name for comparison in result.comparisons)
    raise UsageError(f"{settings.source}: {place} is '{name}', which was not measured; there are {known}")


def _run_checks(result: Result, settings: GateSettings, today: datetime.date) -> list[Check]:
    """What concerns the whole run."""
    partial = "was stopped before all samples were seen" if result.judgement.partial else "saw all samples"
    checks = [Check("partial", _outcome(not result.judgement.partial), "run", partial)]
    for allowance in settings.allow:
        if allowance.expires < today:
            sentence = f"held until {allowance.expires} ({allowance.reason}), which has passed: renew it or remove it"
            checks.append(Check("allow-expired", Outcome.FAILED, allowance.place, sentence, allowance.place))
    if settings.verdict:
        checks.append(
            Check("verdict", _outcome(result.judgement.good), "verdict", result.judgement.sentence, "gate.verdict")
        )
    if settings.findings:
        checks += [_finding_check(finding) for finding in result.findings if _counts(finding, settings.findings)]
        if not any(check.rule == "finding" for check in checks):
            sentence = f"no finding is of severity {settings.findings} or worse"
            checks.append(Check("finding", Outcome.PASSED, "findings", sentence, "gate.findings"))
    return checks


def _counts(finding: Finding, severity: str) -> bool:
    return finding.severity in ("error", severity)


def _finding_check(finding: Finding) -> Check:
    return Check("finding", Outcome.FAILED, finding.id, f"{finding.title}: {finding.measured}", "gate.findings")


def _soundness_checks(result: Result, settings: GateSettings, comparison: Comparison) -> list[Check]:
    """NaN and unmatched layers, which fail without being asked."""
    names = {comparison.name, *(limit.comparison for limit in settings.limits if limit.comparison)}
    checks = []
    for row in result.layers:
        if _is_unsound(row):
            checks.append(about(row, "unmatched", Outcome.FAILED, f"was not compared: {row.reason}"))
        found = next((scores for name in sorted(names) if _nonfinite(scores := row.scores.get(name))), None)
        if found is not None:
            checks.append(about(row, "non-finite", Outcome.FAILED, found.reason))
    return checks


def _nonfinite(scores: Scores | None) -> bool:
    return scores is not None and (scores.nonfinite_reference > 0 or scores.nonfinite_test > 0)


class _Record:
    """Takes down what holding limits against rows gives."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.not_judged: dict[str, str] = {}
        self._decided: set[Limit] = set()
        self._idle: dict[Limit, str] = {}

    def note(self, row: LayerRow, limit: Limit, held: Held) -> None:
        """Take down one limit and one row."""
        if held.passed is not None:
            self._decided.add(limit)
            self.checks.append(about(row, limit.metric, _outcome(held.passed), held.sentence, limit.place))
            return
        self.not_judged.setdefault(row.key, held.sentence)
        if _is_unsound(row):
            self._decided.add(limit)  # the row fails for that already
        else:
            self._idle.setdefault(limit, f"'{shortened(row.key, SHOWN_NAME)}': {held.sentence}")

    def refuse_idle(self, limits: Sequence[Limit], source: str) -> None:
        """Refuse limits that decided nothing.

        Raises:
            UsageError: There is one.
        """
        for limit in limits:
            if limit not in self._decided:
                why = self._idle.get(limit, "more specific limits hold wherever it matches")
                raise UsageError(f"{source}: {limit.place} can never fail: it decides nothing here ({why})")


def _limit_checks(result: Result, settings: GateSettings, comparison: Comparison) -> _Record:
    """Hold every limit against the rows that it holds for."""
    for limit in settings.limits:
        if limit.comparison:
            _comparison_named(result, limit.comparison, f"{limit.place.rpartition('.')[0]}.comparison", settings)
    record = _Record()
    layer_limits = [limit for limit in settings.limits if limit.metric not in TASK_METRICS]
    for row, limits in zip(result.layers, assign(layer_limits, result, settings.source), strict=True):
        for limit in limits:
            record.note(row, limit, hold_layer_limit(limit, row, row.scores.get(limit.comparison or comparison.name)))
    _task_checks(result, settings, comparison, record)
    record.refuse_idle(settings.limits, settings.source)
    return record


def _task_checks(result: Result, settings: GateSettings, comparison: Comparison, record: _Record) -> None:
    """Hold limits on accuracy and decisions against the outputs that decide."""
    limits = [limit for limit in settings.limits if limit.metric in TASK_METRICS]
    assigned = assign(limits, result, settings.source)
    if result.task is None:
        return
    decided = {output.output: output for output in result.task.outputs}
    for row, held in zip(result.layers, assigned, strict=True):
        for limit in held if row.key in decided else ():
            name = limit.comparison or comparison.name
            lane = next(known.lane for known in result.comparisons if known.name == name)
            record.note(row, limit, hold_task_limit(limit, decided[row.key].lane(lane), result.task.samples))


def _is_unsound(row: LayerRow) -> bool:
    """Whether a row was not compared for a reason that is not understood."""
    return row.status is Status.SHAPE_MISMATCH or (row.status is Status.UNMATCHED and not row.understood)


def _notices(result: Result) -> list[str]:
    if result.run.inputs.synthetic:
        return ["The networks were fed seeded noise: a gate on real data says more."]
    return []


def _allowed(check: Check, allow: Sequence[Allowance], result: Result, today: datetime.date) -> Check:
    """Let a failure pass that an allowance covers; say so where it did until lately."""
    if check.outcome is not Outcome.FAILED:
        return check
    row = next((row for row in result.layers if row.key == check.subject), None)
    names = names_of(row) if row is not None else (check.subject,)
    for allowance in allow:
        if check.rule not in allowance.what:
            continue
        if allowance.layers and not any(matches(pattern, names) for pattern in allowance.layers):
            continue
        if allowance.expires >= today:
            return replace(check, outcome=Outcome.ALLOWED, allowance=allowance)
        sentence = f"{check.sentence}; it was allowed until {allowance.expires} ({allowance.reason})"
        check = replace(check, sentence=sentence)
    return check


def _unused(allow: Sequence[Allowance], checks: Sequence[Check], today: datetime.date) -> list[str]:
    used = {check.allowance for check in checks}
    return [
        f"{allowance.place} allows what does not fail any more ({allowance.reason}): remove it."
        for allowance in allow
        if allowance not in used and allowance.expires >= today
    ]


def _outcome(passed: bool) -> Outcome:
    return Outcome.PASSED if passed else Outcome.FAILED


def _sentence(checks: Sequence[Check]) -> str:
    """The verdict in a sentence."""
    failed = [check for check in checks if check.outcome is Outcome.FAILED]
    allowed = sum(check.outcome is Outcome.ALLOWED for check in checks)
    beside = f", {allowed} allowed for a time" if allowed else ""
    if not failed:
        return f"The gate passes: {plural(len(checks), 'check')}{beside}."
    counts: dict[str, int] = {}
    for check in failed:
        counts[check.rule] = counts.get(check.rule, 0) + 1
    listed = ", ".join(f"{count} {rule}" for rule, count in counts.items())
    return f"The gate fails: {len(failed)} of {plural(len(checks), 'check')} failed ({listed}){beside}."

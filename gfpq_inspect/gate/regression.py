"""A result against the committed baseline: what became worse than is allowed, what went, what else changed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from gfpq_inspect.analyze.result import LayerRow, Result
from gfpq_inspect.gate.baseline import EXACT, Baseline, baseline_of
from gfpq_inspect.gate.limits import TITLES, UNITS
from gfpq_inspect.gate.outcome import Check, Outcome
from gfpq_inspect.gate.settings import BaselineSettings

ROUNDING = 1e-9
WORSE_UP = ("accuracy_loss_points", "top5_loss_points")
DATA = {"input": "input", "calibration": "calibration set"}
ROLES = {"first": "first network", "second": "second network"}


def baseline_checks(result: Result, comparison: str, baseline: Baseline, settings: BaselineSettings) -> list[Check]:
    """Hold a result against a baseline.

    Args:
        result: The result.
        comparison: Name of the comparison that is judged.
        baseline: What the file holds.
        settings: Allowed steps, and what may change.
    """
    current = _current(result, comparison)
    checks = [*_identity(current, baseline, settings)]
    rows = {row.key: row for row in result.layers}
    for key, before in baseline.layers.items():
        if key not in current.layers:
            checks.append(_gone(key, rows.get(key)))
        else:
            checks += _steps(key, before, current.layers[key], settings, rows[key])
    for output, figures in baseline.task.items():
        if output not in current.task:
            checks.append(Check("layer-gone", Outcome.FAILED, output, "its decisions are in the baseline, not here"))
        else:
            checks += _steps(output, figures, current.task[output], settings, rows.get(output))
    return checks


def new_layers(result: Result, comparison: str, baseline: Baseline) -> list[str]:
    """Row keys that the baseline does not know."""
    return [key for key in _current(result, comparison).layers if key not in baseline.layers]


def _current(result: Result, comparison: str) -> Baseline:
    """What a baseline of this result would hold; of a partial one too, for the comparison only."""
    whole = replace(result, judgement=replace(result.judgement, partial=False))
    return baseline_of(whole, comparison)


def _identity(current: Baseline, baseline: Baseline, settings: BaselineSettings) -> list[Check]:
    """Whether the same was measured."""
    checks = []
    for role in sorted({*current.models, *baseline.models}):
        now, then = current.models.get(role), baseline.models.get(role)
        subject = ROLES.get(role, role)
        if now == then:
            checks.append(Check("model-changed", Outcome.PASSED, subject, "is that of the baseline"))
        elif role not in settings.may_change:
            checks.append(Check("model-changed", Outcome.FAILED, subject, _changed_hash(now, then)))
    for part in sorted({*current.data, *baseline.data}, reverse=True):
        subject = DATA.get(part, part)
        now_hash, then_hash = current.data.get(part), baseline.data.get(part)
        if now_hash == then_hash:
            checks.append(Check("data-changed", Outcome.PASSED, subject, "is that of the baseline"))
        elif "data" not in settings.may_change:
            sentence = f"is not that of the baseline (SHA-256 {_short(now_hash)}, was {_short(then_hash)})"
            checks.append(Check("data-changed", Outcome.FAILED, subject, sentence))
    differences = _setup_differences(current, baseline)
    if not differences:
        checks.append(Check("setup-changed", Outcome.PASSED, "setup", "is that of the baseline"))
    elif "setup" not in settings.may_change:
        checks.append(Check("setup-changed", Outcome.FAILED, "setup", f"is not that of the baseline: {differences}"))
    return checks


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _changed_hash(now: Mapping[str, str] | None, then: Mapping[str, str] | None) -> str:
    if now is None:
        return "is in the baseline, but this run has none"
    if then is None:
        return "is not in the baseline, which was made without one"
    parts = [part for part in sorted({*now, *then}) if now.get(part) != then.get(part)]
    told = ", ".join(f"{part} {_short(now.get(part))}, was {_short(then.get(part))}" for part in parts)
    return f"is not that of the baseline (SHA-256 of {told}); review it and run gate --update-baseline"


def _setup_differences(current: Baseline, baseline: Baseline) -> str:
    now = {"comparison": current.comparison, **current.setup}
    then = {"comparison": baseline.comparison, **baseline.setup}
    names = [*now, *(name for name in then if name not in now)]
    different = [name for name in names if now.get(name) != then.get(name)]
    return ", ".join(f"{name} is '{now.get(name, '')}', was '{then.get(name, '')}'" for name in different)


def _gone(key: str, row: LayerRow | None) -> Check:
    if row is None:
        return Check("layer-gone", Outcome.FAILED, key, "is in the baseline, but not in this network")
    why = f": {row.reason}" if row.reason else ""
    return about(row, "layer-gone", Outcome.FAILED, f"is in the baseline, but was not scored here{why}")


def about(row: LayerRow, rule: str, outcome: Outcome, sentence: str, place: str = "") -> Check:
    """A check about a layer."""
    return Check(
        rule=rule,
        outcome=outcome,
        subject=row.key,
        sentence=sentence,
        place=place,
        layer=row.name,
        type=row.type,
        side="second" if row.side == "second" else "first",
        line=row.source_line,
    )


def _steps(
    key: str,
    before: Mapping[str, float | str],
    after: Mapping[str, float | str] | Mapping[str, float],
    settings: BaselineSettings,
    row: LayerRow | None,
) -> list[Check]:
    """One check for each figure that has an allowed step."""
    checks = []
    for metric, allowed in settings.allowed.items():
        if metric not in before:
            continue
        sentence = _step(metric, before[metric], after.get(metric), allowed)
        place = f"gate.baseline.{metric}"
        outcome = Outcome.FAILED if sentence else Outcome.PASSED
        told = (
            sentence or f"{TITLES[metric]} is no more than {allowed:g}{UNITS.get(metric, '')} worse than the baseline"
        )
        if row is None:
            checks.append(Check("regression", outcome, key, told, place))
        else:
            checks.append(about(row, "regression", outcome, told, place))
    return checks


def _step(metric: str, before: float | str, after: float | str | None, allowed: float) -> str:
    """Why a step is too large, or ''."""
    title, unit = TITLES[metric], UNITS.get(metric, "")
    if after is None:
        return f"{title} was {before}{unit if before != EXACT else ''} in the baseline, now it has none"
    worse = _badness(metric, after) - _badness(metric, before)
    if math.isnan(worse) or worse <= allowed + ROUNDING:
        return ""
    shown = [value if isinstance(value, str) else f"{value:g}{unit}" for value in (after, before)]
    return f"{title} {shown[0]} was {shown[1]} in the baseline; {allowed:g}{unit} worse is allowed"


def _badness(metric: str, value: float | str) -> float:
    """A number that grows as things become worse, in the metric's own unit."""
    if isinstance(value, str):
        return -math.inf
    if metric == "norm_ratio":
        return abs(value - 1)
    return value if metric in WORSE_UP else -value

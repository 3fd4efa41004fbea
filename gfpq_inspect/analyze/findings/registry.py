"""All checks, in the order of the tree, and how their findings stand together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points

from gfpq_inspect.analyze.dumps.comparison import DumpRole
from gfpq_inspect.analyze.findings import (
    accumulation,
    batch_norm,
    before_fold,
    beyond_calibration,
    bias_shift,
    bit_width,
    channel_order,
    dead_tensor,
    dump_bits,
    dump_constant,
    dump_departure,
    dump_folded,
    dump_gain,
    dump_image,
    dump_input,
    dump_layout,
    dump_names,
    dump_overflow,
    dump_small_head,
    dump_weights,
    float_master,
    float_reference,
    folded,
    gain_error,
    grey_images,
    group_convolution,
    input_mean,
    input_scale,
    learning_rate,
    mixed_widths,
    names,
    off_grid,
    outlier_channel,
    outlier_filter,
    quant_parameters,
    saturation,
    scaled_filter,
    set_up,
    shrunk_top,
    skipped_layers,
    small_head,
    stated_preprocessing,
    ternary,
    unbalanced,
    underflow,
    weight_script,
)
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome
from gfpq_inspect.analyze.result import Finding
from gfpq_inspect.errors import InternalError

ENTRY_POINT_GROUP = "gfpq_inspect.findings"

CHECKS: tuple[Check, ...] = (
    names.CHECK,
    folded.CHECK,
    float_reference.CHECK,
    stated_preprocessing.CHECK,
    input_scale.CHECK,
    input_mean.CHECK,
    channel_order.CHECK,
    grey_images.CHECK,
    bit_width.CHECK,
    ternary.CHECK,
    set_up.CHECK,
    weight_script.CHECK,
    accumulation.CHECK,
    saturation.CHECK,
    beyond_calibration.CHECK,
    scaled_filter.CHECK,
    outlier_filter.CHECK,
    outlier_channel.CHECK,
    group_convolution.CHECK,
    underflow.CHECK,
    unbalanced.CHECK,
    dead_tensor.CHECK,
    small_head.CHECK,
    bias_shift.CHECK,
    gain_error.CHECK,
    shrunk_top.CHECK,
    off_grid.CHECK,
    float_master.CHECK,
    learning_rate.CHECK,
    batch_norm.CHECK,
    quant_parameters.CHECK,
    before_fold.CHECK,
    mixed_widths.CHECK,
    skipped_layers.CHECK,
)
"""The checks of this package, in the order of the tree."""

DUMP_CHECKS: tuple[Check, ...] = (
    dump_names.CHECK,
    dump_layout.CHECK,
    dump_folded.CHECK,
    dump_image.CHECK,
    dump_input.CHECK,
    dump_bits.CHECK,
    dump_weights.CHECK,
    dump_departure.CHECK,
    dump_constant.CHECK,
    dump_overflow.CHECK,
    dump_small_head.CHECK,
    dump_gain.CHECK,
)
"""The checks of dumps, which only look where a dump is compared."""

_SILENCED_BY = frozenset({Group.COMPARABILITY, Group.FLOAT_REFERENCE, Group.PREPROCESSING})
_SEVERITIES = ("error", "warning", "note", "passed", "not applicable")


@cache
def all_checks() -> tuple[Check, ...]:
    """The checks of this package and of installed plug-ins, in the order of the tree.

    Raises:
        InternalError: A plug-in offers something that is no check, or takes an id that is taken.
    """
    checks = list(CHECKS)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        candidate = entry_point.load()
        if not isinstance(candidate, Check):
            raise InternalError(
                f"the plug-in '{entry_point.value}' is no check; see gfpq_inspect.analyze.findings.check."
            )
        if any(check.id == candidate.id for check in checks):
            raise InternalError(f"the plug-in '{entry_point.value}' takes the id '{candidate.id}' of another check.")
        checks.append(candidate)
    return tuple(sorted(checks, key=lambda check: check.group))


def run_checks(case: Case, checks: Sequence[Check] | None = None) -> tuple[Finding, ...]:
    """Look at a case with all checks.

    What is wrong comes first, in the order of the tree: a fault of the set-up stands before what follows from it, and
    silences blame of single layers.

    Args:
        case: What was measured.
        checks: Other checks than all.

    Returns:
        A finding a check: errors, and warnings of the set-up, in the order of the tree; other warnings; notes; what
        passed; what did not apply.
    """
    ordered = _checks_for(case) if checks is None else tuple(checks)
    found = [(check, _finding(check, case)) for check in ordered]
    found = _without_general_blame(found)
    culprit = next((entry for entry in found if entry[0].group in _SILENCED_BY and entry[1].severity == "error"), None)
    if culprit is not None:
        found = [(check, _silenced(check, finding, culprit[0], culprit[1])) for check, finding in found]
    return tuple(finding for _, finding in sorted(found, key=lambda entry: _rank(entry[0], entry[1], case)))


def _checks_for(case: Case) -> tuple[Check, ...]:
    """Those of dumps only where there is one, and no others where nothing but dumps is compared."""
    if case.dump is None:
        return all_checks()
    networks = () if case.dump.role is DumpRole.BOTH else all_checks()
    return tuple(sorted((*DUMP_CHECKS, *networks), key=lambda check: check.group))


def _finding(check: Check, case: Case) -> Finding:
    """Run one check; one that fails is told as such and costs nobody the rest of the report."""
    try:
        return check.finding(case)
    except Exception as error:
        told = f"This check itself failed ({type(error).__name__}: {error}); please report it as a bug."
        return check.finding_of(Outcome("not applicable", told))


def _rank(check: Check, finding: Finding, case: Case) -> tuple[int, int]:
    """Errors first, and beside them warnings that come before everything in the tree; then warnings.

    What training did to a network comes before what the format costs it in any case.
    """
    rank = _SEVERITIES.index(finding.severity)
    if finding.severity == "warning" and check.group in _SILENCED_BY:
        rank = 0
    trained = finding.severity == "warning" and check.group is Group.FINE_TUNING and case.second is not None
    return rank, 0 if trained else 1


def _without_general_blame(found: list[tuple[Check, Finding]]) -> list[tuple[Check, Finding]]:
    """A cause that was named explains bad layers: the set-up as a whole is suspected only where there is none."""
    named = [finding for check, finding in found if check.direct and finding.severity == "error"]
    if not named:
        return found
    told = ("error", "warning")
    return [
        (check, replace(finding, severity="note", measured=f"{finding.measured} A cause was found: {named[0].title}."))
        if not check.direct and finding.severity in told
        else (check, finding)
        for check, finding in found
    ]


def _silenced(check: Check, finding: Finding, cause: Check, reason: Finding) -> Finding:
    """No blame of anything that follows from a fault that comes before it."""
    if check.group <= cause.group or finding.severity not in ("error", "warning", "note"):
        return finding
    told = f"Not judged: '{reason.title}' comes first and may be the cause. {finding.measured}"
    return check.finding_of(Outcome("not applicable", told))

"""Are most layers bad? Then the set-up is at fault, not the number format (spec: decision tree, G5)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.result import Verdict

_SHARE = 0.5
_FEWEST = 4


def run(case: Case) -> Outcome:
    """Count flagged layers."""
    judged = [row for row in case.rows if row.verdict is not Verdict.NOT_JUDGED]
    if len(judged) < _FEWEST:
        return not_applicable(f"at least {_FEWEST} judged layers")
    bad = [row for row in judged if row.verdict is Verdict.FLAGGED]
    share = len(bad) / len(judged)
    measured = f"{len(bad)} of {len(judged)} judged layers are flagged ({100 * share:.0f} %)."
    if share <= _SHARE:
        return passed(measured)
    first = bad[0]
    return found("error", f"{measured} The first is '{first.key}'.", layers=[row.key for row in bad[:20]])


CHECK = Check(
    id="set-up",
    group=Group.CONFIGURATION,
    title="Share of bad layers",
    failure="More than half of the layers are bad: suspect the set-up, not single layers",
    why=(
        "Quantization costs a layer or a branch; it does not break most of a network at once. When it looks so, the "
        "two networks are fed differently, are not the same network, or were built with different settings."
    ),
    remedy=(
        "Check, in this order: do both files belong together; is the input preprocessed alike (mean, scale, "
        "channels); does the float network give right answers on these samples; which bit width and calibration "
        "images were used. Try --bits 16: if that is bad too, precision is not the cause."
    ),
    how="Flagged layers over judged layers; layers without a verdict are left out.",
    run=run,
    direct=False,
)

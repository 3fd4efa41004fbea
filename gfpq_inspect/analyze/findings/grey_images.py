"""Are all test images grey although the network takes colour? (spec: decision tree, G2)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.inputs_seen import input_range


def run(case: Case) -> Outcome:
    """Look for a difference between channels."""
    if case.synthetic:
        return not_applicable("real samples; these are seeded noise")
    seen = input_range(case)
    if seen is None or seen.channels != 3:
        return not_applicable("an image input of three channels")
    if seen.grey:
        measured = f"In all {seen.samples} samples that were looked at, the three channels are equal."
        return found("warning", measured)
    return passed(f"The channels differ (means {', '.join(f'{value:.4g}' for value in seen.mean)}).")


CHECK = Check(
    id="grey-images",
    group=Group.PREPROCESSING,
    title="Images in colour",
    failure="All test images are grey",
    why=(
        "Grey images look the same in every order of channels, so a swap of red and blue stays hidden, and filters "
        "for colour are hardly used: coefficients that are calibrated with them are too small for colour."
    ),
    remedy="Test and calibrate with typical colour images: 20 to 50 that cover what the network is for.",
    how="Every sample's three channels are compared for equality.",
    run=run,
)

"""Is the right mean subtracted from the input? (spec: decision tree, G2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.batch_norm import moved_layers
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.channel_order import colours_say
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.first_weights import FirstWeights, first_weights
from gfpq_inspect.analyze.findings.inputs_seen import Expectation, InputRange, expectation, input_range

_ENOUGH_SAMPLES = 6
_TYPICAL_SHIFT = 0.6
_LARGEST_SHIFT = 1.0
_FEW_SAMPLES_SHIFT = 1.4
_RAW_SHIFT = 1.2
_FAR_SHIFT = 2.0
_GREY = 1.6
_EXPLAINED = 0.9
_NOTABLE_CHANGE = 0.1


def run(case: Case) -> Outcome:
    """Ask the first layer of both models, then the first BatchNorm."""
    seen = input_range(case)
    weights = first_weights(case)
    if seen is not None and weights is not None and _explains(case, weights, seen):
        assert weights.mean_change is not None
        measured = (
            f"The biases behind '{weights.row}' differ from the first model's just as a mean that is "
            f"{_numbers(weights.mean_change)} larger would ask for (it explains {100 * weights.mean_explained:.1f} % "
            "of the change), yet both models are fed the same."
        )
        return found("error", measured, layers=[weights.row])
    if case.synthetic:
        return not_applicable("real samples; these are seeded noise")
    expected = expectation(case)
    if seen is None or expected is None:
        return not_applicable("an image input with a trained BatchNorm behind it")
    if not 1 / 3 < expected.factor < 3:
        return not_applicable("an input of the right scale")
    shift = expected.shift / seen.deviation.mean()
    severity = _severity(expected, shift, seen)
    if severity in ("error", "warning") and colours_say(expected, seen) and expected.swapped_shift is not None:
        # Swapped channels move the means of red and blue apart; what is left of it is the mean's.
        severity = _severity(expected, expected.swapped_shift / seen.deviation.mean(), seen)
    where = f"'{expected.row}', {expected.samples} samples"
    if severity == "passed":
        return passed(
            f"The input's mean lies within {np.abs(shift).max():.2g} of its deviation of the expected one ({where})."
        )
    rows: list[tuple[Cell, ...]] = [
        (index, seen.mean[index], seen.mean[index] + expected.shift[index], -expected.shift[index], shift[index])
        for index in range(seen.channels)
    ]
    measured = (
        f"The input's mean is {_numbers(seen.mean)}; the statistics of {where} ask for "
        f"{_numbers(seen.mean + expected.shift)}. With that the mismatch falls from {expected.mismatch:.3g} to "
        f"{expected.shifted_mismatch:.3g} nats."
    )
    columns = ("channel", "mean seen", "mean expected", "too large by", "shift in deviations")
    missing = bool(np.all(expected.shift < 0) and seen.lowest >= 0)
    title = "No mean is subtracted from the input" if missing and severity != "note" else None
    return found(severity, measured, layers=[expected.row], columns=columns, rows=rows, title=title)


def _severity(expected: Expectation, shift: NDArray[np.float64], seen: InputRange) -> str:
    """How sure it is: a few images may be bright or dark by themselves."""
    largest, typical = float(np.abs(shift).max()), float(np.median(np.abs(shift)))
    if expected.shifted_mismatch >= 0.8 * expected.mismatch:
        return "passed"
    if expected.samples < _ENOUGH_SAMPLES:
        raw = seen.lowest >= 0 and bool(np.all(shift < 0))
        return "warning" if typical > (_RAW_SHIFT if raw else _FEW_SAMPLES_SHIFT) else "passed"
    # A document is brighter than a photograph: one channel says less than three that agree.
    scale = _GREY if seen.channels == 1 else 1.0
    if typical > scale * _LARGEST_SHIFT:
        return "error"
    if typical > scale * _TYPICAL_SHIFT or largest > _FAR_SHIFT:
        return "warning"
    return "note" if largest > _TYPICAL_SHIFT else "passed"


def _explains(case: Case, weights: FirstWeights, seen: InputRange) -> bool:
    """Whether a change of the mean explains what the second model's first layer adds.

    Statistics that moved in several BatchNorm layers are training's doing, not the mean's.
    """
    if weights.mean_change is None or not weights.alike or weights.mean_explained < _EXPLAINED:
        return False
    return (
        bool(np.abs(weights.mean_change).max() > _NOTABLE_CHANGE * seen.deviation.mean())
        and len(moved_layers(case)[0]) <= 1
    )


def _numbers(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


CHECK = Check(
    id="input-mean",
    group=Group.PREPROCESSING,
    title="Mean of the input",
    failure="The input has another mean than the network was trained with",
    why=(
        "A mean that is missing, wrong, or subtracted after scaling shifts every value of the input, and with it "
        "every layer: what is then compared is not the network that was trained."
    ),
    remedy=(
        "Give the mean that the network was trained with (--mean, in the order in which the network reads its "
        "channels), and mind the order of steps: mean first, then scale. The mapper's mean_file holds unscaled "
        "values."
    ),
    how=(
        "The shift of each input channel that makes the means in front of the first BatchNorm fit its stored ones "
        "best (least squares in units of the stored deviations), in deviations of the input; and the change of the "
        "mean that explains, by least squares, how the first layer's biases differ between two models."
    ),
    run=run,
)

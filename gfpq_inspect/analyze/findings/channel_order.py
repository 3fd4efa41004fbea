"""Do the input's channels come in the order that the network was trained with? (spec: decision tree, G2)."""

from __future__ import annotations

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.first_weights import first_weights
from gfpq_inspect.analyze.findings.inputs_seen import Expectation, InputRange, expectation, input_range

_ENOUGH_SAMPLES = 6
_RATIO = 1.6
_GAIN_NATS = 0.03
_DEEP_LOG_RATIO = 0.15
_DEEP_SHARE = 0.62
_FIRST_AGREES = 1.05
_FEW_SAMPLES = 4
_OBJECTION = 0.3
_SPREAD = 0.4
_SPREAD_LEFT = 0.4
"""Red against blue, in deviations of the input: right orders gave up to 0.34, wrong ones 0.45 to 0.65."""


def run(case: Case) -> Outcome:
    """Ask the first layer of both models, then the first BatchNorm, then all of them."""
    seen = input_range(case)
    if seen is None or seen.channels != 3:
        return not_applicable("an image input of three channels")
    weights = first_weights(case)
    if weights is not None and weights.swapped:
        measured = (
            f"The second model's first weights ('{weights.row}') are the first's with input channels in the order "
            f"{_order(weights.order)}: the distance falls from {100 * weights.distance:.0f} % to "
            f"{100 * weights.order_distance:.2g} %, yet both models are fed the same images."
        )
        return found("error", measured, layers=[weights.row])
    if seen.grey:
        return not_applicable("a test image in colour; all samples are grey")
    if case.synthetic:
        return not_applicable("real samples; these are seeded noise")
    expected = expectation(case)
    if expected is None or not expected.orders:
        if weights is not None:
            return passed(f"The first weights of both models agree in the order of their channels ('{weights.row}').")
        return not_applicable("a trained BatchNorm behind the image input, or a second model")
    order, mismatch = expected.orders[0]
    spreads = _colour_spreads(expected, seen)
    colours = colours_say(expected, seen)
    objects = spreads is not None and spreads[1] > _SPREAD and spreads[0] < _SPREAD_LEFT * spreads[1]
    if colours or (not objects and (_first_says(expected) or _all_say(expected))):
        order = order if _first_says(expected) else (2, 1, 0)
        deep = ""
        if colours and spreads is not None:
            deep = (
                f"; the means of red and blue then differ by {spreads[1]:.2g} instead of {spreads[0]:.2g} deviations "
                "from what it stored"
            )
        if expected.swap_share is not None:
            share = 100 * expected.swap_share
            deep += f"; {share:.0f} % of the channels of all BatchNorm layers fit better with red and blue swapped"
        measured = (
            f"With input channels in the order {_order(order)} the mismatch at '{expected.row}' falls from "
            f"{expected.mismatch:.3g} to {dict(expected.orders)[order]:.3g} nats{deep} ({expected.samples} samples)."
        )
        rows: list[tuple[Cell, ...]] = [("0, 1, 2", expected.mismatch)]
        rows += [(_order(other), value) for other, value in expected.orders]
        columns = ("order of channels", "mismatch (nats)")
        return found("warning", measured, layers=[expected.row], columns=columns, rows=rows)
    return passed(
        f"No other order of channels fits clearly better: mismatch {expected.mismatch:.3g} nats as it is, "
        f"{mismatch:.3g} with {_order(order)} ('{expected.row}')."
    )


def _first_says(expected: Expectation) -> bool:
    """The first BatchNorm alone is sure, and all of them together do not object."""
    best = expected.orders[0][1]
    clear = expected.mismatch > _RATIO * best and expected.mismatch - best > _GAIN_NATS
    agrees = expected.swap_log_ratio is None or expected.orders[0][0] != (2, 1, 0) or expected.swap_log_ratio < 0
    return clear and agrees and expected.samples >= _ENOUGH_SAMPLES and expected.orders[0][0] == (2, 1, 0)


def _all_say(expected: Expectation) -> bool:
    """All BatchNorm layers together are sure, and the first, which sees the colours themselves, does not object."""
    if expected.swap_log_ratio is None or expected.swap_share is None or expected.samples < _ENOUGH_SAMPLES:
        return False
    if expected.mismatch < _FIRST_AGREES * dict(expected.orders)[(2, 1, 0)]:
        return False
    return expected.swap_log_ratio < -_DEEP_LOG_RATIO and expected.swap_share > _DEEP_SHARE


def _colour_spreads(expected: Expectation, seen: InputRange) -> tuple[float, float] | None:
    """How differently the means of the first and last channel miss what was stored, as they are and swapped."""
    if expected.swapped_shift is None:
        return None
    as_it_is, swapped = (shift / seen.deviation.mean() for shift in (expected.shift, expected.swapped_shift))
    return float(abs(as_it_is[0] - as_it_is[2])), float(abs(swapped[0] - swapped[2]))


def colours_say(expected: Expectation, seen: InputRange) -> bool:
    """Whether red and blue seem swapped: the right order misses the means of both alike.

    Red is brighter than blue in nearly every set of photographs, by half a deviation.
    """
    spreads = _colour_spreads(expected, seen)
    if spreads is None or expected.samples < _FEW_SAMPLES:
        return False
    objects = expected.swap_log_ratio is not None and expected.swap_log_ratio > _OBJECTION
    return spreads[0] > _SPREAD and spreads[1] < _SPREAD_LEFT * spreads[0] and not objects


def _order(order: tuple[int, ...]) -> str:
    return ", ".join(map(str, order))


CHECK = Check(
    id="channel-order",
    group=Group.PREPROCESSING,
    title="Order of the input's channels",
    failure="The input's channels are in another order than in training (RGB and BGR)",
    why=(
        "Red and blue swapped make a colour filter see another picture. The loss looks like one of precision, "
        "spreads over all layers, and no number format cures it. Caffe and the mapper read BGR by default, most "
        "other tools RGB."
    ),
    remedy="Feed both models the order that they were trained with (--channel-order, RGB_order of the mapper).",
    how=(
        "For two models: the distance of the first weights after each of the six orders of input channels. For "
        "images: the mismatch between what BatchNorm layers stored and what they see, with each order; it must fall "
        "by a factor of 1.6 and by 0.03 nats at the first one, or by 5 % there and by 15 % over all channels. Or: "
        "the mean of red misses what was stored by over 0.4 deviations more or less than that of blue, and swapped by "
        "less than 0.4 times that."
    ),
    run=run,
)

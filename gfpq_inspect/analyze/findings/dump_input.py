"""Was the network that was dumped fed what it is fed here? (spec: decision tree, G2)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.views import InputView, fit_of, input_views
from gfpq_inspect.analyze.findings import dump_image
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.inputs.dumps.values import cosine, relative_error
from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.quantize import quantize_dequantize

Array = NDArray[Any]

_COSINE = 0.99
_RELATIVE = 0.05
_EXPLAINED = 0.99
_BETTER = 0.005
_FACTORS = {
    255 / 256: "255/256: one side scales by 1/256 (the mapper's default data_scale), the other by 1/255",
    256 / 255: "256/255: one side scales by 1/255, the other by 1/256 (the mapper's default data_scale)",
    1 / 255: "1/255: scaled twice, or by one side only",
    1 / 256: "1/256: scaled twice, or by one side only",
    1 / 128: "1/128: scaled by one side only",
    1 / 127.5: "1/127.5: scaled by one side only",
    1 / 4096: "1/4096: fixed-point numbers were divided once too often",
}
_FACTORS |= {1 / factor: f"the inverse of {text}" for factor, text in list(_FACTORS.items())[2:]}


def run(case: Case) -> Outcome:
    """Compare the input of the network with what the dump holds of it."""
    if case.dump is None:
        return not_applicable("a dump")
    entries = input_views(case)
    if not entries:
        return not_applicable("a dump that holds the network's input (the data layer, or what the first layer read)")
    if dump_image.run(case).severity == "error":
        return not_applicable("a dump of the same sample")
    for entry in entries:
        outcome = _look(case, entry)
        if outcome is not None:
            return outcome
    worst = min(cosine(entry.fed, entry.dumped) for entry in entries)
    return passed(f"What the network is fed is what the dump holds: cosine {worst:.6f} at the least.")


def _look(case: Case, entry: InputView) -> Outcome | None:
    fed, dumped = entry.fed, entry.dumped
    own, error = cosine(fed, dumped), relative_error(fed, dumped)
    if not entry.reading.tensor.is_output:
        # What a layer read is quantized: it is compared with the same thing where that is nearer.
        quantized = quantize_dequantize(np.ascontiguousarray(fed, np.float32), case.bits or 8)
        if relative_error(quantized, dumped) < error:
            fed = quantized
    fit = fit_of(fed, dumped)
    exact = fit.explained >= 0.9999 and abs(fit.slope - 1) > 0.002
    if own >= _COSINE and error <= _RELATIVE and not exact:
        return None
    said = f"'{entry.name}': cosine {own:.4f}, relative error {100 * error:.1f} %"
    order = _channel_order(fed, dumped, own)
    if order is not None:
        names = "".join("BGR"[index] for index in order[0])
        measured = f"{said}; with its channels in the order {order[0]} (BGR as {names}) the cosine is {order[1]:.4f}."
        return _found(entry, measured, "The dump was made of images in another channel order")
    if fit.explained >= _EXPLAINED:
        return _affine(case, entry, said, fit.slope, fit.offset)
    channels = _channel_offsets(fed, dumped)
    if channels is not None:
        texts = ", ".join(f"{value:.4g}" for value in channels)
        measured = f"{said}; each channel is shifted by an amount of its own: {texts}."
        return _found(entry, measured, "The dump's input has another mean in each channel")
    return _found(entry, f"{said}; neither a factor, a shift nor a channel order explains it.", None)


def _affine(case: Case, entry: InputView, said: str, slope: float, offset: float) -> Outcome:
    """A factor and a shift explain the difference."""
    near = min(_FACTORS, key=lambda factor: abs(math.log(factor / slope)) if slope > 0 else math.inf)
    spread = float(np.abs(entry.dumped).max()) or 1.0
    shifted = abs(offset) > 0.01 * spread
    measured = f"{said}; the dump's input is {slope:.5g} times what is fed here"
    measured += f", shifted by {offset:.5g}." if shifted else "."
    title = None
    if slope > 0 and abs(math.log(near / slope)) < (0.0015 if abs(near - 1) < 0.1 else 0.03):
        measured += f" The factor is near {_FACTORS[near]}."
        title = "The dump's input is scaled otherwise"
    elif abs(slope - 1) > 0.02:
        title = "The dump's input is scaled otherwise"
    if shifted and abs(slope - 1) <= 0.02:
        title = "The dump's input has another mean"
        if (expected := _scaled_mean(case, entry)) is not None and abs(offset - expected) <= 0.05 * abs(expected):
            measured += (
                " That is what the mean makes where it is subtracted after scaling on one side, before on the other."
            )
            title = "Mean and scale of the dump's input were applied in another order"
    severity = "warning" if abs(slope - 1) < 0.02 and not shifted else "error"
    return _found(entry, measured, title, severity)


def _scaled_mean(case: Case, entry: InputView) -> float | None:
    """Offset of x s - m against (x - m) s, for the mean and scale that are used here."""
    inner = case.dump.source.inner if case.dump is not None else None
    plan = inner.plans.get(entry.name) if isinstance(inner, FeedSource) else None
    if plan is None or plan.mean is None or plan.scale is None:
        return None
    mean, scale = float(np.mean(plan.mean)), float(np.mean(plan.scale))
    return mean * (scale - 1) if mean and scale != 1 else None


def _channel_order(fed: Array, dumped: Array, own: float) -> tuple[tuple[int, ...], float] | None:
    if fed.ndim != 4 or fed.shape[1] != 3:
        return None
    orders = [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)]
    best, order = max((cosine(fed[:, list(order)], dumped), order) for order in orders)
    return (order, best) if best > own + _BETTER and best >= _COSINE else None


def _channel_offsets(fed: Array, dumped: Array) -> list[float] | None:
    """Offset of every channel, where gains are 1 and offsets explain everything."""
    if fed.ndim != 4 or fed.shape[1] < 2:
        return None
    fits = [fit_of(fed[:, index], dumped[:, index]) for index in range(fed.shape[1])]
    if all(fit.explained >= _EXPLAINED and abs(fit.slope - 1) < 0.02 for fit in fits):
        return [fit.offset for fit in fits]
    return None


def _found(entry: InputView, measured: str, title: str | None, severity: str = "error") -> Outcome:
    return found(severity, measured, layers=[entry.row], title=title)


CHECK = Check(
    id="dump-input",
    group=Group.PREPROCESSING,
    title="The dump's input is what the network is fed",
    failure="The dump was made with another input than the network is fed",
    why=(
        "Every layer of a network that is fed something else differs. The mapper multiplies by 1/256 unless told "
        "otherwise, its script scales before it subtracts the mean, and neither exchanges channels."
    ),
    remedy=(
        "Make preprocessing equal on both sides (--nnie-cfg reads the mapper's own configuration; --mean, --scale, "
        "--channel-order), or feed the dump's own input with --input dump."
    ),
    how=(
        "The dump's data layer, else what its first layer read (then against the quantized input), with what is fed: "
        "cosine below 0.99 or a relative error above 5 %; channel orders, then least squares of a factor and a shift."
    ),
    run=run,
)

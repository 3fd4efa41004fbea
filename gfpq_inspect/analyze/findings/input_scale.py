"""Is the input scaled as the network was trained, twice, or never? (spec: decision tree, G2)."""

from __future__ import annotations

from gfpq_inspect.analyze.channels import column
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.findings.first_weights import first_weights
from gfpq_inspect.analyze.findings.inputs_seen import expectation, input_range
from gfpq_inspect.analyze.lanes import Side

_SURE = 3.0
_ENOUGH_SAMPLES = 8
_LIKELY = (0.65, 2.2)
"""Factor outside which it is likely, with enough samples; healthy image sets gave 0.93 to 1.5."""

_WEIGHT_GAIN = 1.5
_TINY = 1.5 / 255
_HUGE = 1000.0
_RAW = 100.0
_HOT = 100.0
"""What a softmax is fed: healthy networks stay below 20, a LeNet whose input was never scaled reaches 3 000."""
_KNOWN = {
    1 / 255: "1/255",
    1 / 256: "1/256",
    1 / 128: "1/128",
    1 / 127.5: "1/127.5",
    255.0: "255",
    256.0: "256",
    128.0: "128",
}


def run(case: Case) -> Outcome:
    """Ask the first layer of both models, the first BatchNorm, and the range of the input."""
    weights = first_weights(case)
    if weights is not None and weights.alike and not 1 / _WEIGHT_GAIN < weights.gain < _WEIGHT_GAIN:
        measured = (
            f"The second model's first weights are {weights.gain:.4g} times the first's ('{weights.row}'): it was "
            f"made for input that is {1 / weights.gain:.4g} times as large, yet both are fed the same."
        )
        return found("error", measured, layers=[weights.row])
    seen = input_range(case)
    if seen is None:
        return not_applicable("one image input of one or three channels")
    if case.synthetic:
        return not_applicable("real samples; these are seeded noise")
    largest = max(abs(seen.lowest), abs(seen.highest))
    expected = expectation(case)
    if expected is not None:
        factor = expected.factor
        sure = not 1 / _SURE < factor < _SURE
        likely = expected.samples >= _ENOUGH_SAMPLES and not _LIKELY[0] < factor < _LIKELY[1]
        if sure or likely:
            measured = (
                f"'{expected.row}' stored deviations that are {factor:.3g} times those that it sees (median over "
                f"channels, {expected.samples} samples): the input is {_times(factor)}{_near(factor)}."
            )
            return found("error" if sure else "warning", measured, layers=[expected.row], title=_title(factor))
        return passed(
            f"'{expected.row}' stored deviations that are {factor:.3g} times those that it sees; the input's range is "
            f"{seen.lowest:.4g} to {seen.highest:.4g}."
        )
    if largest < _TINY:
        measured = f"No value of '{seen.name}' is larger than {largest:.3g}: less than one level of 255."
        return found("warning", measured, title=_title(255.0))
    if largest > _HUGE:
        return found("warning", f"'{seen.name}' holds values up to {largest:.5g}.", title=_title(1 / 255))
    hot = hottest_softmax(case) if largest > _RAW else None
    if hot is not None and hot[1] > _HOT:
        measured = (
            f"'{seen.name}' holds values up to {largest:.4g}, and the softmax '{hot[0]}' is fed values up to "
            f"{hot[1]:.4g} by them: trained networks feed it a few tens."
        )
        return found("warning", measured, layers=[hot[0]], title=_title(1 / 255))
    return passed(f"The input's range is {seen.lowest:.4g} to {seen.highest:.4g}; no BatchNorm tells which was meant.")


def hottest_softmax(case: Case) -> tuple[str, float] | None:
    """The softmax behind which only outputs lie that is fed the largest values: its row, and that value."""
    read = {value for layer in case.first.layers for value in layer.inputs}
    found_: list[tuple[float, str]] = []
    for layer in case.first.layers:
        if layer.type not in ("Softmax", "LogSoftmax") or any(value in read for value in layer.outputs):
            continue
        row = case.value_rows.get((Side.FIRST, layer.inputs[0]), "")
        table = next((t for name in ("both", "drift") if (t := case.channels(row, name)) is not None), None)
        if table is not None:
            found_.append((float(column(table, "max_x").max()), case.row_key(Side.FIRST, layer.key)))
    return (max(found_)[1], max(found_)[0]) if found_ else None


def _times(factor: float) -> str:
    return f"{factor:.3g} times too small" if factor > 1 else f"{1 / factor:.3g} times too large"


def _near(factor: float) -> str:
    closest = min(_KNOWN, key=lambda known: abs(known / factor - 1))
    return f" (near the factor {_KNOWN[closest]})" if abs(closest / factor - 1) < 0.5 else ""


def _title(factor: float) -> str:
    if factor > _SURE:
        return "The input is scaled twice, or by far too little"
    if factor < 1 / _SURE:
        return "The input was never scaled"
    return "The input has another scale than in training"


CHECK = Check(
    id="input-scale",
    group=Group.PREPROCESSING,
    title="Scale of the input",
    failure="The input has another scale than the network was trained with",
    why=(
        "A network that is fed values of the wrong size computes something else in every layer; comparing its "
        "quantized form then says nothing about quantization. (value - mean) * scale is often applied twice, or not "
        "at all."
    ),
    remedy=(
        "Give the scale that the network was trained with (--scale, transform_param of the training prototxt, "
        "data_scale of the mapper: its default is 1/256, many networks want 1/255), and feed pixels, not images "
        "that were scaled before."
    ),
    how=(
        "Deviation of what reaches the first BatchNorm, a channel, against the stored one (median of the ratios; "
        "beyond 3 either way it is certain, outside 0.65 to 2.2 likely from 8 samples on); the gain between the "
        "first weights of both models; without BatchNorm only values below 1.5/255 or above 1000 are suspicious, and "
        "raw levels of an image that feed the last softmax values above 100."
    ),
    run=run,
)

"""Do prototxts state the preprocessing that is used, the same one for both models? (spec: decision tree, G2, G7 l)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.errors import UserError
from gfpq_inspect.inputs.transform import read_transform
from gfpq_inspect.models.model import Model

_TOLERANCE = 0.01
"""Relative difference of two scales that no one means: 1/255 against 1/256 is below it."""


@dataclass(frozen=True)
class Stated:
    """What somebody says of the preprocessing; None where nothing is said.

    Attributes:
        who: For the report.
        mean: Numbers a channel, or one.
        scale: The factor.
    """

    who: str
    mean: tuple[float, ...] | None
    scale: float | None


def stated_by(model: Model, who: str) -> Stated | None:
    """What the data layer of a model's prototxt states, or None."""
    structure = model.origin.structure_file
    if model.origin.framework != "caffe" or structure is None:
        return None
    try:
        transform = read_transform(Path(structure), want_mean=False)
    except (UserError, OSError):
        return None
    if transform is None:
        return None
    mean = transform.mean if isinstance(transform.mean, tuple) else None
    return Stated(f"{who} ('{transform.layer}' in {Path(structure).name})", mean, transform.scale)


def used_by(case: Case) -> Stated | None:
    """What was done to the samples, where that can be told in numbers."""
    record = case.source.facts().preprocessing
    mean, scale = record.get("mean", ""), record.get("scale", "")
    numbers = _numbers(mean)
    factor = _numbers(scale)
    if mean.startswith("none") and scale.startswith("none"):
        return None
    return Stated("this run", numbers if numbers else None, factor[0] if len(factor) == 1 else None)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.replace(" ", "").split(","))
    except ValueError:
        return ()


def run(case: Case) -> Outcome:
    """Compare all statements with each other."""
    sides = [(Side.FIRST, "the first model")] + ([(Side.SECOND, "the second model")] if case.second is not None else [])
    stated = [entry for side, who in sides if (entry := stated_by(case.models[side], who)) is not None]
    used = used_by(case)
    if not stated or (len(stated) == 1 and used is None):
        return not_applicable(
            "a training prototxt that states a mean or a scale (transform_param), and samples that need it"
        )
    everyone = stated + ([used] if used is not None else [])
    differing = [(one, other) for i, one in enumerate(everyone) for other in everyone[i + 1 :] if _differ(one, other)]
    if not differing:
        return passed(f"{' and '.join(entry.who for entry in everyone)} agree: {_text(everyone[0])}.")
    one, other = differing[0]
    measured = f"{one.who} states {_text(one)}; {other.who} states {_text(other)}."
    rows: list[tuple[Cell, ...]] = [(entry.who, _mean_text(entry), _scale_text(entry)) for entry in everyone]
    return found("error", measured[:1].upper() + measured[1:], columns=("where", "mean", "scale"), rows=rows)


def _differ(one: Stated, other: Stated) -> bool:
    if one.scale is not None and other.scale is not None and abs(one.scale - other.scale) > _TOLERANCE * abs(one.scale):
        return True
    first, second = one.mean, other.mean
    if first is None or second is None:
        # A mean file has no numbers here, and an absent mean is only known where the scale is stated as well.
        return False
    size = max(len(first), len(second))
    wide = [values * size if len(values) == 1 else values for values in (first, second)]
    return len(wide[0]) != len(wide[1]) or any(
        abs(a - b) > 0.5 + _TOLERANCE * abs(a) for a, b in zip(*wide, strict=True)
    )


def _text(entry: Stated) -> str:
    return f"mean {_mean_text(entry)} and scale {_scale_text(entry)}"


def _mean_text(entry: Stated) -> str:
    return "none or from a file" if entry.mean is None else ", ".join(f"{value:g}" for value in entry.mean)


def _scale_text(entry: Stated) -> str:
    return "none" if entry.scale is None else f"{entry.scale:.6g}"


CHECK = Check(
    id="stated-preprocessing",
    group=Group.PREPROCESSING,
    title="Preprocessing as stated",
    failure="The preprocessing differs from what a training prototxt states",
    why=(
        "The transform_param of the data layer is how the network was trained. Fed otherwise, or fine-tuned with "
        "another mean or scale than the float network, it computes something else in every layer."
    ),
    remedy="Use the same mean, scale and order of channels in training, fine-tuning, comparison and for the mapper.",
    how=(
        "Mean and scale of the data layer of each prototxt (the TEST phase where there is one) and of this run are "
        "compared; scales may differ by 1 %, means by half a level."
    ),
    run=run,
)

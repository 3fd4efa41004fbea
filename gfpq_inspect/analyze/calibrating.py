"""Where the coefficients of data come from: a pass over samples, a file, or every sample's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.record import calibration_text
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import InputFacts
from gfpq_inspect.analyze.stored_coefficients import assign


@dataclass(frozen=True)
class Calibrated:
    """What a calibration gave.

    Attributes:
        deltas: Coefficient of every point, or None where each sample has its own.
        magnitudes: Largest magnitude that was seen at each, or None.
        notes: What did not fit of a file, a sentence each.
    """

    deltas: list[Any] | None
    magnitudes: list[float] | None
    notes: tuple[str, ...] = ()


EACH_ITS_OWN = Calibrated(None, None)


def from_file(request: ComparisonRequest, experiment: Experiment) -> Calibrated | None:
    """Coefficients from the request's file; None where there is none.

    Raises:
        InputError: The file does not fit the networks.
    """
    if request.stored_coefficients is None:
        return None
    found = assign(request.stored_coefficients, experiment.points, experiment.models, experiment.weights)
    brought = [point.coefficient for point in experiment.points]
    deltas = [delta if own is None else own for own, delta in zip(brought, found.deltas, strict=True)]
    return Calibrated(deltas, found.magnitudes, found.notes)


def own_points_text(experiment: Experiment, side: Side, calibrated: Calibrated) -> str:
    """One sentence: a model is quantized at its own Quant layers, and whose coefficients they use."""
    text = f"The {side.value} model is quantized at its own Quant layers"
    points = [point for point in experiment.points if point.side is side]
    brought = sum(point.coefficient is not None for point in points)
    if not brought:
        return f"{text}."
    if calibrated.deltas is None:
        return f"{text}; the coefficients stored there are not used, since each sample has its own."
    count = "all" if brought == len(points) else f"{brought} of"
    return (
        f"{text}; {count} {len(points)} of them use the coefficient stored there, of its training, not a calibration's."
    )


def is_apart(request: ComparisonRequest) -> bool:
    """Whether the coefficients come from other data than those that are measured."""
    return request.calibration is not None or request.stored_coefficients is not None


def calibration_record(request: ComparisonRequest, *, quantized: bool, second: bool) -> tuple[str, InputFacts | None]:
    """One clause on where the coefficients come from, and the facts of a calibration set of its own."""
    source = request.calibration or request.source
    text = calibration_text(quantized, request.coefficients, source.count, second=second)
    if not quantized:
        return text, None
    if request.stored_coefficients is not None:
        return f"data coefficients from the file {request.stored_coefficients.name}", None
    if request.calibration is not None:
        facts = request.calibration.facts()
        return f"{text}, a set of its own: {facts.description}", facts
    return text, None

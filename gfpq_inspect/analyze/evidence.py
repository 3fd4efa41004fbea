"""Rows of evidence: what the coefficient of each quantized tensor is and what it does (spec: metrics, section 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.calibrating import Calibrated
from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Experiment, PointEvidence
from gfpq_inspect.analyze.engine.quantizer import point_evidence
from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import Coefficient
from gfpq_inspect.analyze.stored_coefficients import position_of
from gfpq_inspect.analyze.weights import QuantizedWeight, WeightTable
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import Gfpq, GfpqParam, NumberFormat
from gfpq_inspect.quantize.small_float import SmallFloat
from gfpq_inspect.quantize.stored import StoredQuantization
from gfpq_inspect.quantize.uniform import Uniform


def data_coefficients(
    experiment: Experiment,
    evidence: Sequence[PointEvidence],
    calibrated: Calibrated,
    names: Mapping[tuple[Side, str], str],
) -> list[Coefficient]:
    """A row for every layer and tensor that it reads, or hands on, quantized.

    Args:
        experiment: What was run.
        evidence: One a point, over all samples.
        calibrated: Coefficient of every point, and what the calibration saw.
        names: Tensor names for people.
    """
    rows = []
    layers = {(side, layer.key): layer for side, model in experiment.models.items() for layer in model.layers}
    for index, (point, seen) in enumerate(zip(experiment.points, evidence, strict=True)):
        coefficient = calibrated.deltas[index] if calibrated.deltas is not None else None
        tensor = names.get((point.side, point.value), point.value)
        magnitude = float(calibrated.magnitudes[index]) if calibrated.magnitudes is not None else seen.magnitude
        for key in point.layers:
            place = _Place(key, tensor, "data", point.side, position_of(layers[point.side, key], point.value))
            rows.append(_row(place, point.format, point.bits, coefficient, seen=seen, magnitude=magnitude))
    return rows


@dataclass(frozen=True)
class _Place:
    """Where a tensor is quantized."""

    layer: str
    tensor: str
    role: str
    side: Side
    index: int = 0


def _row(
    place: _Place,
    number_format: NumberFormat,
    bits: int,
    coefficient: Any,
    *,
    seen: PointEvidence,
    magnitude: float,
    on_grid: bool | None = None,
) -> Coefficient:
    """One line; of GFPQ with its coefficient, of other formats with scale and zero point where there is one of each."""
    gfpq = isinstance(number_format, Gfpq)
    low = high = coefficient
    if coefficient is None or coefficient is EACH_SAMPLE:
        coefficient = None
        low, high = (seen.delta_low, seen.delta_high) if gfpq else (None, None)
    extent = (0.0, 0.0)
    if gfpq:
        extent = (number_format.extent(low)[0], number_format.extent(high)[1])
    elif coefficient is not None or isinstance(number_format, StoredQuantization):
        extent = number_format.extent(coefficient)
    scale, zero_point = _scaling(number_format, coefficient)
    return Coefficient(
        layer=place.layer,
        tensor=place.tensor,
        role=place.role,
        index=place.index,
        model=place.side.value,
        bits=bits,
        delta=coefficient if gfpq else None,
        delta_low=low if gfpq else 0,
        delta_high=high if gfpq else 0,
        block=GfpqParam(coefficient).pack().hex() if gfpq and coefficient is not None else None,
        maximum=magnitude,
        grid_top=extent[1],
        grid_bottom=extent[0],
        snapped_share=_share(seen.snapped, seen.finite),
        beyond_share=_share(seen.beyond, seen.finite),
        flushed_share=_share(seen.flushed, seen.nonzero),
        on_grid=on_grid,
        number_format=number_format.name,
        scale=scale,
        zero_point=zero_point,
        sqnr_db=10 * math.log10(seen.signal / seen.error) if seen.signal > 0 and seen.error > 0 else None,
    )


def _scaling(number_format: NumberFormat, coefficient: Any) -> tuple[float | None, int | None]:
    """Scale and zero point of a tensor that has one of each."""
    if isinstance(number_format, StoredQuantization):
        if number_format.scale.size == 1:
            return float(number_format.scale.reshape(())), int(number_format.zero_point.reshape(()))
        return None, None
    if isinstance(number_format, Uniform) and coefficient is not None:
        steps = number_format.steps(coefficient)
        if steps.scale.size == 1:
            return float(steps.scale.reshape(())), int(steps.zero_point.reshape(()))
    if isinstance(number_format, SmallFloat) and coefficient is not None:
        return float(number_format.scale(coefficient)), 0
    return None, None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def weight_coefficients(models: Mapping[Side, Model], weights: WeightTable) -> list[Coefficient]:
    """A row for every layer and weight that it quantizes."""
    return [
        _weight_row(_Place(layer.key, name, "weight", side, index), entry)
        for side, model in models.items()
        for layer in model.layers
        for index, (name, entry) in enumerate(weights.of_layer(side, layer).items())
    ]


def _weight_row(place: _Place, entry: QuantizedWeight) -> Coefficient:
    chosen = entry.format
    seen = point_evidence(as_floating(entry.stored), as_floating(entry.quantized), chosen, entry.delta)
    return _row(place, chosen, entry.bits, entry.delta, seen=seen, magnitude=entry.magnitude, on_grid=entry.on_grid)

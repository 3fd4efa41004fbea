"""Rows of evidence: what the coefficient of each quantized tensor is and what it does (spec: metrics, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gfpq_inspect.analyze.engine.interface import Point, PointEvidence
from gfpq_inspect.analyze.engine.quantizer import evidence_of
from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import Coefficient
from gfpq_inspect.analyze.weights import QuantizedWeight, WeightTable
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import GfpqParam, gfpq_of


def data_coefficients(
    points: Sequence[Point],
    evidence: Sequence[PointEvidence],
    deltas: Sequence[int] | None,
    magnitudes: Sequence[float] | None,
    names: Mapping[tuple[Side, str], str],
) -> list[Coefficient]:
    """A row for every layer and tensor that it reads quantized.

    Args:
        points: The points.
        evidence: One a point, over all samples.
        deltas: Calibrated coefficients, or None where each sample has its own.
        magnitudes: Largest magnitudes that the calibration saw, or None.
        names: Tensor names for people.
    """
    rows = []
    for index, (point, seen) in enumerate(zip(points, evidence, strict=True)):
        calibrated = deltas[index] if deltas is not None else None
        low, high = (seen.delta_low, seen.delta_high) if calibrated is None else (calibrated, calibrated)
        rows += [
            Coefficient(
                layer=layer,
                tensor=names.get((point.side, point.value), point.value),
                role="data",
                model=point.side.value,
                bits=point.bits,
                delta=calibrated,
                delta_low=low,
                delta_high=high,
                block=_block(calibrated) if calibrated is not None else None,
                maximum=float(magnitudes[index]) if magnitudes is not None else seen.magnitude,
                grid_top=_grid_top(point.bits, high),
                grid_bottom=gfpq_of(point.bits).value(0, low),
                snapped_share=_share(seen.snapped, seen.finite),
                beyond_share=_share(seen.beyond, seen.finite),
                flushed_share=_share(seen.flushed, seen.nonzero),
            )
            for layer in point.layers
        ]
    return rows


def _block(delta: int) -> str:
    return GfpqParam(delta).pack().hex()


def _grid_top(bits: int, delta: int) -> float:
    grid = gfpq_of(bits)
    return grid.value(grid.highest_code, delta)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def weight_coefficients(models: Mapping[Side, Model], weights: WeightTable, bits: int | None) -> list[Coefficient]:
    """A row for every layer and weight that it quantizes."""
    if bits is None:
        return []
    rows = []
    for side, model in models.items():
        for layer in model.layers:
            if layer.quantization is None:
                continue
            for name in layer.quantization.weights:
                entry = weights.get(side, name, layer.quantization.bits or bits)
                rows.append(_weight_row(layer.key, side, entry))
    return rows


def _weight_row(layer: str, side: Side, entry: QuantizedWeight) -> Coefficient:
    statistics = evidence_of(as_floating(entry.stored), as_floating(entry.quantized), entry.bits, entry.delta)
    return Coefficient(
        layer=layer,
        tensor=entry.initializer,
        role="weight",
        model=side.value,
        bits=entry.bits,
        delta=entry.delta,
        delta_low=entry.delta,
        delta_high=entry.delta,
        block=_block(entry.delta),
        maximum=entry.magnitude,
        grid_top=_grid_top(entry.bits, entry.delta),
        grid_bottom=gfpq_of(entry.bits).value(0, entry.delta),
        snapped_share=_share(statistics.snapped, statistics.finite),
        beyond_share=_share(statistics.beyond, statistics.finite),
        flushed_share=_share(statistics.flushed, statistics.nonzero),
        on_grid=entry.on_grid,
    )

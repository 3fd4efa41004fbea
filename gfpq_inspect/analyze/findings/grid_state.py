"""How each weight of the second model lies on the grid: shared by the checks of fine-tuned models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.bit_width import stored_width
from gfpq_inspect.analyze.findings.case import Case, filters_of, main_weight
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import LayerKind
from gfpq_inspect.quantize import gfpq_of, kernels

_TOLERANCE = 1e-3
"""Steps; a product of two float32 leaves a hundredth of that, and chance a five-hundredth of all values."""

_WHOLE = 0.999
_FEWEST = 16


@dataclass(frozen=True)
class GridState:
    """One weight of the second model.

    Attributes:
        row: Row of its layer.
        type: Layer type.
        wanted: Bit width of the run for it.
        stored: Bit width of the grid that it lies on, or None.
        share: Share of its non-zero values on the grid of the wanted width.
        folded: BatchNorm or the like was folded into it.
        scaled: It is off the grid, but each of its filters lies on it up to a factor of its own.
    """

    row: str
    type: str
    wanted: int
    stored: int | None
    share: float
    folded: bool
    scaled: bool = False


def grid_states(case: Case) -> list[GridState]:
    """All quantized weights of the second model, in order; worked out once a case."""
    known: list[GridState] | None = case.notes.get("grid states")
    if known is None:
        known = case.notes["grid states"] = _states(case)
    return known


def _states(case: Case) -> list[GridState]:
    if case.second is None or case.bits is None or case.second.quantizes_itself:
        return []
    states = []
    for layer in case.second.layers:
        name = main_weight(layer)
        if name is None or layer.quantization is None or not layer.quantization.weights:
            continue
        wanted = layer.quantization.bits or case.bits
        stored = case.experiment.weights.get(Side.SECOND, name, wanted).stored
        working = stored if stored.dtype in (np.float32, np.float64) else stored.astype(np.float32)
        share = kernels.grid_fit(working, wanted).share
        key = case.row_key(Side.SECOND, layer.key)
        # A kernel of one or two magnitudes (an interpolation) lies on any grid that holds them.
        width = stored_width(working) or (wanted if share == 1.0 else None)
        filters = filters_of(case.models[Side.SECOND], layer, stored) if width is None else None
        scaled = filters is not None and scaled_by_filter(filters, wanted)
        states.append(GridState(key, layer.type, wanted, width, share, bool(layer.folded), scaled))
    return states


def scaled_by_filter(filters: NDArray[np.float64], bits: int) -> bool:
    """Whether the values of each filter are whole steps apart, float64 [filters, values]: quantized, then scaled."""
    looked = near = 0
    for values in np.abs(filters):
        steps = gfpq_of(bits).steps_per_octave * np.log2(values[values > 0])
        apart = steps[1:] - steps[:1]
        looked += apart.size
        near += int(np.count_nonzero(np.abs(apart - np.rint(apart)) < _TOLERANCE))
    return looked >= _FEWEST and near >= _WHOLE * looked


def has_quant_layers(case: Case) -> bool:
    """Whether the second model is quantized at Quant layers of its own: it then was fine-tuned for the chip."""
    return case.second is not None and any(layer.kind is LayerKind.QUANT for layer in case.second.layers)

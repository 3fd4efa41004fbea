"""What quantizing does to one weight by itself: shared by the checks of single tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gfpq_inspect.analyze.engine.tensors import as_floating
from gfpq_inspect.analyze.findings.case import Case
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import LayerRow
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.kernels import SUM_FIELDS


@dataclass(frozen=True)
class SeenWeight:
    """One quantized weight.

    Attributes:
        side: Its model.
        row: Row of its layer.
        name: Its name in the graph.
        bits: Bit width.
        flushed: Share of its non-zero values that become zero.
        sqnr_db: Of the stored tensor against its quantized form; infinity where exact.
        alone: Cosine of its layer run by itself with quantized weights. Without that measurement: of the layer in the
            lane with quantized weights where all that it reads is still good there, else None.
    """

    side: Side
    row: str
    name: str
    bits: int
    flushed: float
    sqnr_db: float
    alone: float | None


def weights_seen(case: Case) -> Iterator[SeenWeight]:
    """All weights of the judged model that this run quantizes to GFPQ and that were not on the grid before."""
    side = case.judged_side
    for layer in case.models[side].layers:
        for name, entry in case.experiment.weights.of_layer(side, layer).items():
            if entry.own_format is not None or entry.on_grid:
                continue
            stored, quantized = as_floating(entry.stored), as_floating(entry.quantized)
            nonzero = kernels.nonzero_count(stored)
            flushed = (nonzero - kernels.nonzero_count(quantized)) / max(1, nonzero)
            # Copies in double would take several times the room of the largest weight.
            sums = kernels.similarity(stored.reshape(1, -1), [quantized.reshape(1, -1)])[0][0, 0]
            error, signal = float(sums[SUM_FIELDS.index("sum_dd")]), float(sums[SUM_FIELDS.index("sum_xx")])
            sqnr = 10 * float(np.log10(signal / error)) if error > 0 and signal > 0 else float("inf")
            row = case.row_key(side, layer.key)
            yield SeenWeight(side, row, name, entry.bits, flushed, sqnr, _alone(case, side, row))


def _alone(case: Case, side: Side, key: str) -> float | None:
    local, whole = ("local_weight", "weight") if side is Side.FIRST else ("local_tuned", "tuned_weight")
    index = case.row_index.get(key)
    if index is None:
        return None
    row = case.rows[index]
    if local in row.scores:
        return row.scores[local].cosine
    scores = row.scores.get(whole)
    reads = [_cosine(case, before, whole) for before in _inputs(case, row)]
    good = (1 + case.threshold) / 2
    return scores.cosine if scores is not None and all(one is not None and one >= good for one in reads) else None


def _inputs(case: Case, row: LayerRow) -> list[str]:
    return [key for key in row.inputs if key in case.row_index]


def _cosine(case: Case, key: str, comparison: str) -> float | None:
    scores = case.scores(key, comparison)
    # What no lane changes, an input of the network, has no score to be bad by.
    return 1.0 if scores is None else scores.cosine

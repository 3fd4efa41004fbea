"""Do weights hold only two or three values? (spec: NNIE mapper, compress_mode; decision tree, G3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.case import Case, layers_text, main_weight
from gfpq_inspect.analyze.findings.check import Cell, Check, Group, Outcome, found, not_applicable, passed

_FEWEST_VALUES = 16
_START = 1 << 16
"""Values that are looked at before all are."""


def kind_of(array: NDArray[Any]) -> str | None:
    """'ternary' for -a, 0, a; 'binary' for two values, one of them zero or the other's negative; else None."""
    if np.unique(array.reshape(-1)[:_START]).size > 3:
        return None  # without sorting all of a large matrix
    values = np.unique(array)
    if array.size < _FEWEST_VALUES or values.size > 3 or values.size < 2:
        return None
    if values.size == 3:
        return "ternary" if values[1] == 0 and values[0] == -values[2] else None
    return "binary" if values[0] == 0 or values[1] == 0 or values[0] == -values[1] else None


def run(case: Case) -> Outcome:
    """Count the different values of each weight."""
    rows: list[tuple[Cell, ...]] = []
    total = 0
    for side, model in case.models.items():
        for layer in model.layers:
            name = main_weight(layer)
            if name is None or name not in case.tensors[side] or layer.quantization is None:
                continue
            total += 1
            kind = kind_of(case.tensor(side, name))
            # A kernel that interpolates is no trained weight; it has a handful of values by design.
            if kind is not None and layer.type not in ("Deconvolution", "ConvTranspose"):
                rows.append((case.row_key(side, layer.key), side.value, kind))
    if not total:
        return not_applicable("layers with weights")
    if not rows:
        return passed(f"None of {layers_text(total, 'weight')} holds only two or three values.")
    measured = (
        f"{len(rows)} of {layers_text(total, 'weight')} hold only two or three values, first '{rows[0][0]}' "
        f"({rows[0][2]})."
    )
    return found(
        "warning", measured, layers=[str(row[0]) for row in rows], columns=("layer", "model", "kind"), rows=rows
    )


CHECK = Check(
    id="ternary-binary",
    group=Group.CONFIGURATION,
    title="Binary and ternary weights",
    failure="Weights are binary or ternary",
    why=(
        "With compress_mode 0 the mapper stores a weight of exactly three symmetric values as ternary, of two as "
        "binary: another mode of the chip, without a word. Weights that collapsed to so few values are mostly an "
        "accident of export."
    ),
    remedy="If this is not meant, export the layer again; compress_mode 1 keeps the mapper from changing the mode.",
    how="Different values of each weight of at least 16 elements: -a, 0, a is ternary; 0, a or -a, a is binary.",
    run=run,
)

"""Where errors begin and how they travel: inherited and fresh error of each layer, and the frontier where it starts.

As vectors, accumulated = inherited + fresh holds exactly (spec: metrics, section 4); energies do not add, so the cross
term 2 sum(inherited fresh) stands beside them. All of it follows from sums that were pooled anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Facts
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.metrics import TINY_ELEMENTS, Sums, cosines, field_of
from gfpq_inspect.analyze.result import Comparison
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.models.model import Model

_SPLITS = {"both": ("inherited_both", "fresh_both"), "tuned": ("inherited_tuned", "fresh_tuned")}


def propagation(
    table: Sequence[TableRow], comparisons: Sequence[Comparison], sums: Sums
) -> dict[str, dict[str, dict[str, float | None]]]:
    """What part of each row's error arrived and what part was added.

    Args:
        table: The rows.
        comparisons: Those of the run.
        sums: Pooled sums [rows, comparisons, F].

    Returns:
        Row key to 'both' and 'tuned' to: `inherited_share`, `fresh_share` and `cross_share` of the energy of the
        accumulated error, which add to 1 (null where there is no error); `noise_gain`, the relative length of the
        inherited error at the output over that of the error at the inputs (null where none arrived).
    """
    columns = {entry.name: index for index, entry in enumerate(comparisons)}
    places = {row.row.key: index for index, row in enumerate(table)}
    error, signal = field_of(sums, "sum_dd"), field_of(sums, "sum_xx")
    result: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, (inherited, fresh) in _SPLITS.items():
        if inherited not in columns:
            continue
        own, side = columns[name], Side.FIRST if name == "both" else Side.SECOND
        for index, row in enumerate(table):
            if side not in row.row.values:
                continue
            inputs = [places[key] for key in row.inputs if side in table[places[key]].row.values]
            arrived = _ratio(error[inputs, own].sum(), signal[inputs, own].sum())
            left = _ratio(error[index, columns[inherited]], signal[index, columns[inherited]])
            whole = error[index, own]
            shares = [_ratio(error[index, columns[part]], whole) for part in (inherited, fresh)]
            result.setdefault(row.row.key, {})[name] = {
                "inherited_share": shares[0],
                "fresh_share": shares[1],
                "cross_share": 1.0 - shares[0] - shares[1] if shares[0] is not None and shares[1] is not None else None,
                "noise_gain": math.sqrt(left / arrived) if left is not None and arrived else None,
            }
    return result


def _ratio(part: float, whole: float) -> float | None:
    return float(part) / float(whole) if whole > 0 and math.isfinite(part) else None


def multiply_adds_of_probes(models: Mapping[Side, Model]) -> int:
    """What the probes cost a sample: each quantized layer four times more in the first model, twice in the second."""
    runs = {Side.FIRST: 4, Side.SECOND: 2}
    return sum(
        runs[side] * (layer.multiply_adds or 0)
        for side, model in models.items()
        for layer in model.layers
        if layer.quantization is not None
    )


class OriginVotes:
    """Counts, for every row, the samples in which its output is bad while all of its inputs are good.

    Rows of few values a sample, and index tensors, have no say: they are as bad as what they read.

    Args:
        table: The rows.
        column: The comparison that says what is bad.
        threshold: Cosine below which a row is bad.
        facts: Shapes, for the number of values.
        sides: Models that must both have a row for it to be measured in that comparison.
    """

    def __init__(
        self, table: Sequence[TableRow], column: int, threshold: float, facts: Facts, sides: Sequence[Side]
    ) -> None:
        self._column = column
        self._threshold = threshold
        self._keys = [row.row.key for row in table]
        places = {key: index for index, key in enumerate(self._keys)}
        widest = max((len(row.inputs) for row in table), default=0)
        # A row that does not exist, and is never bad, fills up the shorter lists.
        self._inputs = np.full((len(table), max(1, widest)), len(table), dtype=np.int64)
        self._mute = []
        for index, row in enumerate(table):
            self._inputs[index, : len(row.inputs)] = [places[key] for key in row.inputs]
            value = (sides[0], row.row.values.get(sides[0], ""))
            speaks = all(side in row.row.values for side in sides) and value in facts.floating
            if not speaks or math.prod(facts.shapes.get(value, ())) < TINY_ELEMENTS:
                self._mute.append(index)
        self._votes = np.zeros(len(table), dtype=np.int64)
        self._samples = 0

    def add(self, sums: Sums) -> None:
        """Add samples, [N, rows, comparisons, F]."""
        bad: NDArray[np.bool_] = np.zeros((len(sums), sums.shape[1] + 1), dtype=np.bool_)
        bad[:, :-1] = cosines(sums[:, :, self._column]) < self._threshold
        for index in self._mute:
            bad[:, index] = bad[:, self._inputs[index]].any(axis=1)
        arrived = np.asarray(bad[:, self._inputs].any(axis=2))
        begins = np.logical_and(bad[:, :-1], ~arrived)
        begins[:, self._mute] = False
        self._votes += begins.sum(axis=0)
        self._samples += len(sums)

    def state(self) -> dict[str, Any]:
        """Votes by row and samples so far, from which `restore` goes on."""
        return {"votes": self._votes, "samples": self._samples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self._votes, self._samples = state["votes"], int(state["samples"])

    def result(self, comparisons: Sequence[Comparison]) -> Mapping[str, Any]:
        """Plain values: the comparison, the samples, and row key to votes, most votes first."""
        order = sorted(np.flatnonzero(self._votes), key=lambda index: (-self._votes[index], index))
        return {
            "comparison": comparisons[self._column].name,
            "samples": self._samples,
            "votes": {self._keys[index]: int(self._votes[index]) for index in order},
        }

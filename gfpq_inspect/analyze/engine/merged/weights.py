"""Initializers of a woven graph: every variant of every weight once, in whatever layout the graph wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.merged.base import Base
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.analyze.lanes import Lane, Side, Weights
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import kernels

Array = NDArray[Any]


class LaneWeights:
    """Names and arrays.

    Quantizing goes by element, so a weight that the optimiser laid out anew is quantized where it lies.

    Args:
        experiment: Models and quantized weights.
        bases: The graph of each model.

    Attributes:
        arrays: What the graph needs, by name; grows while it is woven.

    Raises:
        NotMerged: A quantized weight is not found again in the graph.
    """

    def __init__(self, experiment: Experiment, bases: Mapping[Side, Base]) -> None:
        self._bases = bases
        self._entries: dict[tuple[Side, str, str], QuantizedWeight] = {}
        self._made: dict[tuple[int, int], str] = {}
        self.arrays: dict[str, Array] = {}
        for side, model in experiment.models.items():
            for layer in model.layers:
                entries = experiment.weights.of_layer(side, layer)
                if entries:
                    self._find(side, layer, entries)

    def _find(self, side: Side, layer: Layer, entries: Mapping[str, QuantizedWeight]) -> None:
        base = self._bases[side]
        read = dict.fromkeys(name for node in base.nodes[layer.key] for name in node.input)
        present = [name for name in read if name in base.initializers]
        for initializer, entry in entries.items():
            if entry.own_format is not None or entry.stored.dtype != np.float32:
                raise NotMerged(f"the weights of '{layer.name}' are not float32 in GFPQ")
            if initializer in present and np.array_equal(base.initializers[initializer], entry.stored):
                self._entries[side, layer.key, initializer] = entry
                continue
            wanted = _fingerprint(entry.stored)
            moved = [name for name in present if _fingerprint(base.initializers[name]) == wanted]
            if not moved:
                raise NotMerged(f"the optimiser changed the weights of '{layer.name}'")
            for name in moved:
                self._entries[side, layer.key, name] = entry

    def name(self, lane: Lane, layer: Layer, initializer: str) -> str:
        """The initializer that a lane reads where the graph reads this one."""
        entry = self._entries.get((lane.side, layer.key, initializer))
        array = self._bases[lane.side].initializers[initializer]
        if entry is None or lane.weights is Weights.STORED or entry.variant(lane.weights) is entry.stored:
            return self._keep(f"{lane.side.value}:weight/{initializer}", array, (id(array), 0))
        key = (id(array), id(entry.quantized))
        if key not in self._made:
            name = f"{lane.side.value}:quantized/{initializer}/{layer.key}"
            if array.shape == entry.stored.shape and np.array_equal(array, entry.stored):
                return self._keep(name, entry.variant(lane.weights), key)
            return self._keep(name, kernels.apply(array, entry.bits, int(entry.delta)), key)
        return self._made[key]

    def constant(self, side: Side, value: str) -> str:
        """An initializer that stands for a computed value."""
        array = self._bases[side].initializers[value]
        return self._keep(f"{side.value}:weight/{value}", array, (id(array), 0))

    def _keep(self, name: str, array: Array, key: tuple[int, int]) -> str:
        if key not in self._made:
            self._made[key] = name
            self.arrays[name] = array
        return self._made[key]


def _fingerprint(array: Array) -> tuple[int, int, int]:
    """Equal for arrays of the same float32 numbers in another order, padded with zeros or not."""
    if array.dtype != np.float32:
        return (-1, -1, -1)
    words = np.ascontiguousarray(array).view(np.uint32).ravel().astype(np.uint64)
    return int(np.count_nonzero(words)), int(words.sum()), int((words * words).sum())

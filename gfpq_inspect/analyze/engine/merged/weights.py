"""Weights of a graph in whatever layout the optimiser gave them, and the names of their variants in a woven graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.merged.base import Base
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey, NotMerged
from gfpq_inspect.analyze.lanes import Lane, Side, Weights
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import kernels
from gfpq_inspect.quantize.aligned import aligned_empty

Array = NDArray[Any]

Placed = Mapping[tuple[Side, str], Mapping[str, QuantizedWeight]]
"""(model, layer key) to the layer's quantized weights, by initializer of the graph that computes."""


def placed_weights(
    experiment: Experiment, bases: Mapping[Side, Base], refused: Collection[LayerKey] = ()
) -> dict[tuple[Side, str], Any]:
    """Find every quantized weight again in the graphs that compute; layers that run by themselves need none.

    Quantizing goes by element, so a weight that the optimiser laid out anew is quantized where it lies.

    Raises:
        NotMerged: One is not found, or is of another format.
    """
    found: dict[tuple[Side, str], dict[str, QuantizedWeight]] = {}
    moved: dict[tuple[int, int], QuantizedWeight] = {}
    for side, model in experiment.models.items():
        for layer in model.layers:
            entries = experiment.weights.of_layer(side, layer)
            if entries and (side, layer.key) not in refused:
                found[side, layer.key] = _of_layer(bases[side], layer, entries, moved)
    return found


def _of_layer(
    base: Base, layer: Layer, entries: Mapping[str, QuantizedWeight], moved: dict[tuple[int, int], QuantizedWeight]
) -> dict[str, QuantizedWeight]:
    read = dict.fromkeys(name for node in base.nodes[layer.key] for name in node.input)
    present = [name for name in read if name in base.initializers]
    found = {}
    for initializer, entry in entries.items():
        if entry.own_format is not None or entry.stored.dtype != np.float32:
            raise NotMerged(f"the weights of '{layer.name}' are not float32 in GFPQ")
        own = base.initializers[initializer] if initializer in present else None
        if own is not None and (own is entry.stored or np.array_equal(own, entry.stored)):
            base.initializers[initializer] = entry.stored  # one copy is enough
            found[initializer] = entry
            continue
        wanted = _fingerprint(entry.stored)
        names = [name for name in present if _fingerprint(base.initializers[name]) == wanted]
        if not names:
            raise NotMerged(f"the optimiser changed the weights of '{layer.name}'")
        for name in names:
            array = base.initializers[name]
            key = (id(array), id(entry))
            if key not in moved:
                moved[key] = _moved(entry, name, array)
            found[name] = moved[key]
    return found


def _moved(entry: QuantizedWeight, name: str, array: Array) -> QuantizedWeight:
    room = aligned_empty(array.shape, array.dtype)
    quantized = kernels.apply(array, entry.bits, int(entry.delta), room)
    deployed = array if entry.deployed is entry.stored else quantized
    return replace(entry, initializer=name, stored=array, quantized=quantized, deployed=deployed)


def _fingerprint(array: Array) -> tuple[int, int, int]:
    """Equal for arrays of the same float32 numbers in another order, padded with zeros or not."""
    if array.dtype != np.float32:
        return (-1, -1, -1)
    words = np.ascontiguousarray(array).view(np.uint32).ravel().astype(np.uint64)
    return int(np.count_nonzero(words)), int(words.sum()), int((words * words).sum())


class LaneWeights:
    """Names and arrays of a woven graph: every variant of every weight once.

    Args:
        bases: The graph of each model.
        placed: Its quantized weights.

    Attributes:
        arrays: What the graph needs, by name; grows while it is woven.
    """

    def __init__(self, bases: Mapping[Side, Base], placed: Placed) -> None:
        self._bases = bases
        self._placed = placed
        self._made: dict[int, str] = {}
        self.arrays: dict[str, Array] = {}

    def name(self, lane: Lane, layer: Layer, initializer: str) -> str:
        """The initializer that a lane reads where the graph reads this one."""
        entry = self._placed.get((lane.side, layer.key), {}).get(initializer)
        array = self._bases[lane.side].initializers[initializer]
        if entry is None or lane.weights is Weights.STORED or entry.variant(lane.weights) is entry.stored:
            return self._keep(f"{lane.side.value}:weight/{initializer}", array)
        return self._keep(f"{lane.side.value}:quantized/{initializer}/{layer.key}", entry.variant(lane.weights))

    def constant(self, side: Side, value: str) -> str:
        """An initializer that stands for a computed value."""
        return self._keep(f"{side.value}:weight/{value}", self._bases[side].initializers[value])

    def _keep(self, name: str, array: Array) -> str:
        if id(array) not in self._made:
            self._made[id(array)] = name
            self.arrays[name] = array
        return self._made[id(array)]

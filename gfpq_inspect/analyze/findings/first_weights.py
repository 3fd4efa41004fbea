"""The first layer's weights of both models: they tell of another order, scale or mean in the second's training."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.findings.case import Case, WeightPair
from gfpq_inspect.analyze.findings.inputs_seen import image_input
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.pair import canonical_type

_ALIKE = 0.2
"""Relative distance up to which two weights are the same but for quantization and training."""


@dataclass(frozen=True)
class FirstWeights:
    """How the second model's first layer follows from the first's.

    Attributes:
        row: Its row.
        distance: |second - gain * first| / |second| as stored.
        gain: The factor of that fit.
        order: The order of input channels that fits best.
        order_distance: Its distance.
        bias_shift: Change of every output's mean, float64 [filters], by biases or by the means of the BatchNorm
            behind; None where nothing moved.
        mean_change: The change of the input's mean a channel that explains it, float64 [channels], or None.
        mean_explained: Share of the bias change that this explains (R^2).
    """

    row: str
    distance: float
    gain: float
    order: tuple[int, ...]
    order_distance: float
    bias_shift: NDArray[np.float64] | None
    mean_change: NDArray[np.float64] | None
    mean_explained: float

    @property
    def swapped(self) -> bool:
        """Another order explains what this one does not."""
        straight = self.order == tuple(range(len(self.order)))
        return not straight and self.order_distance < _ALIKE and self.distance > 2 * self.order_distance

    @property
    def alike(self) -> bool:
        """Equal but for a factor."""
        return self.distance < _ALIKE


def first_weights(case: Case) -> FirstWeights | None:
    """Relate the first layers of two models; None where they have no convolution on an image input in common."""
    if "first weights" not in case.notes:
        case.notes["first weights"] = _first_weights(case)
    known: FirstWeights | None = case.notes["first weights"]
    return known


def _first_weights(case: Case) -> FirstWeights | None:
    entry = image_input(case.first)
    if entry is None or case.second is None:
        return None
    pair = next((one for one in case.weight_pairs if _reads(case, one, entry.value)), None)
    if pair is None or canonical_type(pair.first) != "Convolution" or pair.first.group != 1:
        return None
    channels = entry.shape[1]
    one = pair.one.reshape(len(pair.one), channels, -1)
    other = pair.other.reshape(len(pair.other), channels, -1)
    distance, gain = _fit(one, other)
    orders = [(_fit(one[:, list(order)], other)[0], order) for order in itertools.permutations(range(channels))]
    best, order = min(orders)
    shift, change, explained = _mean_change(case, pair, one)
    return FirstWeights(pair.row, distance, gain, order, best, shift, change, explained)


def _reads(case: Case, pair: WeightPair, value: str) -> bool:
    """Whether the layer reads the input itself, or through quantization points and layers that only scale or shift."""
    producer = {name: layer for layer in case.first.layers for name in layer.outputs if layer.nodes}
    current = pair.first.inputs[0]
    while current != value:
        layer = producer.get(current)
        if (
            layer is None
            or len(layer.inputs) != 1
            or canonical_type(layer) not in ("BatchNorm", "Scale", "Bias", "Power", "Quant")
        ):
            return False
        current = layer.inputs[0]
    return True


def _fit(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Relative distance after the best gain, and that gain."""
    signal, energy = float((one**2).sum()), float((other**2).sum())
    if signal == 0 or energy == 0:
        return 1.0, 1.0
    gain = float((one * other).sum()) / signal
    return float(np.sqrt(((other - gain * one) ** 2).sum() / energy)), gain


def _mean_change(
    case: Case, pair: WeightPair, one: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, float]:
    """The change of the input's mean that explains what happened to the biases (or to the means behind)."""
    shift = _bias_shift(case, pair)
    if shift is None or shift.shape != (len(one),) or len(one) < one.shape[1] + 3:
        return None, None, 0.0
    scale = float(np.abs(shift).max())
    if scale == 0:
        return None, None, 0.0
    # y = W (x - mean) + b: a mean that grows by m asks for a bias that grows by sum(W) m.
    matrix = one.sum(2)
    change = np.linalg.lstsq(matrix, shift, rcond=1e-3)[0]
    rest = shift - matrix @ change
    explained = 1.0 - float((rest**2).sum() / (shift**2).sum())
    return shift, change, explained


def _bias_shift(case: Case, pair: WeightPair) -> NDArray[np.float64] | None:
    own, opposite = pair.first.weights[1:2], pair.second.weights[1:2]
    shift: NDArray[np.float64] | None = None
    if own and opposite:
        arrays = case.tensor(Side.FIRST, own[0]).ravel(), case.tensor(Side.SECOND, opposite[0]).ravel()
        if arrays[0].shape == arrays[1].shape:
            shift = arrays[1].astype(np.float64) - arrays[0]
    for one, other in case.layer_pairs:
        if one.inputs[:1] == pair.first.outputs[:1]:
            first, second = case.statistics(Side.FIRST, one), case.statistics(Side.SECOND, other)
            if first is not None and second is not None and first.mean.shape == second.mean.shape:
                behind = first.mean - second.mean
                shift = behind if shift is None or shift.shape != behind.shape else shift + behind
    return shift

"""What training lowers, and what decides which weights are kept: error energies against the float network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.tune.recover.graph import Tensor, TrainableGraph, Values
from gfpq_inspect.tune.recover.lane import QuantizedLane, Weights

_SMALLEST_ERROR = 1e-9
"""Relative error energy (90 dB) below which an output counts as free of error."""
_SMALLEST_ENTROPY = 0.01
_LARGEST_SHARE = 2.0
TOLERATED_DB = 0.5
"""What one output may lose, on the samples that are watched, for the sake of the others."""


@dataclass(frozen=True)
class Score:
    """How far the quantized network is from the float one, on some samples.

    Attributes:
        errors: Value to its error energy as a share of its signal energy.
        cosines: Value to its cosine.
        entropy: Mean cross-entropy with the labels, or None.
        accuracy: Share of samples decided as labelled, or None.
    """

    errors: Mapping[str, float]
    cosines: Mapping[str, float]
    entropy: float | None = None
    accuracy: float | None = None

    @property
    def lowest_cosine(self) -> float:
        """Cosine of the worst output."""
        return min(self.cosines.values(), default=1.0)

    def remaining(self, before: Score) -> dict[str, float]:
        """Share of each output's error energy that remains; outputs that had none are left out."""
        return {name: self.errors[name] / old for name, old in before.errors.items() if old > _SMALLEST_ERROR}

    def most_lost_db(self, before: Score) -> float:
        """What the output that fared worst lost, in dB; negative where all gained."""
        worst = max(self.remaining(before).values(), default=1.0)
        return 10 * math.log10(max(worst, 1e-30))

    def total(self, before: Score) -> float:
        """Share of the error energy of all outputs that remains, each output's energy relative to its signal."""
        known = [name for name in before.errors if before.errors[name] > _SMALLEST_ERROR]
        whole = sum(before.errors[name] for name in known)
        return sum(self.errors[name] for name in known) / whole if whole else 1.0

    def figure(self, before: Score) -> float:
        """The number that is to be low, 1 for `before`.

        Without labels the mean of `total` and of the mean of `remaining`, whose members count as `_LARGEST_SHARE` at
        most: no output is forgotten, and none that hardly had an error decides alone. With labels the mean of that and
        of the cross-entropy's share.
        """
        shares = [min(share, _LARGEST_SHARE) for share in self.remaining(before).values()]
        figure = (self.total(before) + (sum(shares) / len(shares) if shares else 1.0)) / 2
        if self.entropy is None or before.entropy is None:
            return figure
        return (figure + self.entropy / max(before.entropy, _SMALLEST_ENTROPY)) / 2

    def is_worse(self, before: Score, wanted_accuracy: float | None) -> bool:
        """Whether nobody should take this for `before`.

        Args:
            before: Score of what was given, quantized.
            wanted_accuracy: Of the float network: what decides as well as that is not worse, even if `before` was
                right by chance once more.
        """
        if self.figure(before) > 1 or self.total(before) > 1:
            return True
        if self.most_lost_db(before) > TOLERATED_DB:
            return True
        if self.accuracy is None or before.accuracy is None or wanted_accuracy is None:
            return False
        return self.accuracy < min(before.accuracy, wanted_accuracy)


@dataclass(frozen=True)
class Goals:
    """What is compared with the float network.

    Attributes:
        outputs: Values whose error is scored: the network's outputs, or what the layers read that make an output in a
            way that has no gradient (a choice, a sort).
        features: Values inside whose error is trained on as well, where similarity is lost first.
        decision: The output that decides on a class, with labels; its values are shares where `shares` is set.
        shares: Whether the decision went through a softmax.
    """

    outputs: tuple[str, ...]
    features: tuple[str, ...] = ()
    decision: str | None = None
    shares: bool = False


def find_outputs(lane: QuantizedLane, index: int) -> tuple[str, ...]:
    """The values to score, by a trial run of one sample: those that a gradient reaches, and that are finite.

    Args:
        lane: The network.
        index: The sample.
    """
    graph = lane.graph
    weights = {name: tensor.clone() for name, tensor in graph.initial.items()}
    for one in graph.parameters:
        if one.trained:
            weights[one.name].requires_grad_()
    _, feeds = next(lane.batches([index], 1))
    every = {value for layer in graph.layers for value in (*layer.inputs, *layer.outputs)}
    values = graph.run(feeds, weights, None, every)
    reached = {name for name, tensor in values.items() if tensor.requires_grad}
    found = [name for name in graph.model.outputs if name in reached]
    for layer in graph.layers:
        if layer.outputs and not any(name in reached for name in layer.outputs):
            found += [name for name in layer.inputs if name in reached]
    return tuple(name for name in dict.fromkeys(found) if bool(values[name].isfinite().all()))


def find_decision(graph: TrainableGraph, outputs: Sequence[str], values: Values, labels: Labels) -> tuple[str, bool]:
    """The output that has a value for each class, and whether they are shares.

    Returns:
        '' where there is none.
    """
    makers = {value: layer for layer in graph.layers for value in layer.outputs}
    for name in outputs:
        if values[name].numel() // max(1, values[name].shape[0]) > max(1, *labels.classes):
            layer = makers.get(name)
            node = graph.only_node(layer) if layer is not None else None
            return name, node is not None and node[0].op_type == "Softmax"
    return "", False


class Objective:
    """Measures and differentiates the distance to the float network.

    Args:
        lane: The network.
        goals: What is compared.
        labels: True classes of all samples, or None.
    """

    def __init__(self, lane: QuantizedLane, goals: Goals, labels: Labels | None) -> None:
        self.lane = lane
        self.goals = goals
        self._labels = torch.tensor(labels.classes, dtype=torch.int64) if labels is not None else None
        self.initial = lane.graph.initial
        self.reference: Weights = self.initial
        self._scale: dict[str, float] = {}
        self._entropy_scale = 1.0

    def wanted(self, feeds: Values) -> Values:
        """What the float network gives: outputs of the network as it was given, features of the reference."""
        with torch.no_grad():
            if self.reference is self.initial or not self.goals.features:
                return self.lane.graph.run(feeds, self.initial, None, (*self.goals.outputs, *self.goals.features))
            found = self.lane.graph.run(feeds, self.initial, None, self.goals.outputs)
            return found | self.lane.graph.run(feeds, self.reference, None, self.goals.features)

    def score(
        self, indices: Sequence[int], weights: Weights, batch: int, *, data: bool = True, kernels: bool = True
    ) -> Score:
        """Score weights on some samples, as they are deployed, or with data or kernels left in float."""
        names = self.goals.outputs
        error, signal, cross, power = (dict.fromkeys(names, 0.0) for _ in range(4))
        entropy, right = 0.0, 0
        with torch.no_grad():
            deployed = self.lane.quantized(weights) if kernels else weights
            for part, feeds in self.lane.batches(indices, batch):
                wanted = self.lane.graph.run(feeds, self.initial, None, names)
                found = self.lane.graph.run(feeds, deployed, self.lane.quantize if data else None, names)
                for name in names:
                    one, other = wanted[name].double(), found[name].double()
                    error[name] += float(((other - one) ** 2).sum())
                    signal[name] += float((one**2).sum())
                    power[name] += float((other**2).sum())
                    cross[name] += float((one * other).sum())
                if self._labels is not None and self.goals.decision is not None:
                    logs, truth = self._log_shares(found), self._labels[part]
                    entropy += float(functional.nll_loss(logs, truth, reduction="sum"))
                    right += int((logs.argmax(1) == truth).sum())
        errors = {name: error[name] / signal[name] if signal[name] else 0.0 for name in names}
        cosines = {name: _cosine(cross[name], signal[name], power[name]) for name in names}
        if self._labels is None or self.goals.decision is None:
            return Score(errors, cosines)
        return Score(errors, cosines, entropy / len(indices), right / len(indices))

    def set_scales(self, indices: Sequence[int], weights: Weights, batch: int) -> None:
        """Let each part of the loss begin at its weight: outputs at 1 together, all features at a quarter."""
        names = (*self.goals.outputs, *self.goals.features)
        error, entropy = dict.fromkeys(names, 0.0), 0.0
        with torch.no_grad():
            deployed = self.lane.quantized(weights)
            for part, feeds in self.lane.batches(indices, batch):
                wanted = self.wanted(feeds)
                found = self.lane.graph.run(feeds, deployed, self.lane.quantize, names)
                for name in names:
                    error[name] += float(((found[name].double() - wanted[name].double()) ** 2).sum())
                if self._labels is not None and self.goals.decision is not None:
                    logs = self._log_shares(found)
                    entropy += float(functional.nll_loss(logs, self._labels[part], reduction="sum"))
        outputs, features = len(self.goals.outputs), len(self.goals.features)
        for name in names:
            share = 1 / outputs if name in self.goals.outputs else 0.25 / features
            mean = error[name] / len(indices)
            self._scale[name] = share / mean if mean else 0.0
        self._entropy_scale = 1 / max(entropy / len(indices), _SMALLEST_ENTROPY)

    def loss(self, part: Sequence[int], feeds: Values, weights: Weights) -> Tensor:
        """Loss of a batch, summed over its samples; data coefficients follow by UPDATE."""
        wanted = self.wanted(feeds)
        deployed = self.lane.quantized(weights)
        found = self.lane.graph.run(feeds, deployed, self.lane.observe_and_quantize, list(wanted))
        loss = torch.zeros(())
        for name, target in wanted.items():
            loss = loss + self._scale[name] * ((found[name] - target) ** 2).sum()
        if self._labels is not None and self.goals.decision is not None:
            entropy = functional.nll_loss(self._log_shares(found), self._labels[list(part)], reduction="sum")
            loss = loss + self._entropy_scale * entropy
        return loss

    def _log_shares(self, found: Values) -> Tensor:
        assert self.goals.decision is not None
        values = found[self.goals.decision]
        flat = values.reshape(values.shape[0], -1)
        return torch.log(flat + 1e-12) if self.goals.shares else functional.log_softmax(flat, dim=1)


def _cosine(cross: float, signal: float, power: float) -> float:
    return cross / math.sqrt(signal * power) if signal and power else float(signal == power)


def find_features(lane: QuantizedLane, weights: Weights, indices: Sequence[int], most: int) -> tuple[str, ...]:
    """Values where similarity is lost first: those whose relative error rises most above that of what the layer reads.

    Args:
        lane: The network.
        weights: Float weights.
        indices: Samples to look at.
        most: How many to name.
    """
    graph = lane.graph
    values = [value for layer in graph.layers if layer.nodes for value in layer.outputs]
    error, signal = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    with torch.no_grad():
        deployed = lane.quantized(weights)
        for index in indices:
            _, feeds = next(lane.batches([index], 1))
            one = graph.run(feeds, weights, None, values)
            other = graph.run(feeds, deployed, lane.quantize, values)
            for name in values:
                if name in one and one[name].is_floating_point() and one[name].shape == other[name].shape:
                    error[name] += float(((other[name] - one[name]).double() ** 2).sum())
                    signal[name] += float((one[name].double() ** 2).sum())
    share = {name: error[name] / signal[name] for name in values if signal[name] > 0}
    rises = []
    for layer in graph.layers:
        arrived = max((share.get(value, 0.0) for value in layer.inputs), default=0.0)
        if layer.quantization is not None:
            inner = [value for value in layer.outputs if value in share and value not in graph.model.outputs]
            rises += [(share[value] - arrived, value) for value in inner]
    return tuple(value for rise, value in sorted(rises, key=lambda one: -one[0])[:most] if rise > 0)

"""Channels that carry nothing carry copies of those that cost most: rounding errors of copies average out.

Networks keep channels that training has switched off. Such a channel may hold a copy of another one, times a factor a
little above 1; what reads both takes the mean. In float nothing changes. But the steps of the grid lie elsewhere for
the copy: with n copies whose factors divide one step of the grid evenly, the mean moves in steps of an n-th, so that
the energy of the error falls to 1/n^2. (Channels are split for the sake of their range in Zhao et al., 2019,
arXiv:1901.09504; here it is for the sake of the steps.) A positive factor passes a ReLU, a pooling and a depthwise
convolution, so copies go on until a layer mixes the channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from gfpq_inspect.models.model import Layer
from gfpq_inspect.quantize import gfpq_of
from gfpq_inspect.tune.recover.affine import Affine, affine_of
from gfpq_inspect.tune.recover.graph import Place, Tensor, TrainableGraph
from gfpq_inspect.tune.recover.sensitivity import Sensitivity, by_channel

PASSING = frozenset({"Relu", "LeakyRelu", "Identity", "Dropout", "MaxPool", "AveragePool", "GlobalAveragePool"})
"""Operators f with f(s x) = s f(x) for a positive factor a channel."""
_SILENT = 2.0**-9
"""Below this share of a tensor's largest magnitude the grid of 8 bit has nothing but zero."""
_WORTH = 0.02
"""Copies are tried where the channels of a chain cost this share of all that rounding of data costs."""


@dataclass(frozen=True)
class Chain:
    """A layer, and what its channels pass one by one until they are mixed.

    Attributes:
        producer: Makes the channels.
        between: Depthwise convolutions, and how many of them lie before.
        readers: Mix the channels, and how many depthwise convolutions lie before.
        places: Where the channels are quantized.
    """

    producer: Affine
    between: tuple[tuple[Affine, int], ...]
    readers: tuple[tuple[Affine, int], ...]
    places: tuple[Place, ...]


def chains_of(graph: TrainableGraph) -> Iterator[Chain]:
    """Find all chains, in order of execution."""
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for value in dict.fromkeys(layer.inputs):
            readers.setdefault(value, []).append(layer)
    for layer in graph.layers:
        producer = affine_of(graph, layer)
        if producer is not None and producer.groups == 1:
            chain = _follow(graph, readers, producer)
            if chain is not None:
                yield chain


def _follow(graph: TrainableGraph, readers: Mapping[str, Sequence[Layer]], producer: Affine) -> Chain | None:
    channels = channels_of(graph, producer)
    between: list[tuple[Affine, int]] = []
    mixing: list[tuple[Affine, int]] = []
    places: dict[Place, None] = {}
    open_values = [(producer.output, 0)]
    while open_values:
        value, depth = open_values.pop()
        if value in graph.model.outputs or not readers.get(value):
            return None
        for layer in readers[value]:
            node, shape = graph.only_node(layer), affine_of(graph, layer)
            place = graph.places_of(layer).get(value)
            if place is not None:
                places[place] = None
            if node is None:
                return None
            if shape is not None and shape.source == value and list(node[0].input).count(value) == 1:
                inputs = graph.initial[shape.kernel].shape[1 if shape.transposed else 0] * shape.groups
                if shape.groups == channels == channels_of(graph, shape):
                    between.append((shape, depth))
                    open_values.append((shape.output, depth + 1))
                elif shape.groups == 1 and inputs == channels:
                    mixing.append((shape, depth))
                else:
                    return None
            elif node[0].op_type in PASSING and len(layer.inputs) == len(layer.outputs) == 1:
                open_values.append((layer.outputs[0], depth))
            else:
                return None
    return Chain(producer, tuple(between), tuple(mixing), tuple(places)) if mixing and places else None


def channels_of(graph: TrainableGraph, shape: Affine) -> int:
    """Channels that a layer makes."""
    return int(graph.initial[shape.kernel].shape[0 if shape.transposed else 1])


def spread_copies(
    graph: TrainableGraph,
    samples: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    measured: Mapping[Place, Sensitivity],
    *,
    error_of: Callable[[Mapping[str, Tensor]], float],
    chain_done: Callable[[Chain, bool], None] = lambda *_: None,
) -> dict[str, Tensor]:
    """Put silent channels to use wherever that lowers the error.

    Args:
        graph: The network.
        samples: Feeds that show what the channels hold.
        weights: Float weights.
        measured: What rounding costs.
        error_of: Error of the quantized network with some float weights.
        chain_done: Told of each chain that was tried, and whether its copies were kept.

    Returns:
        New float weights.
    """
    whole = sum(float(one.cost.sum()) for one in measured.values())
    best, lowest = dict(weights), -1.0
    for chain in chains_of(graph):
        channels = channels_of(graph, chain.producer)
        costs = [measured[place].cost for place in chain.places if place in measured]
        if not costs or any(len(one) != channels for one in costs):
            continue
        cost = torch.stack(costs).sum(0)
        if float(cost.sum()) < _WORTH * whole:
            continue
        silent, means = _silent(graph, samples, best, chain)
        if not silent or len(silent) == channels:
            continue
        lowest = error_of(best) if lowest < 0 else lowest
        kept = False
        for used in {len(silent), -(-len(silent) // 2)}:
            tried = with_copies(chain, best, means, _shared_out(cost, silent[:used]))
            error = error_of(tried)
            if error < lowest:
                candidate, lowest, kept = tried, error, True
        if kept:
            best = candidate
        chain_done(chain, kept)
    return best


def _silent(
    graph: TrainableGraph, samples: Sequence[Mapping[str, Tensor]], weights: Mapping[str, Tensor], chain: Chain
) -> tuple[list[int], dict[str, Tensor]]:
    """Channels that never move at any place, and the mean of each channel where channels are mixed."""
    sources = {shape.source for shape, _ in chain.readers}
    values = {*sources, *(place.value for place in chain.places)}
    low: dict[str, Tensor] = {}
    high: dict[str, Tensor] = {}
    means: dict[str, Tensor] = {}
    with torch.no_grad():
        for feeds in samples:
            for name, value in graph.run(feeds, weights, None, values).items():
                flat = by_channel(value)
                low[name] = torch.minimum(low.get(name, flat.amin(1)), flat.amin(1))
                high[name] = torch.maximum(high.get(name, flat.amax(1)), flat.amax(1))
                means[name] = means.get(name, torch.zeros(len(flat)).double()) + flat.mean(1) / len(samples)
    still = torch.ones(channels_of(graph, chain.producer), dtype=torch.bool)
    for name in values:
        top = torch.maximum(high[name].abs(), low[name].abs()).max()
        still &= high[name] - low[name] <= _SILENT * top
    return [int(index) for index in still.nonzero()], {name: means[name] for name in sources}


def _shared_out(cost: Tensor, silent: Sequence[int]) -> dict[int, list[int]]:
    """Channel to the silent ones that copy it: one after the other goes to where it saves most."""
    left = cost.clone()
    left[list(silent)] = 0
    given: dict[int, list[int]] = {}
    for one in silent:
        counts = torch.ones(len(cost)).double()
        for channel, several in given.items():
            counts[channel] += len(several)
        saved = left * (1 / counts**2 - 1 / (counts + 1) ** 2)
        given.setdefault(int(saved.argmax()), []).append(one)
    return given


def with_copies(
    chain: Chain,
    weights: Mapping[str, Tensor],
    means: Mapping[str, Tensor],
    given: Mapping[int, Sequence[int]],
) -> dict[str, Tensor]:
    """Let silent channels hold copies.

    Args:
        chain: Where.
        weights: Float weights.
        means: Value that is mixed to the mean of each channel; what silent ones hold there goes into the bias.
        given: Channel to those that copy it.

    Returns:
        New float weights; the float network computes the same, as far as silent channels are silent.
    """
    changed = {
        name: weights[name].clone()
        for shape in (chain.producer, *(one for one, _ in (*chain.between, *chain.readers)))
        for name in (shape.kernel, shape.bias)
        if name is not None
    }
    steps = gfpq_of(chain.places[0].bits).steps_per_octave
    for channel, several in given.items():
        members = [channel, *several]
        for order, member in enumerate(members):
            factors = [2 ** (place / (steps * len(members))) for place in (order, len(members) - 1 - order)]
            _copy_row(chain.producer, weights, changed, (channel, member), factor=factors[0], whole=factors[0])
            for shape, depth in chain.between:
                own = factors[(depth + 1) % 2]
                ratio = own / factors[depth % 2]
                _copy_row(shape, weights, changed, (channel, member), factor=ratio, whole=own)
        for shape, depth in chain.readers:
            _share_columns(shape, weights, changed, members, depth=depth, steps=steps, means=means[shape.source])
    return {**weights, **changed}


def _copy_row(
    shape: Affine,
    weights: Mapping[str, Tensor],
    changed: Mapping[str, Tensor],
    channels: tuple[int, int],
    *,
    factor: float,
    whole: float,
) -> None:
    """Let a layer make a channel as another one, times a factor; `whole` is that of the bias."""
    source, target = channels
    if shape.transposed:
        changed[shape.kernel][target] = weights[shape.kernel][source] * factor
    else:
        changed[shape.kernel][:, target] = weights[shape.kernel][:, source] * factor
    if shape.bias is not None:
        changed[shape.bias][target] = weights[shape.bias][source] * whole


def _share_columns(
    shape: Affine,
    weights: Mapping[str, Tensor],
    changed: Mapping[str, Tensor],
    members: Sequence[int],
    *,
    depth: int,
    steps: int,
    means: Tensor,
) -> None:
    """Let a layer read the mean of copies where it read one channel."""
    old = weights[shape.kernel] if shape.transposed else weights[shape.kernel].t()
    new = changed[shape.kernel] if shape.transposed else changed[shape.kernel].t()
    count = len(members)
    for order, member in enumerate(members):
        place = order if depth % 2 == 0 else count - 1 - order
        if order and shape.bias is not None:
            sums = old[:, member].reshape(len(old), -1).sum(1)
            changed[shape.bias] += (sums * means[member]).to(sums.dtype)
        new[:, member] = old[:, members[0]] / (count * 2 ** (place / (steps * count)))

"""Taking a constant out of data before they are quantized: the grid rounds a number by a share of its magnitude.

A channel that always lies around 0.9 and varies by 0.1 loses as much as one that varies by 0.9. What produces it can
give 0.5 less, and what reads it can add the rest to its bias (bias absorption: Nagel et al., 2019, arXiv:1906.04721).
Behind a ReLU no more than the channel's low end can go; at the border of a padded convolution the padding does not
move along. So every such step is tried on the whole network and kept only where it lowers the error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from gfpq_inspect.models.model import Layer
from gfpq_inspect.tune.recover.affine import Affine, affine_of
from gfpq_inspect.tune.recover.graph import Place, Tensor, TrainableGraph
from gfpq_inspect.tune.recover.sensitivity import Sensitivity

_PASSING = frozenset({"Identity", "MaxPool"})
_QUANTILES = (0.0, 0.0003, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
_SHARES = (1.0, 0.8, 0.6, 0.4, 0.2, 0.1)
_CAUTIONS = (0.03, 0.3, 3.0, 30.0)
_ROUNDING = (math.log(2) / 16) ** 2 / 12
"""Energy of rounding's error as a share of the energy of what is rounded: even over one of 16 steps an octave."""
_WORTH = 0.004
"""A site is tried where it promises to save this share of all that rounding of data costs."""
_LOOKED_AT = 16384


@dataclass(frozen=True)
class Site:
    """Where a constant can be moved.

    Attributes:
        producer: What gives less.
        value: What is quantized.
        readers: What adds it again.
        rectified: A ReLU lies between.
    """

    producer: Affine
    value: str
    readers: tuple[Affine, ...]
    rectified: bool


def sites_of(graph: TrainableGraph) -> Iterator[Site]:
    """Find all sites, in order of execution."""
    producers = {value: layer for layer in graph.layers for value in layer.outputs}
    readers: dict[str, list[Layer]] = {}
    for layer in graph.layers:
        for value in dict.fromkeys(layer.inputs):
            readers.setdefault(value, []).append(layer)
    for value in dict.fromkeys(place.value for place in graph.places):
        found = [_with_bias(graph, layer) for layer in readers.get(value, ()) if layer.outputs]
        origin, rectified = value, False
        while origin in producers and value not in graph.model.outputs:
            layer = producers[origin]
            node = graph.only_node(layer)
            if node is None or node[0].op_type not in {"Relu", *_PASSING}:
                break
            rectified = rectified or node[0].op_type == "Relu"
            origin = layer.inputs[0]
            if len(readers[origin]) > 1 or origin in graph.model.outputs:
                break
        producer = _with_bias(graph, producers[origin]) if origin in producers else None
        alone = origin == value or (len(readers[origin]) == 1 and origin not in graph.model.outputs)
        known = [one for one in found if one is not None]
        if producer is not None and alone and known and len(known) == len(found) and value not in graph.model.outputs:
            yield Site(producer, value, tuple(known), rectified)


def _with_bias(graph: TrainableGraph, layer: Layer) -> Affine | None:
    shape = affine_of(graph, layer)
    return shape if shape is not None and shape.bias is not None else None


def shifted(site: Site, weights: Mapping[str, Tensor], amount: Tensor) -> dict[str, Tensor]:
    """Move a constant, [channels], at one site."""
    changed = dict(weights)
    bias = site.producer.bias
    assert bias is not None
    changed[bias] = weights[bias] - amount
    for reader in site.readers:
        assert reader.bias is not None
        kernel = reader.rows(weights).float()  # [groups, outputs, inputs x window]
        groups, per_group, columns = kernel.shape
        inputs = len(amount) // groups
        sums = kernel.reshape(groups, per_group, inputs, columns // inputs).sum(3)
        added = (sums * amount.reshape(groups, 1, inputs)).sum(2).reshape(-1)
        changed[reader.bias] = changed[reader.bias] + added
    return changed


def absorb(
    graph: TrainableGraph,
    samples: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    measured: Mapping[Place, Sensitivity],
    *,
    error_of: Callable[[Mapping[str, Tensor]], float],
    site_done: Callable[[Site, bool], None] = lambda *_: None,
) -> dict[str, Tensor]:
    """Move constants wherever that lowers the error.

    Args:
        graph: The network.
        samples: Feeds that show what the channels hold.
        weights: Float weights.
        measured: What rounding costs, with these weights.
        error_of: Error of the quantized network with some float weights.
        site_done: Told of each site that was tried, and whether the step was kept.

    Returns:
        New float weights.
    """
    whole = sum(float(one.cost.sum()) for one in measured.values())
    best, lowest = dict(weights), error_of(weights)
    for site in sites_of(graph):
        costs = [one.cost for place, one in measured.items() if place.value == site.value]
        held = _channels(graph, samples, best, site)
        if not costs or held is None or any(len(one) != len(held.data) for one in costs):
            continue
        base, kept = best, False
        for caution in _CAUTIONS:
            amount, left = _amounts(held, site, caution)
            saved = sum(float((one * (1 - left)).sum()) for one in costs)
            if saved < _WORTH * whole:
                continue
            tried = shifted(site, base, amount)
            error = error_of(tried)
            if error < lowest:
                best, lowest, kept = tried, error, True
        site_done(site, kept)
    return best


@dataclass(frozen=True)
class _Channels:
    """What the channels of a site hold.

    Attributes:
        data: Some of it, float64 [channels, data], sorted.
        border: Share of what the readers read that is padding.
    """

    data: Tensor
    border: float


def _channels(
    graph: TrainableGraph, samples: Sequence[Mapping[str, Tensor]], weights: Mapping[str, Tensor], site: Site
) -> _Channels | None:
    looks, border = [], 0.0
    with torch.no_grad():
        for feeds in samples:
            value = graph.run(feeds, weights, None, [site.value])[site.value]
            if value.dim() < 2 or value.shape[1] != len(weights[site.producer.bias or ""]):
                return None
            flat = value.transpose(0, 1).flatten(1)
            step = max(1, flat.shape[1] * len(samples) // _LOOKED_AT)
            looks.append(flat[:, ::step])
            for reader in site.readers:
                if reader.window:
                    pads, (height, width) = reader.window[3], value.shape[2:]
                    around = (pads[0] + pads[2]) / height + (pads[1] + pads[3]) / width
                    border = max(border, around)
    return _Channels(torch.cat(looks, 1).double().sort(1).values, border)


def _amounts(held: _Channels, site: Site, caution: float) -> tuple[Tensor, Tensor]:
    """For each channel the constant that leaves the least error, and the share of rounding's energy that is left.

    Rounding errs by a share of what is left; what a ReLU cuts off, and what padding lacks, is lost as a whole and in
    one direction, so it counts `caution` times.
    """
    data = held.data
    if site.rectified:
        places = (torch.tensor(_QUANTILES, dtype=torch.float64) * (data.shape[1] - 1)).long()
        tried = data[:, places].clamp(min=0)
    else:
        tried = data.mean(1, keepdim=True) * torch.tensor(_SHARES, dtype=torch.float64)
    tried = torch.cat([torch.zeros(len(data), 1, dtype=torch.float64), tried], 1)  # [channels, candidates]
    rounding, lost = torch.zeros_like(tried), torch.zeros_like(tried)
    for index in range(tried.shape[1]):
        rest = data - tried[:, index : index + 1]
        if site.rectified:
            lost[:, index] = (rest.clamp(max=0) ** 2).mean(1)
            rest = rest.clamp(min=0)
        rounding[:, index] = (rest**2).mean(1)
    lost += held.border * tried**2
    chosen = (_ROUNDING * rounding + caution * lost).argmin(1, keepdim=True)
    whole = rounding[:, :1].clamp(min=1e-300)
    return tried.gather(1, chosen)[:, 0].float(), (rounding.gather(1, chosen) / whole)[:, 0]

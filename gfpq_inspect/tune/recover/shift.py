"""Taking a constant out of data before they are quantized: the grid rounds a number by a share of its magnitude.

A channel that always lies around 0.9 and varies by 0.1 loses as much as one that varies by 0.9. What produces it can
give 0.5 less, and what reads it can add the rest to its bias (bias absorption: Nagel et al., 2019, arXiv:1906.04721).
Behind a ReLU no more than the channel's low end can go; at the border of a padded convolution the padding does not
move along. So every such step is tried on the whole network and kept only where it lowers the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from gfpq_inspect.models.model import Layer
from gfpq_inspect.tune.recover.affine import Affine, affine_of
from gfpq_inspect.tune.recover.graph import Tensor, TrainableGraph

_PASSING = frozenset({"Identity", "MaxPool"})
_LOW_END = 0.05
_SHARES = (1.0, 0.6, 0.3)
_WORTH = 0.7
"""A site is tried where the data keep at most this share of their energy."""
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
    error_of: Callable[[Mapping[str, Tensor]], float],
    site_done: Callable[[Site, bool], None] = lambda *_: None,
) -> dict[str, Tensor]:
    """Move constants wherever that lowers the error.

    Args:
        graph: The network.
        samples: Feeds that show what the channels hold.
        weights: Float weights.
        error_of: Error of the quantized network with some float weights.
        site_done: Told of each site that was tried, and whether the step was kept.

    Returns:
        New float weights.
    """
    best, lowest = dict(weights), error_of(weights)
    for site in sites_of(graph):
        constant = _constant(graph, samples, best, site)
        if constant is None:
            continue
        kept = False
        for tried in [shifted(site, best, share * constant) for share in _SHARES]:
            error = error_of(tried)
            if error < lowest:
                best, lowest, kept = tried, error, True
        site_done(site, kept)
    return best


def _constant(
    graph: TrainableGraph, samples: Sequence[Mapping[str, Tensor]], weights: Mapping[str, Tensor], site: Site
) -> Tensor | None:
    """What could be moved, [channels]; None where it is not worth the trial."""
    looks = []
    with torch.no_grad():
        for feeds in samples:
            value = graph.run(feeds, weights, None, [site.value])[site.value]
            if value.dim() < 2 or value.shape[1] != len(weights[site.producer.bias or ""]):
                return None
            flat = value.transpose(0, 1).flatten(1)
            step = max(1, flat.shape[1] * len(samples) // _LOOKED_AT)
            looks.append(flat[:, ::step])
    data = torch.cat(looks, 1)
    constant = data.quantile(_LOW_END, dim=1) if site.rectified else data.mean(1)
    constant = torch.where(constant.abs() > 1e-3 * data.abs().amax(1), constant, torch.zeros_like(constant))
    before, after = (data**2).sum(), ((data - constant[:, None]) ** 2).sum()
    return constant if float(after) < _WORTH * float(before) else None

"""Pairs the layers of two networks by who reads whom: what is left when names say nothing.

A walk along the second network keeps, for every value, the value of the first that it stands for. A layer of the second
is paired with the layer of the first that has its type and reads the values that its inputs stand for. In between the
first may have layers that the second has not, because they were folded into weights (BatchNorm), fused into a quantized
operator (ReLU, Clip) or dropped (Dropout, Reshape); the walk steps over them and remembers which. Where several layers
fit (branches that read one value), their weights decide, then names, then order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.pair import canonical_type, plain_name
from gfpq_inspect.models.tensors import array_of

Array = NDArray[Any]

AFFINE = frozenset({"BatchNorm", "Scale", "Bias", "Mul", "Add", "Sub", "Div", "Eltwise"})
ACTIVATIONS = frozenset({"ReLU", "Clip", "ReLU6"})
MOVES = frozenset({"Identity", "Dropout", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Pad", "Split"})
WEIGHTED = frozenset({"Convolution", "Deconvolution", "InnerProduct"})

_LONGEST_PATH = 6
_SAME_WEIGHTS = 0.9
"""Correlation of two weights from which on they count as the same one; 4-bit codes still reach 0.98."""


@dataclass
class GraphPairs:
    """What the walk found.

    Attributes:
        partners: Key in the second model to the layer of the first.
        reasons: Key in the second model to how it was found, where not through the graph.
        absorbed: Key in the second model to the layers of the first, in order, that its output stands behind beyond its
            partner.
        extended: Key in the second model to the later layers of it that belong to the same partner.
    """

    partners: dict[str, Layer] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    absorbed: dict[str, tuple[Layer, ...]] = field(default_factory=dict)
    extended: dict[str, list[Layer]] = field(default_factory=dict)


def pair_through_graph(first: Model, second: Model, inputs: Mapping[str, str]) -> GraphPairs:
    """Walk along the second model.

    Args:
        first: The reference.
        second: The model whose layers get partners.
        inputs: Input name of the second to that of the first.
    """
    walk = _Walk(first, second)
    for entry in second.inputs:
        source = next(own for own in first.inputs if own.name == inputs[entry.name])
        walk.stands_for[entry.value] = source.value
    walk.run()
    return walk.found


class _Walk:
    def __init__(self, first: Model, second: Model) -> None:
        self.found = GraphPairs()
        self.stands_for: dict[str, str] = {}
        self._first, self._second = first, second
        self._tensors = tuple(
            {tensor.name: tensor for tensor in model.graph.graph.initializer} for model in (first, second)
        )
        self._constants = {
            value
            for model in (first, second)
            for layer in model.layers
            if _is_constant(layer)
            for value in layer.outputs
        }
        self._readers: dict[str, list[Layer]] = {}
        for layer in first.layers:
            for value in dict.fromkeys(self._data(layer)):
                self._readers.setdefault(value, []).append(layer)
        self._order = {layer.key: index for index, layer in enumerate(first.layers)}
        self._taken: set[str] = set()
        self._maker = {value: layer for layer in second.layers for value in layer.outputs}
        self._arrays: dict[tuple[int, str], Array] = {}

    def _data(self, layer: Layer) -> tuple[str, ...]:
        """What a layer reads, computed constants left out."""
        return tuple(value for value in layer.inputs if value not in self._constants)

    def run(self) -> None:
        """Look at every layer of the second model, then at the outputs."""
        for layer in self._second.layers:
            if layer.kind is LayerKind.INPUT or _is_constant(layer):
                continue
            if layer.kind in (LayerKind.QUANT, LayerKind.IDENTITY):
                self._hand_on(layer)
                continue
            match = self._match(layer)
            if match is not None:
                self._join(layer, match)
            else:
                self._hand_on(layer)
        self._outputs()

    def _hand_on(self, layer: Layer) -> None:
        """A layer without a partner: where it reads one value, its output stands for the same."""
        data = self._data(layer)
        if len(data) == 1 and data[0] in self.stands_for:
            for value in layer.outputs:
                self.stands_for[value] = self.stands_for[data[0]]
            owner = self._owner(data[0])
            if owner is not None and layer.kind is LayerKind.COMPUTE and canonical_type(layer) in AFFINE:
                self.found.extended.setdefault(owner.key, []).append(layer)

    def _owner(self, value: str) -> Layer | None:
        """The paired layer of the second model whose result a value still is."""
        layer = self._maker.get(value)
        while layer is not None and layer.key not in self.found.partners:
            data = self._data(layer)
            layer = self._maker.get(data[0]) if len(data) == 1 else None
        return layer

    def reach(self, value: str) -> Iterator[tuple[str, tuple[Layer, ...]]]:
        """The value of the first model and those that it becomes through layers that the second may lack."""
        waiting: list[tuple[str, tuple[Layer, ...]]] = [(value, ())]
        while waiting:
            current, path = waiting.pop(0)
            yield current, path
            if len(path) < _LONGEST_PATH:
                waiting += [
                    (layer.outputs[0], (*path, layer))
                    for layer in self._readers.get(current, ())
                    if layer.key not in self._taken and len(set(self._data(layer))) == 1 and _may_vanish(layer)
                ]

    def _match(self, layer: Layer) -> tuple[Layer, tuple[tuple[Layer, ...], ...]] | None:
        known = [value for value in self._data(layer) if value in self.stands_for]
        if not known or len(known) < len(self._data(layer)):
            return self._by_anchor(layer)
        reached = [dict(_shortest(self.reach(self.stands_for[value]))) for value in known]
        candidates = []
        for value in reached[0]:
            for other in self._readers.get(value, ()):
                if other.key in self._taken or canonical_type(other) != canonical_type(layer):
                    continue
                paths = _assign(self._data(other), reached)
                if paths is None or not self._shapes_agree(other, layer):
                    continue
                candidates.append((other, paths))
        if not candidates:
            return self._by_anchor(layer)
        unique = {other.key: (other, paths) for other, paths in candidates}
        return min(unique.values(), key=lambda entry: self._rank(entry[0], entry[1], layer, len(unique) > 1))

    def _rank(self, other: Layer, paths: tuple[tuple[Layer, ...], ...], layer: Layer, several: bool) -> tuple[Any, ...]:
        likeness = self._likeness(other, layer) if several and canonical_type(layer) in WEIGHTED else 0.0
        steps = sum(len(path) for path in paths)
        same_name = plain_name(other.name) == plain_name(layer.name)
        return (likeness < _SAME_WEIGHTS, steps, not same_name, -likeness, self._order[other.key])

    def _by_anchor(self, layer: Layer) -> tuple[Layer, tuple[tuple[Layer, ...], ...]] | None:
        """Where the way is lost: the layer whose weights are the same, else the one whose output has the same name."""
        kind = canonical_type(layer)
        free = [other for other in self._first.layers if other.key not in self._taken and canonical_type(other) == kind]
        if kind in WEIGHTED:
            alike = [(self._likeness(other, layer), -self._order[other.key]) for other in free]
            if alike and max(alike)[0] >= _SAME_WEIGHTS:
                place = alike.index(max(alike))
                self.found.reasons[layer.key] = "by its weights"
                return free[place], ()
        for other in free:
            if layer.outputs and other.outputs[:1] == layer.outputs[:1] and self._shapes_agree(other, layer):
                self.found.reasons[layer.key] = "by the name of its output"
                return other, ()
        return None

    def _join(self, layer: Layer, match: tuple[Layer, tuple[tuple[Layer, ...], ...]]) -> None:
        other, paths = match
        self._taken.add(other.key)
        self.found.partners[layer.key] = other
        for value, source in zip(layer.outputs, other.outputs, strict=False):
            self.stands_for[value] = source
        for value, path in zip([v for v in self._data(layer) if v in self.stands_for], paths, strict=False):
            self._absorb(value, path)

    def _absorb(self, value: str, path: tuple[Layer, ...]) -> None:
        owner = self._owner(value)
        if owner is None or not path:
            return
        if len(path) > len(self.found.absorbed.get(owner.key, ())):
            self.found.absorbed[owner.key] = path
        self._taken.update(layer.key for layer in path)
        last = path[-1].outputs[0]
        for name, source in list(self.stands_for.items()):
            if source == self.found.partners[owner.key].outputs[0]:
                self.stands_for[name] = last

    def _outputs(self) -> None:
        """Layers of the first between the last partner and a network output were absorbed too."""
        for place, value in enumerate(self._second.outputs):
            target = value if value in self._first.outputs else None
            if target is None and place < len(self._first.outputs):
                target = self._first.outputs[place]
            if value in self.stands_for and target is not None:
                for reached, path in self.reach(self.stands_for[value]):
                    if reached == target:
                        self._absorb(value, path)
                        break

    def _weight(self, side: int, layer: Layer) -> Array | None:
        names = [name for name in layer.weights if len(self._tensors[side][name].dims) > 1]
        if not names:
            return None
        key = (side, names[0])
        if key not in self._arrays:
            self._arrays[key] = array_of(self._tensors[side][names[0]]).astype(np.float32)
        return self._arrays[key]

    def _shapes_agree(self, other: Layer, layer: Layer) -> bool:
        if canonical_type(layer) not in WEIGHTED:
            return True
        one, two = self._weight(0, other), self._weight(1, layer)
        return one is None or two is None or one.size == two.size

    def _likeness(self, other: Layer, layer: Layer) -> float:
        """Mean correlation of the filters, so that a factor a filter (a folded BatchNorm) makes no difference."""
        one, two = self._weight(0, other), self._weight(1, layer)
        if one is None or two is None or one.size != two.size:
            return 0.0
        if one.shape != two.shape:
            options = [one.T] if one.ndim == 2 and one.T.shape == two.shape else [one.reshape(two.shape)]
        else:
            options = [one, one.T] if one.ndim == 2 and one.shape[0] == one.shape[1] else [one]
        axis = 0 if two.ndim != 2 else int(np.argmin(two.shape))
        return max(_filter_correlation(np.moveaxis(x, axis, 0), np.moveaxis(two, axis, 0)) for x in options)


def _filter_correlation(one: Array, two: Array) -> float:
    rows, others = one.reshape(len(one), -1), two.reshape(len(two), -1)
    products = np.einsum("fk,fk->f", rows, others)
    lengths = np.sqrt(np.einsum("fk,fk->f", rows, rows) * np.einsum("fk,fk->f", others, others))
    used = lengths > 0
    return float((np.abs(products[used]) / lengths[used]).mean()) if used.any() else 0.0


def _is_constant(layer: Layer) -> bool:
    """Whether no sample reaches it: weights that are dequantized in the graph are constants too."""
    return layer.kind is LayerKind.CONSTANT or (layer.kind is not LayerKind.INPUT and not layer.inputs)


def _may_vanish(layer: Layer) -> bool:
    kind = canonical_type(layer)
    return kind in AFFINE | ACTIVATIONS | MOVES or layer.kind is LayerKind.IDENTITY


def _shortest(reached: Iterator[tuple[str, tuple[Layer, ...]]]) -> Iterator[tuple[str, tuple[Layer, ...]]]:
    seen: set[str] = set()
    for value, path in reached:
        if value not in seen:
            seen.add(value)
            yield value, path


def _assign(
    inputs: tuple[str, ...], reached: list[dict[str, tuple[Layer, ...]]]
) -> tuple[tuple[Layer, ...], ...] | None:
    """A path for every input of the second model's layer to one of the first's inputs; in order, else crosswise."""
    if len(inputs) != len(reached):
        return None
    orders = [list(range(len(inputs)))]
    if len(inputs) == 2:
        orders.append([1, 0])
    for order in orders:
        if all(inputs[place] in paths for place, paths in zip(order, reached, strict=True)):
            return tuple(paths[inputs[place]] for place, paths in zip(order, reached, strict=True))
    return None

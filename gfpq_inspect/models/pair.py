"""Which layer of one model is which layer of the other, and why some have no partner.

Names decide first: equal ones, then ones that differ only by NNIE's suffixes or by what tools do to special characters,
then names of outputs. What is left between two paired neighbours is paired by place where the layer types agree, and
where names share nothing, by graph order. Every pairing that does not rest on equal names says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.layer_identity import (
    canonical_type,
    known_reason,
    may_pair,
    name_differs,
    output_agrees,
    plain_name,
    plain_outputs,
    type_differs,
)
from gfpq_inspect.models.model import Layer, LayerKind, Model, ModelInput

__all__ = [
    "Pair",
    "Pairing",
    "Unmatched",
    "canonical_type",
    "finish_pairing",
    "pair_inputs",
    "pair_layers",
    "plain_name",
]

_AFFINE_TYPES = frozenset({"BatchNorm", "Scale", "Bias"})
_WEIGHTED_TYPES = frozenset({"Convolution", "Deconvolution", "InnerProduct"})


@dataclass(frozen=True)
class Pair:
    """Two layers that are the same one.

    Attributes:
        first: Key in the first model.
        second: Key in the second model.
        reason: How they were paired when not by equal names, one clause; else empty.
    """

    first: str
    second: str
    reason: str = ""


@dataclass(frozen=True)
class Unmatched:
    """A layer without a partner.

    Attributes:
        side: 'first' or 'second': the model that has it.
        layer: Its key.
        reason: One clause.
        understood: Whether the reason explains it; if not, it counts as a difference between the networks.
        folded_into: Key, in the same model, of the layer whose output is compared instead, or None.
    """

    side: str
    layer: str
    reason: str
    understood: bool
    folded_into: str | None = None


@dataclass(frozen=True)
class Pairing:
    """The whole pairing, in order of execution.

    Attributes:
        pairs: What belongs together.
        unmatched: What has no partner, first model's layers first.
        notes: What a reader should know of how it was done.
    """

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...]
    notes: tuple[str, ...] = ()


def pair_inputs(first: Sequence[ModelInput], second: Sequence[ModelInput], file: str | None = None) -> dict[str, str]:
    """Which input of the first model feeds each input of the second.

    Args:
        first: Inputs of the first model.
        second: Inputs of the second.
        file: The second model, for the message.

    Returns:
        Input name of the second model to that of the first: by name, else by plain name, else by position.

    Raises:
        ModelError: The second model has more inputs than the first, so that some cannot be fed.
    """
    found: dict[str, str] = {}
    free = [entry.name for entry in first]
    rules: tuple[Callable[[str, str], bool], ...] = (
        lambda own, other: own == other,
        lambda own, other: plain_name(own) == plain_name(other),
        lambda _own, _other: True,
    )
    for rule in rules:
        for entry in second:
            if entry.name not in found:
                partner = next((name for name in free if rule(entry.name, name)), None)
                if partner is not None:
                    found[entry.name] = partner
                    free.remove(partner)
    missing = [entry.name for entry in second if entry.name not in found]
    if missing:
        what = f"its input '{missing[0]}' has no counterpart: the first network has {len(first)}, it has {len(second)}"
        raise ModelError(Problem(what, file=file, remedy="compare networks that take the same inputs"))
    return found


def pair_layers(first: Model, second: Model) -> Pairing:
    """Pair the layers of two models.

    Args:
        first: The reference.
        second: The model that is compared with it.
    """
    pairer = _Pairer(first, second)
    pairer.by_names()
    pairer.by_place()
    pairer.refold()
    return pairer.finished()


def finish_pairing(
    first: Model,
    second: Model,
    joined: Mapping[str, tuple[str, str]],
    folded: Mapping[str, str],
    explained: Mapping[tuple[int, str], str],
    *,
    notes: Sequence[str] = (),
) -> Pairing:
    """Complete a pairing that was found in another way than by names; names decide on what it left.

    Args:
        first: The reference.
        second: The model that is compared with it.
        joined: Key in the first model to the key in the second, and the reason.
        folded: Key in the first model to that of the layer at which its effect is compared.
        explained: (0 for the first model or 1 for the second, key) to why a layer has no partner, where that is known.
        notes: See `Pairing`.
    """
    pairer = _Pairer(first, second)
    pairer.take(joined, folded, explained, notes)
    pairer.by_names()
    return pairer.finished()


class _Pairer:
    def __init__(self, first: Model, second: Model) -> None:
        self._models = (first, second)
        self._layers = (first.layers, second.layers)
        self._by_key = tuple({layer.key: layer for layer in layers} for layers in self._layers)
        self._partner: tuple[dict[str, tuple[str, str]], dict[str, tuple[str, str]]] = ({}, {})
        self._folded: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self._notes: list[str] = []
        self._explained: dict[tuple[int, str], str] = {}

    def take(
        self,
        joined: Mapping[str, tuple[str, str]],
        folded: Mapping[str, str],
        explained: Mapping[tuple[int, str], str],
        notes: Sequence[str],
    ) -> None:
        """Start from what is known; see `finish_pairing`."""
        for key, (other, reason) in joined.items():
            self._join(self._by_key[0][key], self._by_key[1][other], reason)
        self._folded[0].update(folded)
        self._explained.update(explained)
        self._notes.extend(notes)

    def _free(self, side: int) -> list[Layer]:
        return [layer for layer in self._layers[side] if layer.key not in self._partner[side]]

    def _open(self, side: int) -> list[Layer]:
        """Layers without a partner that names may still give one."""
        known = self._explained
        return [
            layer
            for layer in self._free(side)
            if (side, layer.key) not in known and layer.key not in self._folded[side]
        ]

    def _join(self, one: Layer, other: Layer, reason: str) -> None:
        self._partner[0][one.key] = (other.key, reason)
        self._partner[1][other.key] = (one.key, reason)

    def by_names(self) -> None:
        """Pair by name, strictest rule first; the i-th of one name with the i-th of the other."""
        rules: tuple[tuple[Callable[[Layer], object], Callable[[Layer, Layer], str]], ...] = (
            (lambda layer: (layer.name, canonical_type(layer)), lambda _one, _other: ""),
            (lambda layer: layer.name, type_differs),
            (lambda layer: (plain_name(layer.name), canonical_type(layer)), name_differs),
            (lambda layer: plain_name(layer.name), name_differs),
            (lambda layer: (layer.blob_names[:1], canonical_type(layer)), output_agrees),
            (lambda layer: (plain_outputs(layer), canonical_type(layer)), output_agrees),
        )
        for key, reason in rules:
            waiting: dict[object, list[Layer]] = {}
            for layer in self._open(1):
                waiting.setdefault(key(layer), []).append(layer)
            for layer in self._open(0):
                candidates = waiting.get(key(layer), [])
                other = next((entry for entry in candidates if may_pair(layer, entry)), None)
                if other is not None:
                    candidates.remove(other)
                    self._join(layer, other, reason(layer, other))

    def by_place(self) -> None:
        """Pair what is left between two paired neighbours, or in the whole network, where the types agree."""
        named = sum(layer.kind is LayerKind.COMPUTE for layer in self._layers[0] if layer.key in self._partner[0])
        places = ([-1], [-1])
        order = {layer.key: index for index, layer in enumerate(self._layers[1])}
        last = -1
        for index, layer in enumerate(self._layers[0]):
            if layer.key in self._partner[0]:
                other = order[self._partner[0][layer.key][0]]
                if other > last:
                    places[0].append(index)
                    places[1].append(other)
                    last = other
        places[0].append(len(self._layers[0]))
        places[1].append(len(self._layers[1]))
        joined = 0
        for gap in range(len(places[0]) - 1):
            left = self._gap(0, places[0][gap], places[0][gap + 1])
            right = self._gap(1, places[1][gap], places[1][gap + 1])
            if left and [canonical_type(layer) for layer in left] == [canonical_type(layer) for layer in right]:
                for one, match in zip(left, right, strict=True):
                    self._join(one, match, f"by graph order and type: it is called '{match.name}' in the second model")
                joined += len(left)
        if joined and not named:
            self._notes.append("The layers of the two models share no names; they were paired by graph order and type.")
        elif joined:
            layers = "layer with another name was" if joined == 1 else "layers with other names were"
            place = "its place" if joined == 1 else "their places"
            self._notes.append(f"{joined} {layers} paired by {place} between named neighbours.")

    def _gap(self, side: int, start: int, stop: int) -> list[Layer]:
        return [
            layer
            for layer in self._layers[side][start + 1 : stop]
            if layer.key not in self._partner[side] and layer.kind in (LayerKind.COMPUTE, LayerKind.INPUT)
        ]

    def refold(self) -> None:
        """Where one model has BatchNorm, Scale or Bias folded away, compare its convolution with the last of those."""
        for layer in self._layers[0]:
            if layer.key not in self._partner[0] or canonical_type(layer) not in _WEIGHTED_TYPES:
                continue
            other = self._by_key[1][self._partner[0][layer.key][0]]
            chains = (self._affine_chain(0, layer), self._affine_chain(1, other))
            for side in (0, 1):
                if chains[side] and not chains[1 - side]:
                    own, opposite = (layer, other) if side == 0 else (other, layer)
                    self._compare_last(side, own, chains[side], opposite)

    def _affine_chain(self, side: int, layer: Layer) -> list[Layer]:
        """Layers without a partner that only scale and shift the layer's output, one after another."""
        chain: list[Layer] = []
        current = layer
        while True:
            readers = [entry for entry in self._layers[side] if current.outputs[0] in entry.inputs]
            if len(readers) != 1 or canonical_type(readers[0]) not in _AFFINE_TYPES:
                return chain
            if len(readers[0].inputs) != 1 or readers[0].key in self._partner[side]:
                return chain
            current = readers[0]
            chain.append(current)

    def _compare_last(self, side: int, layer: Layer, chain: list[Layer], opposite: Layer) -> None:
        del self._partner[side][layer.key]
        last = chain[-1]
        names = " and ".join(dict.fromkeys(entry.type for entry in chain))
        where = ("second", "first")[side]
        reason = f"the {where} model's '{opposite.name}' has {names} folded in"
        self._partner[side][last.key] = (opposite.key, reason)
        self._partner[1 - side][opposite.key] = (last.key, reason)
        for entry in (layer, *chain[:-1]):
            self._folded[side][entry.key] = last.key

    def finished(self) -> Pairing:
        """The pairs and what is left."""
        pairs = tuple(
            Pair(layer.key, *self._partner[0][layer.key]) for layer in self._layers[0] if layer.key in self._partner[0]
        )
        unmatched = [self._explain(side, layer) for side in (0, 1) for layer in self._free(side)]
        return Pairing(pairs, tuple(unmatched), tuple(self._notes))

    def _explain(self, side: int, layer: Layer) -> Unmatched:
        name = ("first", "second")[side]
        if layer.key in self._folded[side]:
            last = self._folded[side][layer.key]
            reason = f"folded in the other model; its effect is compared at '{self._by_key[side][last].name}'"
            return Unmatched(name, layer.key, reason, understood=True, folded_into=last)
        known = self._explained.get((side, layer.key)) or known_reason(layer)
        if known is not None:
            return Unmatched(name, layer.key, known, understood=True)
        if canonical_type(layer) in _AFFINE_TYPES and self._follows_paired(side, layer):
            return Unmatched(name, layer.key, f"{layer.type} is folded in the other model", understood=True)
        here = sum(entry.name == layer.name for entry in self._layers[side])
        there = sum(entry.name == layer.name for entry in self._layers[1 - side])
        if there and here != there:
            reason = f"the name occurs {here} times here and {there} times in the other model"
        else:
            reason = "the other model has no layer of this name, nor one of this type at this place"
        return Unmatched(name, layer.key, reason, understood=False)

    def _follows_paired(self, side: int, layer: Layer) -> bool:
        """Whether it sits, over layers of its own kind, on a weighted layer that has a partner."""
        producer = {value: entry for entry in self._layers[side] for value in entry.outputs}
        current = layer
        while current.inputs:
            previous = producer.get(current.inputs[0])
            if previous is None:
                return False
            if canonical_type(previous) in _WEIGHTED_TYPES:
                return previous.key in self._partner[side] or previous.key in self._folded[side]
            if canonical_type(previous) not in _AFFINE_TYPES and previous.kind not in (
                LayerKind.IDENTITY,
                LayerKind.QUANT,
            ):
                return False
            current = previous
        return False

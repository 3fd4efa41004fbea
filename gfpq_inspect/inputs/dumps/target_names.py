"""Names under which a network's tensors may stand in a dump."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from gfpq_inspect.inputs.dumps.names import FileName, Role
from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.pair import canonical_type, plain_name

_MERGED_TYPES = frozenset(
    {"BatchNorm", "BN", "Scale", "Bias", "ReLU", "ReLU6", "PReLU", "ELU", "Clip", "Dropout", "Sigmoid", "TanH", "Quant"}
)
"""What compilers merge into the layer before it."""

_FOLDED = re.compile(r"(_conv)?_fold$")
_SHORTEST_CUT = 30
"""nnie_mapper cuts names off at 32 characters."""


@dataclass(frozen=True)
class Named:
    """Where a name leads.

    Attributes:
        places: (layer, output or input), the likeliest first.
        how: In which way the name agrees, one clause; empty where it is equal but for special characters.
        rank: How strict the rule was, 0 for equal names.
    """

    places: tuple[tuple[Layer, int], ...]
    how: str
    rank: int


class TargetNames:
    """All names of a network.

    Args:
        model: The network.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._makers = {value: layer for layer in model.layers for value in layer.outputs}
        rules: tuple[tuple[Callable[[Layer], Iterator[tuple[str, int, int]]], Callable[[str], str], str], ...] = (
            (_layer_names, str, ""),
            (_blob_names, str, "by the name of its blob"),
            (_layer_names, plain_name, ""),
            (_blob_names, plain_name, "by the name of its blob"),
            (_layer_names, _folded_name, ""),
            (_blob_names, _folded_name, "by the name of its blob"),
        )
        self._rules = []
        for names, change, how in rules:
            table: dict[tuple[str, int], list[tuple[Layer, int]]] = {}
            for layer in model.layers:
                for name, said, port in names(layer):
                    table.setdefault((change(name), said), []).append((layer, port))
            self._rules.append((table, change, how))
        self._plain = {plain_name(layer.name): layer for layer in model.layers}

    def maker(self, value: str) -> Layer | None:
        """The layer that makes a value."""
        return self._makers.get(value)

    def find(self, said: FileName) -> Named | None:
        """Where a file's name leads, by the strictest rule that finds something."""
        is_input = said.role is Role.INPUT
        for rank, (table, change, how) in enumerate(self._rules):
            port = 0 if is_input else said.port
            found = table.get((change(said.layer), port), [])
            places = self._inputs(found, said.port) if is_input else _last_first(found, how)
            if places:
                return Named(tuple(places), how, rank)
        return self._cut_off(said)

    def _inputs(self, found: list[tuple[Layer, int]], port: int) -> list[tuple[Layer, int]]:
        return [(layer, port) for layer, _ in found if port < len(layer.inputs)]

    def _cut_off(self, said: FileName) -> Named | None:
        """Names that a tool cut off."""
        start = plain_name(said.layer)
        if not _SHORTEST_CUT <= len(start) <= 32:
            return None
        found = [layer for plain, layer in self._plain.items() if plain.startswith(start)]
        if len(found) != 1:
            return None
        ports = found[0].inputs if said.role is Role.INPUT else found[0].outputs
        if said.port >= len(ports):
            return None
        return Named(((found[0], said.port),), f"its name cut off at {len(start)} characters", 9)

    def nearest(self, name: str) -> str:
        """The layer whose name is most like this one, or empty."""
        known = {plain_name(one).lower(): layer.name for layer in self._model.layers for one in (layer.name,)}
        close = difflib.get_close_matches(plain_name(name).lower(), list(known), n=1, cutoff=0.5)
        return known[close[0]] if close else ""


def _layer_names(layer: Layer) -> Iterator[tuple[str, int, int]]:
    """Names of a layer and of each of its outputs: the name, the number that a file gives, and the output's own."""
    for name in dict.fromkeys((layer.name, layer.key)):
        for port in range(len(layer.outputs)):
            yield name, port, port
    for port, (shown, value) in enumerate(zip(layer.output_names, layer.outputs, strict=True)):
        for name in {shown, value} - {layer.name, layer.key}:
            yield from _at_port(name, port)


def _blob_names(layer: Layer) -> Iterator[tuple[str, int, int]]:
    for port, name in enumerate(layer.blob_names):
        yield from _at_port(name, port)


def _at_port(name: str, port: int) -> Iterator[tuple[str, int, int]]:
    """A tensor's own name needs no number; some tools write one nevertheless."""
    yield name, 0, port
    if port:
        yield name, port, port


def _folded_name(name: str) -> str:
    return _FOLDED.sub("", plain_name(name)).lower()


def _last_first(found: list[tuple[Layer, int]], how: str) -> list[tuple[Layer, int]]:
    """Of the layers that write a blob, the last one's values are left in it."""
    unique = list({(layer.key, port): (layer, port) for layer, port in found}.values())
    by_port = [(layer, port) for layer, port in unique if port < len(layer.outputs)]
    return by_port[::-1] if how else by_port


def followers(model: Model, layer: Layer, port: int, dumped: Collection[str]) -> tuple[list[Layer], list[Layer]]:
    """Layers that change a tensor after it was made, up to one that the dump holds by its own name.

    Args:
        model: The network.
        layer: The layer that makes the tensor.
        port: Which of its outputs.
        dumped: Plain names that the dump holds.

    Returns:
        Those that work in place, in order; then those that compilers merge (BatchNorm, Scale, activations), where the
        tensor has no other reader.
    """
    if layer.kind is LayerKind.INPUT:
        return [], []
    in_place: list[Layer] = []
    merged: list[Layer] = []
    value, blob = layer.outputs[port], layer.blob_names[port] if port < len(layer.blob_names) else ""
    while True:
        readers = [entry for entry in model.layers if value in entry.inputs and entry.outputs]
        over = [entry for entry in readers if entry.inputs[0] == value and entry.blob_names[:1] == (blob,)]
        named = {plain_name(entry.name) for entry in over}
        if (
            model.origin.framework == "caffe"
            and over
            and not merged
            and not named & set(dumped) - {plain_name(layer.name)}
        ):
            in_place.append(over[0])
            value = over[0].outputs[0]
            continue
        if len(readers) != 1 or canonical_type(readers[0]) not in _MERGED_TYPES or len(readers[0].inputs) != 1:
            return in_place, merged
        if plain_name(readers[0].name) in dumped or readers[0].key in {entry.key for entry in (*in_place, *merged)}:
            return in_place, merged
        merged.append(readers[0])
        value = readers[0].outputs[0]
        blob = readers[0].blob_names[0]

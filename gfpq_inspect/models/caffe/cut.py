"""Cutting a definition down to what can be computed here: inputs where data came from, no losses, no foreign code.

* Data layers become inputs; so do the tops of Proposal, Custom and Python layers, unless an installed package
  translates them.
* Losses, accuracies, Silence and output layers go, with what reads them, and with what served only them: layers all of
  whose tops nobody reads any more and that no learned layer stands before (the labels' side; predictions stay).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gfpq_inspect.models.caffe.connect import ConnectedLayer, connect
from gfpq_inspect.models.caffe.definition import LayerDefinition
from gfpq_inspect.models.caffe.problems import Problems

DATA_TYPES = frozenset({"Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "AnnotatedData", "VideoData"})
FOREIGN_TYPES = frozenset({"Proposal", "Custom", "Python"})
_NEVER_COMPUTED = frozenset({"Silence", "HDF5Output", "DetectionEvaluate"})
_LEARNED_TYPES = frozenset(
    {"Convolution", "Deconvolution", "InnerProduct", "Embed", "LSTM", "RNN", "BatchNorm", "Scale", "PReLU", "BN"}
)


class KnownTypes(Protocol):
    """What reading has to know about translating."""

    def is_known(self, layer_type: str) -> bool:
        """Return whether layers of this type can be translated."""
        ...

    def has_plugin(self, layer_type: str) -> bool:
        """Return whether an installed package translates them."""
        ...


@dataclass
class Cut:
    """What is left.

    Attributes:
        layers: Definitions that stay, in order; of input layers only the tops that somebody needs.
        kept: Key of each as it was before the cut, and which of its tops exist (see `connect`).
        input_positions: Positions in `layers` of those whose tops are network inputs.
        notes: What was cut, each one clause.
    """

    layers: list[LayerDefinition] = field(default_factory=list)
    kept: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    input_positions: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def is_measure(layer_type: str) -> bool:
    """Return whether layers of this type only measure (losses, accuracies)."""
    return layer_type.endswith(("Loss", "Accuracy"))


def cut_to_inference(
    definitions: Sequence[LayerDefinition],
    path: str,
    problems: Problems,
    types: KnownTypes,
    *,
    keep_losses: bool,
) -> Cut:
    """Decide which layers stay and which become inputs.

    Args:
        definitions: Layers that take part, in order.
        path: File, for messages.
        problems: Receives the faults of connecting all of them, as Caffe would refuse the whole net.
        types: Which layer types can be translated.
        keep_losses: Keep losses and accuracies, and with them the labels as inputs.
    """
    connected = connect(definitions, path, problems).layers
    graph = _Graph(connected, types)
    dropped = {
        index
        for index, layer in enumerate(definitions)
        if layer.type in _NEVER_COMPUTED or (is_measure(layer.type) and not keep_losses)
    }
    inputs = {index for index, layer in enumerate(definitions) if _is_input(layer, types)}
    dropped |= {index for index in inputs if definitions[index].bottoms and not graph.is_read(index)}
    graph.drop_readers(dropped, inputs)
    roots = set(dropped)
    measures = {index for index in roots if is_measure(definitions[index].type)}
    dropped |= graph.servants(measures, inputs)
    result = Cut()
    for index, layer in enumerate(connected):
        if index in dropped:
            continue
        kept = graph.needed_tops(index, dropped) if index in inputs else tuple(range(len(layer.tops)))
        if index in inputs:
            if not kept:
                continue
            result.input_positions.add(len(result.layers))
        result.layers.append(layer.definition)
        result.kept.append((layer.key, kept))
    result.notes = _notes([definitions[index] for index in sorted(roots)], len(dropped - roots))
    return result


def _is_input(layer: LayerDefinition, types: KnownTypes) -> bool:
    if layer.type == "Input":
        return True
    if types.has_plugin(layer.type):
        return False
    return layer.type in FOREIGN_TYPES or _is_data(layer, types)


def _is_data(layer: LayerDefinition, types: KnownTypes) -> bool:
    """Return whether a layer reads data from outside; forks have data layers of their own (`DenseImageData`)."""
    if layer.type in DATA_TYPES:
        return True
    return not layer.bottoms and layer.type.endswith("Data") and not types.is_known(layer.type)


def _notes(dropped: list[LayerDefinition], servants: int) -> list[str]:
    if not dropped:
        return []
    names = ", ".join(f"{layer.name} ({layer.type})" for layer in dropped[:8])
    more = f" and {len(dropped) - 8} more" if len(dropped) > 8 else ""
    also = f", and {servants} layers that served only them" if servants else ""
    return [f"left out: {names}{more}{also}"]


class _Graph:
    """Who reads what, by position of the layer."""

    def __init__(self, layers: Sequence[ConnectedLayer], types: KnownTypes) -> None:
        self._layers = layers
        self._writer = {value: index for index, layer in enumerate(layers) for value in layer.tops}
        self._readers: dict[str, set[int]] = {}
        for index, layer in enumerate(layers):
            for value in layer.bottoms:
                self._readers.setdefault(value, set()).add(index)
        self._learned: list[bool] = []
        for layer in layers:
            before = [self._learned[self._writer[value]] for value in layer.bottoms if self._is_above(value)]
            kind = layer.definition.type
            # Of a type that nobody knows it must be assumed; it is refused later, and must not vanish before.
            known = types.is_known(kind) or kind == "Input" or _is_data(layer.definition, types)
            learned = kind in _LEARNED_TYPES or not known
            self._learned.append(learned or any(before))

    def _is_above(self, value: str) -> bool:
        return self._writer.get(value, len(self._learned)) < len(self._learned)

    def is_read(self, index: int) -> bool:
        """Return whether somebody reads a top of this layer."""
        return any(self._readers.get(value) for value in self._layers[index].tops)

    def drop_readers(self, dropped: set[int], inputs: set[int]) -> None:
        """Add to `dropped` the layers that read what a dropped one wrote, such as the scaling of a loss."""
        for index, layer in enumerate(self._layers):
            if index not in inputs and any(self._writer.get(value) in dropped for value in layer.bottoms):
                dropped.add(index)

    def servants(self, measures: set[int], inputs: set[int]) -> set[int]:
        """Return the layers that served only measures, found from the end to the beginning.

        What only Silence reads is not among them: silencing says that nobody wants an output, not that it is a label.
        """
        found: set[int] = set()
        for index in range(len(self._layers) - 1, -1, -1):
            tops = self._layers[index].tops
            if index in measures or index in inputs or not tops or self._learned[index]:
                continue
            readers = [self._readers.get(value, set()) for value in tops]
            if all(top and top <= measures | found for top in readers):
                found.add(index)
        return found

    def needed_tops(self, index: int, dropped: set[int]) -> tuple[int, ...]:
        """Return which tops of an input layer are needed: those read by a layer that stays, or declared for nobody."""
        layer = self._layers[index].definition
        needed = []
        for top, value in enumerate(self._layers[index].tops):
            readers = self._readers.get(value, set())
            if readers - dropped or (not readers and layer.type == "Input"):
                needed.append(top)
        return tuple(needed)

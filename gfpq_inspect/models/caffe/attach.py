"""Giving stored weights to layers, by name, with Caffe's rules for duplicates and shared parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import Problem
from gfpq_inspect.models.caffe.connect import ConnectedLayer
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.weights import StoredBlob, StoredWeights


@dataclass
class AttachedWeights:
    """Weights by layer position.

    Attributes:
        blobs: Arrays of each layer, in order; a layer without an entry has none.
        stored: Positions of layers that the file names, with or without weights.
        ignored: Names of stored layers with weights that the net lacks.
        notes: What to tell the reader.
    """

    blobs: dict[int, tuple[NDArray[np.float32], ...]] = field(default_factory=dict)
    stored: set[int] = field(default_factory=set)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def attach_weights(
    layers: Sequence[ConnectedLayer], weights: StoredWeights, path: str, problems: Problems
) -> AttachedWeights:
    """Match stored layers to layers by name.

    A stored layer always goes to the *first* layer of its name, and a later one of that name overwrites it. Blobs that
    layers share by a `param` name are one array: the copy stored last wins for all.

    Args:
        layers: The net's layers, in order.
        weights: What the file holds.
        path: File of the structure, for messages.
        problems: Receives unusable blobs, and the case that nothing matches.
    """
    found = AttachedWeights()
    first: dict[str, int] = {}
    for index, layer in enumerate(layers):
        first.setdefault(layer.definition.name, index)
    names = [_parameter_names(layer) for layer in layers]
    own: dict[int, dict[int, StoredBlob]] = {}
    shared: dict[str, StoredBlob] = {}
    for stored in weights.layers:
        position = first.get(stored.name)
        if position is None:
            if stored.blobs:
                found.ignored.append(stored.name)
            continue
        found.stored.add(position)
        if stored.blobs or position not in own:
            own[position] = stored.blobs
        for number, blob in stored.blobs.items():
            if number < len(names[position]) and names[position][number]:
                shared[names[position][number]] = blob
    for position, layer in enumerate(layers):
        pairs = _layer_blobs(own.get(position, {}), names[position], shared)
        faults = [part.fault for pair in pairs for part in pair if part is not None and part.fault]
        if faults:
            what = f"its stored weights cannot be used: {faults[0]}"
            problems.add(Problem(what, weights.path, layer.definition.name, remedy="save the weights again with Caffe"))
        elif pairs:
            found.blobs[position] = tuple(_array(stored, winner) for stored, winner in pairs)
    _check_matched(layers, found, weights, path, problems)
    if found.ignored:
        shown = ", ".join(found.ignored[:5]) + (", ..." if len(found.ignored) > 5 else "")
        found.notes.append(
            f"{len(found.ignored)} stored layer(s) with weights are not in the net and stay unused: {shown}"
        )
    return found


def _parameter_names(layer: ConnectedLayer) -> list[str]:
    """Return the `param` name of each blob of a layer, '' where it has none."""
    return [param.text("name") for param in layer.definition.message.messages("param")]


def _layer_blobs(
    own: dict[int, StoredBlob], names: list[str], shared: dict[str, StoredBlob]
) -> list[tuple[StoredBlob | None, StoredBlob]]:
    """Return for each blob of a layer what is stored for the layer itself, and the copy that counts."""
    pairs: list[tuple[StoredBlob | None, StoredBlob]] = []
    while True:
        number = len(pairs)
        stored = own.get(number)
        winner = shared.get(names[number]) if number < len(names) and names[number] else None
        blob = winner or stored
        if blob is None:
            return pairs
        pairs.append((stored, blob))


def _array(stored: StoredBlob | None, winner: StoredBlob) -> NDArray[np.float32]:
    # A sharer may see the same values in a shape of its own (share_mode: PERMISSIVE compares counts only).
    shape = stored.shape if stored is not None and stored.values.size == winner.values.size else winner.shape
    return winner.values.reshape(shape)


def _check_matched(
    layers: Sequence[ConnectedLayer], found: AttachedWeights, weights: StoredWeights, path: str, problems: Problems
) -> None:
    """An empty or foreign file parses as a valid message: insist on one match."""
    if found.stored:
        return
    theirs = ", ".join(f"'{layer.name}'" for layer in weights.layers[:3])
    ours = ", ".join(f"'{layer.definition.name}'" for layer in layers[:3])
    problems.add(
        Problem(
            f"no stored layer has the name of a layer of {path} (stored: {theirs}, ...; wanted: {ours}, ...)",
            weights.path,
            remedy="give the weights and the prototxt of one network",
        )
    )

"""Coefficients from a file in the place of a calibration: what belongs to which tensor, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.engine.interface import Point
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.coefficients import CoefficientFile, StoredCoefficient
from gfpq_inspect.models.model import Layer, Model

LISTED = 5
DATA, WEIGHT = "data", "weight"


@dataclass(frozen=True)
class StoredSet:
    """A coefficient file that was read.

    Attributes:
        name: Its base name, for messages and the record.
        file: What it holds.
    """

    name: str
    file: CoefficientFile


@dataclass(frozen=True)
class Assigned:
    """Coefficients from a file, one a point.

    Attributes:
        deltas: In the order of the points.
        magnitudes: Largest magnitude that the calibration behind the file saw, or the top of the grid where the file
            does not say.
        notes: What did not fit, a sentence each.
    """

    deltas: list[Any]
    magnitudes: list[float]
    notes: tuple[str, ...]


def assign(stored: StoredSet, points: Sequence[Point], models: Mapping[Side, Model], weights: WeightTable) -> Assigned:
    """Find the coefficient of every point.

    An entry is found by layer (key, else name) and by the number of the quantized tensor among those that the layer
    reads. In our own form it may say which model it is of; one that does not is of both.

    Args:
        stored: The file.
        points: Where data are quantized.
        models: The models.
        weights: Weights as they are quantized here, to be compared with those of the file.

    Raises:
        InputError: A point without an entry, another bit width, or readers of one tensor that do not agree; names
            file and layer.
    """
    used: set[int] = set()
    found, missing = [], []
    for point in points:
        entries = _entries_of(stored, point, models[point.side], used)
        if not entries:
            missing.append(point)
            continue
        found.append(_agreed(stored, point, entries))
    if missing:
        names = _listed([f"'{point.layers[0]}'" for point in missing])
        have = _listed([f"'{entry.layer}'" for entry in stored.file.entries if entry.role == DATA]) or "none"
        raise InputError(
            f"{stored.name}: has no coefficient for the data of {len(missing)} of {len(points)} quantized tensors "
            f"(read by {names}); its entries are of {have}; save the coefficients of this network, or calibrate."
        )
    notes = [f"{stored.name}: {note}." for note in stored.file.notes]
    unused = [entry for index, entry in enumerate(stored.file.entries) if index not in used and entry.role == DATA]
    if unused:
        names = _listed([f"'{entry.layer}'" for entry in unused])
        notes.append(f"{stored.name}: {len(unused)} entries belong to nothing that is quantized here: {names}.")
    notes += _weight_notes(stored, models, weights)
    deltas: list[Any] = [entry.delta for entry in found]
    return Assigned(deltas, [_magnitude(entry) for entry in found], tuple(notes))


def _entries_of(stored: StoredSet, point: Point, model: Model, used: set[int]) -> list[StoredCoefficient]:
    """The entries of all layers that read a point's tensor."""
    found = []
    for key in point.layers:
        layer = next(entry for entry in model.layers if entry.key == key)
        place = _find(stored.file.entries, layer, DATA, position_of(layer, point.value), point.side)
        if place is not None:
            used.add(place)
            found.append(stored.file.entries[place])
    return found


def position_of(layer: Layer, value: str) -> int:
    """Number of a tensor among those that the layer reads quantized, or hands on so."""
    if layer.quantization is None:
        return 0
    names = (*layer.quantization.inputs, *layer.quantization.outputs)
    return names.index(value) if value in names else 0


def _find(entries: Sequence[StoredCoefficient], layer: Layer, role: str, index: int, side: Side) -> int | None:
    for name in dict.fromkeys((layer.key, layer.name)):
        for place, entry in enumerate(entries):
            of_model = entry.facts.get("model", side.value)
            if (entry.layer, entry.role, entry.index, of_model) == (name, role, index, side.value):
                return place
    return None


def _agreed(stored: StoredSet, point: Point, entries: Sequence[StoredCoefficient]) -> StoredCoefficient:
    first = entries[0]
    wrong = next((entry for entry in entries if entry.bits != point.bits), None)
    if wrong is not None:
        raise InputError(
            f"{stored.name}: layer '{wrong.layer}': its coefficient is of {wrong.bits} bit, but the layer runs in "
            f"{point.bits} bit here; give --bits {wrong.bits}, or calibrate anew."
        )
    other = next((entry for entry in entries if entry.delta != first.delta), None)
    if other is not None:
        raise InputError(
            f"{stored.name}: layers '{first.layer}' and '{other.layer}' read the same tensor, but their coefficients "
            f"are {first.delta} and {other.delta}; give both the same."
        )
    return first


def _magnitude(entry: StoredCoefficient) -> float:
    stated = entry.facts.get("maximum")
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) else entry.grid_top


def _weight_notes(stored: StoredSet, models: Mapping[Side, Model], weights: WeightTable) -> list[str]:
    """Weights whose coefficient in the file is not the one that they give here, which is the one that holds."""
    differing = []
    for side, model in models.items():
        for layer in model.layers:
            for index, entry in enumerate(weights.of_layer(side, layer).values()):
                place = _find(stored.file.entries, layer, WEIGHT, index, side)
                if place is not None and stored.file.entries[place].delta != entry.delta:
                    differing.append(f"'{layer.key}' ({stored.file.entries[place].delta}, here {entry.delta})")
    if not differing:
        return []
    return [
        f"{stored.name}: {len(differing)} weights have another coefficient there: {_listed(differing)}; the weights' "
        "own are used."
    ]


def _listed(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return ", ".join(unique[:LISTED]) + (f" and {len(unique) - LISTED} more" if len(unique) > LISTED else "")

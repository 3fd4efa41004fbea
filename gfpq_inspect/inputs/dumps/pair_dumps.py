"""Which tensor of one dump is which of another: by their names, then by place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gfpq_inspect.errors import GfpqError
from gfpq_inspect.inputs.dumps.dump import Dump, DumpTensor
from gfpq_inspect.inputs.dumps.layout import Layout, layouts_of, misfit
from gfpq_inspect.inputs.dumps.match import Left
from gfpq_inspect.inputs.dumps.names import Role
from gfpq_inspect.inputs.dumps.values import Reading, delta_that_fits, is_codes
from gfpq_inspect.models.pair import plain_name

_ALIKE = 0.6
"""Names that are as like as this may be those of one layer."""


@dataclass(frozen=True)
class PairedTensors:
    """A tensor of both dumps.

    Attributes:
        first: How the first dump's is read.
        second: How the second's is read.
        reason: How they were paired where not by equal names; else empty.
    """

    first: Reading
    second: Reading
    reason: str = ""


@dataclass(frozen=True)
class PairedDumps:
    """The whole pairing.

    Attributes:
        pairs: What is compared, in the first dump's order.
        broken: Tensors of both whose values cannot be compared: the first's, the second's, and why.
        left: What only one of them has: (0 or 1, the tensor and why).
    """

    pairs: tuple[PairedTensors, ...]
    broken: tuple[tuple[DumpTensor, DumpTensor, str], ...]
    left: tuple[tuple[int, Left], ...]


def pair_dumps(first: Dump, second: Dump) -> PairedDumps:
    """Pair the tensors of two dumps.

    Args:
        first: The reference.
        second: The one that is compared with it.
    """
    free = [tensor for tensor in second.tensors if tensor.file_name.role is not Role.PARAMETER]
    pairs: list[PairedTensors] = []
    broken: list[tuple[DumpTensor, DumpTensor, str]] = []
    left: list[tuple[int, Left]] = []
    alone: list[DumpTensor] = []
    for tensor in first.tensors:
        if tensor.file_name.role is Role.PARAMETER:
            left.append((0, Left(tensor, "parameters of a layer, not what it made", understood=True)))
            continue
        partner = _partner(tensor, free)
        if partner is None:
            alone.append(tensor)
            continue
        free.remove(partner)
        paired = _readings(tensor, partner)
        if isinstance(paired, str):
            broken.append((tensor, partner, paired))
        else:
            pairs.append(paired)
    left += [(0, _alone(tensor, second, free)) for tensor in alone]
    left += [(1, _alone(tensor, first, alone)) for tensor in free]
    left += [
        (1, Left(tensor, "parameters of a layer, not what it made", understood=True))
        for tensor in second.tensors
        if tensor.file_name.role is Role.PARAMETER
    ]
    return PairedDumps(tuple(pairs), tuple(broken), tuple(left))


def _partner(tensor: DumpTensor, free: list[DumpTensor]) -> DumpTensor | None:
    said = tensor.file_name
    rules = (
        lambda other: other.layer == said.layer,
        lambda other: plain_name(other.layer) == plain_name(said.layer),
        lambda other: plain_name(other.layer).lower() == plain_name(said.layer).lower(),
    )
    for rule in rules:
        for other in free:
            own = other.file_name
            if (own.role, own.port, own.place) == (said.role, said.port, said.place) and rule(own):
                return other
    return None


def _alone(tensor: DumpTensor, other: Dump, others: Sequence[DumpTensor]) -> Left:
    """What only one dump has: nobody dumps every layer, but one that looks renamed is told."""
    text = f"not in the dump {other.name}"
    if tensor.problem:
        return Left(tensor, tensor.problem)
    names = {plain_name(entry.layer): entry.name for entry in others if entry.layer and entry.is_output}
    close = difflib.get_close_matches(plain_name(tensor.layer), list(names), n=1, cutoff=_ALIKE)
    if not (tensor.is_output and tensor.layer and close):
        return Left(tensor, text, understood=True)
    told = f"{text}; the nearest name without a partner there is '{names[close[0]]}'"
    return Left(tensor, told, nearest=names[close[0]])


def _readings(one: DumpTensor, other: DumpTensor) -> PairedTensors | str:
    """How both are read, or why they cannot be compared."""
    for tensor in (one, other):
        if tensor.problem:
            return tensor.problem
    shape, samples = _shape(one, other)
    stored = [tensor.stored[0] for tensor in (one, other)]
    readings: list[Reading] = []
    for tensor, entry in zip((one, other), stored, strict=True):
        assert entry is not None
        assert entry.values is not None
        count = entry.values.size
        if count != math.prod(shape) * samples:
            found = layouts_of(entry.values.shape, tensor.file_name, shape, "", batchable=True)
            if not found:
                return f"{entry.where} {misfit(entry.values.shape, tensor.file_name, shape)}"
            readings.append(Reading(tensor, found[0]))
        else:
            found = layouts_of(entry.values.shape, tensor.file_name, shape, "", batchable=True)
            exact = next((layout for layout in found if layout.samples == samples), None)
            readings.append(Reading(tensor, exact or Layout(samples, shape, None, None, shape)))
    if readings[0].samples != readings[1].samples:
        return f"{one.where} holds {readings[0].samples} samples, {other.where} {readings[1].samples}"
    try:
        readings = _with_coefficients(readings)
    except GfpqError as error:
        return f"{one.where}, {other.where}: {error}"
    hows = [f"{reading.tensor.where}: {reading.layout.how}" for reading in readings if reading.layout.how]
    called = "" if one.layer == other.layer else f"called '{other.name}' in the second dump"
    return PairedTensors(readings[0], readings[1], ", ".join([called, *hows] if called else hows))


def _with_coefficients(readings: list[Reading]) -> list[Reading]:
    """Codes get the coefficient that fits the other's values, or, where both are codes, a common one."""
    arrays = []
    for reading in readings:
        entry = reading.tensor.stored[0]
        assert entry is not None
        assert entry.values is not None
        arrays.append(np.ascontiguousarray(entry.values))
    coded = [is_codes(array) for array in arrays]
    made = []
    for index, reading in enumerate(readings):
        if not coded[index]:
            made.append(reading)
            continue
        other = np.ones(1, np.float32) if coded[1 - index] else arrays[1 - index]
        delta = delta_that_fits(arrays[index], other)
        if all(coded):
            delta = {1: -127, 2: -1407}[arrays[index].dtype.itemsize]
        made.append(Reading(reading.tensor, reading.layout, delta))
    for reading in made:
        reading.sample(0)
    return made


def _shape(one: DumpTensor, other: DumpTensor) -> tuple[tuple[int, ...], int]:
    """Shape of one sample, batch axis 1, and samples, from what names and arrays tell."""
    sizes = []
    for tensor in (one, other):
        entry = tensor.stored[0]
        assert entry is not None
        assert entry.values is not None
        sizes.append(entry.values)
    for tensor in (one, other):
        if tensor.file_name.shape is not None:
            shape = (1, *tensor.file_name.shape)
            size = math.prod(shape)
            samples = sizes[0].size // size
            return shape, max(1, samples if len(one.stored) == 1 else 1)
    shaped = next((array for array in sizes if array.ndim > 1), sizes[0])
    if shaped.ndim > 1 and len(one.stored) == 1:
        return (1, *shaped.shape[1:]), shaped.shape[0]
    if shaped.ndim > 1:
        return tuple(shaped.shape), 1
    return (1, sizes[0].size), 1

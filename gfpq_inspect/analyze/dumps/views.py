"""What checks of dumps look at: each tensor of the dump beside what it is compared with, for one sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.dumps.comparison import DumpComparison, DumpRole
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.errors import UserError
from gfpq_inspect.inputs.dumps.own_input import input_reading
from gfpq_inspect.inputs.dumps.source import one_sample
from gfpq_inspect.inputs.dumps.values import Reading, cosine, sums_of
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.run import run_layers, run_model

if TYPE_CHECKING:
    from gfpq_inspect.analyze.findings.case import Case

Array = NDArray[Any]

MOST_ELEMENTS = 50_000_000
"""Elements of all samples that `whole` reads."""

_ROUNDING = 1e-12
"""A variance below this part of the energy is rounding of the sums."""

GOOD = 0.98
"""Cosine from which on a tensor is in no need of an explanation."""


@dataclass(frozen=True)
class Fit:
    """How well a tensor y is a x + b.

    Attributes:
        gain: a of least squares through the origin, x y / x x.
        slope: a with an offset.
        offset: b.
        explained: Share of y's variance that slope and offset explain (R squared).
    """

    gain: float
    slope: float
    offset: float
    explained: float


@dataclass(frozen=True)
class View:
    """A tensor of the dump and what it is compared with.

    Attributes:
        row: Row key.
        type: Type of the layer.
        is_output: Whether it is a network output.
        reading: How the dump's tensor is read.
        reference: The network's float tensor (or the first dump's), one sample.
        values: The dump's, of the same shape.
    """

    row: str
    type: str
    is_output: bool
    reading: Reading
    reference: Array
    values: Array

    @cached_property
    def cosine(self) -> float:
        """Between the two, over pairs of finite elements."""
        return cosine(self.reference, self.values)

    @cached_property
    def fit(self) -> Fit:
        """How well a gain and an offset explain the dump's tensor."""
        return fit_of(self.reference, self.values)


def fit_of(reference: Array, values: Array) -> Fit:
    """Least squares of values = a reference + b over pairs of finite elements."""
    sums = sums_of(reference, values)
    count, xx = sums["count"], sums["sum_xx"]
    if count < 2 or not xx > 0:
        return Fit(math.nan, math.nan, math.nan, 0.0)
    gain = sums["sum_xy"] / xx
    mean_x, mean_y = sums["sum_x"] / count, sums["sum_y"] / count
    spread = xx - count * mean_x**2
    variance = sums["sum_yy"] - count * mean_y**2
    if not (spread > _ROUNDING * xx and variance > _ROUNDING * sums["sum_yy"]):
        return Fit(gain, math.nan, math.nan, 0.0)
    common = sums["sum_xy"] - count * mean_x * mean_y
    slope = common / spread
    return Fit(gain, slope, mean_y - slope * mean_x, min(1.0, common**2 / (spread * variance)))


def views(case: Case) -> list[View]:
    """All tensors that are compared, of the first sample that both have; worked out once a case."""
    known: list[View] | None = case.notes.get("dump views")
    if known is None:
        assert case.dump is not None
        known = case.notes["dump views"] = list(_views(case, case.dump))
    return known


def _views(case: Case, dump: DumpComparison) -> Iterator[View]:
    if dump.role is DumpRole.BOTH:
        assert dump.pairs is not None
        for pair in dump.pairs.pairs:
            first = dump.source.plan.pairs[0]
            yield View(
                pair.first.tensor.name,
                "dump",
                False,
                pair.second,
                pair.first.sample(first[0]),
                pair.second.sample(first[1]),
            )
        return
    assert dump.match is not None
    values = reference_values(case)
    layers = {layer.key: layer for layer in case.first.layers}
    index = dump.source.plan.pairs[0][1]
    for entry in dump.match.matched:
        reference = values[entry.value]
        sample = entry.reading.sample(index if entry.reading.samples > 1 else 0)
        row = case.value_rows.get((Side.FIRST, entry.value), entry.layer)
        is_output = entry.value in case.first.outputs
        yield View(row, layers[entry.layer].type, is_output, entry.reading, reference, sample)


def reference_values(case: Case) -> Mapping[str, Array]:
    """Every value of the network in float, for the first sample that the dump has."""
    if "dump reference" not in case.notes:
        assert case.dump is not None
        shapes = {entry.name: entry.shape for entry in case.first.inputs}
        arrays = one_sample(case.dump.source, shapes, 0)
        case.notes["dump reference"] = run_model(
            case.first, {entry.value: arrays[entry.name] for entry in case.first.inputs}
        )
    known: Mapping[str, Array] = case.notes["dump reference"]
    return known


def whole(case: Case, view: View) -> Iterator[Array]:
    """The dump's tensor in all samples that are compared, as far as `MOST_ELEMENTS` allow."""
    assert case.dump is not None
    left = MOST_ELEMENTS // max(1, len(views(case)))
    for _, index in case.dump.source.plan.pairs:
        yield view.reading.sample(index if view.reading.samples > 1 else 0)
        left -= view.values.size
        if left <= 0:
            return


@dataclass(frozen=True)
class InputView:
    """An input of the network: what it is fed, and what the dump holds of it.

    Attributes:
        name: Input name.
        row: Row key.
        fed: What the network is fed, one sample.
        dumped: What the dump holds, of the same shape.
        reading: How it is read.
    """

    name: str
    row: str
    fed: Array
    dumped: Array
    reading: Reading


def input_views(case: Case) -> list[InputView]:
    """The inputs of the network that the dump holds."""
    dump = case.dump
    if dump is None or dump.match is None:
        return []
    index = dump.source.plan.pairs[0][1]
    found = []
    for entry in case.first.inputs:
        try:
            reading = input_reading(case.first, entry, dump.dump)
        except UserError:  # it is listed among what could not be compared
            continue
        if reading is not None:
            dumped = reading.sample(index if reading.samples > 1 else 0)
            row = case.value_rows.get((Side.FIRST, entry.value), entry.name)
            found.append(InputView(entry.name, row, reference_values(case)[entry.value], dumped, reading))
    return found


def layers_before(model: Model, value: str) -> Sequence[Layer]:
    """The layers that a value depends on, in order."""
    needed, chosen = {value}, []
    for layer in reversed(model.layers):
        if layer.nodes and any(made in needed for made in layer.outputs):
            chosen.append(layer)
            needed.update(layer.inputs)
    return chosen[::-1]


def value_for(model: Model, layers: Sequence[Layer], value: str, arrays: Mapping[str, Array]) -> Array:
    """One value of a network for other input, by the layers that it depends on."""
    given = {entry.value: np.ascontiguousarray(arrays[entry.name], np.dtype(entry.dtype)) for entry in model.inputs}
    if value in given:
        return given[value]
    return run_layers(model, layers, given)[value]

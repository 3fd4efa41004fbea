"""Which tensor of a dump is which tensor of a network.

Names decide: equal ones, then ones that differ by what tools do to special characters and by NNIE's suffixes, then
names of blobs. Layers that work in place overwrite what the layer before them made, and compilers merge BatchNorm,
Scale and activations into it, so that a tensor of a convolution's name may be what the last of them leaves: where the
dump does not hold those layers themselves, the tensor is compared with the one that it fits. Files that only number
layers are matched by order and size. What has no partner is listed with the nearest candidate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import GfpqError
from gfpq_inspect.inputs.dumps.dump import Dump, DumpTensor
from gfpq_inspect.inputs.dumps.layout import Layout, layouts_of, misfit
from gfpq_inspect.inputs.dumps.names import Role
from gfpq_inspect.inputs.dumps.target_names import Named, TargetNames, followers
from gfpq_inspect.inputs.dumps.values import Reading, cosine, delta_that_fits, is_codes, relative_error
from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.pair import plain_name

Array = NDArray[Any]

_CLEARLY = 0.5
"""Another reading is taken only where its relative error is below this, and below this part of the likeliest one's."""

_COUNTING_TYPES = frozenset({"DetectionOutput", "Proposal", "NonMaxSuppression", "NonZero"})
"""Layers whose number of results depends on the values that they read."""

_SAMPLE_ELEMENTS = 8192
_NEAR_COSINE = 0.9


@dataclass(frozen=True)
class Matched:
    """A tensor of the dump with its partner.

    Attributes:
        value: The network's graph value.
        layer: Key of the layer that makes it.
        reading: How the tensor is read.
        reason: How it was matched where not plainly by name, and what was done to its layout; else empty.
    """

    value: str
    layer: str
    reading: Reading
    reason: str = ""

    @property
    def tensor(self) -> DumpTensor:
        """The tensor of the dump."""
        return self.reading.tensor


@dataclass(frozen=True)
class Broken:
    """A tensor whose name has a partner, but that cannot be compared with it.

    Attributes:
        value: The network's graph value.
        layer: Key of the layer that makes it.
        tensor: The tensor of the dump.
        reason: Why, one clause that names the file and what to do.
        understood: Whether that is no fault: a layer that finds more or fewer things, a constant.
    """

    value: str
    layer: str
    tensor: DumpTensor
    reason: str
    understood: bool = False


@dataclass(frozen=True)
class Left:
    """A tensor of the dump without a partner.

    Attributes:
        tensor: The tensor.
        reason: One clause, with the nearest candidate.
        understood: Whether it is clear that nothing is missed.
        nearest: Name of the nearest candidate, or empty.
    """

    tensor: DumpTensor
    reason: str
    understood: bool = False
    nearest: str = ""


@dataclass(frozen=True)
class DumpMatch:
    """The whole matching, in order of the network.

    Attributes:
        matched: What is compared.
        broken: What should be, and cannot.
        left: What has no partner in the network.
        held: Samples that the matched tensors hold.
    """

    matched: tuple[Matched, ...]
    broken: tuple[Broken, ...]
    left: tuple[Left, ...]
    held: int


@dataclass(frozen=True)
class _Option:
    """One partner, read in one way."""

    value: str
    layer: Layer
    layout: Layout
    reason: str


def match_dump(model: Model, dump: Dump, reference: Mapping[str, Array], sample: int = 0) -> DumpMatch:
    """Match a dump with a network.

    Args:
        model: The network.
        dump: The dump.
        reference: Every value of the network, for one sample of its input.
        sample: The sample of the dump that belongs to it.
    """
    return _Matcher(model, dump, reference, sample).run()


class _Matcher:
    def __init__(self, model: Model, dump: Dump, reference: Mapping[str, Array], sample: int) -> None:
        self._model = model
        self._dump = dump
        self._reference = reference
        self._sample = sample
        self._names = TargetNames(model)
        self._dumped = {plain_name(tensor.layer) for tensor in dump.tensors if tensor.is_output and tensor.layer}
        self._matched: dict[str, Matched] = {}
        self._broken: dict[str, Broken] = {}
        self._left: list[Left] = []

    def run(self) -> DumpMatch:
        numbered: list[DumpTensor] = []
        unnamed: list[DumpTensor] = []
        waiting: list[tuple[int, DumpTensor, Named]] = []
        for tensor in self._dump.tensors:
            if tensor.file_name.role is Role.PARAMETER:
                self._left.append(Left(tensor, "parameters of a layer, not what it made", understood=True))
            elif tensor.file_name.place is not None:
                numbered.append(tensor)
            else:
                named = self._names.find(tensor.file_name)
                if named is None:
                    unnamed.append(tensor)
                else:
                    waiting.append((named.rank + (0 if tensor.is_output else 100), tensor, named))
        for _, tensor, named in sorted(waiting, key=lambda entry: entry[0]):
            self._take(tensor, named)
        self._align(numbered)
        for tensor in unnamed:
            self._left.append(self._without_partner(tensor))
        return self._finished()

    def _take(self, tensor: DumpTensor, named: Named) -> None:
        """Give a tensor the partner that its name says."""
        layer, port = named.places[0]
        own = layer.outputs[port] if tensor.is_output else layer.inputs[port]
        if tensor.problem:
            self._break(own, layer, tensor, tensor.problem)
            return
        options = [*self._options(tensor, named)]
        free = [option for option in options if option.value not in self._matched]
        if not options:
            stored = tensor.stored[0]
            assert stored is not None
            assert stored.values is not None
            shape = self._reference[own].shape if own in self._reference else ()
            self._break(own, layer, tensor, f"{tensor.where} {misfit(stored.values.shape, tensor.file_name, shape)}")
        elif not free:
            other = self._matched[options[0].value].tensor
            same = tensor.is_output
            text = (
                f"'{layer.name}' is in the dump already, as '{other.name}'" if same
                else f"the tensor that '{layer.name}' reads is compared where it is made ('{other.name}')"
            )  # fmt: skip
            self._left.append(Left(tensor, text, understood=not same))
        else:
            self._choose(tensor, free)

    def _break(self, value: str, layer: Layer, tensor: DumpTensor, reason: str) -> None:
        if value in self._matched or value in self._broken:
            self._left.append(Left(tensor, reason))
        else:
            counted = layer.type in _COUNTING_TYPES and not tensor.problem
            told = f"{layer.type} finds more or fewer things: {reason}" if counted else reason
            self._broken[value] = Broken(value, layer.key, tensor, told, understood=counted)

    def _options(self, tensor: DumpTensor, named: Named) -> Iterator[_Option]:
        """All partners that the name allows, the likeliest first."""
        for layer, port in named.places:
            if not tensor.is_output:
                yield from self._readings(tensor, layer.inputs[port], layer, f"from what '{layer.name}' reads")
                continue
            in_place, later = followers(self._model, layer, port, self._dumped)
            if in_place:
                last = in_place[-1]
                told = f"as '{last.name}' leaves it, in place"
                yield from self._readings(tensor, last.outputs[0], last, _joined(named.how, told))
            yield from self._readings(tensor, layer.outputs[port], layer, named.how)
            for follower in [*in_place[:-1], *later]:
                told = f"with '{follower.name}' merged in"
                yield from self._readings(tensor, follower.outputs[0], follower, _joined(named.how, told))

    def _readings(self, tensor: DumpTensor, value: str, layer: Layer, how: str) -> Iterator[_Option]:
        stored = tensor.stored[0]
        reference = self._reference.get(value)
        if stored is None or stored.values is None or not isinstance(reference, np.ndarray):
            return
        shape = stored.values.shape
        maker = self._names.maker(value) or layer
        for layout in layouts_of(shape, tensor.file_name, reference.shape, maker.type, batchable=self._model.batchable):
            yield _Option(value, maker, layout, _joined(how, layout.how))

    def _choose(self, tensor: DumpTensor, options: Sequence[_Option]) -> None:
        """The likeliest partner, or the one that the values clearly fit better."""
        chosen = options[0]
        if len(options) > 1:
            errors = [self._error(tensor, option) for option in options]
            best = min(range(len(options)), key=errors.__getitem__)
            if errors[best] < _CLEARLY * min(1.0, errors[0]):
                chosen = options[best]
        self._join(tensor, chosen)

    def _join(self, tensor: DumpTensor, option: _Option) -> None:
        try:
            reading = self._reading(tensor, option)
            reading.sample(min(self._sample, reading.samples - 1))
        except GfpqError as error:
            self._break(option.value, option.layer, tensor, f"{tensor.where}: {error}")
            return
        reason = option.reason
        if reading.delta is not None:
            reason = _joined(reason, f"codes, read with the coefficient {reading.delta} that fits: the dump holds none")
        self._matched[option.value] = Matched(option.value, option.layer.key, reading, reason)

    def _reading(self, tensor: DumpTensor, option: _Option) -> Reading:
        stored = tensor.stored[0]
        assert stored is not None
        assert stored.values is not None
        delta = None
        if is_codes(stored.values):
            delta = delta_that_fits(np.ascontiguousarray(stored.values), self._reference[option.value])
        return Reading(tensor, option.layout, delta)

    def _error(self, tensor: DumpTensor, option: _Option) -> float:
        try:
            reading = self._reading(tensor, option)
            return relative_error(self._reference[option.value], reading.sample(min(self._sample, reading.samples - 1)))
        except GfpqError:
            return math.inf

    def _align(self, numbered: Sequence[DumpTensor]) -> None:
        """Partners of tensors that only have numbers, in the order of both."""
        usable = [tensor for tensor in numbered if not tensor.problem]
        self._left.extend(Left(tensor, tensor.problem) for tensor in numbered if tensor.problem)
        usable.sort(key=lambda tensor: (tensor.file_name.place or (0, 0), tensor.file_name.port))
        possible = [self._possible(tensor) for tensor in usable]
        # All tensors of a dump hold as many samples: two of a small layer would else pass for one of a large layer.
        counts = Counter(count for found in possible for count in {option.layout.samples for option in found})
        samples = min(counts, key=lambda count: (-counts[count], count), default=1)
        options: list[dict[str, tuple[float, _Option]]] = []
        for tensor, found in zip(usable, possible, strict=True):
            own: dict[str, tuple[float, _Option]] = {}
            for option in found:
                if option.layout.samples == samples:
                    fit = self._fit(tensor, option)
                    if option.value not in own or fit > own[option.value][0]:
                        own[option.value] = (fit, option)
            options.append(own)
        for tensor, partner in zip(usable, _in_order(options, self._order()), strict=True):
            if partner is None:
                self._left.append(self._without_partner(tensor))
                continue
            fit, option = partner
            place = tensor.file_name.place or (0, 0)
            told = f"layer {place[1]} of segment {place[0]}: matched by order and size (cosine {fit:.4f})"
            self._join(tensor, _Option(option.value, option.layer, option.layout, _joined(told, option.layout.how)))

    def _possible(self, tensor: DumpTensor) -> list[_Option]:
        """Every value of the network that a tensor has the size of."""
        return [
            option
            for layer in self._model.layers
            for value in layer.outputs
            if value not in self._matched
            for option in self._readings(tensor, value, layer, "")
        ]

    def _order(self) -> dict[str, int]:
        values = [value for layer in self._model.layers for value in layer.outputs]
        return {value: index for index, value in enumerate(values)}

    def _fit(self, tensor: DumpTensor, option: _Option) -> float:
        try:
            reading = self._reading(tensor, option)
            values = reading.sample(min(self._sample, reading.samples - 1))
        except GfpqError:
            return 0.0
        return max(0.0, cosine(self._reference[option.value], values, _SAMPLE_ELEMENTS))

    def _without_partner(self, tensor: DumpTensor) -> Left:
        """Say what comes nearest, by name and by values."""
        called = (
            f"no layer of the network is called '{tensor.layer}'"
            if tensor.layer
            else "no layer fits its place and size"
        )
        if tensor.problem:
            return Left(tensor, f"{called}, and {tensor.problem}")
        near = self._names.nearest(tensor.layer) if tensor.layer else ""
        alike = self._nearest_values(tensor)
        parts = [called]
        if near:
            parts.append(f"the nearest name is '{near}'")
        if alike is not None:
            parts.append(f"its values are nearest to '{alike[0]}' (cosine {alike[1]:.4f})")
        return Left(tensor, "; ".join(parts), nearest=alike[0] if alike is not None else near)

    def _nearest_values(self, tensor: DumpTensor) -> tuple[str, float] | None:
        best: tuple[str, float] | None = None
        for layer in self._model.layers:
            for value, name in zip(layer.outputs, layer.output_names, strict=True):
                for option in self._readings(tensor, value, layer, ""):
                    fit = self._fit(tensor, option)
                    if fit >= _NEAR_COSINE and (best is None or fit > best[1] + 1e-6):
                        best = (name, fit)
        return best

    def _finished(self) -> DumpMatch:
        """Only what holds as many samples as most do is compared."""
        counts = [entry.reading.samples for entry in self._matched.values()]
        held = max(counts, key=lambda count: (counts.count(count), count), default=self._dump.sample_count)
        order = self._order()
        kept = []
        for entry in sorted(self._matched.values(), key=lambda entry: order[entry.value]):
            if entry.reading.samples == held:
                kept.append(entry)
            else:
                reason = f"{entry.tensor.where} holds {entry.reading.samples} samples, most tensors of the dump {held}"
                maker = self._names.maker(entry.value)
                constant = maker is not None and maker.kind is LayerKind.CONSTANT
                told = f"a constant, which no sample reaches: {reason}" if constant else reason
                self._broken[entry.value] = Broken(entry.value, entry.layer, entry.tensor, told, understood=constant)
        broken = sorted(self._broken.values(), key=lambda entry: order.get(entry.value, 0))
        return DumpMatch(tuple(kept), tuple(broken), tuple(self._left), held)


def _in_order(
    options: Sequence[Mapping[str, tuple[float, _Option]]], order: Mapping[str, int]
) -> list[tuple[float, _Option] | None]:
    """One partner a tensor, both in order, so that the fits add up to the most."""
    values = sorted(order, key=order.__getitem__)
    # best[i][j]: the most that tensors from i on reach with values from j on.
    best = np.zeros((len(options) + 1, len(values) + 1))
    for i in range(len(options) - 1, -1, -1):
        for j in range(len(values) - 1, -1, -1):
            taken = options[i].get(values[j])
            reach = max(best[i + 1, j], best[i, j + 1])
            if taken is not None:
                reach = max(reach, 0.01 + taken[0] + best[i + 1, j + 1])
            best[i, j] = reach
    found: list[tuple[float, _Option] | None] = []
    j = 0
    for i in range(len(options)):
        while j < len(values) and best[i, j] == best[i, j + 1]:
            j += 1
        taken = options[i].get(values[j]) if j < len(values) else None
        if taken is not None and np.isclose(best[i, j], 0.01 + taken[0] + best[i + 1, j + 1]):
            found.append(taken)
            j += 1
        else:
            found.append(None)
    return found


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)

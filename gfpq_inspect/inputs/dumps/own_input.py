"""The network's input as a dump holds it: to feed the network with it, and to check what it is fed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.dumps.dump import Dump, DumpTensor
from gfpq_inspect.inputs.dumps.layout import layouts_of, misfit, text_of
from gfpq_inspect.inputs.dumps.names import Role
from gfpq_inspect.inputs.dumps.target_names import TargetNames
from gfpq_inspect.inputs.dumps.values import Reading, is_codes
from gfpq_inspect.inputs.feed import finite
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.models.model import Model, ModelInput

DUMP_INPUT = "dump"
"""`--input dump`: feed what the dump itself holds."""


def tensors_of_input(model: Model, entry: ModelInput, dump: Dump) -> Iterator[DumpTensor]:
    """The tensors of a dump that hold an input of the network: its own first, then what a layer read of it."""
    names = TargetNames(model)
    read = []
    for tensor in dump.tensors:
        if tensor.file_name.role is Role.PARAMETER or tensor.file_name.place is not None:
            continue
        named = names.find(tensor.file_name)
        if named is None:
            if tensor.is_output and tensor.layer == entry.name:
                yield tensor
            continue
        for layer, port in named.places:
            if tensor.is_output and layer.outputs[port] == entry.value:
                yield tensor
                break
            if not tensor.is_output and layer.inputs[port] == entry.value:
                read.append(tensor)
                break
    yield from sorted(read, key=lambda tensor: tensor.encoding.value)


def input_reading(model: Model, entry: ModelInput, dump: Dump) -> Reading | None:
    """How to read an input of the network from a dump; None where the dump does not hold it as values.

    Raises:
        InputError: It is there under its name and does not fit.
    """
    problem = ""
    for tensor in tensors_of_input(model, entry, dump):
        stored = tensor.stored[0]
        if tensor.problem or stored is None or stored.values is None:
            problem = problem or tensor.problem
            continue
        if is_codes(stored.values):
            problem = problem or f"{tensor.where} holds codes without their coefficient"
            continue
        found = layouts_of(stored.values.shape, tensor.file_name, entry.shape, "Input", batchable=model.batchable)
        if found:
            return Reading(tensor, found[0])
        problem = problem or f"{tensor.where} {misfit(stored.values.shape, tensor.file_name, entry.shape)}"
    if problem:
        raise InputError(f"{dump.path}: the network's input '{entry.name}' cannot be read from the dump: {problem}")
    return None


@dataclass(frozen=True)
class DumpFeed:
    """Samples of one network input out of a dump; implements `feed.Feed`."""

    reading: Reading
    dump: Dump

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        count = self.reading.samples
        if len(self.dump.samples) == count and all(self.dump.samples):
            return self.dump.samples
        name = self.reading.tensor.where.partition(":")[0]
        return (name,) if count == 1 else tuple(f"{name}[{index}]" for index in range(count))

    @property
    def description(self) -> str:
        """See `Feed`."""
        read = "" if self.reading.tensor.is_output else ", as the first layer read it"
        return f"'{self.reading.tensor.name}' of the dump {self.dump.name}{read}"

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        for index, identity in enumerate(self.identities):
            yield finite(self.reading.sample(index), self.reading.tensor.where, identity)

    def labels(self) -> Labels | None:
        """A dump has none."""
        return None


def dump_feeds(model: Model, dump: Dump) -> dict[str, DumpFeed]:
    """Feeds for all inputs of a network out of a dump.

    Raises:
        InputError: The dump lacks one of them.
    """
    feeds = {}
    for entry in model.inputs:
        reading = input_reading(model, entry, dump)
        if reading is None:
            raise InputError(
                f"{dump.path}: the dump does not hold the network's input '{entry.name}' "
                f"({text_of(entry.shape)}), so --input {DUMP_INPUT} cannot be used; give the data that were dumped"
            )
        feeds[entry.name] = DumpFeed(reading, dump)
    return feeds


def sample_that_matches(
    readings: Sequence[tuple[str, Reading]], samples: Iterator[dict[str, NDArray[Any]]], tolerance: float = 0.05
) -> int | None:
    """The one sample of the input that a dump of one sample was made of, by the dump's own input; None if unclear.

    Args:
        readings: Input name and how it is read from the dump.
        samples: The input's samples.
        tolerance: Largest relative error of the same tensor; a quantized copy has about 0.02.
    """
    if not readings:
        return None
    found = []
    for index, arrays in enumerate(samples):
        errors = [_relative(arrays[name], reading.sample(0)) for name, reading in readings]
        if max(errors) <= tolerance:
            found.append(index)
    return found[0] if len(found) == 1 else None


def _relative(x: NDArray[Any], y: NDArray[Any]) -> float:
    one, other = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    length = float(np.linalg.norm(one))
    return float(np.linalg.norm(other - one)) / length if length > 0 else math.inf

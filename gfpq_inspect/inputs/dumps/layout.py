"""How the values of a dumped tensor lie: which axis is which, how many samples, what is padding."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.inputs.dumps.names import Encoding, FileName, Role

Shape = tuple[int, ...]

_TRANSPOSED = "read as transposed, as nnie_mapper writes results of inner products"

_STRIDES = (4, 8, 16, 32)
"""Rows of 32-bit values that end on 16, 32, 64 or 128 bytes."""


@dataclass(frozen=True)
class Layout:
    """One reading of a dumped tensor.

    Attributes:
        samples: Samples that the stored array holds.
        stored: Shape of one sample as stored.
        width: Values to keep of each row, the rest is padding; None for all.
        axes: Order in which the stored axes make the wanted ones; None for theirs.
        shape: Shape of one sample as the network has it, batch axis included.
        how: What had to be done, one clause; empty where nothing.
        samples_last: The samples lie beside one another, value by value, instead of one after another.
    """

    samples: int
    stored: Shape
    width: int | None
    axes: tuple[int, ...] | None
    shape: Shape
    how: str = ""
    samples_last: bool = False

    def apply(self, values: NDArray[Any]) -> NDArray[Any]:
        """All samples as the network has them, [samples * shape[0], ...]; a view where possible."""
        array = values.reshape(self.samples, *self.stored)
        if self.width is not None:
            array = array[..., : self.width]
        if self.axes is not None:
            array = array.transpose(0, *(axis + 1 for axis in self.axes))
        if not self.shape:
            return np.ascontiguousarray(array.reshape(()))
        return np.ascontiguousarray(array.reshape(self.samples * self.shape[0], *self.shape[1:]))


def squeezed(shape: Shape) -> Shape:
    """A shape without its axes of size 1."""
    return tuple(size for size in shape if size != 1)


def text_of(shape: Shape) -> str:
    """'20x24x24'."""
    return "x".join(map(str, shape)) or "a single value"


def layouts_of(values: Shape, said: FileName, wanted: Shape, layer_type: str, *, batchable: bool) -> list[Layout]:
    """The readings of a stored array as a tensor of the network, the likeliest first.

    Args:
        values: Shape of the array as stored; (count,) for text.
        said: What the file's name says.
        wanted: Shape of one sample in the network, batch axis included.
        layer_type: Type of the layer that makes it; an inner product's results are transposed in nnie_mapper's dumps.
        batchable: Whether axis 0 of the network's tensors counts samples.

    Returns:
        Nothing where it does not fit.
    """
    found = [*(_of_text if said.encoding is not Encoding.NUMPY else _of_array)(values, said, wanted, batchable)]
    matrix = squeezed(wanted)
    results = said.tool == "mapper" and said.role is Role.OUTPUT and layer_type in ("InnerProduct", "Gemm", "MatMul")
    if results and len(matrix) == 2 and math.prod(values) == math.prod(wanted):
        how = _TRANSPOSED
        found.insert(0, Layout(1, matrix[::-1], None, (1, 0), wanted, how))
    elif results and found and found[0].samples > 1:
        how = f"{found[0].samples} samples, {_TRANSPOSED}"
        found.insert(0, replace(found[0], how=how, samples_last=True))
    unique: dict[object, Layout] = {}
    for entry in found:
        unique.setdefault((entry.samples, entry.stored, entry.width, entry.axes, entry.samples_last), entry)
    return list(unique.values())


def _of_text(values: Shape, said: FileName, wanted: Shape, batchable: bool) -> Iterator[Layout]:
    count, size = math.prod(values), math.prod(wanted)
    stated = size if said.shape is None else math.prod(said.shape)
    if count and count % size == 0 and (count == size or (batchable and stated == size)):
        samples = count // size
        how = "" if samples == 1 else f"{samples} samples, one after another"
        yield Layout(samples, wanted, None, None, wanted, how)
        yield from _permuted_name(samples, said, wanted)
    yield from _padded_text(count, wanted)


def _permuted_name(samples: int, said: FileName, wanted: Shape) -> Iterator[Layout]:
    """The name states the same sizes in another order."""
    rest = wanted[1:]
    if said.shape is None or len(rest) != 3 or said.shape == rest or sorted(said.shape) != sorted(rest):
        return
    for axes, order in (
        ((2, 0, 1), "height, width, channel"),
        ((1, 2, 0), "width, channel, height"),
        ((0, 2, 1), "channel, width, height"),
    ):
        if tuple(said.shape[axis] for axis in axes) == rest:
            yield Layout(samples, said.shape, None, axes, wanted, f"axes stored as {order}")


def _padded_text(count: int, wanted: Shape) -> Iterator[Layout]:
    matrix = squeezed(wanted) or (1,)
    width, rows = matrix[-1], math.prod(matrix[:-1])
    for stride in _STRIDES:
        padded = -(-width // stride) * stride
        if padded != width and rows * padded == count:
            yield Layout(1, (*matrix[:-1], padded), width, None, wanted, f"rows padded from {width} to {padded} values")
            return


def _of_array(values: Shape, said: FileName, wanted: Shape, batchable: bool) -> Iterator[Layout]:  # noqa: ARG001  (as the other)
    rest = wanted[1:] if batchable and wanted else wanted
    size = math.prod(wanted)
    if squeezed(values) == squeezed(wanted):
        yield Layout(1, wanted, None, None, wanted)
    if batchable and len(values) >= 1 and squeezed(values[1:]) == squeezed(rest):
        yield Layout(
            values[0], wanted, None, None, wanted, "" if values[0] == 1 else f"{values[0]} samples along axis 0"
        )
    yield from _channels_last(values, wanted, batchable)
    yield from _transposed_matrix(values, wanted)
    yield from _padded_array(values, wanted)
    if math.prod(values) == size:
        yield Layout(1, wanted, None, None, wanted, f"stored as {text_of(values)}, the same number of values")
    elif batchable and len(values) > 1 and values[0] * size == math.prod(values):
        how = f"{values[0]} samples, stored as {text_of(values)}"
        yield Layout(values[0], wanted, None, None, wanted, how)


def _channels_last(values: Shape, wanted: Shape, batchable: bool) -> Iterator[Layout]:
    if len(wanted) != 4 or (not batchable and wanted[0] != 1):
        return
    channels, height, width = wanted[1:]
    last = (height, width, channels)
    if values == last and values != wanted[1:]:
        yield Layout(1, last, None, (2, 0, 1), wanted, "stored as NHWC")
    elif len(values) == 4 and values[1:] == last and last != wanted[1:]:
        how = "stored as NHWC" if values[0] == 1 else f"{values[0]} samples, stored as NHWC"
        yield Layout(values[0], last, None, (2, 0, 1), wanted, how)


def _transposed_matrix(values: Shape, wanted: Shape) -> Iterator[Layout]:
    stored, matrix = squeezed(values), squeezed(wanted)
    if len(matrix) == 2 and stored == matrix[::-1] and stored != matrix:
        yield Layout(1, stored, None, (1, 0), wanted, "stored transposed")


def _padded_array(values: Shape, wanted: Shape) -> Iterator[Layout]:
    stored, matrix = squeezed(values), squeezed(wanted)
    if len(stored) != len(matrix) or not matrix or stored[:-1] != matrix[:-1]:
        return
    width = matrix[-1]
    if any(-(-width // stride) * stride == stored[-1] for stride in _STRIDES) and stored[-1] != width:
        yield Layout(1, stored, width, None, wanted, f"rows padded from {width} to {stored[-1]} values")


def misfit(values: Shape, said: FileName, wanted: Shape) -> str:
    """Why a stored array does not fit, one clause."""
    count, size = math.prod(values), math.prod(wanted)
    rest = wanted[1:] if wanted and wanted[0] == 1 else wanted
    held = f"{text_of(values)} values" if len(values) > 1 else f"{count} values"
    text = f"holds {held}, the layer makes {text_of(rest)} = {size}"
    if said.shape is not None and math.prod(said.shape) != count and count < math.prod(said.shape):
        return f"{text} (its own name says {text_of(said.shape)}): it is cut short; dump it again"
    if count < size:
        return f"{text}: it is cut short, or of a smaller input; dump it again"
    return f"{text}; check the input size, and that the dump is of this network"

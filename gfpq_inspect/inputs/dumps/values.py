"""Values of a dumped tensor as the network has them, and how well they fit a tensor of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.inputs.dumps.dump import DumpTensor
from gfpq_inspect.inputs.dumps.layout import Layout
from gfpq_inspect.quantize import GfpqParam, dequantize, gfpq_of, kernels

Array = NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """How a tensor of a dump is read.

    Attributes:
        tensor: The tensor.
        layout: Of each stored array.
        delta: Coefficient of GFPQ codes, which no file states; None for values.
    """

    tensor: DumpTensor
    layout: Layout
    delta: int | None = None

    @property
    def samples(self) -> int:
        """Samples that it holds."""
        return len(self.tensor.stored) if len(self.tensor.stored) > 1 else self.layout.samples

    def sample(self, index: int) -> Array:
        """One sample, float32 of `layout.shape`.

        Raises:
            QuantizationError: Codes that are none.
        """
        by_folder = len(self.tensor.stored) > 1
        stored = self.tensor.stored[index if by_folder else 0]
        assert stored is not None
        assert stored.values is not None
        values = stored.values
        if not by_folder and self.layout.samples > 1:
            size = math.prod(self.layout.stored)
            flat = values.reshape(-1)
            values = flat[index :: self.layout.samples] if self.layout.samples_last else flat[index * size :][:size]
        single = Layout(1, self.layout.stored, self.layout.width, self.layout.axes, self.layout.shape)
        if self.delta is not None:
            values = decoded(np.ascontiguousarray(values), self.delta)
        return np.ascontiguousarray(single.apply(values), dtype=np.float32)


def is_codes(values: Array) -> bool:
    """Whether stored values are GFPQ codes."""
    return values.dtype in (np.uint8, np.uint16)


def decoded(codes: Array, delta: int) -> Array:
    """Values of GFPQ codes.

    Raises:
        QuantizationError: Patterns that are no code.
    """
    return dequantize(codes, GfpqParam(delta=delta))


def delta_that_fits(codes: Array, reference: Array) -> int:
    """The coefficient with which codes come nearest to a tensor in length; without one to compare, a top of 1."""
    bits = 8 * codes.dtype.itemsize
    number_format = gfpq_of(bits)
    steps, top = number_format.steps_per_octave, number_format.highest_code
    length = float(np.linalg.norm(decoded(codes, -top).astype(np.float64)))
    wanted = float(np.linalg.norm(reference.astype(np.float64)))
    if not (length > 0 and math.isfinite(length) and wanted > 0 and math.isfinite(wanted)):
        return -top
    lowest, highest = (-511, 511) if bits == 8 else (-4095, 4095)
    return min(highest, max(lowest, round(steps * math.log2(wanted / length)) - top))


def sums_of(reference: Array, values: Array) -> Mapping[str, float]:
    """Sums of a pair over its finite elements, by `kernels.SUM_FIELDS`; all zero for other shapes or nothing at all."""
    one, other = (np.ascontiguousarray(array, np.float32).reshape(1, -1) for array in (reference, values))
    if one.shape != other.shape or not one.size:
        return dict.fromkeys(kernels.SUM_FIELDS, 0.0)
    sums, _ = kernels.similarity(one, [other])
    return dict(zip(kernels.SUM_FIELDS, map(float, sums[0, 0]), strict=True))


def relative_error(reference: Array, values: Array) -> float:
    """|values - reference| / |reference| over pairs of finite elements; infinity where there is nothing to compare."""
    sums = sums_of(reference, values)
    if not sums["count"]:
        return math.inf
    if sums["sum_xx"] == 0:
        return 0.0 if sums["sum_dd"] == 0 else math.inf
    return math.sqrt(sums["sum_dd"] / sums["sum_xx"])


def cosine(reference: Array, values: Array, most: int | None = None) -> float:
    """Cosine over pairs of finite elements, 0 where there is none; of at most `most` evenly spread elements."""
    x, y = reference.ravel(), values.ravel()
    if most is not None and x.size > most:
        step = -(-x.size // most)
        x, y = x[::step], y[::step]
    sums = sums_of(x, y)
    lengths = math.sqrt(sums["sum_xx"]) * math.sqrt(sums["sum_yy"])
    return sums["sum_xy"] / lengths if lengths > 0 else 0.0

"""Which function of a channel a graph node computes: what can be folded, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.models.fold.affine import Affine, fold_weight
from gfpq_inspect.models.tensors import array_of

BASE_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that others are folded into."""
AFFINE_OPERATORS = frozenset({"Add", "Sub", "Mul", "Div", "BatchNormalization"})
"""Operators that can be folded where their other operand is constant."""
PASS_OPERATORS = frozenset({"Identity", "Dropout"})
"""Operators that hand on what they read, at test."""


class NotAffineError(Exception):
    """A node that cannot be folded; the text is the reason."""


@dataclass(frozen=True)
class Channels:
    """Where the channels of a value lie: their axis, the number of axes, their number."""

    axis: int
    rank: int
    count: int


class Constants:
    """Constants of a graph by name, decoded when first asked for."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._tensors[node.output[0]] = attribute.t
        self._arrays: dict[str, NDArray[Any]] = {}

    def get(self, name: str) -> NDArray[Any] | None:
        """Return a constant, or None if the name is none."""
        if name not in self._arrays and name in self._tensors:
            self._arrays[name] = array_of(self._tensors[name])
        return self._arrays.get(name)

    def set(self, name: str, array: NDArray[Any]) -> None:
        """Remember a new or changed constant."""
        self._arrays[name] = array

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._arrays

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._tensors, *self._arrays)))


def step(affine: Affine, node: onnx.NodeProto, value: str, channels: Channels, constants: Constants) -> Affine:
    """Return a function with a node added to it.

    Args:
        affine: The function so far.
        node: A node of `AFFINE_OPERATORS`.
        value: Which of its inputs carries the function's result.
        channels: Where that value has its channels.
        constants: The graph's constants.

    Raises:
        NotAffineError: With the reason.
    """
    if node.op_type == "BatchNormalization":
        return _batch_normalization(affine, node, channels, constants)
    first = node.input[0] == value
    other = _per_channel(node.input[1] if first else node.input[0], channels, constants)
    if node.op_type == "Mul":
        return affine.times(other)
    if node.op_type == "Add":
        return affine.plus(other)
    if node.op_type == "Sub":
        return affine.plus(-other) if first else affine.times(-1.0).plus(other)
    if not first:
        raise NotAffineError("it divides by what the convolution gives")
    return affine.over(other)


def _batch_normalization(affine: Affine, node: onnx.NodeProto, channels: Channels, constants: Constants) -> Affine:
    attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    if attributes.get("training_mode", 0) or len([name for name in node.output if name]) > 1:
        raise NotAffineError("it normalises by the statistics of the batch")
    if channels.axis != 1:
        raise NotAffineError("the channels of what it reads are not on axis 1")
    arrays = [constants.get(name) for name in node.input[1:5]]
    if any(array is None for array in arrays):
        raise NotAffineError("its parameters are no constants")
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    if any(array.shape != (channels.count,) for array in (scale, shift, mean, variance)):
        raise NotAffineError(f"it does not have {channels.count} channels")
    with np.errstate(all="ignore"):
        deviation = np.sqrt(variance + attributes.get("epsilon", 1e-5))
    return affine.plus(-mean).over(deviation).times(scale).plus(shift)


def _per_channel(name: str, channels: Channels, constants: Constants) -> NDArray[np.float64] | float:
    array = constants.get(name)
    if array is None:
        raise NotAffineError(f"its factors or summands are no weights, they come from '{name}'")
    if array.ndim > channels.rank:
        raise NotAffineError("it changes the number of axes")
    shape = (1,) * (channels.rank - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != channels.axis):
        raise NotAffineError("its factors lie along another axis than the channels")
    if shape[channels.axis] not in (1, channels.count):
        raise NotAffineError(f"it does not have {channels.count} channels")
    vector = array.astype(np.float64).reshape(-1)
    return float(vector[0]) if vector.size == 1 else vector


def output_channels(node: onnx.NodeProto, weight: NDArray[Any]) -> int:
    """Return the number of output channels of a base node."""
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1] * attribute_of(node, "group", 1))
    return int(weight.shape[_output_axis(node, weight)])


def fold_kernel(node: onnx.NodeProto, weight: NDArray[Any], scale: NDArray[np.float64]) -> NDArray[Any]:
    """Return the weight of a base node with a factor an output channel."""
    if node.op_type == "ConvTranspose":
        return fold_weight(weight, scale, group=attribute_of(node, "group", 1))
    return fold_weight(weight, scale, axis=_output_axis(node, weight))


def _output_axis(node: onnx.NodeProto, weight: NDArray[Any]) -> int:
    if node.op_type == "Gemm":
        return 0 if attribute_of(node, "transB", 0) else 1
    return weight.ndim - 1 if node.op_type == "MatMul" else 0


def attribute_of(node: onnx.NodeProto, name: str, default: int) -> int:
    """Return an integer attribute."""
    return int(next((attribute.i for attribute in node.attribute if attribute.name == name), default))


def bias_of(node: onnx.NodeProto, channels: int, constants: Constants) -> NDArray[np.float64] | float:
    """Return the bias of a base node, 0 without one.

    Raises:
        NotAffineError: It is no constant, or not one value a channel.
    """
    name = node.input[2] if len(node.input) > 2 else ""
    if not name:
        return 0.0
    array = constants.get(name)
    if array is None or array.size not in (1, channels) or (array.ndim and array.shape[-1] != array.size):
        raise NotAffineError("the bias before it is no constant a channel")
    beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0) if node.op_type == "Gemm" else 1.0
    bias: NDArray[np.float64] = array.astype(np.float64).reshape(-1) * beta
    return bias

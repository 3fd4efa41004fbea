"""Layers that multiply their input by a kernel and add a bias, whatever their operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.models.model import Layer
from gfpq_inspect.tune.recover.graph import Tensor, TrainableGraph


@dataclass(frozen=True)
class Affine:
    """A layer that multiplies its input by a kernel.

    Attributes:
        kernel: Initializer.
        bias: Initializer, or None.
        source: Value that it reads.
        output: Value that it makes.
        groups: Of a convolution.
        window: Kernel extent, strides, dilations and padding before and after for each axis; () for a matrix.
        transposed: The matrix has a row for each output.
    """

    kernel: str
    bias: str | None
    source: str
    output: str
    groups: int
    window: tuple[tuple[int, ...], ...]
    transposed: bool = True

    def rows(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The kernel as float64 [groups, outputs of a group, inputs of an output]."""
        kernel = weights[self.kernel]
        matrix = kernel.flatten(1) if self.transposed else kernel.t()
        return matrix.reshape(self.groups, -1, matrix.shape[1]).double()


def affine_of(graph: TrainableGraph, layer: Layer) -> Affine | None:
    """What there is to solve in a layer; None where there is nothing, or where it is not understood."""
    node = graph.only_node(layer)
    trained = {one.name for one in graph.parameters if one.trained}
    if node is None or len(node[0].input) < 2 or node[0].input[1] not in trained:
        return None
    names, attributes = list(node[0].input), node[1]
    bias = names[2] if len(names) > 2 and names[2] in trained else None
    if len(names) > 2 and names[2] and bias is None:
        return None
    kernel = graph.initial[names[1]]
    pads = _pads(attributes, tuple(kernel.shape[2:])) if kernel.dim() == 4 else None
    if node[0].op_type == "Conv" and pads is not None:
        window = (
            tuple(kernel.shape[2:]),
            tuple(attributes.get("strides", (1, 1))),
            tuple(attributes.get("dilations", (1, 1))),
            pads,
        )
        found = Affine(names[1], bias, names[0], node[0].output[0], attributes.get("group", 1), window)
    elif node[0].op_type == "Gemm" and not attributes.get("transA", 0):
        if attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            return None
        transposed = bool(attributes.get("transB", 0))
        found = Affine(names[1], bias, names[0], node[0].output[0], 1, (), transposed)
    else:
        return None
    outputs = kernel.shape[0] if found.transposed else kernel.shape[1]
    return found if bias is None or graph.initial[bias].shape == (outputs,) else None


def _pads(attributes: Mapping[str, Any], extent: tuple[int, ...]) -> tuple[int, ...] | None:
    """Padding before and after each axis, as ONNX orders it; None where it depends on the size of the input."""
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        return tuple(attributes.get("pads", (0,) * 4)) if mode == "NOTSET" else (0,) * 4
    if any(stride != 1 for stride in attributes.get("strides", (1, 1))):
        return None
    dilations = attributes.get("dilations", (1,) * len(extent))
    whole = [dilation * (size - 1) for dilation, size in zip(dilations, extent, strict=True)]
    less, more = [one // 2 for one in whole], [one - one // 2 for one in whole]
    return (*less, *more) if mode == "SAME_UPPER" else (*more, *less)

"""What a model that quantizes itself says it quantizes, and whether it is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from gfpq_inspect.models.onnx.names import subgraphs_of
from gfpq_inspect.models.onnx.quantized_operators import INTEGER_PRODUCTS, LINEAR_OPERATORS
from gfpq_inspect.quantize.number_format import NumberFormat

Array = NDArray[Any]

_MARKERS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", *INTEGER_PRODUCTS})


@dataclass
class QuantizedView:
    """What a model quantizes, after its graph was rewritten to float.

    Attributes:
        outputs: Value to its format: the node that makes it hands it on quantized.
        inputs: Name of an Identity node to the value that it reads and quantizes, and the format.
        weights: Initializer to its format and the values that its codes stand for.
        as_it_is: Why the graph was left as it is; empty where it was rewritten.
        notes: What a reader should know.
    """

    outputs: dict[str, NumberFormat] = field(default_factory=dict)
    inputs: dict[str, tuple[str, NumberFormat]] = field(default_factory=dict)
    weights: dict[str, tuple[NumberFormat, Array]] = field(default_factory=dict)
    as_it_is: str = ""
    notes: list[str] = field(default_factory=list)


def is_quantized(graph: onnx.GraphProto) -> bool:
    """Whether the graph, or a subgraph, quantizes anything."""
    return any(
        node.op_type in _MARKERS
        or (node.domain, node.op_type) in LINEAR_OPERATORS
        or any(is_quantized(inner) for inner in subgraphs_of(node))
        for node in graph.node
    )

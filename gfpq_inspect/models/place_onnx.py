"""Where a quantized engine of NNIE's kind would quantize an ONNX model: convolutions, matrix products, pooling."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from gfpq_inspect.models.model import Quantization
from gfpq_inspect.models.onnx.normalize import WEIGHT_OPERANDS

POOLING_OPERATORS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})
_FLOATS = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
)


def quantization_of(
    node: onnx.NodeProto, tensor_types: dict[str, int], constants: Collection[str]
) -> tuple[Quantization | None, str]:
    """Decide what is quantized at a node.

    Args:
        node: The node.
        tensor_types: Element type of every initializer.
        constants: Values that no network input reaches (computed ones, not initializers).

    Returns:
        The quantization or None, and one clause that says why.
    """
    if node.op_type in POOLING_OPERATORS:
        if node.input[0] in tensor_types or node.input[0] in constants:
            return None, "its input is constant"
        return Quantization(inputs=(node.input[0],)), "pooling"
    if node.op_type not in WEIGHT_OPERANDS:
        return None, "computed in float by this kind of chip"
    for operand in WEIGHT_OPERANDS[node.op_type]:
        name = node.input[operand] if operand < len(node.input) else ""
        if name not in tensor_types:
            continue
        data = node.input[0] if operand else node.input[1]
        if data in tensor_types or data in constants:
            return None, "both operands are constant"
        if tensor_types[name] not in _FLOATS:
            return None, "its weights are integers"
        kind = "matrix product with a constant operand" if node.op_type.endswith("MatMul") else "weighted layer"
        return Quantization(inputs=(data,), weights=(name,)), kind
    if any(name in constants for name in node.input[:2]):
        return None, "its weights are computed from constants, not stored"
    return None, "no operand is constant"

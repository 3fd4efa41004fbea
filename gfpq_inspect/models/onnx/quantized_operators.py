"""What each operator on codes is in float: the operand layout of QOperator nodes and of integer products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

if TYPE_CHECKING:
    from gfpq_inspect.models.onnx.quantized import Rewriter

PASSING = frozenset(
    {
        "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Concat", "Gather", "Split",
        "DepthToSpace", "SpaceToDepth", "Identity", "Expand", "Tile",
    }
)  # fmt: skip
"""Operators that give the same values whether they move codes or the floats that these stand for."""


class NotConvertible(Exception):  # noqa: N818 - no error: the model then runs as it is
    """Why a graph has no float reading, one clause."""


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute of a node."""
    for entry in node.attribute:
        if entry.name == name:
            return onnx.helper.get_attribute_value(entry)
    return default


def _kept(node: onnx.NodeProto, *left_out: str) -> dict[str, Any]:
    return {
        entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute if entry.name not in left_out
    }


def _input(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _operand(rewriter: Rewriter, node: onnx.NodeProto, place: int, axis: int | None = None) -> str:
    """The float value of an operand that stands with its scale and zero point."""
    codes, scale, zero_point = (_input(node, place + index) for index in range(3))
    if codes in rewriter.floats:
        known = rewriter.floats[codes][1]
        given = rewriter.stored(node, scale, zero_point, axis)
        if getattr(known, "identity", None) != given.identity:
            raise NotConvertible(f"'{node.name}' reads '{codes}' with another scale than it was quantized with")
        return rewriter.float_of(codes)
    if rewriter.is_constant(codes):
        return rewriter.weight(codes, rewriter.stored(node, scale, zero_point, axis), node)
    raise NotConvertible(f"'{node.name}' reads codes '{codes}' that were not quantized in the graph")


def _finish(rewriter: Rewriter, node: onnx.NodeProto, scale: int) -> None:
    """Quantize what the node computed; its float value was emitted as `codes/float`."""
    codes = node.output[0]
    chosen = rewriter.stored(node, node.input[scale], _input(node, scale + 1), None)
    rewriter.quantize_value(f"{codes}/float", codes, chosen, f"{node.name}/quantize")


def _bias(rewriter: Rewriter, node: onnx.NodeProto, codes: str, scales: tuple[str, str], factor: float = 1.0) -> str:
    """An int32 bias: its scale is the product of those of data and weights."""
    data, weight = (rewriter.array(name, node).astype(np.float32).reshape(-1) for name in scales)
    product = data * weight * np.float32(factor)
    values = rewriter.array(codes, node).astype(np.float64) * product
    from gfpq_inspect.quantize.stored import StoredQuantization  # noqa: PLC0415  (only here)

    single = product.size == 1
    chosen = StoredQuantization(
        "int32",
        product.reshape(()) if single else product,
        np.zeros((() if single else product.shape), np.float32),
        None if single else -1,
    )
    return rewriter.add_weight(f"{codes}/{node.name}", values.astype(np.float32), chosen)


def _convolution(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    inputs = [_operand(rewriter, node, 0), _operand(rewriter, node, 3, axis=0)]
    if _input(node, 8):
        inputs.append(_bias(rewriter, node, node.input[8], (node.input[1], node.input[4])))
    rewriter.emit("Conv", inputs, f"{node.output[0]}/float", node, **_kept(node))
    _finish(rewriter, node, 6)


def _matrix_product(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    inputs = [_operand(rewriter, node, 0), _operand(rewriter, node, 3, axis=-1)]
    rewriter.emit("MatMul", inputs, f"{node.output[0]}/float", node)
    _finish(rewriter, node, 6)


def _gemm(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    transposed = attribute(node, "transB", 0)
    inputs = [_operand(rewriter, node, 0), _operand(rewriter, node, 3, axis=0 if transposed else 1)]
    alpha = float(attribute(node, "alpha", 1.0))
    if _input(node, 6):
        # beta does not exist: C is added as it is, in steps of alpha * scale_a * scale_b.
        inputs.append(_bias(rewriter, node, node.input[6], (node.input[1], node.input[4]), alpha))
    quantizes = bool(_input(node, 7))
    output = f"{node.output[0]}/float" if quantizes else node.output[0]
    rewriter.emit("Gemm", inputs, output, node, **_kept(node))
    if quantizes:
        _finish(rewriter, node, 7)


def _binary(operator: str) -> Callable[[Rewriter, onnx.NodeProto], None]:
    def convert(rewriter: Rewriter, node: onnx.NodeProto) -> None:
        inputs = [_operand(rewriter, node, 0), _operand(rewriter, node, 3)]
        rewriter.emit(operator, inputs, f"{node.output[0]}/float", node)
        _finish(rewriter, node, 6)

    return convert


def _unary(operator: str, *left_out: str) -> Callable[[Rewriter, onnx.NodeProto], None]:
    def convert(rewriter: Rewriter, node: onnx.NodeProto) -> None:
        if attribute(node, "channels_last", 0):
            raise NotConvertible(f"'{node.name}' ({node.op_type}) works on channels-last tensors")
        kept = _kept(node, "channels_last", *left_out)
        rewriter.emit(operator, [_operand(rewriter, node, 0)], f"{node.output[0]}/float", node, **kept)
        _finish(rewriter, node, 3)

    return convert


def _refused(_rewriter: Rewriter, node: onnx.NodeProto) -> None:
    raise NotConvertible(f"'{node.name}' is a {node.op_type}")


def _concat(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    inputs = [_operand(rewriter, node, place) for place in range(2, len(node.input), 3)]
    rewriter.emit("Concat", inputs, f"{node.output[0]}/float", node, **_kept(node))
    _finish(rewriter, node, 0)


def _integer_product(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    rewriter.integer_product(node, (node.input[0], node.input[1]))


def _with_bias(
    rewriter: Rewriter, node: onnx.NodeProto, operands: tuple[str, str], place: tuple[int, int, int]
) -> None:
    """A product whose node carries scale, zero point and bias of the constant operand itself."""
    scale, zero_point, bias = (_input(node, index) for index in place)
    output = node.output[0]
    product = f"{output}/product" if bias else output
    rewriter.float_product(node, operands, rewriter.array(scale, node), product, zero_point)
    if bias:
        adder = onnx.helper.make_node("Add", [product, bias], [output], name=f"{node.name}/bias")
        rewriter.emit("Add", [product, bias], output, adder)


def _dynamic_matrix_product(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    from gfpq_inspect.quantize.stored import DynamicUint8  # noqa: PLC0415  (only here)

    codes = f"{node.input[0]}/{node.name}"
    rewriter.quantize_value(node.input[0], codes, DynamicUint8(), f"{node.name}/quantize")
    _with_bias(rewriter, node, (codes, node.input[1]), (2, 3, 4))


def _scaled_matrix_product(rewriter: Rewriter, node: onnx.NodeProto) -> None:
    _with_bias(rewriter, node, (node.input[0], node.input[1]), (3, 5, 6))


INTEGER_PRODUCTS: dict[str, Callable[[Rewriter, onnx.NodeProto], None]] = {
    "MatMulInteger": _integer_product,
    "ConvInteger": _integer_product,
    "DynamicQuantizeMatMul": _dynamic_matrix_product,
    "MatMulIntegerToFloat": _scaled_matrix_product,
}
"""Products of codes by operator."""

_MICROSOFT = "com.microsoft"
LINEAR_OPERATORS: dict[tuple[str, str], Callable[[Rewriter, onnx.NodeProto], None]] = {
    ("", "QLinearConv"): _convolution,
    ("", "QLinearMatMul"): _matrix_product,
    (_MICROSOFT, "QGemm"): _gemm,
    (_MICROSOFT, "QLinearAdd"): _binary("Add"),
    (_MICROSOFT, "QLinearMul"): _binary("Mul"),
    (_MICROSOFT, "QLinearSigmoid"): _unary("Sigmoid"),
    (_MICROSOFT, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (_MICROSOFT, "QLinearSoftmax"): _unary("Softmax", "opset"),
    (_MICROSOFT, "QLinearAveragePool"): _unary("AveragePool"),
    (_MICROSOFT, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    # Its axes are an attribute, which ReduceMean takes no more from opset 18 on.
    (_MICROSOFT, "QLinearReduceMean"): _refused,
    (_MICROSOFT, "QLinearConcat"): _concat,
    (_MICROSOFT, "QLinearWhere"): _refused,
    (_MICROSOFT, "QAttention"): _refused,
    (_MICROSOFT, "QEmbedLayerNormalization"): _refused,
    (_MICROSOFT, "QOrderedMatMul"): _refused,
    (_MICROSOFT, "DynamicQuantizeLSTM"): _refused,
    (_MICROSOFT, "MatMulNBits"): _refused,
    (_MICROSOFT, "QMoE"): _refused,
    (_MICROSOFT, "NhwcMaxPool"): _refused,
}
"""QOperator nodes by domain and operator."""

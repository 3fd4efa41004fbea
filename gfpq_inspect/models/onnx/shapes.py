"""Shapes of the values of an ONNX model, as far as they are known before it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

Shapes = Mapping[str, tuple[int, ...]]

_LARGE = 4096


def infer_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Static shapes by value name; initializers included.

    An open batch axis counts as one sample. Values whose shape cannot be worked out are left out: shapes here only
    serve figures such as multiply-adds, running never depends on them.
    """
    light = onnx.ModelProto()
    light.ir_version = max(model.ir_version, 8)  # before 4, shape inference looks for weights among the inputs
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = model.graph.name or "graph"
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(model.graph.output)
    light.graph.input.extend(model.graph.input)
    for value in light.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if not dimension.dim_value:
                dimension.dim_value = 1
    shapes = {}
    for tensor in model.graph.initializer:
        shapes[tensor.name] = tuple(tensor.dims)
        # Large weights would only be copied; their type is all that shape inference looks at.
        if math.prod(tensor.dims) > _LARGE:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(value)
        else:
            light.graph.initializer.append(tensor)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return shapes
    for value in [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]:
        dimensions = value.type.tensor_type.shape.dim
        known = value.type.tensor_type.HasField("shape") and all(entry.HasField("dim_value") for entry in dimensions)
        if known:
            shapes.setdefault(value.name, tuple(entry.dim_value for entry in dimensions))
    return shapes


def multiply_adds(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Multiply-adds of a convolution or matrix product for one sample; None where the notion makes no sense."""
    if node.op_type in ("Conv", "FusedConv"):
        return _convolution(node, shapes, node.output[0])
    if node.op_type == "ConvTranspose":
        return _convolution(node, shapes, node.input[0])
    if node.op_type in ("Gemm", "MatMul", "FusedGemm", "FusedMatMul"):
        left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
        if not left or output is None:
            return None
        transposed = any(entry.name == "transA" and entry.i for entry in node.attribute)
        return math.prod(output) * (left[-2] if transposed else left[-1])
    return None


def _convolution(node: onnx.NodeProto, shapes: Shapes, spatial: str) -> int | None:
    """Every position of the output (of a transposed one: of the input) meets the whole kernel of its channel."""
    weight, side = shapes.get(node.input[1]), shapes.get(spatial)
    return math.prod(side) * math.prod(weight[1:]) if weight and side else None

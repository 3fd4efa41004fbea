"""Every operator that the PyTorch engine has, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from gfpq_inspect.analyze.engine.steps import session_options  # noqa: E402  (PyTorch decides whether to go on)
from gfpq_inspect.analyze.engine.torch_call import Call, UnsupportedError  # noqa: E402 (after the skip)
from gfpq_inspect.analyze.engine.torch_steps import OPERATORS  # noqa: E402 (after the skip)

Array = NDArray[Any]


def data(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


def positive(*shape: int) -> Array:
    return np.abs(data(*shape)) + np.float32(0.1)


X4, X3, X2 = data(2, 4, 7, 9), data(2, 4, 11), data(3, 5)
CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    *[(name, [X4], {}, 17) for name in ("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Neg", "Relu", "Round", "Sigmoid",
                                        "Sign", "Sin", "Softplus", "Softsign", "Tanh", "IsNaN", "IsInf", "HardSwish",
                                        "Identity", "Flatten", "Shape", "Size", "Transpose", "GlobalAveragePool",
                                        "GlobalMaxPool", "Elu", "Selu", "LeakyRelu", "HardSigmoid", "Dropout",
                                        "ThresholdedRelu")],
    *[(name, [positive(3, 4)], {}, 17) for name in ("Log", "Sqrt", "Reciprocal")],
    *[(name, [X2, data(5, seed=1)], {}, 17) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean",
                                                        "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "PRelu")],
    *[(name, [X2 > 0, X2 > 0.5], {}, 17) for name in ("And", "Or", "Xor")],
    ("Not", [X2 > 0], {}, 17),
    ("Mish", [X2], {}, 18),
    ("Gelu", [X2], {}, 20),
    ("Gelu", [X2], {"approximate": "tanh"}, 20),
    ("Equal", [ints(1, 2, 3), ints(1, 5, 3)], {}, 17),
    ("Div", [ints(7, -7, 9), ints(2, 2, -4)], {}, 17),
    ("Mod", [ints(7, -7, 9), ints(2, 3, -4)], {}, 17),
    ("Mod", [X2, np.float32(0.7)], {"fmod": 1}, 17),
    ("Pow", [positive(3, 4), np.float32(1.5)], {}, 17),
    ("Elu", [X4], {"alpha": 0.4}, 17),
    ("HardSigmoid", [X4], {"alpha": 0.16, "beta": 0.4}, 17),
    ("LeakyRelu", [X4], {"alpha": 0.3}, 17),
    ("PRelu", [X4, data(4, 1, 1, seed=3)], {}, 17),
    ("Clip", [X4, np.float32(-0.5), np.float32(0.7)], {}, 17),
    ("Clip", [X4, None, np.float32(0.7)], {}, 17),
    ("Clip", [X4], {"min": -0.2, "max": 0.1}, 8),
    *[(name, [X4], {"axis": axis}, opset) for name in ("Softmax", "LogSoftmax") for axis, opset in ((1, 13), (1, 9),
                                                                                                 (-1, 13), (2, 11))],
    ("BatchNormalization", [X4, data(4), data(4, seed=1), data(4, seed=2), positive(4)], {"epsilon": 1e-3}, 15),
    ("InstanceNormalization", [X4, data(4), data(4, seed=1)], {"epsilon": 1e-3}, 17),
    ("LayerNormalization", [X4, data(9), data(9, seed=1)], {}, 17),
    *[("LRN", [X4], {"size": size, "alpha": 0.2, "beta": 0.6, "bias": 1.5}, 17) for size in (3, 5)],
    ("LpNormalization", [X4], {"axis": 1, "p": 2}, 17),
    ("MatMul", [data(2, 3, 4), data(4, 5)], {}, 17),
    ("Gemm", [X2, data(5, 6), data(6)], {}, 17),
    ("Gemm", [X2, data(6, 3), data(5, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}, 17),
    *[(name, [positive(2, 3, 4)], {"axes": [1, -1], "keepdims": keep}, 11)
      for name in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
                   "ReduceSumSquare") for keep in (0, 1)],
    ("ReduceSum", [X4, ints(2, 3)], {}, 13),
    ("ReduceMean", [X4], {}, 13),
    ("ReduceSum", [X4], {"noop_with_empty_axes": 1}, 13),
    ("ArgMax", [X4], {"axis": 1}, 13),
    ("ArgMin", [np.round(X4)], {"axis": 3, "keepdims": 0, "select_last_index": 1}, 13),
    # windows
    ("Conv", [X4, data(6, 4, 3, 3), data(6)], {"pads": [1, 1, 1, 1], "strides": [2, 1]}, 17),
    ("Conv", [X4, data(8, 2, 3, 2)], {"group": 2, "dilations": [2, 1], "pads": [0, 1, 2, 0]}, 17),
    ("Conv", [X4, data(6, 4, 3, 2)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 17),
    ("Conv", [X4, data(6, 4, 3, 2)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, 17),
    ("Conv", [X3, data(6, 4, 3)], {"pads": [2, 1]}, 17),
    ("Conv", [data(1, 2, 4, 5, 6), data(3, 2, 2, 2, 2)], {}, 17),
    ("ConvTranspose", [X4, data(4, 3, 4, 4), data(3)], {"strides": [2, 2], "pads": [1, 1, 1, 1]}, 17),
    ("ConvTranspose", [X4, data(4, 2, 3, 3), data(4)], {"strides": [2, 3], "group": 2, "output_padding": [1, 1]}, 17),
    ("ConvTranspose", [X4, data(4, 3, 3, 3)], {"pads": [0, 1, 2, 0], "strides": [2, 2], "dilations": [2, 1]}, 17),
    *[(name, [X4], {"kernel_shape": [3, 2], "strides": [2, 2], **more}, 17) for name in ("MaxPool", "AveragePool")
      for more in ({}, {"pads": [1, 0, 1, 1]}, {"ceil_mode": 1}, {"ceil_mode": 1, "pads": [1, 1, 1, 0]},
                   {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"strides": [3, 4], "ceil_mode": 1})],
    ("AveragePool", [X4],
     {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 17),
    ("MaxPool", [X4], {"kernel_shape": [2, 2], "dilations": [2, 2]}, 17),
    ("MaxPool", [X3], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}, 17),
    ("AveragePool", [X3], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}, 17),
    *[("Resize", [X4, None, np.array([1, 1, 2, 1.5], np.float32)],
       {"mode": mode, "coordinate_transformation_mode": how}, 13)
      for mode in ("nearest", "linear") for how in ("half_pixel", "asymmetric", "align_corners",
                                                         "pytorch_half_pixel")],
    *[("Resize", [X4, None, None, ints(2, 4, 3, 5)], {"nearest_mode": how}, 13)
      for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")],
    ("Resize", [X4, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}, 10),
    ("Upsample", [X4, np.array([1, 1, 2, 3], np.float32)], {"mode": "nearest"}, 9),
    ("Upsample", [X4, np.array([1, 1, 2, 2], np.float32)], {"mode": "linear"}, 9),
    # moves of data
    ("Cast", [X4], {"to": onnx.TensorProto.INT32}, 17),
    ("Concat", [X2, data(3, 2)], {"axis": -1}, 17),
    ("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([7], np.int64))}, 17),
    ("ConstantOfShape", [ints(2, 3)], {}, 17),
    *[("DepthToSpace", [data(1, 8, 2, 3)], {"blocksize": 2, "mode": mode}, 17) for mode in ("DCR", "CRD")],
    ("SpaceToDepth", [data(1, 2, 4, 6)], {"blocksize": 2}, 17),
    ("Expand", [data(3, 1), ints(2, 1, 4)], {}, 17),
    ("Flatten", [X4], {"axis": -2}, 17),
    ("Flatten", [X4], {"axis": 0}, 17),
    ("Gather", [X4, np.array([[0, -1], [2, 1]], np.int64)], {"axis": 1}, 17),
    ("Gather", [X4, np.array(1, np.int64)], {"axis": -1}, 17),
    ("GatherElements", [X2, np.array([[0, -1], [2, 1], [0, 0]], np.int64)], {"axis": 1}, 17),
    ("ScatterElements", [X2, np.array([[0, -1], [2, 1]], np.int64), data(2, 2)], {"axis": 1}, 17),
    ("Pad", [X4, ints(0, 0, 1, 2, 0, 0, 3, 0), np.float32(1.5)], {}, 17),
    ("Pad", [X4, ints(0, 0, -1, 2, 0, 0, 0, -2)], {}, 17),
    ("Pad", [X4, ints(1, 2, 3, 0), None, ints(2, 3)], {}, 18),
    *[("Pad", [X4, ints(0, 0, 2, 1, 0, 0, 3, 4)], {"mode": mode}, 17) for mode in ("reflect", "edge")],
    ("Pad", [X4], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 0.5}, 9),
    ("Range", [np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)], {}, 17),
    ("Reshape", [X4, ints(0, -1, 9)], {}, 17),
    ("Shape", [X4], {"start": 1, "end": -1}, 17),
    ("Slice", [X4, ints(1, -1), ints(100, 0), ints(1, 3), ints(2, -2)], {}, 17),
    ("Slice", [X4, ints(-3), ints(-1), ints(-2)], {}, 17),
    ("Slice", [X4, ints(-1), ints(-(2**62)), ints(2), ints(-1)], {}, 17),
    ("Slice", [X4], {"starts": [1], "ends": [3], "axes": [2]}, 9),
    ("Split", [X4, ints(3, 4)], {"axis": 2}, 17),
    ("Split", [X4], {"axis": 1}, 17),
    ("Squeeze", [data(1, 3, 1), ints(0)], {}, 17),
    ("Squeeze", [data(1, 3, 1)], {}, 17),
    ("Unsqueeze", [X2, ints(0, -1)], {}, 17),
    ("Unsqueeze", [X2], {"axes": [1, 3]}, 11),
    ("Tile", [X2, ints(2, 3)], {}, 17),
    ("Transpose", [X4], {"perm": [0, 2, 3, 1]}, 17),
    ("Where", [X2 > 0, X2, np.float32(4)], {}, 17),
]  # fmt: skip


def model_of(operator: str, inputs: list[Any], attributes: dict[str, Any], opset: int, outputs: int) -> onnx.ModelProto:
    names = [f"x{index}" if value is not None else "" for index, value in enumerate(inputs)]
    results = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(operator, names, results, **attributes)
    values = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype), np.shape(value))
        for name, value in zip(names, inputs, strict=True)
        if value is not None
    ]
    graph = helper.make_graph([node], "one", values, [onnx.ValueInfoProto(name=name) for name in results])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def in_torch(model: onnx.ModelProto, inputs: list[Any], opset: int) -> list[Array]:
    node = model.graph.node[0]
    arrays = [None if value is None else np.asarray(value) for value in inputs]
    tensors = [None if array is None else torch.from_numpy(array.copy()) for array in arrays]
    attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    results = OPERATORS[node.op_type](Call(tensors, [None] * len(arrays), attributes, opset, len(node.output)))
    several = [results] if isinstance(results, torch.Tensor) else results
    return [tensor.numpy() for tensor in several]


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "opset"),
    CASES,
    ids=[f"{index}-{case[0]}" for index, case in enumerate(CASES)],
)
def test_as_onnx_runtime(operator: str, inputs: list[Any], attributes: dict[str, Any], opset: int) -> None:
    model = model_of(operator, inputs, attributes, opset, 2 if operator == "Split" else 1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), session_options())
    expected = session.run(None, {f"x{i}": np.asarray(value) for i, value in enumerate(inputs) if value is not None})
    found = in_torch(model, inputs, opset)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)


def test_every_operator_is_tested() -> None:
    assert set(OPERATORS) == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Resize", [X4, None, np.array([1, 1, 2, 2], np.float32)], {"mode": "cubic"}),
        ("BatchNormalization", [X4, data(4), data(4), data(4), positive(4)], {"training_mode": 1}),
        ("ScatterElements", [X2, np.array([[0]], np.int64), data(1, 1)], {"reduction": "add"}),
    ],
)
def test_what_is_not_there_says_so(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError):
        in_torch(model_of(operator, inputs, attributes, 17, 1), inputs, 17)

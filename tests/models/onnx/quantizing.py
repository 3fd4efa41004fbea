"""Small float networks and their quantized forms, made by ONNX Runtime's own quantizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import LayerRow, Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.inputs.callables import open_values
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

Array = np.ndarray[Any, Any]


def samples(count: int = 4) -> Array:
    """Images that the networks are calibrated and compared on."""
    return np.random.default_rng(7).normal(size=(count, 3, 12, 12)).astype(np.float32)


def float_network(path: Path, *, affine: bool = True) -> Path:
    """A residual network with folded layers, branches that read one value, Clip, pooling and a dense layer."""
    random = np.random.default_rng(3)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def tensor(name: str, array: Any) -> str:
        tensors.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(operator, inputs, [output], name=f"{operator}_{output}", **attributes))
        return output

    def conv(source: str, name: str, filters: int, channels: int, size: int, *, group: int = 1) -> str:
        weight = random.normal(size=(filters, channels // group, size, size)).astype(np.float32)
        weight *= np.sqrt(2 / weight[0].size) * random.uniform(0.5, 1.5, (filters, 1, 1, 1)).astype(np.float32)
        bias = random.normal(size=filters).astype(np.float32) * 0.1
        inputs = [source, tensor(f"{name}.weight", weight), tensor(f"{name}.bias", bias)]
        output = add("Conv", inputs, name, pads=[size // 2] * 4, kernel_shape=[size, size], group=group)
        if not affine:
            return output
        spread = random.uniform(0.5, 2, filters).astype(np.float32)
        parameters = {"gamma": spread, "beta": spread - 1, "mean": spread / 3, "variance": spread**2}
        names = [tensor(f"{name}.{key}", array) for key, array in parameters.items()]
        return add("BatchNormalization", [output, *names], f"{name}_bn")

    stem = add("Relu", [conv("image", "stem", 8, 3, 3)], "stem_relu")
    tensor("zero", np.float32(0))
    tensor("six", np.float32(6))
    deep = add("Clip", [conv(stem, "depthwise", 8, 8, 3, group=8), "zero", "six"], "depthwise_clip")
    deep = conv(deep, "pointwise", 8, 8, 1)
    joined = add("Relu", [add("Add", [stem, deep], "joined")], "joined_relu")
    left = add("Relu", [conv(joined, "left", 4, 8, 1)], "left_relu")
    right = add("Relu", [conv(joined, "right", 4, 8, 1)], "right_relu")
    pooled = add(
        "MaxPool", [add("Concat", [left, right], "both", axis=1)], "pooled", kernel_shape=[2, 2], strides=[2, 2]
    )
    flat = add("Flatten", [add("GlobalAveragePool", [pooled], "averaged")], "flat")
    weight = tensor("dense.weight", random.normal(size=(5, 8)).astype(np.float32))
    add("Gemm", [flat, weight, tensor("dense.bias", np.ones(5, np.float32))], "scores", transB=1)
    graph = onnx.helper.make_graph(
        nodes,
        "residual",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["n", 3, 12, 12])],
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", 5])],
        tensors,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


class Images(CalibrationDataReader):  # type: ignore[misc]  # the base class has no types
    """The samples, one at a time."""

    def __init__(self, name: str = "image") -> None:
        self._left: Iterator[Array] = iter(samples())
        self._name = name

    def get_next(self) -> dict[str, Array] | None:
        """The next one."""
        image = next(self._left, None)
        return None if image is None else {self._name: image[None]}


def quantized(source: Path, target: Path, *, fold: bool = True, **options: Any) -> Path:
    """Static quantization by ONNX Runtime, after its own optimisation where `fold` asks for it."""
    prepared = source
    if fold:
        prepared = target.with_name(f"{target.stem}-prepared.onnx")
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
    options = {"quant_format": QuantFormat.QDQ, "per_channel": True, "activation_type": QuantType.QUInt8} | options
    quantize_static(prepared, target, Images(), **({"weight_type": QuantType.QInt8} | options))
    return target


def dynamic(source: Path, target: Path, **options: Any) -> Path:
    """Dynamic quantization by ONNX Runtime."""
    quantize_dynamic(source, target, **options)
    return target


def renamed(source: Path, target: Path) -> Path:
    """The same network with names that say nothing."""
    model = onnx.load(source)
    kept = {value.name for value in [*model.graph.input, *model.graph.output]}
    names: dict[str, str] = {"": ""}

    def name(old: str) -> str:
        return old if old in kept else names.setdefault(old, f"t{len(names)}")

    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
        node.input[:] = [name(old) for old in node.input]
        node.output[:] = [name(old) for old in node.output]
    for tensor in model.graph.initializer:
        tensor.name = name(tensor.name)
    del model.graph.value_info[:]
    onnx.save(model, target)
    return target


def model_of(path: Path) -> Model:
    """A network of these, for one sample."""
    return open_network(path).build()


def compared(first: Path, second: Path, data: Array | None = None, **options: Any) -> Result:
    """The whole comparison; the first model is not simulated in any format unless asked for."""
    one, other = model_of(first), model_of(second)
    source = open_values(samples() if data is None else data, one.inputs, batchable=one.batchable)
    given: dict[str, Any] = {"bits": None, "workers": 1, "timing": False} | options
    return compare_networks(ComparisonRequest(first=one, second=other, source=source, **given))


def run_exactly(path: Path, data: Array, name: str | None = None) -> Array:
    """What ONNX Runtime computes without fusing anything, sample by sample."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    return np.concatenate([session.run(name and [name], {feed: image[None]})[0] for image in data])


def row_of(result: Result, name: str) -> LayerRow:
    """The row of a layer."""
    return next(row for row in result.layers if row.key == name)


def sqnr_db(reference: Array, test: Array) -> float:
    """By its definition."""
    signal, error = reference.astype(np.float64), test.astype(np.float64) - reference
    return float(10 * np.log10((signal**2).sum() / (error**2).sum()))

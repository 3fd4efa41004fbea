"""Small networks and samples that the analyzer's tests are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gfpq_inspect.inputs.source import InputFacts
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx


class ArraySource:
    """Samples from arrays: axis 0 counts them, the rest is one sample without its batch axis of 1."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)
        self.names = tuple(arrays)
        self.count = len(next(iter(arrays.values())))
        self.identities = [f"sample[{index}]" for index in range(self.count)]

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        for first in range(0, self.count, size):
            batch = {}
            for name, array in self._arrays.items():
                part = array[first : first + size]
                shape = shapes[name]
                batch[name] = part.reshape(len(part) * shape[0], *shape[1:]) if shape else part[0]
            yield batch

    def facts(self) -> InputFacts:
        return InputFacts(False, "arrays of a test", self.count, tuple(self.identities), {}, None, "")


class GraphMaker:
    """Builds an ONNX file node by node, with seeded weights."""

    def __init__(self, *, seed: int = 0, opset: int = 17, batch: str | int = "batch") -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.opset = opset
        self.batch = batch

    def input(self, name: str, *shape: int, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, [self.batch, *shape]))
        return name

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, name: str, *shape: int, scale: float = 0.3) -> str:
        return self.constant(name, (self.random.standard_normal(shape) * scale).astype(np.float32))

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def conv(self, source: str, name: str, channels: tuple[int, int], kernel: int = 3, group: int = 1) -> str:
        weight = self.weight(f"{name}_w", channels[1], channels[0] // group, kernel, kernel)
        bias = self.weight(f"{name}_b", channels[1])
        return self.node("Conv", [source, weight, bias], name, pads=[kernel // 2] * 4, group=group)

    def model(self, *outputs: str, output_type: int = TensorProto.FLOAT) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "test",
            self.inputs,
            [helper.make_tensor_value_info(name, output_type, None) for name in outputs],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def build(self, folder: Path, *outputs: str, name: str = "net.onnx") -> Model:
        path = folder / name
        onnx.save(self.model(*outputs), path)
        return read_onnx(path).build()


def small_network(seed: int = 0, batch: str | int = "batch") -> GraphMaker:
    """Convolutions, pooling, a branch, a residual sum and a head: every way in which tensors are shared."""
    maker = GraphMaker(seed=seed, batch=batch)
    x = maker.input("x", 3, 8, 8)
    maker.conv(x, "conv1", (3, 8))
    maker.node("Relu", ["conv1"], "relu1")
    maker.node("MaxPool", ["relu1"], "pool1", kernel_shape=[2, 2], strides=[2, 2])
    maker.conv("pool1", "branch_a", (8, 8), 1)
    maker.conv("pool1", "branch_b", (8, 8), group=8)
    maker.node("Add", ["branch_a", "branch_b"], "sum")
    maker.node("Concat", ["sum", "pool1"], "concat", axis=1)
    maker.node("GlobalAveragePool", ["concat"], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 10, 16), maker.weight("fc_b", 10)], "fc", transB=1)
    maker.node("Softmax", ["fc"], "prob", axis=1)
    return maker


def samples(count: int, *shape: int, seed: int = 1) -> NDArray[np.float32]:
    """Seeded Gaussian samples."""
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)

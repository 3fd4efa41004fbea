"""Networks of well-known shapes with random weights: only what they cost counts.

Weights are scaled so that activations neither vanish nor grow without bound. BatchNorm is folded unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 224


class Builder:
    """Adds layers one after the other; every method gives the name and the channels of what it made."""

    def __init__(self, *, separate_norm: bool = False, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._separate = separate_norm
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def tensor(self, array: np.ndarray) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def weight(self, *shape: int, gain: float = 1.0) -> str:
        fan_in = int(np.prod(shape[1:]))
        return self.tensor(self._random.standard_normal(shape, np.float32) * np.float32(gain * np.sqrt(2 / fan_in)))

    def conv(
        self, source: str, width: tuple[int, int], kernel: int, *, stride: int = 1, group: int = 1, gain: float = 1.0
    ) -> str:
        before, after = width
        inputs = [source, self.weight(after, before // group, kernel, kernel, gain=gain)]
        if not self._separate:
            inputs.append(self.tensor(np.zeros(after)))
        pads = [kernel // 2] * 4
        made = self.add("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=group)
        if not self._separate:
            return made
        ones, zeros = self.tensor(np.ones(after)), self.tensor(np.zeros(after))
        return self.add("BatchNormalization", [made, ones, zeros, zeros, ones])

    def relu(self, source: str) -> str:
        return self.add("Relu", [source])

    def clip(self, source: str) -> str:
        return self.add("Clip", [source, self.tensor(np.array(0.0)), self.tensor(np.array(6.0))])

    def dense(self, source: str, before: int, after: int) -> str:
        return self.add("Gemm", [source, self.weight(after, before), self.tensor(np.zeros(after))], transB=1)

    def head(self, source: str) -> str:
        return self.add("Flatten", [self.add("GlobalAveragePool", [source])])

    def model(self, output: str, sample: tuple[int, ...] = (3, SIDE, SIDE)) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "shape",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, *sample])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            self.tensors,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def resnet50(make: Builder) -> str:
    source = make.relu(make.conv("input", (3, 64), 7, stride=2))
    source = make.add("MaxPool", [source], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    width = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner, outer = 64 << stage, 256 << stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            branch = make.relu(make.conv(source, (width, inner), 1))
            branch = make.relu(make.conv(branch, (inner, inner), 3, stride=stride))
            branch = make.conv(branch, (inner, outer), 1, gain=0.3)
            shortcut = source if block else make.conv(source, (width, outer), 1, stride=stride, gain=0.7)
            source, width = make.relu(make.add("Add", [branch, shortcut])), outer
    return make.dense(make.head(source), 2048, 1000)


def mobilenetv2(make: Builder) -> str:
    source, width = make.clip(make.conv("input", (3, 32), 3, stride=2)), 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outer, blocks, first_stride in stages:
        for block in range(blocks):
            stride, inner = first_stride if not block else 1, width * expansion
            branch = source if expansion == 1 else make.clip(make.conv(source, (width, inner), 1))
            branch = make.clip(make.conv(branch, (inner, inner), 3, stride=stride, group=inner))
            branch = make.conv(branch, (inner, outer), 1, gain=0.7)
            source = make.add("Add", [source, branch]) if block else branch
            width = outer
    source = make.clip(make.conv(source, (width, 1280), 1))
    return make.dense(make.head(source), 1280, 1000)


def squeezenet(make: Builder) -> str:
    def pool(source: str) -> str:
        return make.add("MaxPool", [source], kernel_shape=[3, 3], strides=[2, 2])

    source, width = pool(make.relu(make.conv("input", (3, 64), 3, stride=2))), 64
    for index, (narrow, wide) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        if index in (2, 4):
            source = pool(source)
        squeezed = make.relu(make.conv(source, (width, narrow), 1))
        branches = [make.relu(make.conv(squeezed, (narrow, wide), kernel)) for kernel in (1, 3)]
        source, width = make.add("Concat", branches, axis=1), 2 * wide
    return make.head(make.relu(make.conv(source, (width, 1000), 1)))


def vgg16(make: Builder) -> str:
    source, width = "input", 3
    for channels, layers in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(layers):
            source, width = make.relu(make.conv(source, (width, channels), 3)), channels
        source = make.add("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])
    source = make.add("Flatten", [source])
    source = make.relu(make.dense(source, 512 * 7 * 7, 4096))
    return make.dense(make.relu(make.dense(source, 4096, 4096)), 4096, 1000)


def lenet(make: Builder) -> str:
    """One channel of 28 x 28."""
    source = "input"
    for width in ((1, 20), (20, 50)):
        source = make.add("Conv", [source, make.weight(width[1], width[0], 5, 5), make.tensor(np.zeros(width[1]))])
        source = make.add("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])
    source = make.relu(make.dense(make.add("Flatten", [source]), 50 * 4 * 4, 500))
    return make.add("Softmax", [make.dense(source, 500, 10)])


def det1(make: Builder) -> str:
    """Three channels of 12 x 12; the first of the network's two outputs."""
    source = "input"
    for index, width in enumerate(((3, 10), (10, 16), (16, 32))):
        convolved = make.add("Conv", [source, make.weight(width[1], width[0], 3, 3), make.tensor(np.zeros(width[1]))])
        source = make.add("PRelu", [convolved, make.tensor(np.full((width[1], 1, 1), 0.25))])
        if not index:
            source = make.add("MaxPool", [source], kernel_shape=[2, 2], strides=[2, 2])
    return make.add("Softmax", [make.conv(source, (32, 2), 1)], axis=1)


def chain(make: Builder, layers: int) -> str:
    """Convolutions of one width, one after the other: only their number counts. 32 x 32 pixels, 3 channels in."""
    source, width = "input", 3
    for _ in range(layers // 2):
        source, width = make.relu(make.conv(source, (width, 16), 3)), 16
    return source


SHAPES: dict[str, tuple[Callable[[Builder], str], bool]] = {
    "mobilenetv2": (mobilenetv2, False),
    "mobilenetv2_norm": (mobilenetv2, True),
    "squeezenet": (squeezenet, False),
    "resnet50": (resnet50, False),
    "resnet50_norm": (resnet50, True),
    "vgg16": (vgg16, False),
}
"""Name to how it is made, and whether BatchNorm stands apart."""


def write(name: str, folder: Path) -> Path:
    """Write one network; returns its file."""
    make, separate = SHAPES[name]
    builder = Builder(separate_norm=separate)
    path = folder / f"{name}.onnx"
    onnx.save(builder.model(make(builder)), path)
    return path

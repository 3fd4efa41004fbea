"""Networks and faults that the sample results are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gfpq_inspect.analyze.result import (
    Comparison,
)

ONE_MODEL = (
    Comparison("data", "data", "float", "quantization", "data quantized"),
    Comparison("weight", "weight", "float", "quantization", "weights quantized"),
    Comparison("both", "both", "float", "quantization", "both quantized"),
)
LOCAL = (
    Comparison("local_data", "local_data", "float", "local", "this layer alone, data quantized"),
    Comparison("local_weight", "local_weight", "float", "local", "this layer alone, weights quantized"),
    Comparison("local_both", "local_both", "float", "local", "this layer alone, data and weights quantized"),
    Comparison("inherited_both", "inherited_both", "float", "inherited", "what arrived from before"),
    Comparison("fresh_both", "both", "inherited_both", "fresh", "what this layer added"),
)
LOCAL_TUNED = (
    Comparison("local_tuned", "local_tuned", "tuned_float", "local", "second model, this layer alone"),
    Comparison(
        "inherited_tuned", "inherited_tuned", "tuned_float", "inherited", "second model, what arrived from before"
    ),
    Comparison("fresh_tuned", "tuned", "inherited_tuned", "fresh", "second model, what this layer added"),
)
TWO_MODELS = (
    *ONE_MODEL,
    Comparison("drift", "tuned_float", "float", "drift", "what training changed"),
    Comparison("tuned_data", "tuned_data", "tuned_float", "quantization", "tuned, data quantized"),
    Comparison("tuned_weight", "tuned_weight", "tuned_float", "quantization", "tuned, weights quantized"),
    Comparison("tuned", "tuned", "tuned_float", "quantization", "tuned, as deployed"),
    Comparison("total", "tuned", "float", "total", "tuned as deployed, against float"),
)
QUANTIZED_TYPES = {"Convolution", "InnerProduct", "Pooling", "Deconvolution", "DepthwiseConvolution"}
WITH_WEIGHTS = QUANTIZED_TYPES - {"Pooling"}
HOSTILE_NAMES = (
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "\"quoted\" & 'single' `tick` ${x} {{ 7*7 }}",
    "\u202egnp.exe\u202c right\u200fto left",
    "[bold red]rich[/bold red] [link=http://x]y[/link] [/]",
    "line\nbreak\ttab\x1b[31mred\x07\u2028\u2029",
    '=HYPERLINK("http://x","y")',
    "名前 \U0001f600 ñ",
    "lone \ud800 surrogate",
    "__proto__",
    "constructor",
    "n" * 5000,
)


@dataclass(frozen=True)
class Node:
    """A layer of a sample network."""

    name: str
    type: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]


def lenet() -> list[Node]:
    """Ten layers in a chain."""
    return [
        Node("data", "Input", (), (1, 1, 28, 28)),
        Node("conv1", "Convolution", (0,), (1, 20, 24, 24)),
        Node("pool1", "Pooling", (1,), (1, 20, 12, 12)),
        Node("conv2", "Convolution", (2,), (1, 50, 8, 8)),
        Node("pool2", "Pooling", (3,), (1, 50, 4, 4)),
        Node("ip1", "InnerProduct", (4,), (1, 500)),
        Node("relu1", "ReLU", (5,), (1, 500)),
        Node("drop1", "Dropout", (6,), (1, 500)),
        Node("ip2", "InnerProduct", (6,), (1, 10)),
        Node("prob", "Softmax", (8,), (1, 10)),
    ]


def residual_network(layers: int, *, separator: str = "_") -> list[Node]:
    """Residual blocks with BatchNorm and Scale, named as Caffe's ResNets are, or with slashes as ONNX exporters do."""
    nodes = [Node("data", "Input", (), (1, 3, 224, 224))]

    def add(name: str, kind: str, inputs: Sequence[int], shape: tuple[int, ...]) -> int:
        nodes.append(Node(name, kind, tuple(inputs), shape))
        return len(nodes) - 1

    shape: tuple[int, ...] = (1, 64, 112, 112)
    top = add("conv1", "Convolution", [0], shape)
    top = add("conv1_relu", "ReLU", [top], shape)
    shape = (1, 64, 56, 56)
    top = add("pool1", "Pooling", [top], shape)
    block = 0
    while len(nodes) < layers - 12:
        stage, letter = 2 + block // 6, chr(ord("a") + block % 6) + ("" if block < 600 else str(block))
        prefix = f"res{stage}{letter}" if separator == "_" else f"stage{stage}/block{block}"
        if block % 12 == 11 and shape[2] > 7:
            shape = (1, min(shape[1] * 2, 2048), shape[2] // 2, shape[3] // 2)
        shortcut = top
        for branch in ("branch2a", "branch2b", "branch2c"):
            top = add(f"{prefix}{separator}{branch}", "Convolution", [top], shape)
            top = add(f"{prefix}{separator}{branch}_bn", "BatchNorm", [top], shape)
            top = add(f"{prefix}{separator}{branch}_scale", "Scale", [top], shape)
            if branch != "branch2c":
                top = add(f"{prefix}{separator}{branch}_relu", "ReLU", [top], shape)
        if block % 6 == 0:
            shortcut = add(f"{prefix}{separator}branch1", "Convolution", [shortcut], shape)
        top = add(prefix if separator == "_" else f"{prefix}/add", "Eltwise", [shortcut, top], shape)
        top = add(f"{prefix}{separator}relu", "ReLU", [top], shape)
        block += 1
    pool = add("pool5", "Pooling", [top], (1, shape[1], 1, 1))
    score = add("fc1000", "InnerProduct", [pool], (1, 1000))
    add("prob", "Softmax", [score], (1, 1000))
    boxes = add("loc_conv", "Convolution", [top], (1, 16, 7, 7))
    boxes = add("loc_perm", "Permute", [boxes], (1, 7, 7, 16))
    confidence = add("conf_conv", "Convolution", [top], (1, 8, 7, 7))
    confidence = add("conf_perm", "Permute", [confidence], (1, 7, 7, 8))
    add("concat", "Concat", [boxes, confidence], (1, 7, 7, 24))
    return nodes


@dataclass(frozen=True)
class Fault:
    """Extra noise power, relative to the signal, that a layer adds.

    Attributes:
        layer: Name of the layer.
        data: Added by quantizing data.
        weight: Added by quantizing weights.
    """

    layer: str
    data: float = 0.0
    weight: float = 0.0

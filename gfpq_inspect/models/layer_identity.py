"""What a layer is, whatever its framework calls it: names and types made alike, and why it may have no partner."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gfpq_inspect.models.model import Layer, LayerKind

_SUFFIXES = ("_report", "_hp", "_cpu")

_CANONICAL_TYPES = {
    "Conv": "Convolution",
    "FusedConv": "Convolution",
    "com.microsoft.FusedConv": "Convolution",
    "QLinearConv": "Convolution",
    "ConvInteger": "Convolution",
    "DepthwiseConvolution": "Convolution",
    "DepthwiseConv": "Convolution",
    "ConvolutionDepthwise": "Convolution",
    "FQConvolution": "Convolution",
    "ConvTranspose": "Deconvolution",
    "Gemm": "InnerProduct",
    "MatMul": "InnerProduct",
    "QGemm": "InnerProduct",
    "com.microsoft.QGemm": "InnerProduct",
    "QLinearMatMul": "InnerProduct",
    "FQInnerProduct": "InnerProduct",
    "MaxPool": "Pooling",
    "AveragePool": "Pooling",
    "GlobalAveragePool": "Pooling",
    "GlobalMaxPool": "Pooling",
    "BatchNormalization": "BatchNorm",
    "Relu": "ReLU",
    "LeakyRelu": "ReLU",
    "PRelu": "PReLU",
    "Elu": "ELU",
    "Tanh": "TanH",
    "Abs": "AbsVal",
    "Transpose": "Permute",
    "Split": "Slice",
    "InstanceNormalization": "MVN",
}
"""Types that different frameworks and forks give to what is the same layer."""

_TRAINING_TYPES = re.compile(r"Loss$|^Accuracy$|^Silence$|^ArgMax$|DetectionEvaluate$|^Softmax.*Loss")
_DATA_TYPES = re.compile(r"Data$|^Input$|DataLayer$")


def plain_name(name: str) -> str:
    """A name without NNIE's suffixes and with special characters as tools write them ('/' and others become '_')."""
    text = re.sub(r"[^0-9A-Za-z_]", "_", name)
    while True:
        suffix = next((one for one in _SUFFIXES if text.endswith(one) and len(text) > len(one)), None)
        if suffix is None:
            return text
        text = text.removesuffix(suffix)


def canonical_type(layer: Layer) -> str:
    """The layer's type, the same for all frameworks and forks."""
    return _CANONICAL_TYPES.get(layer.type, layer.type)


def known_reason(layer: Layer) -> str | None:
    """Why a layer may be missing on the other side without a difference to the result."""
    if layer.kind is LayerKind.QUANT:
        return "a quantization point, which the other model does not have"
    if layer.kind is LayerKind.INPUT or _DATA_TYPES.search(layer.type):
        return "a data layer"
    if layer.kind is LayerKind.IDENTITY:
        return f"{layer.type} changes nothing at inference"
    if _TRAINING_TYPES.search(layer.type):
        return f"{layer.type} serves training and testing only"
    return None


def may_pair(one: Layer, other: Layer) -> bool:
    """A quantization point is only ever another one's partner."""
    return (one.kind is LayerKind.QUANT) == (other.kind is LayerKind.QUANT)


def type_differs(one: Layer, other: Layer) -> str:
    """How two layers of one name and two types are told of."""
    return f"by name; its type is {one.type} in the first and {other.type} in the second model"


def name_differs(one: Layer, other: Layer) -> str:
    """How a partner of another name is told of; `one` is for its type."""
    reason = f"called '{other.name}' in the second model"
    return reason if canonical_type(one) == canonical_type(other) else f"{reason}, of type {other.type}"


def output_agrees(_one: Layer, other: Layer) -> str:
    """How a partner that only shares the name of its output is told of."""
    return f"by the name of its output; the layer is called '{other.name}' in the second model"


def plain_outputs(layer: Layer) -> Iterable[str]:
    """Plain name of the first output."""
    return tuple(plain_name(name) for name in layer.blob_names[:1])

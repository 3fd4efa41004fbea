"""Random networks of every kind of layer that the optimiser, the taps or the lanes treat in a way of their own.

A network is made of choices: an operator, which of the earlier tensors it reads, and which of its variants. Shapes are
found by running every node as it is made, so that an operator that does not fit its input is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx

from ..networks import GraphMaker

Choice = tuple[str, int, int]
"""Operator, place of what it reads, variant."""

WIDTHS = (1, 3, 4, 8, 16, 17, 32, 33)
ACTIVATIONS = ("Abs", "Elu", "Erf", "HardSwish", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh")
SCALES = (1.0, 1.0, 1.0, 1e-12, 1e-6, 1e5, 1e12)


@dataclass
class _Tensor:
    name: str
    shape: tuple[int, ...]


@dataclass
class RandomGraph:
    """A network while it is made.

    Attributes:
        maker: Its nodes and weights.
        tensors: What can be read, the inputs first.
        arrays: What every tensor holds for one fixed sample: where the shapes come from.
        filters: Weights of convolutions that a later one may share, by shape.
    """

    maker: GraphMaker
    tensors: list[_Tensor] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    filters: dict[tuple[int, ...], str] = field(default_factory=dict)

    def tensor(self, place: int) -> _Tensor:
        return self.tensors[-1 - place % len(self.tensors)]

    def like(self, tensor: _Tensor, place: int) -> _Tensor:
        """Another tensor of the same shape, or the same one."""
        found = [entry for entry in self.tensors if entry.shape == tensor.shape]
        return found[place % len(found)]

    def constant(self, name: str, array: NDArray[Any]) -> str:
        self.arrays[name] = np.asarray(array)
        return self.maker.constant(name, array)

    def weight(self, name: str, *shape: int, scale: float = 0.3) -> str:
        return self.constant(name, (self.maker.random.standard_normal(shape) * scale).astype(np.float32))

    def add(self, operator: str, inputs: Sequence[str], name: str, *, outputs: int = 1, **attributes: Any) -> bool:
        """Add a node where ONNX Runtime takes it; whether it did."""
        names = [name] if outputs == 1 else [f"{name}_{index}" for index in range(outputs)]
        node = helper.make_node(operator, list(inputs), names, name=name, **attributes)
        try:
            results = self._run(node)
        except Exception:  # its refusals are of many classes
            return False
        if any(array.size == 0 or array.size > 60000 for array in results):
            return False
        self.maker.nodes.append(node)
        for output, array in zip(names, results, strict=True):
            self.arrays[output] = array
            if array.dtype == np.float32:
                self.tensors.append(_Tensor(output, array.shape))
        return True

    def _run(self, node: onnx.NodeProto) -> list[NDArray[Any]]:
        feeds = {name: self.arrays[name] for name in node.input if name}
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in feeds.items()
        ]
        graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=name) for name in node.output])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.maker.opset)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))


def _conv(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """Channels, kernel, stride, dilation, groups, padding, bias and shared weights as the variant says."""
    random = np.random.default_rng(variant)
    channels = source.shape[1]
    made = int(random.choice(WIDTHS))
    group = 1
    if random.random() < 0.35:
        group = channels if random.random() < 0.6 else int(random.choice([g for g in (1, 2, 4) if channels % g == 0]))
        made = group * max(1, made // group) if group < channels else channels * int(random.choice([1, 1, 2]))
    kernel = [(3, 3), (1, 1), (1, 3), (5, 5), (2, 2)][int(random.choice(5, p=[0.4, 0.3, 0.1, 0.1, 0.1]))]
    stride, dilation = [int(random.choice([1, 1, 2])) for _ in range(2)], int(random.choice([1, 1, 1, 2]))
    pads = [dilation * (length // 2) for length in kernel] * 2
    if random.random() < 0.2:
        pads = [int(pad) for pad in random.integers(0, 3, 4)]
    shape = (made, channels // group, *kernel)
    weight = graph.filters.get(shape) if random.random() < 0.5 else None
    weight = weight or graph.weight(f"{name}_w", *shape)
    graph.filters[shape] = weight
    inputs = [source.name, weight] + ([graph.weight(f"{name}_b", made)] if random.random() < 0.7 else [])
    graph.add("Conv", inputs, name, strides=stride, dilations=[dilation] * 2, pads=pads, group=group)


def _deconv(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    random = np.random.default_rng(variant)
    channels = source.shape[1]
    group = channels if random.random() < 0.3 else 1
    made = 1 if group > 1 else int(random.choice((1, 4, 16, 17)))
    kernel = int(random.choice([2, 3, 4]))
    inputs = [source.name, graph.weight(f"{name}_w", channels, made, kernel, kernel)]
    inputs += [graph.weight(f"{name}_b", made * group)] if random.random() < 0.5 else []
    pads = [int(random.choice([0, 1]))] * 4
    graph.add("ConvTranspose", inputs, name, strides=[int(random.choice([1, 2]))] * 2, pads=pads, group=group)


def _pool(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    random = np.random.default_rng(variant)
    kind = str(random.choice(["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"]))
    if kind.startswith("Global"):
        graph.add(kind, [source.name], name)
        return
    kernel = int(random.choice([2, 3]))
    given: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [int(random.choice([1, 2]))] * 2}
    given["pads"] = [int(random.choice([0, 1]))] * 4
    if kind != "LpPool":
        given["ceil_mode"] = int(random.random() < 0.4)
    if kind == "AveragePool":
        given["count_include_pad"] = int(random.random() < 0.5)
        if given["ceil_mode"]:
            given["pads"] = [0] * 4
    if min(source.shape[2:]) < kernel:
        return  # ONNX Runtime divides by zero where a window lies in the padding, or there is none
    graph.add(kind, [source.name], name, **given)


def _activation(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    graph.add(ACTIVATIONS[variant % len(ACTIVATIONS)], [source.name], name)


def _limited(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """Activations with parameters."""
    channels = (source.shape[1],) if len(source.shape) > 1 else (1,)
    if variant % 5 == 0:
        limits = [graph.constant(f"{name}_{i}", np.float32(limit)) for i, limit in enumerate((-0.5, 0.7))]
        graph.add("Clip", [source.name, *limits], name)
    elif variant % 5 == 1:
        graph.add("Clip", [source.name, graph.constant(f"{name}_low", np.float32(0.25))], name)  # not zero at zero
    elif variant % 5 == 2:
        graph.add("LeakyRelu", [source.name], name, alpha=0.1)
    elif variant % 5 == 3:
        slope = graph.weight(f"{name}_slope", *channels, *(1 for _ in source.shape[2:]))
        graph.add("PRelu", [source.name, slope], name)
    else:
        graph.add("HardSigmoid", [source.name], name, alpha=0.3, beta=0.4)


def _norm(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    random, channels = np.random.default_rng(variant), source.shape[1]
    scale = random.uniform(0.1, 2.0, channels).astype(np.float32)
    shift = random.uniform(-1.0, 1.0, channels).astype(np.float32)
    gamma, beta = graph.constant(f"{name}_gamma", scale), graph.constant(f"{name}_beta", shift)
    if variant % 4 == 0:
        graph.add("LRN", [source.name], name, size=3)
    elif variant % 4 == 1:
        graph.add("InstanceNormalization", [source.name, gamma, beta], name)
    else:
        mean = graph.constant(f"{name}_mean", shift[::-1].copy())
        variance = graph.constant(f"{name}_variance", (scale * scale)[::-1].copy())
        graph.add("BatchNormalization", [source.name, gamma, beta, mean, variance], name)


def _joined(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """Sums and products of two tensors, of a tensor and one value a channel, of a tensor and itself."""
    operator = ("Add", "Mul", "Sub", "Max", "Min", "Add", "Mul", "Sum")[variant % 8]
    other = graph.like(source, variant // 8).name
    if variant % 5 == 0 and len(source.shape) == 4:
        other = f"{name}_pooled"
        if not graph.add("GlobalAveragePool", [source.name], other):
            return
    elif variant % 5 == 1:
        other = graph.weight(f"{name}_c", *((source.shape[1], 1, 1) if len(source.shape) == 4 else (1,)))
    inputs = [source.name, other] if variant % 3 else [other, source.name]
    graph.add(operator, inputs, name)


def _concat(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    fitting = [
        entry.name
        for entry in graph.tensors
        if entry.shape[:1] + entry.shape[2:] == source.shape[:1] + source.shape[2:]
    ]
    others = [fitting[(variant // 3 + 5 * index) % len(fitting)] for index in range(1 + variant % 3)]
    graph.add("Concat", [source.name, *others], name, axis=1)


def _cut(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """Parts of a tensor, further ones around it, or a tensor in pieces."""

    def ints(suffix: str, *values: int) -> str:
        return graph.constant(f"{name}_{suffix}", np.array(values, np.int64))

    half = max(1, source.shape[1] // 2)
    if variant % 4 == 0:
        graph.add("Split", [source.name, ints("s", half, source.shape[1] - half)], name, outputs=2, axis=1)
    elif variant % 4 == 1:
        graph.add("Slice", [source.name, ints("b", 0), ints("e", half), ints("a", 1)], name)
    elif variant % 4 == 2:
        mode = ("constant", "reflect", "edge")[variant // 4 % 3]
        graph.add("Pad", [source.name, ints("p", 0, 0, 1, 1, 0, 0, 1, 0)], name, mode=mode)
    else:
        graph.add("Slice", [source.name, ints("b", 1, 0), ints("e", 99, -1), ints("a", 2, 3)], name)


def _resized(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    scales = graph.constant(f"{name}_s", np.array([1, 1, 2, 2], np.float32))
    if variant % 3 == 0:
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        graph.add("Resize", [source.name, "", scales], name, **how)
    elif variant % 3 == 1:
        how = ("half_pixel", "align_corners", "asymmetric")[variant // 3 % 3]
        graph.add("Resize", [source.name, "", scales], name, mode="linear", coordinate_transformation_mode=how)
    elif variant // 3 % 2:
        graph.add("DepthToSpace", [source.name], name, blocksize=2)
    else:
        graph.add("SpaceToDepth", [source.name], name, blocksize=2)


def _moved(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """Axes in another order, there and back or for good; other shapes; copies."""
    kind = variant % 7
    if kind == 0 and len(source.shape) == 4:
        if graph.add("Transpose", [source.name], f"{name}_there", perm=[0, 2, 3, 1]):
            graph.add("Transpose", [f"{name}_there"], name, perm=[0, 3, 1, 2])
    elif kind == 1 and len(source.shape) == 4:
        graph.add("Transpose", [source.name], name, perm=[0, 2, 3, 1])
    elif kind == 2:
        shape = graph.constant(f"{name}_s", np.array([0, -1, 1, 1], np.int64))
        graph.add("Reshape", [source.name, shape], name)
    elif kind == 3 and len(source.shape) == 4:
        shape = graph.constant(f"{name}_s", np.array([0, 0, -1], np.int64))
        graph.add("Reshape", [source.name, shape], name)
    elif kind == 4:
        graph.add("Identity", [source.name], name)
    elif kind == 5:
        graph.add("Dropout", [source.name], name)
    else:
        graph.add("Flatten", [source.name], name)


def _dense(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    flat, width = source, (1, 5, 10, 33)[variant % 4]
    if len(source.shape) != 2 and variant % 3:
        if not graph.add("Flatten", [source.name], f"{name}_flat"):
            return
        flat = graph.tensors[-1]
    if len(flat.shape) == 2 and variant % 2:
        weight = graph.weight(f"{name}_w", width, flat.shape[1], scale=0.1)
        graph.add("Gemm", [flat.name, weight, graph.weight(f"{name}_b", width)], name, transB=1)
    else:
        graph.add("MatMul", [flat.name, graph.weight(f"{name}_w", flat.shape[-1], width, scale=0.1)], name)


def _reduced(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    kind = variant % 5
    if kind == 0:
        graph.add("Softmax", [source.name], name, axis=(1, -1)[variant // 5 % 2])
    elif kind == 1:
        graph.add("ReduceMean", [source.name], name, axes=[len(source.shape) - 1], keepdims=1)
    elif kind == 2:
        graph.add("ReduceMax", [source.name], name, axes=[1], keepdims=variant // 5 % 2)
    elif kind == 3:
        graph.add("ArgMax", [source.name], name, axis=1)
    else:
        graph.add("LogSoftmax", [source.name], name, axis=1)


def _exotic(graph: RandomGraph, name: str, source: _Tensor, variant: int) -> None:
    """What gives numbers that are not finite, other types, or depends on shapes."""
    kind = variant % 6
    if kind == 0:
        graph.add("Log", [source.name], name)
    elif kind == 1:
        graph.add("Sqrt", [source.name], name)
    elif kind == 2 and graph.add("Cast", [source.name], f"{name}_wide", to=TensorProto.DOUBLE):
        graph.add("Cast", [f"{name}_wide"], name, to=TensorProto.FLOAT)
    elif kind == 3:
        graph.add("Exp", [source.name], name)
    elif kind == 4 and graph.add("Shape", [source.name], f"{name}_shape"):
        graph.add("Reshape", [source.name, f"{name}_shape"], name)
    elif kind == 5 and graph.add("Greater", [source.name, graph.like(source, variant // 6).name], f"{name}_more"):
        graph.add("Where", [f"{name}_more", source.name, graph.like(source, variant // 5).name], name)


OPERATORS: dict[str, Callable[[RandomGraph, str, _Tensor, int], None]] = {
    "conv": _conv,
    "deconv": _deconv,
    "pool": _pool,
    "activation": _activation,
    "limited": _limited,
    "norm": _norm,
    "joined": _joined,
    "concat": _concat,
    "cut": _cut,
    "resized": _resized,
    "moved": _moved,
    "dense": _dense,
    "reduced": _reduced,
    "exotic": _exotic,
}


def random_graph(choices: Sequence[Choice], seed: int) -> RandomGraph:
    """The network of some choices; the seed draws weights, and how many inputs there are and how large."""
    random = np.random.default_rng(seed)
    graph = RandomGraph(GraphMaker(seed=seed, batch=1))
    channels, size = int(random.choice([3, 1, 4, 17])), int(random.choice([12, 9, 1, 6]))
    for index in range(int(random.choice([1, 1, 2]))):
        name = f"x{index}"
        graph.maker.input(name, channels, size, size)
        graph.arrays[name] = random.standard_normal((1, channels, size, size)).astype(np.float32)
        graph.tensors.append(_Tensor(name, (1, channels, size, size)))
    for index, (operator, place, variant) in enumerate(choices):
        source = graph.tensor(place)
        if len(source.shape) == 4 or operator in ("activation", "limited", "joined", "moved", "dense", "reduced"):
            OPERATORS[operator](graph, f"{operator}{index}", source, variant)
    if not graph.maker.nodes:
        graph.add("Relu", ["x0"], "relu")
    return graph


def built(graph: RandomGraph, others: int = 0) -> Model:
    """The network read from a file; its outputs are the last tensor made, and some that stand for dead ends."""
    made = [name for node in graph.maker.nodes for name in node.output]
    floats = [name for name in made if graph.arrays[name].dtype == np.float32]
    outputs = dict.fromkeys([floats[-1] if floats else made[-1], *(made[(5 * i) % len(made)] for i in range(others))])
    proto = graph.maker.model()
    for name in outputs:
        array = graph.arrays[name]
        elements = helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.graph.output.append(helper.make_tensor_value_info(name, elements, None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(proto, path)
        return read_onnx(path).build()

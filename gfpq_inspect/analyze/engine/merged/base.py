"""The graph that every lane gets a copy of: a model's own nodes, or what ONNX Runtime's optimiser makes of them.

Optimised, convolutions and what stands between them keep their channels in blocks, which is what makes them fast. Every
layer's outputs stay visible, because the optimiser was told that they are outputs of the network: nothing is fused
across a tensor that is measured. What only changes the layout is set aside, so that a value has one place.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN, MATRIX_PRODUCTS, is_fed
from gfpq_inspect.analyze.engine.merged.external import hand_over, optimiser_options, read_back, shell_of, tensors_of
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.models.model import Layer, Model

Array = NDArray[Any]

_LAYOUT = ("ReorderInput", "ReorderOutput")

# Functions of one element that ONNX Runtime would leave the blocked layout for: they are shown to it as one that it
# keeps there. All are finite at zero, so that the padding stays harmless.
_ELEMENTWISE = frozenset(
    {"Abs", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Neg", "Selu", "Softplus", "Softsign"}
)


@dataclass(frozen=True)
class Place:
    """Where a value lies.

    Attributes:
        tensor: Its tensor in the graph.
        channels: Channels without padding where the layout is blocked, else 0.
    """

    tensor: str
    channels: int = 0


@dataclass
class Base:
    """A graph to make lanes of.

    Attributes:
        nodes: Layer key to its nodes, in order.
        layout: Tensor to the node that makes it from another layout of the same value.
        initializers: By name.
        places: Value to where it lies; values that are not here lie under their own name.
        value_of: Tensor to the value that it holds, in any layout.
        block: Channels in a block, 0 where nothing is blocked.
        opsets: Imported operator sets.
        functions: Functions of the model.
        reads: Layer key to the values of other layers that it reads, constants left out.
    """

    nodes: dict[str, list[onnx.NodeProto]]
    layout: dict[str, onnx.NodeProto]
    initializers: dict[str, Array]
    places: dict[str, Place]
    value_of: dict[str, str]
    block: int
    opsets: list[onnx.OperatorSetIdProto]
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    reads: dict[str, set[str]] = field(default_factory=dict)

    def place(self, value: str) -> Place:
        """Where a value lies."""
        return self.places.get(value, Place(value))


def plain_base(model: Model, known: Mapping[str, Array]) -> Base:
    """The model's own nodes; `known` initializers are taken as they are instead of being copied."""
    graph = model.graph.graph
    nodes = {node.name: node for node in graph.node}
    return Base(
        nodes={layer.key: [nodes[name] for name in layer.nodes] for layer in model.layers},
        layout={},
        initializers=tensors_of(model.graph, known),
        places={},
        value_of={},
        block=0,
        opsets=list(model.graph.opset_import),
        functions=list(model.graph.functions),
        reads=_reads_of(model),
    )


def _reads_of(model: Model) -> dict[str, set[str]]:
    nodes = {node.name: node for node in model.graph.graph.node}
    initializers = {tensor.name for tensor in model.graph.graph.initializer}
    reads = {}
    for layer in model.layers:
        own = {name for node in layer.nodes for name in nodes[node].output}
        read = {name for node in layer.nodes for name in nodes[node].input if name}
        reads[layer.key] = read - own - initializers
    return reads


def optimised_base(
    model: Model,
    shapes: Mapping[str, Sequence[int]],
    constants: set[str],
    known: Mapping[str, Array],
    left_out: Collection[str] = (),
) -> Base:
    """What ONNX Runtime's optimiser makes of a model.

    Args:
        model: The model.
        shapes: Graph input to its shape.
        constants: Values that no sample reaches.
        known: Initializers that are arrays already.
        left_out: Keys of layers that run by themselves; what they give is an input of the graph.

    Raises:
        NotMerged: The optimised graph does not show every layer any more.
    """
    shown, brought = _shown(model, shapes, left_out)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optimised.onnx"
        options = optimiser_options(file)
        own = tensors_of(model.graph, known)
        large = _large_matrices(shown, own)
        for name in large:  # nothing is gained by showing them, and much memory lost
            elements = helper.np_dtype_to_tensor_dtype(own[name].dtype)
            shown.graph.input.append(helper.make_tensor_value_info(name, elements, own[name].shape))
        data, kept = hand_over(shown, {name: own[name] for name in own if name not in large}, options)
        try:
            onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            del kept, options  # only now: the session reads the arrays where they are
            optimised, initializers = read_back(file, own)
            initializers.update((name, own[name]) for name in large)
        except Exception as error:  # its refusals are of many classes
            raise NotMerged(f"it is not optimised as a whole ({' '.join(str(error).split())[:200]})") from error
    return _Reader(model, optimised, initializers, own, constants=constants, brought=brought).base()


def _large_matrices(shown: onnx.ModelProto, own: Mapping[str, Array]) -> set[str]:
    """Matrices that are handed over at run time."""
    places: dict[str, list[tuple[str, str, int]]] = {}
    for node in shown.graph.node:
        for index, name in enumerate(node.input):
            if name in own:
                places.setdefault(name, []).append((node.op_type, node.domain, index))
    return {
        name
        for name, found in places.items()
        if all(operator in MATRIX_PRODUCTS for operator, _, _ in found) and is_fed(found, own[name].nbytes)
    }


def _shown(
    model: Model, shapes: Mapping[str, Sequence[int]], left_out: Collection[str]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with fixed input shapes, every layer's outputs visible, and nothing that would leave the layout.

    Returns:
        It, without the layers that are left out, and the values that those give, with the layer that does.
    """
    shown = shell_of(model.graph)
    brought = _leave_out(shown, model, left_out)
    for value in shown.graph.input:
        if value.name in shapes:
            elements = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, elements, list(shapes[value.name])))
    for node in shown.graph.node:
        if node.op_type in _ELEMENTWISE and node.domain in ("", "ai.onnx"):
            node.op_type = "Relu"
            del node.input[1:]
            del node.attribute[:]
    produced = {name for node in shown.graph.node for name in node.output}
    visible = dict.fromkeys(name for layer in model.layers for name in layer.outputs if name in produced)
    del shown.graph.output[:]
    for name in visible:
        shown.graph.output.add().name = name
    return shown, brought


def _leave_out(shown: onnx.ModelProto, model: Model, left_out: Collection[str]) -> dict[str, str]:
    """Make inputs of what some layers give."""
    owners = {name: layer.key for layer in model.layers if layer.key in left_out for name in layer.nodes}
    if not owners:
        return {}
    nodes = list(shown.graph.node)
    brought = {name: owners[node.name] for node in nodes if node.name in owners for name in node.output if name}
    del shown.graph.node[:]
    shown.graph.node.extend(node for node in nodes if node.name not in owners)
    types = {value.name: value for value in (*model.graph.graph.value_info, *model.graph.graph.output)}
    read = dict.fromkeys(name for node in shown.graph.node for name in node.input if name in brought)
    for name in read:
        known = types.get(name)
        if known is not None and known.type.tensor_type.elem_type:
            shown.graph.input.append(known)
        else:
            shown.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return brought


class _Reader:
    """Reads an optimised graph back: which node belongs to which layer, and where each value lies."""

    def __init__(
        self,
        model: Model,
        optimised: onnx.ModelProto,
        initializers: dict[str, Array],
        own: Mapping[str, Array],
        *,
        constants: set[str],
        brought: Mapping[str, str],
    ) -> None:
        self._brought = brought
        self._model = model
        self._initializers = initializers
        self._own = own
        self._optimised = optimised
        self._constants = constants
        self._original = {name: node for node in model.graph.graph.node for name in node.output}
        nodes = {node.name: node for node in model.graph.graph.node}
        self._layer_of_value = {
            name: layer.key for layer in model.layers for node in layer.nodes for name in nodes[node].output if name
        }

    def base(self) -> Base:
        nodes = self._optimised.graph.node
        layout = {node.output[0]: node for node in nodes if _is_layout(node)}
        made = {name for node in nodes if not _is_layout(node) for name in node.output}
        made |= {entry.value for entry in self._model.inputs} | self._brought.keys()
        initializers = self._initializers
        values = {name for layer in self._model.layers for name in layer.outputs}
        values |= {entry.value for entry in self._model.inputs}
        base = Base(
            nodes={layer.key: [] for layer in self._model.layers},
            layout=layout,
            initializers=initializers,
            places=self._places(layout, made, initializers, values),
            value_of={},
            block=block_length() if layout else 0,
            opsets=list(self._optimised.opset_import),
            functions=list(self._optimised.functions),
            reads=_reads_of(self._model),
        )
        base.value_of = self._values(base, values)
        # Layouts of tensors inside a layer are nodes like any other.
        base.layout = {name: node for name, node in layout.items() if name in base.value_of}
        computing = [node for node in nodes if not any(name in base.layout for name in node.output)]
        for node, layer in self._assign(computing):
            base.nodes[layer].append(self._restored(node, initializers))
        self._check(base)
        return base

    def _places(
        self,
        layout: Mapping[str, onnx.NodeProto],
        made: set[str],
        initializers: Mapping[str, Array],
        values: set[str],
    ) -> dict[str, Place]:
        places = {}
        for value in values:
            if value in made or value in initializers:
                continue
            node = layout.get(value)
            if node is None or node.op_type != "ReorderOutput" or node.input[0] not in made:
                raise NotMerged(f"the tensor '{value}' is gone from the optimised graph")
            places[value] = Place(node.input[0], next(entry.i for entry in node.attribute if entry.name == "channels"))
        return places

    @staticmethod
    def _values(base: Base, values: set[str]) -> dict[str, str]:
        value_of = {base.place(value).tensor: value for value in values}
        pending = dict(base.layout)
        while pending:
            known = [name for name, node in pending.items() if node.input[0] in value_of]
            if not known:
                break
            for name in known:
                value_of[name] = value_of[pending.pop(name).input[0]]
        return value_of

    def _assign(self, computing: Sequence[onnx.NodeProto]) -> list[tuple[onnx.NodeProto, str]]:
        """Each node with its layer: that of a tensor that it makes, else that of whoever reads it."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._optimised.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        value_at = {
            node.input[0]: node.output[0]
            for node in self._optimised.graph.node
            if _is_layout(node) and node.op_type == "ReorderOutput"
        }
        found: dict[str, str] = {}
        wanted = {node.output[0] for node in computing}
        for node in reversed(self._optimised.graph.node):
            layers = {
                self._layer_of_value[name]
                for output in node.output
                for name in (output, value_at.get(output, ""))
                if name in self._layer_of_value
            }
            if not layers:
                following = [reader for output in node.output for reader in readers.get(output, ())]
                layers = {found[reader.output[0]] for reader in following if reader.output[0] in found}
            if len(layers) == 1:
                found[node.output[0]] = layers.pop()
            elif node.output[0] in wanted:
                raise NotMerged(f"a node of type {node.op_type} in the optimised graph serves several layers")
        return [(node, found[node.output[0]]) for node in computing]

    def _restored(self, node: onnx.NodeProto, initializers: dict[str, Array]) -> onnx.NodeProto:
        """The node as it was, where another was shown to the optimiser."""
        if node.op_type != "Relu" or node.domain not in ("", "ai.onnx"):
            return node
        value = node.output[0]
        for name, layout in ((entry.output[0], entry) for entry in self._optimised.graph.node if _is_layout(entry)):
            if layout.op_type == "ReorderOutput" and layout.input[0] == value and name in self._original:
                value = name
        original = self._original.get(value)
        if original is None:
            raise NotMerged("a function of single elements is not found again in the optimised graph")
        if original.op_type == "Relu":
            return node
        restored = onnx.NodeProto()
        restored.CopyFrom(original)
        restored.input[0] = node.input[0]
        restored.output[0] = node.output[0]
        for name in restored.input[1:]:
            if name and name not in self._own:
                raise NotMerged(f"the limits of '{original.name}' are computed")
            if name:
                initializers.setdefault(name, self._own[name])
        return restored

    def _check(self, base: Base) -> None:
        """Every layer must read what it read before, or a tensor would be quantized in the wrong place."""
        folded = self._constants | set(base.initializers)
        for layer in self._model.layers:
            if layer.key in self._brought.values():
                continue
            if layer.outputs and all(name in base.initializers for name in layer.outputs):
                continue  # made once and for all
            made = {name for node in base.nodes[layer.key] for name in node.output}
            read = {name for node in base.nodes[layer.key] for name in node.input if name}
            values = {base.value_of.get(name, name) for name in read if name not in made}
            values = {name for name in values if not self._inside(name, layer, base, made)}
            wanted = base.reads[layer.key]
            if not values - folded <= wanted or not wanted - folded <= values:
                raise NotMerged(f"the optimiser moved something into or out of the layer '{layer.name}'")

    def _inside(self, name: str, layer: Layer, base: Base, made: set[str]) -> bool:
        """Whether a tensor is one of the layer's own in another layout."""
        while name in base.layout:
            name = base.layout[name].input[0]
        return name in made or self._layer_of_value.get(name) == layer.key


def _is_layout(node: onnx.NodeProto) -> bool:
    """Whether a node changes nothing but the layout; one that also moves the channels stands for a Transpose."""
    if node.domain != BLOCKED_DOMAIN or node.op_type not in _LAYOUT:
        return False
    return not any(entry.name == "channels_last" and entry.i for entry in node.attribute)


@cache
def block_length() -> int:
    """Channels in a block on this processor, found by looking at how one convolution is padded."""
    weight = np.ones((1, 1, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "probe.onnx"
        onnxruntime.InferenceSession(
            model.SerializeToString(), optimiser_options(file), providers=["CPUExecutionProvider"]
        )
        optimised = onnx.load_model(str(file))
    lengths = [tensor.dims[0] for tensor in optimised.graph.initializer if len(tensor.dims) == 4]
    return int(max(lengths, default=1))

"""One layer, ready to run with any variant of its weights.

Every lane of a layer runs through the same session where it can (convolution weights are fed like data), and through
sessions made with equal options where it cannot: equal inputs then give equal bits, which is what EXACT stands on.
Options: no graph optimisation (fusing would hide layers and change bits), one thread (workers take whole batches), no
arena (its memory would grow with the number of layers).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.blocked_layers import BlockedLayers
from gfpq_inspect.analyze.engine.handed_over import BLOCKED_DOMAIN, MATRIX_PRODUCTS, is_fed
from gfpq_inspect.analyze.engine.subgraph import Segment, model_of, segments_of, type_from_text
from gfpq_inspect.analyze.lanes import Side, Weights
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.host_operators import compute, node_attributes
from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.onnx.names import names_read
from gfpq_inspect.models.tensors import array_of

Array = NDArray[Any]


# Operators whose kernels give a sample the same bits alone and in a batch: moves of data, single correctly rounded
# operations, and kernels that work through a batch sample by sample. Others (vectorised logarithms, whose last few
# elements take another path, products of two tensors, unknown operators) get the samples one at a time.
BATCH_SAFE_OPERATORS = frozenset(
    {
        "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Conv", "ConvTranspose",
        "DepthToSpace", "Div", "Dropout", "Flatten", "Floor", "GlobalAveragePool", "GlobalMaxPool", "Identity",
        "LeakyRelu", "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Relu", "Reshape", "Slice", "Softmax",
        "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Sigmoid", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def session_options() -> onnxruntime.SessionOptions:
    """The options of every session of this engine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return options


@dataclass(frozen=True)
class Part:
    """A segment with its sessions.

    Attributes:
        segment: What it computes.
        fed: Initializers that are handed over at run time.
        constants: Those of them that are not quantized.
        sessions: One a variant of the weights; the same one where the variants differ only in what is fed.
        host: Operator and attributes where the host computes it.
    """

    segment: Segment
    fed: tuple[str, ...]
    constants: Mapping[str, Array]
    sessions: Mapping[Weights, onnxruntime.InferenceSession]
    host: tuple[str, Mapping[str, Any]] | None


class Step:
    """A layer that can be run.

    Args:
        side: Its model.
        layer: Its row of the model's table.
        parts: What it consists of.
        outputs: Values that it gives to others.
        quantized: Values that data lanes quantize before it reads them, with the bit width.
        weights: Its quantized weights.
        initializers: All initializers of the graph, for host operators.

    Attributes:
        side: Its model.
        layer: Its row of the model's table.
        inputs: Graph values that it reads.
        outputs: Graph values that it gives to others.
        quantized: Values that data lanes quantize before it reads them, with the bit width.
        parts: What it consists of.
        constant: No sample reaches it, so axis 0 of its outputs does not count samples.
        batch_safe: Samples may be stacked without changing a bit of any.
        replaced: Its nodes are not the model's own, but those of the merged graph.
    """

    def __init__(
        self,
        side: Side,
        layer: Layer,
        parts: Sequence[Part],
        *,
        outputs: Sequence[str],
        quantized: Mapping[str, int],
        weights: Mapping[str, QuantizedWeight],
        initializers: Mapping[str, onnx.TensorProto],
        replaced: bool = False,
    ) -> None:
        self.side = side
        self.replaced = replaced
        self.layer = layer
        self.outputs = tuple(outputs)
        self.quantized = dict(quantized)
        self.constant = layer.kind is LayerKind.CONSTANT
        produced = {name for part in parts for name in part.segment.outputs}
        read = dict.fromkeys(name for part in parts for name in part.segment.inputs if name not in produced)
        self.inputs = tuple(read)
        self.parts = tuple(parts)
        self._weights = dict(weights)
        self._initializers = initializers
        self._host_constants: dict[str, Array] = {}
        self.batch_safe = all(_batch_safe(part) for part in parts)

    def weight_identity(self, weights: Weights) -> tuple[int, ...]:
        """Equal for two variants exactly when the step would compute with the same arrays."""
        return tuple(id(entry.variant(weights)) for entry in self._weights.values())

    def run(self, values: Mapping[str, Array], weights: Weights) -> list[Array]:
        """Compute the outputs.

        Args:
            values: Every one of `inputs`.
            weights: Variant of the weights.

        Returns:
            One array an output (a list or other object where a value is no tensor).
        """
        known = dict(values)
        for part in self.parts:
            if part.host is None:
                feeds = {name: known[name] for name in part.segment.inputs}
                feeds.update((name, self.fed_array(part, name, weights)) for name in part.fed)
                results = part.sessions[weights].run(part.segment.outputs, feeds)
            else:
                results = self._run_on_host(part, known, weights)
            known.update(zip(part.segment.outputs, results, strict=True))
        return [known[name] for name in self.outputs]

    def fed_array(self, part: Part, name: str, weights: Weights) -> Array:
        """The array that a part is handed for one of its initializers."""
        entry = self._weights.get(name)
        return part.constants[name] if entry is None else entry.variant(weights)

    def _run_on_host(self, part: Part, known: Mapping[str, Array], weights: Weights) -> list[Array]:
        node = part.segment.nodes[0]
        assert part.host is not None
        arguments = [self._host_input(name, known, weights) for name in node.input]
        results = compute(part.host[0], part.host[1], arguments)
        by_name = dict(zip(node.output, results, strict=True))
        return [by_name[name] for name in part.segment.outputs]

    def _host_input(self, name: str, known: Mapping[str, Array], weights: Weights) -> Array:
        if name in known:
            return known[name]
        if name in self._weights:
            return self._weights[name].variant(weights)
        if name not in self._host_constants:
            self._host_constants[name] = array_of(self._initializers[name])
        return self._host_constants[name]


def _batch_safe(part: Part) -> bool:
    packed = set(part.segment.initializers) - set(part.fed)
    for node in part.segment.nodes:
        if node.domain == BLOCKED_DOMAIN:
            continue  # its kernels go through a batch sample by sample
        if node.domain not in ("", "ai.onnx"):
            return False
        if node.op_type in MATRIX_PRODUCTS and any(name in packed for name in node.input[:2]):
            continue
        if node.op_type not in BATCH_SAFE_OPERATORS:
            return False
    return True


class StepBuilder:
    """Makes the steps of a model, layer by layer: the types of a layer's inputs are known from the layers before.

    Args:
        side: Which model.
        model: The model.
        quantized: Layer key to the values that data lanes quantize before it reads them, with the bit width.
        weights: Layer key to its quantized weights by initializer.
        variants: Variants of the weights that lanes compute with; STORED is always among them.
        provider: What computes, in ONNX Runtime's words: a name, or a name and its options.
        blocked: Layers that are computed as the merged graph does, or None.
    """

    def __init__(
        self,
        side: Side,
        model: Model,
        quantized: Mapping[str, Mapping[str, int]],
        weights: Mapping[str, Mapping[str, QuantizedWeight]],
        variants: Iterable[Weights],
        *,
        provider: str | tuple[str, Mapping[str, str]] = "CPUExecutionProvider",
        blocked: BlockedLayers | None = None,
    ) -> None:
        self._blocked = blocked
        self._provider = provider
        graph = model.graph.graph
        self._side = side
        self._model = model
        self._quantized = quantized
        self._weights = weights
        self._variants = tuple(dict.fromkeys([Weights.STORED, *variants]))
        self._nodes = {node.name: node for node in graph.node}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._types: dict[str, onnx.TypeProto] = {value.name: _element_only(value.type) for value in graph.input}
        self._types.update((value.name, _element_only(value.type)) for value in graph.value_info)
        self._types.update((value.name, _element_only(value.type)) for value in graph.output)

    def build(self) -> list[Step]:
        """All steps, in order of execution.

        Raises:
            ModelError: A layer that ONNX Runtime refuses.
        """
        layers = [layer for layer in self._model.layers if layer.nodes]
        read_by = _readers(layers, self._nodes)
        kept = {name for layer in self._model.layers for name in layer.outputs} | set(self._model.outputs)
        return [self._step(layer, kept, read_by) for layer in layers]

    def _step(self, layer: Layer, kept: set[str], read_by: Mapping[str, set[str]]) -> Step:
        nodes = [self._nodes[name] for name in layer.nodes]
        produced = [name for node in nodes for name in node.output if name]
        read_outside = {name for name in produced if name in kept or read_by.get(name, set()) - {layer.key}}
        weights = self._weights.get(layer.key, {})
        replacement = self._blocked.nodes(layer, nodes) if self._blocked is not None else None
        if self._blocked is not None and replacement is not None:
            nodes, weights = replacement, self._blocked.weights_of(layer)
            self._initializers.update(self._blocked.tensors)
        segments = segments_of(nodes, self._initializers.keys(), read_outside)
        parts = [self._part(layer, segment, weights) for segment in segments if segment.outputs]
        outputs = [name for name in produced if name in read_outside]
        return Step(
            self._side,
            layer,
            parts,
            outputs=outputs,
            quantized=self._quantized.get(layer.key, {}),
            weights=weights,
            initializers=self._initializers,
            replaced=replacement is not None,
        )

    def _part(self, layer: Layer, segment: Segment, weights: Mapping[str, QuantizedWeight]) -> Part:
        if segment.host:
            node = segment.nodes[0]
            for name in segment.outputs:
                if name not in self._types:
                    self._types[name] = type_from_text("tensor(float)")
            return Part(segment, (), {}, {}, (node.op_type, node_attributes(node)))
        own = {name: entry for name, entry in weights.items() if name in segment.initializers}
        fed = tuple(name for name in segment.initializers if _is_fed(name, segment, self._size_of(name)))
        constants = {name: array_of(self._initializers[name]) for name in fed if name not in own}
        sessions: dict[Weights, onnxruntime.InferenceSession] = {}
        made: dict[tuple[int, ...], onnxruntime.InferenceSession] = {}
        for variant in self._variants:
            embedded = {name: entry.variant(variant) for name, entry in own.items() if name not in fed}
            identity = tuple(id(array) for array in embedded.values())
            if identity not in made:
                made[identity] = self._session(layer, segment, fed, embedded)
            sessions[variant] = made[identity]
        for output in sessions[Weights.STORED].get_outputs():
            self._types[output.name] = type_from_text(output.type)
        return Part(segment, fed, constants, sessions, None)

    def _size_of(self, initializer: str) -> int:
        tensor = self._initializers[initializer]
        elements: int = math.prod(tensor.dims)
        return elements * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)

    def _session(
        self, layer: Layer, segment: Segment, fed: Sequence[str], embedded: Mapping[str, Array]
    ) -> onnxruntime.InferenceSession:
        types = dict(self._types)
        for name in fed:
            types[name] = onnx.TypeProto()
            types[name].tensor_type.elem_type = self._initializers[name].data_type
        tensors = {name: self._initializers[name] for name in segment.initializers}
        tensors.update((name, onnx.numpy_helper.from_array(array, name)) for name, array in embedded.items())
        proto = model_of(self._model.graph, segment, types, fed, tensors)
        if self._blocked is not None:
            imported = {entry.domain for entry in proto.opset_import}
            proto.opset_import.extend(entry for entry in self._blocked.opsets if entry.domain not in imported)
        try:
            return onnxruntime.InferenceSession(
                proto.SerializeToString(), session_options(), providers=[self._provider]
            )
        except Exception as error:
            raise ModelError(
                Problem(
                    f"ONNX Runtime does not run this layer of type {layer.type} ({_first_line(error)})",
                    file=self._model.origin.structure_file or self._model.origin.weights_file,
                    layer=layer.name,
                    line=layer.source_line,
                    remedy="check that the file is complete and that its operators are supported",
                )
            ) from error


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _element_only(proto: onnx.TypeProto) -> onnx.TypeProto:
    """The type without its shape: one session serves every batch size."""
    if proto.WhichOneof("value") != "tensor_type":
        return proto
    bare = onnx.TypeProto()
    bare.tensor_type.elem_type = proto.tensor_type.elem_type
    return bare


def _readers(layers: Sequence[Layer], nodes: Mapping[str, onnx.NodeProto]) -> dict[str, set[str]]:
    readers: dict[str, set[str]] = {}
    for layer in layers:
        for node in layer.nodes:
            for name in names_read(nodes[node]):
                readers.setdefault(name, set()).add(layer.key)
    return readers


def _is_fed(name: str, segment: Segment, size: int) -> bool:
    """Whether an initializer is handed over at run time, so that one session serves all its variants without a copy."""
    places = [
        (node.op_type, node.domain, index)
        for node in segment.nodes
        for index, read in enumerate(node.input)
        if read == name
    ]
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in segment.nodes for attribute in node.attribute):
        return False
    return is_fed(places, size)

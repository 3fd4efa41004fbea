"""An ONNX model as a network: its nodes are the layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.model import Layer, LayerKind, Model, ModelInput, Origin
from gfpq_inspect.models.onnx.names import names_read
from gfpq_inspect.models.onnx.normalize import normalize
from gfpq_inspect.models.onnx.quantized import float_view
from gfpq_inspect.models.onnx.quantized_layers import annotated, view_notes
from gfpq_inspect.models.onnx.quantized_view import QuantizedView
from gfpq_inspect.models.onnx.read import load
from gfpq_inspect.models.onnx.shapes import infer_shapes, multiply_adds
from gfpq_inspect.models.place_onnx import quantization_of

_IDENTITY_OPERATORS = frozenset({"Identity", "Dropout"})
_QUANT_OPERATORS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


def read_onnx(path: str | Path, *, weights_stay: bool = False) -> OnnxNetwork:
    """Read an ONNX model.

    Args:
        path: The .onnx file; external data lie beside it.
        weights_stay: Leave large weights in their files until somebody asks for them, see `models.tensors`.

    Raises:
        ModelError: The file is missing, empty, cut off, not ONNX, inconsistent, or its external data are missing.
    """
    file = Path(path)
    proto, hashes = load(file, weights_stay=weights_stay)
    notes = normalize(proto, file)
    view = float_view(proto)
    if view is not None:
        notes += view_notes(view)
    origin = Origin(
        framework="onnx",
        name=proto.graph.name or file.stem,
        structure_file=str(path),
        weights_file=None,
        structure_source="given",
        sha256=hashes,
        notes=tuple(notes),
    )
    inputs = tuple(_declared_input(value, file) for value in proto.graph.input)
    if not inputs:
        raise ModelError(Problem("the network has no input", file=str(path), remedy="export it with its inputs"))
    return OnnxNetwork(origin, inputs, proto, view)


@dataclass(frozen=True)
class OnnxNetwork:
    """An ONNX model before its input shapes are known; see `models.model.Network`."""

    origin: Origin
    declared_inputs: tuple[ModelInput, ...]
    proto: onnx.ModelProto
    quantized: QuantizedView | None = None
    _handed_out: list[onnx.ModelProto] = field(default_factory=list, repr=False, compare=False)

    def build(self, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
        """Bind input shapes and list the layers.

        Args:
            input_shapes: Input name to shape; an open first axis counts samples and is 1 when not given.

        Raises:
            ModelError: An input without a shape, a shape that contradicts the file, a name that is no input.
        """
        inputs = self._bound_inputs(dict(input_shapes or {}))
        proto = self._own_copy()
        batchable = all(entry.shape and entry.shape[0] == -1 for entry in self.declared_inputs)
        for value, entry in zip(proto.graph.input, inputs, strict=True):
            del value.type.tensor_type.shape.dim[:]
            value.type.tensor_type.shape.SetInParent()
            for axis, size in enumerate(entry.shape):
                dimension = value.type.tensor_type.shape.dim.add()
                if axis == 0 and batchable:
                    dimension.dim_param = "samples"
                else:
                    dimension.dim_value = size
        return Model(
            graph=proto,
            layers=tuple(self._annotated(_layers(proto, inputs))),
            inputs=inputs,
            outputs=tuple(value.name for value in proto.graph.output),
            origin=self.origin,
            batchable=batchable,
            quantizes_itself=self.quantized is not None,
        )

    def _annotated(self, layers: list[Layer]) -> list[Layer]:
        """The layers of a model that quantizes itself say so; nothing else of it is quantized."""
        return layers if self.quantized is None else annotated(layers, self.quantized)

    def _own_copy(self) -> onnx.ModelProto:
        """The graph itself for the first model that is built, which saves a copy of all weights; then copies."""
        if not self._handed_out:
            self._handed_out.append(self.proto)
            return self.proto
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        return copy

    def _bound_inputs(self, shapes: dict[str, tuple[int, ...]]) -> tuple[ModelInput, ...]:
        file = self.origin.structure_file
        names = [entry.name for entry in self.declared_inputs]
        problems = [
            Problem(f"has no input '{name}'", file=file, remedy=f"its inputs are: {', '.join(names)}")
            for name in shapes
            if name not in names
        ]
        bound = []
        for entry in self.declared_inputs:
            declared = entry.shape
            shape = shapes.get(entry.name, declared)
            if not _fits(shape, declared):
                what = f"the input '{entry.name}' has the shape {_text(declared)} in the file, not {_text(shape)}"
                problems.append(Problem(what, file=file, remedy="give a shape that fits"))
            if shape and shape[0] == -1:
                shape = (1, *shape[1:])
            if any(size < 1 for size in shape):
                what = f"the input '{entry.name}' has open dimensions: {_text(declared)}"
                remedy = f"give its shape: --input-shape {entry.name}:{_example(declared)}"
                problems.append(Problem(what, file=file, remedy=remedy))
            bound.append(ModelInput(entry.name, entry.value, shape, entry.dtype))
        if problems:
            raise ModelError(problems)
        return tuple(bound)


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(fixed in (size, -1) for size, fixed in zip(shape, declared, strict=True))


def _text(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join("?" if size < 0 else str(size) for size in shape) + "]"


def _example(declared: tuple[int, ...]) -> str:
    guesses = (1, 3, 224, 224)
    return ",".join(str(guesses[min(axis, 3)] if size < 0 else size) for axis, size in enumerate(declared))


def _declared_input(value: onnx.ValueInfoProto, path: Path) -> ModelInput:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        what = f"the input '{value.name}' is not a tensor"
        raise ModelError(Problem(what, file=str(path), remedy="only tensors can be fed"))
    tensor = value.type.tensor_type
    if tensor.elem_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING):
        what = f"the input '{value.name}' holds no numbers"
        raise ModelError(Problem(what, file=str(path), remedy="only numbers can be fed"))
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = tuple(entry.dim_value if entry.dim_value > 0 else -1 for entry in tensor.shape.dim)
    if not tensor.HasField("shape"):
        what = f"the input '{value.name}' does not say how many dimensions it has"
        raise ModelError(Problem(what, file=str(path), remedy="export the model with the ranks of its inputs"))
    return ModelInput(value.name, value.name, shape, dtype)


def _layers(proto: onnx.ModelProto, inputs: tuple[ModelInput, ...]) -> list[Layer]:
    graph = proto.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    types = {name: tensor.data_type for name, tensor in tensors.items()}
    shapes = infer_shapes(proto)
    reached = {entry.value for entry in inputs}
    layers = [
        Layer(
            key=f"{entry.name}@input" if any(node.name == entry.name for node in graph.node) else entry.name,
            name=entry.name,
            type="Input",
            kind=LayerKind.INPUT,
            inputs=(),
            outputs=(entry.value,),
            output_names=(entry.name,),
            blob_names=(entry.name,),
            nodes=(),
            quantization_reason="an input",
        )
        for entry in inputs
    ]
    constants: set[str] = set()
    for node in graph.node:
        read = names_read(node)
        data = tuple(name for name in read if name not in tensors)
        outputs = tuple(name for name in node.output if name)
        if any(name in reached for name in data) or _draws(node):
            reached.update(outputs)
        else:
            constants.update(outputs)
        quantization, reason = quantization_of(node, types, constants)
        layers.append(
            Layer(
                key=node.name,
                name=node.name,
                type=node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}",
                kind=_kind(node, outputs[0] in constants if outputs else False),
                inputs=data,
                outputs=outputs,
                output_names=tuple(node.name if not i else f"{node.name}:{i}" for i in range(len(outputs))),
                blob_names=outputs,
                nodes=(node.name,),
                weights=tuple(name for name in read if name in tensors),
                quantization=quantization,
                quantization_reason=reason,
                group=_group(node),
                multiply_adds=multiply_adds(node, shapes),
                notes=_notes(node),
            )
        )
    return layers


def _kind(node: onnx.NodeProto, constant: bool) -> LayerKind:
    if node.op_type in _QUANT_OPERATORS:
        return LayerKind.QUANT
    if constant:
        return LayerKind.CONSTANT
    return LayerKind.IDENTITY if node.op_type in _IDENTITY_OPERATORS else LayerKind.COMPUTE


def _draws(node: onnx.NodeProto) -> bool:
    """Random generators differ from run to run, so they are not constants."""
    return node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Multinomial")


def _group(node: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _notes(node: onnx.NodeProto) -> tuple[str, ...]:
    inner = sum(attribute.type == onnx.AttributeProto.GRAPH for attribute in node.attribute)
    return (f"holds {inner} subgraphs, which run as one layer",) if inner else ()

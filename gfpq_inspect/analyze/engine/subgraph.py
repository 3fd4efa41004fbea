"""Cuts the nodes of one layer out of a model, as a model of its own.

Only names and operator types are looked at: what a node computes is ONNX Runtime's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from gfpq_inspect.models.model import CUSTOM_DOMAIN
from gfpq_inspect.models.onnx.names import names_read
from gfpq_inspect.models.tensors import completed

ORT_ELEMENT_TYPES: Mapping[str, int] = {
    "float": onnx.TensorProto.FLOAT,
    "double": onnx.TensorProto.DOUBLE,
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
    "int8": onnx.TensorProto.INT8,
    "uint8": onnx.TensorProto.UINT8,
    "int16": onnx.TensorProto.INT16,
    "uint16": onnx.TensorProto.UINT16,
    "int32": onnx.TensorProto.INT32,
    "uint32": onnx.TensorProto.UINT32,
    "int64": onnx.TensorProto.INT64,
    "uint64": onnx.TensorProto.UINT64,
    "bool": onnx.TensorProto.BOOL,
    "string": onnx.TensorProto.STRING,
    "complex64": onnx.TensorProto.COMPLEX64,
    "complex128": onnx.TensorProto.COMPLEX128,
    "float8e4m3fn": onnx.TensorProto.FLOAT8E4M3FN,
    "float8e4m3fnuz": onnx.TensorProto.FLOAT8E4M3FNUZ,
    "float8e5m2": onnx.TensorProto.FLOAT8E5M2,
    "float8e5m2fnuz": onnx.TensorProto.FLOAT8E5M2FNUZ,
    "int4": onnx.TensorProto.INT4,
    "uint4": onnx.TensorProto.UINT4,
}
"""Element types as ONNX Runtime spells them."""


def type_from_text(text: str) -> onnx.TypeProto:
    """Read a type as ONNX Runtime prints it: 'tensor(float)', 'seq(tensor(int64))', 'optional(...)', 'map(...)'."""
    head, _, rest = text.partition("(")
    inner = rest[:-1]
    proto = onnx.TypeProto()
    if head == "tensor":
        proto.tensor_type.elem_type = ORT_ELEMENT_TYPES[inner]
    elif head == "sparse_tensor":
        proto.sparse_tensor_type.elem_type = ORT_ELEMENT_TYPES[inner]
    elif head == "seq":
        proto.sequence_type.elem_type.CopyFrom(type_from_text(inner))
    elif head == "optional":
        proto.optional_type.elem_type.CopyFrom(type_from_text(inner))
    else:
        key, _, value = inner.partition(",")
        proto.map_type.key_type = ORT_ELEMENT_TYPES[key.strip()]
        proto.map_type.value_type.CopyFrom(type_from_text(value.strip()))
    return proto


@dataclass(frozen=True)
class Segment:
    """Nodes that run together: all of them in ONNX Runtime, or one of them on the host.

    Attributes:
        nodes: In graph order.
        inputs: Values it reads that are neither its own nor initializers.
        outputs: Its values that somebody outside reads.
        initializers: Initializers it reads.
        host: Whether the host computes it (then it is a single node).
    """

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    initializers: tuple[str, ...]
    host: bool


def segments_of(
    nodes: Sequence[onnx.NodeProto], initializers: Collection[str], read_outside: Collection[str]
) -> list[Segment]:
    """Cut nodes into runs that ONNX Runtime computes and single nodes that the host computes.

    Args:
        nodes: Nodes of a layer, in graph order.
        initializers: Names of all initializers of the graph.
        read_outside: Values that other layers, rows or the network's outputs need.
    """
    groups: list[list[onnx.NodeProto]] = []
    for node in nodes:
        host = node.domain == CUSTOM_DOMAIN
        if host or not groups or groups[-1][0].domain == CUSTOM_DOMAIN:
            groups.append([node])
        else:
            groups[-1].append(node)
    segments = []
    for index, group in enumerate(groups):
        read_later = {name for later in groups[index + 1 :] for node in later for name in names_read(node)}
        segments.append(_segment(group, initializers, read_later | set(read_outside)))
    return segments


def _segment(nodes: Sequence[onnx.NodeProto], initializers: Collection[str], needed: set[str]) -> Segment:
    produced: set[str] = set()
    read: dict[str, None] = {}
    for node in nodes:
        read.update(dict.fromkeys(name for name in names_read(node) if name not in produced))
        produced.update(node.output)
    outputs = [name for node in nodes for name in node.output if name and name in needed]
    return Segment(
        nodes=tuple(nodes),
        inputs=tuple(name for name in read if name not in initializers),
        outputs=tuple(outputs),
        initializers=tuple(name for name in read if name in initializers),
        host=nodes[0].domain == CUSTOM_DOMAIN,
    )


def model_of(
    source: onnx.ModelProto,
    segment: Segment,
    input_types: Mapping[str, onnx.TypeProto],
    fed: Iterable[str],
    tensors: Mapping[str, onnx.TensorProto],
) -> onnx.ModelProto:
    """A model of one segment.

    Args:
        source: Model that it is cut from; its opsets and functions are kept.
        segment: What to cut.
        input_types: Type of every value and fed initializer that becomes an input.
        fed: Initializers that become inputs, so that one session serves every variant of them.
        tensors: The other initializers.
    """
    fed_names = list(fed)
    model = onnx.ModelProto()
    model.ir_version = max(source.ir_version, 8)
    model.opset_import.extend(source.opset_import)
    model.functions.extend(source.functions)
    model.graph.name = "layer"
    model.graph.node.extend(segment.nodes)
    for name in [*segment.inputs, *fed_names]:
        value = model.graph.input.add()
        value.name = name
        value.type.CopyFrom(input_types[name])
    for name in segment.outputs:
        model.graph.output.add().name = name
    for name in segment.initializers:
        if name not in fed_names:
            model.graph.initializer.add().CopyFrom(completed(tensors[name]))
    return model

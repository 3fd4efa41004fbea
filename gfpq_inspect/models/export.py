"""A network as a plain ONNX file: what standard operators cannot express ends the graph, and is named."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.model import CUSTOM_DOMAIN, Layer, LayerKind, Model

MAX_PROTOBUF_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Exported:
    """An ONNX model ready to be written.

    Attributes:
        proto: The model; graph inputs have the names that people use (Caffe's blobs), outputs those of the layers.
        layers: Layers that it computes, inputs included.
        ended_at: Layers without a standard-operator form; their bottoms became outputs.
        left_out: Layers that read what those would have computed.
        quant_layers: Quant layers, which are identities here.
    """

    proto: onnx.ModelProto
    layers: tuple[Layer, ...]
    ended_at: tuple[Layer, ...]
    left_out: tuple[Layer, ...]
    quant_layers: tuple[Layer, ...]


def export_onnx(model: Model, *, all_outputs: bool = False, custom_operators: bool = False) -> Exported:
    """Make a plain ONNX model of a network.

    Args:
        model: The network.
        all_outputs: Make every layer's outputs graph outputs, named by the layer (`name`, `name:1`, `name@i`).
        custom_operators: Keep operators of our own domain, for a runtime that has them, instead of ending there.

    Returns:
        The model, checked by onnx.checker.

    Raises:
        ModelError: Nothing is left of the network, or it is too large for one ONNX file.
    """
    ended, left_out = ([], []) if custom_operators else _cut(model)
    gone = {layer.key for layer in [*ended, *left_out]}
    layers = tuple(layer for layer in model.layers if layer.key not in gone)
    outputs = _outputs(model, layers, [*ended, *left_out], all_outputs)
    if not outputs or not any(layer.nodes for layer in layers):
        raise ModelError(
            Problem(
                f"nothing of the network can be written with standard operators (it begins with {ended[0].type})"
                if ended
                else "the network computes nothing",
                model.origin.structure_file or model.origin.weights_file,
                ended[0].name if ended else None,
                remedy="convert with --custom-operators" if ended else "give a network with layers",
            )
        )
    proto = _graph(model, layers, outputs)
    if proto.ByteSize() > MAX_PROTOBUF_BYTES:
        what = "is larger than the 2 GiB that one ONNX file can hold"
        file = model.origin.weights_file or model.origin.structure_file
        raise ModelError(Problem(what, file, remedy="cut the network into parts"))
    onnx.checker.check_model(proto)
    quant = tuple(layer for layer in layers if layer.kind is LayerKind.QUANT)
    return Exported(proto, layers, tuple(ended), tuple(left_out), quant)


def _cut(model: Model) -> tuple[list[Layer], list[Layer]]:
    """Return the layers that hold custom operators, and those that depend on them."""
    custom = {node.name for node in model.graph.graph.node if node.domain == CUSTOM_DOMAIN}
    lost: set[str] = set()
    ended: list[Layer] = []
    left_out: list[Layer] = []
    for layer in model.layers:
        if lost.intersection(layer.inputs):
            left_out.append(layer)
        elif custom.intersection(layer.nodes):
            ended.append(layer)
        else:
            continue
        lost.update(layer.outputs)
    return ended, left_out


def _outputs(model: Model, layers: tuple[Layer, ...], gone: list[Layer], all_outputs: bool) -> list[str]:
    made = {value: None for layer in layers for value in layer.outputs}
    if all_outputs:
        return list(made)
    computed = {value for layer in layers if layer.nodes for value in layer.outputs}
    wanted = [value for value in model.outputs if value in made]
    wanted += [value for layer in gone for value in layer.inputs if value in computed]
    return list(dict.fromkeys(wanted))


def _graph(model: Model, layers: tuple[Layer, ...], outputs: list[str]) -> onnx.ModelProto:
    source = model.graph.graph
    infos = {info.name: info for info in [*source.value_info, *source.output, *source.input]}
    kept = {name for layer in layers for name in layer.nodes}
    nodes = [node for node in source.node if node.name in kept]
    proto = onnx.ModelProto()
    proto.ir_version = model.graph.ir_version
    proto.producer_name = model.graph.producer_name
    domains = {node.domain for node in nodes}
    proto.opset_import.extend(
        entry for entry in model.graph.opset_import if not entry.domain or entry.domain in domains
    )
    graph = proto.graph
    graph.name = source.name
    graph.node.extend(nodes)
    read = {value for node in nodes for value in node.input}
    graph.initializer.extend(tensor for tensor in source.initializer if tensor.name in read)
    graph.input.extend(source.input)
    graph.output.extend(infos[value] for value in outputs)
    listed = {*outputs, *(entry.name for entry in source.input)}
    made = [value for node in nodes for value in node.output]
    graph.value_info.extend(infos[value] for value in made if value in infos and value not in listed)
    _name_inputs(model, graph)
    return proto


def _name_inputs(model: Model, graph: onnx.GraphProto) -> None:
    """Give graph inputs the names that people use, where no other value has them.

    A layer's output that *is* such an input keeps the layer's name through an Identity.
    """
    taken = {value for node in graph.node for value in node.output} | {entry.name for entry in graph.initializer}
    names = {}
    for one in model.inputs:
        if one.name != one.value and one.name not in taken and one.name not in {entry.name for entry in graph.input}:
            names[one.value] = one.name
            taken.add(one.name)
    for entry in graph.input:
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for index, value in enumerate(node.input):
            node.input[index] = names.get(value, value)
    for entry in graph.output:
        if entry.name in names:
            node = onnx.helper.make_node("Identity", [names[entry.name]], [entry.name], name=f"{entry.name}/name")
            graph.node.append(node)

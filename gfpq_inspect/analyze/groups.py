"""One input coefficient a group of a grouped convolution, as some compilers of the chip have it.

The convolution's input is cut into the channels of its groups and joined again; each part is quantized on its way into
the join, with its own coefficient, and the convolution reads what is joined. In float nothing changes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from gfpq_inspect.models.model import Layer, LayerKind, Model, Quantization
from gfpq_inspect.models.pair import canonical_type

MOST_GROUPS = 1024


def with_group_coefficients(model: Model) -> Model:
    """Give the data of every grouped convolution one coefficient a group.

    Args:
        model: As translated; one with Quant layers is left alone, they say where its data are quantized.

    Returns:
        The model with two further layers, `NAME/groups` and `NAME/joined`, before each grouped convolution.
    """
    if model.quantizes_itself or any(layer.kind is LayerKind.QUANT for layer in model.layers):
        return model
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    channels = _input_channels(model)
    layers: list[Layer] = []
    nodes: dict[str, list[onnx.NodeProto]] = {}
    renamed: dict[str, tuple[str, str]] = {}
    for layer in model.layers:
        width = channels.get(layer.key)
        if width is None or layer.quantization is None or not layer.quantization.inputs:
            layers.append(layer)
            continue
        cut, joined, made = _cut_and_join(graph, layer, width)
        layers += [cut, joined, _reading(layer, joined.outputs[0])]
        nodes[layer.nodes[0]] = made
        renamed |= dict.fromkeys(layer.nodes, (layer.inputs[0], joined.outputs[0]))
    ordered: list[onnx.NodeProto] = []
    for node in graph.graph.node:
        ordered += nodes.get(node.name, [])
        if node.name in renamed:
            old, new = renamed[node.name]
            for index, value in enumerate(node.input):
                if value == old:
                    node.input[index] = new
        ordered.append(node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.graph.node[:]
    graph.graph.node.extend(copies)
    return replace(model, graph=graph, layers=tuple(layers))


def _input_channels(model: Model) -> dict[str, int]:
    """Input channels of each grouped convolution, by layer key."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.graph.initializer}
    found = {}
    for layer in model.layers:
        if layer.kind is not LayerKind.COMPUTE or not 1 < layer.group <= MOST_GROUPS or not layer.weights:
            continue
        dims = shapes.get(layer.weights[0])
        if dims is None or len(layer.inputs) != 1:
            continue
        if canonical_type(layer) == "Convolution":
            found[layer.key] = int(dims[1]) * layer.group
        elif canonical_type(layer) == "Deconvolution":
            found[layer.key] = int(dims[0])
    return found


def _cut_and_join(graph: onnx.ModelProto, layer: Layer, width: int) -> tuple[Layer, Layer, list[onnx.NodeProto]]:
    """The two layers that stand before a grouped convolution, and their nodes."""
    source, key = layer.inputs[0], layer.key
    parts = tuple(f"{key}/group{index}" for index in range(layer.group))
    result, sizes = f"{key}/joined", f"{key}/group_sizes"
    each = np.full(layer.group, width // layer.group, dtype=np.int64)
    graph.graph.initializer.append(numpy_helper.from_array(each, sizes))
    split = helper.make_node("Split", [source, sizes], list(parts), name=f"{key}/Split", axis=1)
    concat = helper.make_node("Concat", list(parts), [result], name=f"{key}/Join", axis=1)
    reason = "one coefficient a group of the convolution behind it"
    cut = Layer(
        key=f"{key}/groups",
        name=f"{layer.name}/groups",
        type="Slice",
        kind=LayerKind.IDENTITY,
        inputs=(source,),
        outputs=parts,
        output_names=parts,
        blob_names=parts,
        nodes=(split.name,),
        quantization_reason="cut into groups",
    )
    joined = Layer(
        key=result,
        name=result,
        type="Concat",
        kind=LayerKind.IDENTITY,
        inputs=parts,
        outputs=(result,),
        output_names=(result,),
        blob_names=(result,),
        nodes=(concat.name,),
        quantization=Quantization(inputs=parts, bits=layer.quantization.bits if layer.quantization else None),
        quantization_reason=reason,
    )
    return cut, joined, [split, concat]


def _reading(layer: Layer, value: str) -> Layer:
    """The convolution, reading what was joined, which is quantized already."""
    assert layer.quantization is not None
    return replace(layer, inputs=(value,), quantization=replace(layer.quantization, inputs=()))

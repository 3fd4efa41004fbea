"""Which values the nodes of an ONNX graph read, subgraphs included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def subgraphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes (branches of If, bodies of Loop and Scan)."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            yield from attribute.graphs


def names_read(node: onnx.NodeProto) -> list[str]:
    """Values that a node reads, those that its subgraphs take from outside included, each once, in order."""
    names = dict.fromkeys(name for name in node.input if name)
    for graph in subgraphs_of(node):
        names.update(dict.fromkeys(names_captured(graph)))
    return list(names)


def names_captured(graph: onnx.GraphProto) -> list[str]:
    """Values of the outer graphs that a subgraph reads."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {tensor.values.name for tensor in graph.sparse_initializer}
    captured: dict[str, None] = {}
    for node in graph.node:
        captured.update(dict.fromkeys(name for name in names_read(node) if name not in own))
        own.update(node.output)
    captured.update(dict.fromkeys(value.name for value in graph.output if value.name not in own))
    return list(captured)


def rename_reads(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Make a node, and its subgraphs where they do not define the name themselves, read other values."""
    for index, name in enumerate(node.input):
        if name in names:
            node.input[index] = names[name]
    for graph in subgraphs_of(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        visible = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            rename_reads(inner, visible)
        for value in graph.output:
            if value.name in visible:
                # An output of a subgraph must be its own: hand the outer value on.
                graph.node.append(onnx.helper.make_node("Identity", [visible[value.name]], [value.name]))

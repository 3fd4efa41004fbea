"""Brings an ONNX graph into the one form that the rest relies on, without changing what it computes.

Afterwards every node has a unique name, nodes stand in an order in which they can run, `Constant` nodes are
initializers, and the constant operand of a convolution or matrix product is an initializer that nothing else computes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.onnx.names import names_read, rename_reads
from gfpq_inspect.models.tensors import all_completed

WEIGHT_OPERANDS: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1, 0),
    "MatMul": (1, 0),
    "FusedConv": (1,),
    "FusedGemm": (1, 0),
    "FusedMatMul": (1, 0),
}
"""Operators with weights, and the inputs that may hold them, the usual one first."""

# Moves of data from one initializer: folding them gives the tensor that the convolution really multiplies with.
_MOVES = frozenset({"Identity", "Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Cast", "Concat", "Slice"})


def normalize(model: onnx.ModelProto, path: Path) -> list[str]:
    """Rewrite a model in place.

    Args:
        model: The model; all weights inside.
        path: For messages.

    Returns:
        Notes for the report, one clause each.

    Raises:
        ModelError: A graph that cannot be ordered, or reads values that nobody makes.
    """
    graph = model.graph
    notes: list[str] = []
    _dense(graph)
    _constants_to_initializers(graph)
    _forget_initializer_inputs(graph)
    _check_values(graph, path)
    if _sort(graph, path):
        notes.append("the nodes of the file were not in an order in which they can run, and were sorted")
    mended = _mend_axes(graph)
    if mended:
        notes.append(
            f"{mended} DequantizeLinear nodes name an axis that does not fit their scales; the one that fits is used"
        )
    folded = _fold_weight_moves(model)
    if folded:
        notes.append(f"{folded} nodes that only rearrange constant weights were carried out once, on reading")
    _name_nodes(graph)
    return notes


def _dense(graph: onnx.GraphProto) -> None:
    for sparse in graph.sparse_initializer:
        values = onnx.numpy_helper.to_array(sparse.values)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
        graph.initializer.append(onnx.numpy_helper.from_array(dense, sparse.values.name))
    del graph.sparse_initializer[:]


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        tensor = _constant_tensor(node)
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    if len(kept) < len(graph.node):
        outputs = {value.name for value in graph.output}
        made = {tensor.name for tensor in graph.initializer} & outputs
        _replace_nodes(graph, kept)
        for name in sorted(made):
            _keep_as_output(graph, name)


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            return tensor
        if attribute.name in ("value_float", "value_floats"):
            return onnx.numpy_helper.from_array(np.array(value, dtype=np.float32))
        if attribute.name in ("value_int", "value_ints"):
            return onnx.numpy_helper.from_array(np.array(value, dtype=np.int64))
    return None


def _keep_as_output(graph: onnx.GraphProto, name: str) -> None:
    """A constant that is a network output needs a node that makes it."""
    source = f"{name}/constant"
    for tensor in graph.initializer:
        if tensor.name == name:
            tensor.name = source
    for node in graph.node:
        rename_reads(node, {name: source})
    graph.node.append(onnx.helper.make_node("Identity", [source], [name]))


def _replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def _forget_initializer_inputs(graph: onnx.GraphProto) -> None:
    """Before IR version 4 every initializer had to be listed as an input too."""
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    if len(inputs) < len(graph.input):
        copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in inputs]
        del graph.input[:]
        graph.input.extend(copies)


def _check_values(graph: onnx.GraphProto, path: Path) -> None:
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    problems = []
    for node in graph.node:
        for name in node.output:
            if name and name in known:
                what = f"the value '{name}' is made twice"
                problems.append(Problem(what, file=str(path), layer=node.name or name, remedy="export the model again"))
            known.add(name)
    for node in graph.node:
        for name in names_read(node):
            if name not in known:
                what = f"reads the value '{name}', which no node makes"
                layer = node.name or (node.output[0] if node.output else node.op_type)
                problems.append(Problem(what, file=str(path), layer=layer, remedy="export the model again"))
    for value in graph.output:
        if value.name not in known:
            what = f"the network output '{value.name}' is made by no node"
            problems.append(Problem(what, file=str(path), remedy="export the model again"))
    if problems:
        raise ModelError(problems)


def _sort(graph: onnx.GraphProto, path: Path) -> bool:
    """Put nodes into an order in which they can run, keeping the file's order where it can be kept."""
    there = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    reads = [[name for name in names_read(node) if name not in there] for node in graph.node]
    made = set(there)
    for node, names in zip(graph.node, reads, strict=True):
        if not made.issuperset(names):
            break
        made.update(node.output)
    else:
        return False
    waiting: dict[str, list[int]] = {}
    missing = [len(names) for names in reads]
    for index, names in enumerate(reads):
        for name in names:
            waiting.setdefault(name, []).append(index)
    ready = [index for index, count in enumerate(missing) if not count]
    order = []
    while ready:
        index = ready.pop(0)
        order.append(index)
        freed = []
        for name in graph.node[index].output:
            for reader in waiting.pop(name, ()):
                missing[reader] -= 1
                if not missing[reader]:
                    freed.append(reader)
        ready = sorted(ready + freed)
    if len(order) < len(graph.node):
        left = next(node for i, node in enumerate(graph.node) if i not in set(order))
        raise ModelError(Problem("the graph runs in a circle", file=str(path), layer=left.name or left.output[0]))
    _replace_nodes(graph, [graph.node[index] for index in order])
    return True


def _mend_axes(graph: onnx.GraphProto) -> int:
    """Some quantizers leave a bias of shape [1, n] with the axis of the weight; fused operators never look at it."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    mended = 0
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in dims or len(dims.get(node.input[1], ())) != 1:
            continue
        shape, (channels,) = dims[node.input[0]], dims[node.input[1]]
        given = [attribute for attribute in node.attribute if attribute.name == "axis"]
        axis = given[0].i if given else 1
        fitting = [place for place, size in enumerate(shape) if size == channels]
        if channels > 1 and len(fitting) == 1 and axis % len(shape) != fitting[0]:
            for attribute in given:
                node.attribute.remove(attribute)
            node.attribute.append(onnx.helper.make_attribute("axis", fitting[0]))
            mended += 1
    return mended


def _fold_weight_moves(model: onnx.ModelProto) -> int:
    """Carry out the nodes between an initializer and the operator that multiplies with it."""
    graph = model.graph
    initializers = {tensor.name for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    wanted: dict[str, None] = {}
    for node in graph.node:
        for operand in WEIGHT_OPERANDS.get(node.op_type, ()):
            name = node.input[operand] if operand < len(node.input) else ""
            if name in producer and _is_moved_constant(name, producer, initializers):
                wanted[name] = None
    if not wanted:
        return 0
    values = _evaluate(model, list(wanted), producer, initializers)
    for name, array in values.items():
        graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    outputs = {value.name for value in graph.output}
    before = len(graph.node)
    kept = [node for node in graph.node if not any(name in wanted for name in node.output)]
    _replace_nodes(graph, kept)
    _drop_unread(graph, outputs)
    for name in sorted(outputs & wanted.keys()):
        _keep_as_output(graph, name)
    return before - len(graph.node)


def _is_moved_constant(name: str, producer: dict[str, onnx.NodeProto], initializers: set[str]) -> bool:
    stack = [name]
    while stack:
        current = stack.pop()
        if current in initializers or not current:
            continue
        node = producer.get(current)
        if node is None or node.op_type not in _MOVES or node.domain not in ("", "ai.onnx"):
            return False
        stack.extend(node.input)
    return True


def _evaluate(
    model: onnx.ModelProto, names: list[str], producer: dict[str, onnx.NodeProto], initializers: set[str]
) -> dict[str, np.ndarray]:
    needed: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name and name not in needed:
            needed.add(name)
            if name in producer:
                stack.extend(producer[name].input)
    part = onnx.ModelProto()
    part.ir_version = max(model.ir_version, 8)
    part.opset_import.extend(model.opset_import)
    part.graph.name = "weights"
    part.graph.node.extend(node for node in model.graph.node if any(name in needed for name in node.output))
    read = [tensor for tensor in model.graph.initializer if tensor.name in needed & initializers]
    part.graph.initializer.extend(all_completed(read))
    for name in names:
        part.graph.output.add().name = name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, {}), strict=True))


def _drop_unread(graph: onnx.GraphProto, outputs: set[str]) -> None:
    """Drop moves of constants, and constants, that nobody reads any more."""
    while True:
        read = outputs | {name for node in graph.node for name in names_read(node)}
        kept = [node for node in graph.node if node.op_type not in _MOVES or any(name in read for name in node.output)]
        if len(kept) == len(graph.node):
            break
        _replace_nodes(graph, kept)
    used = [tensor for tensor in graph.initializer if tensor.name in read]
    if len(used) < len(graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in used]
        del graph.initializer[:]
        graph.initializer.extend(copies)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own: the file's, else its first output's; repeats get `@i`."""
    used = {node.name for node in graph.node}
    seen: dict[str, int] = {}
    for node in graph.node:
        base = node.name or next((name for name in node.output if name), node.op_type)
        count = seen.get(base, 0)
        name = base if not count else f"{base}@{count}"
        while count and name in used:
            count += 1
            name = f"{base}@{count}"
        seen[base] = count + 1
        used.add(name)
        node.name = name

"""Folding in a `Model`: the graph and its table of layers together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from gfpq_inspect.models.fold.graph import fold_graph, is_pass
from gfpq_inspect.models.fold.steps import BASE_OPERATORS
from gfpq_inspect.models.fold.units import Fold, Refusal, Unit
from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.place import CAFFE_QUANTIZED_TYPES

CAFFE_BASE_TYPES = CAFFE_QUANTIZED_TYPES - {"Pooling"}
"""Caffe layers that others are folded into."""
CAFFE_STEP_TYPES = frozenset({"BatchNorm", "Scale", "Bias", "BN"})
"""Caffe layers that are folded."""
CAFFE_PASS_TYPES = frozenset({"Dropout", "Split"})
"""Caffe layers that hand on what they read at test; they go where they stand between the two."""
_ONNX_STEP_TYPES = frozenset({"BatchNormalization", "Mul", "Add", "Sub", "Div"})


@dataclass(frozen=True)
class FoldedModel:
    """A folded model and what was done.

    Attributes:
        model: The model; each layer that took others in names them in `Layer.folded`.
        folds: What was folded, in the order of the network.
        refusals: BatchNorm, Scale and Bias layers that stay, with the reason.
    """

    model: Model
    folds: tuple[Fold, ...]
    refusals: tuple[Refusal, ...]


def fold_model(model: Model) -> Model:
    """Fold BatchNorm, Scale and Bias (ONNX: BatchNormalization and constant Mul, Add, Sub, Div) into the layer before.

    Args:
        model: A network as stored; not changed.

    Returns:
        The network as NNIE computes it. A layer that took others in keeps its key and its place, makes the value that
        the last of them made, and names them in `Layer.folded`; layers that could not be folded say why in their notes.
    """
    return fold_model_report(model).model


def fold_model_report(model: Model, *, keep: Mapping[str, str] | None = None) -> FoldedModel:
    """Fold as `fold_model` does, and say what was folded and what was not.

    Args:
        model: A network as stored; not changed.
        keep: Keys of layers that must stay, with the reason.
    """
    keep = keep or {}
    positions = {node.name: index for index, node in enumerate(model.graph.graph.node)}
    caffe = model.origin.framework == "caffe"
    units = [
        _unit(model.graph.graph, layer, tuple(positions[name] for name in layer.nodes), caffe=caffe)
        for layer in model.layers
        if layer.nodes
    ]
    units = [replace(unit, refusal=keep.get(unit.key, "")) for unit in units]
    graph, folds, refusals = fold_graph(model.graph, units)
    layers = _table(model.layers, folds, refusals)
    notes = model.origin.notes
    if folds:
        count = sum(len(fold.folded) for fold in folds)
        notes = (*notes, f"folded: {count} layers went into the weights of {len(folds)} others")
    folded = replace(model, graph=graph, layers=layers, origin=replace(model.origin, notes=notes))
    return FoldedModel(folded, folds, refusals)


def fold_onnx(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[Fold, ...], tuple[Refusal, ...]]:
    """Fold an ONNX model whose nodes are its layers.

    Args:
        proto: The model, as `models.onnx.normalize` leaves it; not changed.

    Returns:
        The folded model, what was folded, and what was not; layers go by the names of their nodes.
    """
    units = [
        _onnx_unit(proto.graph, node.name, node.op_type, (index,), node.op_type in BASE_OPERATORS)
        for index, node in enumerate(proto.graph.node)
    ]
    try:
        shaped = onnx.shape_inference.infer_shapes(proto)
    except (RuntimeError, ValueError):  # shapes only help: without them fewer products can be folded
        shaped = proto
    folded, folds, refusals = fold_graph(shaped, units)
    known = {value.name for value in proto.graph.value_info}
    infos = [value for value in folded.graph.value_info if value.name in known]
    kept = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in infos]
    del folded.graph.value_info[:]
    folded.graph.value_info.extend(kept)
    return folded, folds, refusals


def _onnx_unit(graph: onnx.GraphProto, key: str, operator: str, nodes: tuple[int, ...], is_base: bool) -> Unit:
    is_step = operator in _ONNX_STEP_TYPES and len(nodes) == 1
    is_quiet = is_step and operator != "BatchNormalization"
    return Unit(key, operator, nodes, is_base, is_step, is_pass(graph, nodes), is_quiet)


def _unit(graph: onnx.GraphProto, layer: Layer, nodes: tuple[int, ...], *, caffe: bool) -> Unit:
    operators = [graph.node[index].op_type for index in nodes]
    bases = sum(operator in BASE_OPERATORS for operator in operators)
    computes = layer.kind is LayerKind.COMPUTE
    if caffe:
        is_base = computes and bases > 0 and layer.type in CAFFE_BASE_TYPES
        scales = layer.type == "Dropout" and operators == ["Mul"]  # forks that do not scale while training
        passes = layer.type in CAFFE_PASS_TYPES and (is_pass(graph, nodes) or scales)
        return Unit(layer.key, layer.type, nodes, is_base, computes and layer.type in CAFFE_STEP_TYPES, passes)
    kind = operators[0] if len(operators) == 1 else layer.type
    return _onnx_unit(graph, layer.key, kind, nodes, bases == 1)


def _table(layers: Sequence[Layer], folds: Sequence[Fold], refusals: Sequence[Refusal]) -> tuple[Layer, ...]:
    by_base = {fold.base: fold for fold in folds}
    gone = {key: layer for layer in layers for key in (layer.key,) if any(key in fold.folded for fold in folds)}
    reasons = {refusal.key: refusal.reason for refusal in refusals}
    table = []
    for layer in layers:
        if layer.key in gone:
            continue
        if layer.key in by_base:
            table.append(_folded_row(layer, by_base[layer.key], gone))
        elif layer.key in reasons:
            table.append(replace(layer, notes=(*layer.notes, f"not folded: {reasons[layer.key]}")))
        else:
            table.append(layer)
    return tuple(table)


def _folded_row(layer: Layer, fold: Fold, gone: dict[str, Layer]) -> Layer:
    old, new = fold.weight
    weights = [new if name == old else name for name in layer.weights]
    if fold.bias is not None:
        weights = [*weights[: 1 + weights.index(new)], fold.bias]
    quantization = layer.quantization
    if quantization is not None:
        kernels = tuple(new if name == old else name for name in quantization.weights)
        quantization = replace(quantization, weights=kernels)
    last = gone[fold.folded[-1]]
    return replace(
        layer,
        outputs=(fold.output,),
        blob_names=last.blob_names,
        nodes=fold.nodes,
        weights=tuple(weights),
        quantization=quantization,
        folded=fold.folded,
        notes=(*layer.notes, f"folded into it: {', '.join(fold.folded)}"),
    )

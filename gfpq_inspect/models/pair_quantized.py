"""Pairs a float model with one that quantizes itself, and gives the second back what only the first knows.

The file of a quantized model often holds no float weights any more, and its ReLU and Clip layers may live on only in
where its quantization cuts off. Lanes without that quantization need both: weights are taken from the first model where
the second's codes are what quantizing them gives, and activations are put back where cutting them off and quantizing is
the same as quantizing alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.models.model import Layer, LayerKind, Model, Quantization
from gfpq_inspect.models.pair import Pairing, canonical_type, finish_pairing, pair_inputs, pair_layers
from gfpq_inspect.models.pair_graph import ACTIVATIONS, AFFINE, MOVES, GraphPairs, pair_through_graph
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize.number_format import NumberFormat
from gfpq_inspect.quantize.stored import FLOAT_TYPES, StoredQuantization

Array = NDArray[Any]

_FAR = 1e30


def pair_models(first: Model, second: Model) -> tuple[Pairing, Model]:
    """Pair the layers of two models.

    Args:
        first: The reference.
        second: The model that is compared with it.

    Returns:
        The pairing, and the second model: completed by what only the first knows where it quantizes itself.

    Raises:
        ModelError: The second model has inputs that cannot be fed.
    """
    if not second.quantizes_itself or first.quantizes_itself:
        return pair_layers(first, second), second
    inputs = pair_inputs(first.inputs, second.inputs, second.origin.structure_file)
    return _Completion(first, second, pair_through_graph(first, second, inputs), inputs).run()


class _Completion:
    def __init__(self, first: Model, second: Model, found: GraphPairs, inputs: Mapping[str, str]) -> None:
        self._first, self._second, self._found = first, second, found
        self._inputs = inputs
        self._joined: dict[str, tuple[str, str]] = {}
        self._folded: dict[str, str] = {}
        self._explained: dict[tuple[int, str], str] = {}
        self._layers = {layer.key: layer for layer in second.layers}
        self._masters: dict[str, Array] = {}
        self._restored: list[tuple[Layer, onnx.NodeProto, list[onnx.TensorProto]]] = []
        self._renamed: dict[str, str] = {}
        self._tensors = {tensor.name: tensor for tensor in first.graph.graph.initializer}
        self._nodes = {node.name: node for node in first.graph.graph.node}
        self._opset = next((o.version for o in second.graph.opset_import if o.domain in ("", "ai.onnx")), 17)

    def run(self) -> tuple[Pairing, Model]:
        for key, partner in self._found.partners.items():
            self._pair(self._layers[key], partner)
        self._pair_inputs()
        for layer in self._second.layers:
            if layer.kind is LayerKind.CONSTANT:
                self._explained[1, layer.key] = "computes a constant"
        second = self._completed()
        weights = [name for layer in second.layers if layer.quantization for name in layer.quantization.weights]
        unknown = sorted({name for name in weights if name not in self._masters and not self._has_floats(name)})
        notes = []
        if unknown:
            total = len(set(weights))
            notes.append(
                f"{len(unknown)} of {total} quantized constants of the second model are not those of the first, or "
                "have no counterpart: they stay as their codes say in lanes without quantized weights."
            )
        pairing = finish_pairing(self._first, second, self._joined, self._folded, self._explained, notes=notes)
        return pairing, second

    def _has_floats(self, name: str) -> bool:
        """Whether the file itself still has the weight before quantization."""
        for layer in self._second.layers:
            if layer.quantization and name in layer.quantization.stored:
                tensor = next(entry for entry in self._second.graph.graph.initializer if entry.name == name)
                return not np.array_equal(array_of(tensor), layer.quantization.stored[name])
        return False

    def _pair(self, layer: Layer, partner: Layer) -> None:
        reason = self._found.reasons.get(layer.key, "through the graph")
        target = layer
        extended = self._found.extended.get(layer.key, [])
        if extended:
            target = extended[-1]
            for part in (layer, *extended[:-1]):
                self._explained[1, part.key] = f"part of '{partner.name}', which is compared at '{target.name}'"
        path = list(self._found.absorbed.get(layer.key, ()))
        affine = []
        while path and canonical_type(path[0]) in AFFINE:
            affine.append(path.pop(0))
        end = affine[-1] if affine else partner
        for entry in (partner, *affine)[: len(affine)]:
            self._folded[entry.key] = end.key
        self._join(
            end, target, reason if not affine else f"{reason}, with {', '.join(e.type for e in affine)} folded in"
        )
        self._take_masters(layer, partner, affine)
        for entry in path:
            kind = canonical_type(entry)
            if kind in ACTIVATIONS and self._restore(target, entry):
                continue
            if kind in MOVES or entry.kind is LayerKind.IDENTITY:
                self._explained[0, entry.key] = "the second model does without it: it only moves values"

    def _join(self, one: Layer, other: Layer, reason: str) -> None:
        if one.name != other.name or ", " in reason:
            self._joined[one.key] = (other.key, f"{reason}: called '{other.name}' in the second model")
        else:
            self._joined[one.key] = (other.key, "")

    def _pair_inputs(self) -> None:
        """An input is compared as the network goes on with it: at its quantized copy, where everybody reads that."""
        for entry in self._second.inputs:
            source = next(
                own for own in self._first.layers if self._inputs[entry.name] in (own.name, *own.output_names)
            )
            readers = [layer for layer in self._second.layers if entry.value in layer.inputs]
            own = next((layer for layer in self._second.layers if entry.value in layer.outputs), None)
            if source.kind is not LayerKind.INPUT:
                continue
            if len(readers) == 1 and readers[0].kind is LayerKind.QUANT:
                self._joined[source.key] = (readers[0].key, "compared at its quantized copy")
                if own is not None:
                    self._explained[1, own.key] = f"an input; compared at its quantized copy '{readers[0].name}'"
            elif own is not None:
                self._joined[source.key] = (own.key, "")

    def _restore(self, target: Layer, activation: Layer) -> bool:
        """Put an activation back before the quantization that took its place."""
        bounds = self._bounds(activation)
        value = target.outputs[0]
        chosen = self._quantization_behind(target, value)
        if bounds is None or chosen is None or not _cuts_off(chosen, bounds):
            return False
        own = self._layers[target.key]
        before = f"{value}/before {activation.name}"
        name = f"{activation.name}/restored"
        node, tensors = self._activation_node(name, before, value, bounds)
        restored = Layer(
            key=name,
            name=activation.name,
            type=activation.type,
            kind=LayerKind.COMPUTE,
            inputs=(before,),
            outputs=(value,),
            output_names=(name,),
            blob_names=(value,),
            nodes=(name,),
            quantization_reason="put back: the model's quantization cuts off where it does",
        )
        quantization = own.quantization
        if quantization is not None and value in quantization.outputs:
            restored = replace(
                restored, quantization=Quantization(outputs=(value,), formats={value: quantization.formats[value]})
            )
            formats = {key: each for key, each in quantization.formats.items() if key != value}
            outputs = tuple(entry for entry in quantization.outputs if entry != value)
            quantization = replace(quantization, outputs=outputs, formats=formats)
        outputs = tuple(before if entry == value else entry for entry in own.outputs)
        self._layers[own.key] = replace(own, outputs=outputs, quantization=quantization)
        self._renamed[own.key] = before
        self._restored.append((restored, node, tensors))
        self._layers[name] = restored
        self._joined[activation.key] = (name, "fused into the quantized layer before it in the second model")
        return True

    def _quantization_behind(self, target: Layer, value: str) -> NumberFormat | None:
        """The format in which all readers get a layer's output."""
        own = self._layers[target.key].quantization
        if own is not None and value in own.outputs:
            return own.formats[value]
        readers = [layer for layer in self._second.layers if value in layer.inputs]
        formats = [
            layer.quantization.formats[value]
            for layer in readers
            if layer.kind is LayerKind.QUANT and layer.quantization is not None and value in layer.quantization.inputs
        ]
        return formats[0] if len(readers) == len(formats) == 1 and value not in self._second.outputs else None

    def _bounds(self, activation: Layer) -> tuple[float, float] | None:
        """Where an activation of the first model cuts off; None where it does something else."""
        nodes = [self._nodes[name] for name in activation.nodes]
        if len(nodes) != 1:
            return None
        node = nodes[0]
        if node.op_type == "Relu":
            return 0.0, _FAR
        if node.op_type != "Clip":
            return None
        low, high = -_FAR, _FAR
        for entry in node.attribute:
            low, high = (
                (entry.f, high) if entry.name == "min" else (low, entry.f) if entry.name == "max" else (low, high)
            )
        limits = [low, high]
        for index, name in enumerate(node.input[1:3]):
            if name:
                if name not in self._tensors:
                    return None
                limits[index] = float(array_of(self._tensors[name]).reshape(()))
        return limits[0], limits[1]

    def _activation_node(
        self, name: str, source: str, target: str, bounds: tuple[float, float]
    ) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
        if bounds == (0.0, _FAR):
            return onnx.helper.make_node("Relu", [source], [target], name=name), []
        low, high = (np.float32(x) for x in bounds)
        if self._opset < 11:
            return onnx.helper.make_node("Clip", [source], [target], name=name, min=float(low), max=float(high)), []
        tensors = [onnx.numpy_helper.from_array(np.asarray(x), f"{name}/{i}") for i, x in enumerate((low, high))]
        node = onnx.helper.make_node("Clip", [source, *(tensor.name for tensor in tensors)], [target], name=name)
        return node, tensors

    def _take_masters(self, layer: Layer, partner: Layer, affine: list[Layer]) -> None:
        """The first model's floats, where quantizing them gives the second model's codes."""
        quantization = layer.quantization
        if quantization is None or not quantization.weights:
            return
        floats = self._folded_weights(partner, affine)
        for name in quantization.weights:
            codes, chosen = quantization.stored[name], quantization.formats[name]
            for candidate in floats:
                fitted = _fitted(candidate, codes, chosen)
                if fitted is not None:
                    self._masters[name] = fitted.astype(codes.dtype)
                    break

    def _folded_weights(self, partner: Layer, affine: list[Layer]) -> list[Array]:
        """The weight and bias of a layer with what was folded into it; none where that cannot be worked out."""
        arrays = [self._array(name) for name in partner.weights]
        floats = [array for array in arrays if np.issubdtype(array.dtype, np.floating)]
        weight = next((array for array in floats if array.ndim > 1), None)
        if weight is None:
            return floats
        bias = next((array for array in floats if array.ndim == 1), None)
        for entry in affine:
            node = self._nodes[entry.nodes[0]] if len(entry.nodes) == 1 else None
            operands = [self._array(name) for name in entry.weights]
            if node is not None and node.op_type == "BatchNormalization" and len(operands) == 4:
                gamma, beta, mean, variance = (operand.astype(np.float64) for operand in operands)
                epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
                factor = gamma / np.sqrt(variance + epsilon)
                weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
                bias = ((bias if bias is not None else 0.0) - mean) * factor + beta
            elif node is not None and node.op_type == "Add" and len(operands) == 1:
                added = operands[0].reshape(-1)
                bias = added if bias is None else bias + added
            else:
                return []
        return [weight] if bias is None else [weight, bias]

    def _array(self, name: str) -> Array:
        array: Array = array_of(self._tensors[name])
        return array

    def _completed(self) -> Model:
        """The second model with what was found."""
        graph = onnx.ModelProto()
        graph.CopyFrom(self._second.graph)
        for tensor in graph.graph.initializer:
            if tensor.name in self._masters:
                tensor.CopyFrom(
                    onnx.numpy_helper.from_array(np.ascontiguousarray(self._masters[tensor.name]), tensor.name)
                )
        behind: dict[str, list[tuple[Layer, onnx.NodeProto, list[onnx.TensorProto]]]] = {}
        for restored in self._restored:
            behind.setdefault(restored[0].inputs[0], []).append(restored)
        nodes, layers = [], []
        for node in graph.graph.node:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            before = self._renamed.get(copy.name)
            if before is not None:
                copy.output[0] = before
            nodes.append(copy)
            for _, made, tensors in behind.get(before or "", ()):
                nodes.append(made)
                graph.graph.initializer.extend(tensors)
        for layer in self._second.layers:
            layers.append(self._layers[layer.key])
            layers += [restored for restored, _, _ in behind.get(self._renamed.get(layer.key, ""), ())]
        del graph.graph.node[:]
        graph.graph.node.extend(nodes)
        return replace(self._second, graph=graph, layers=tuple(layers))


def _cuts_off(chosen: NumberFormat, bounds: tuple[float, float]) -> bool:
    """Whether quantizing alone gives what cutting off and then quantizing gives."""
    if not isinstance(chosen, StoredQuantization) or chosen.axis is not None:
        return False
    low, high = bounds
    ends = np.array([-_FAR, max(low, -_FAR), min(high, _FAR), _FAR], np.float32)
    bottom, at_low, at_high, top = chosen.apply(ends)
    return bool(bottom == at_low and at_high == top)


def _fitted(candidate: Array, codes: Array, chosen: NumberFormat) -> Array | None:
    """A float weight in the shape of the codes; None unless it quantizes to them, or to their neighbours."""
    if candidate.size != codes.size or not isinstance(chosen, StoredQuantization):
        return None
    shapes = [candidate] if candidate.shape == codes.shape else []
    if candidate.ndim == 2 and candidate.T.shape == codes.shape:
        shapes.append(candidate.T)
    if candidate.ndim != codes.ndim or not shapes:
        shapes.append(candidate.reshape(codes.shape))
    for option in shapes:
        working = np.ascontiguousarray(option, np.float32)
        again = chosen.apply(working)
        step: Any = chosen.steps(working.shape).scale
        if chosen.name in FLOAT_TYPES:
            mantissa, exponent, _ = FLOAT_TYPES[chosen.name]
            step = np.maximum(np.abs(codes) * 2.0**-mantissa, step * 2.0 ** (exponent - mantissa))
        if bool(np.all(np.abs(again - codes.astype(np.float32)) <= 1.01 * step)):
            return option
    return None

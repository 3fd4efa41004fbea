"""Reads ONNX models that quantize themselves: as the float network that they compute, with a list of what is quantized.

Pairs of QuantizeLinear and DequantizeLinear vanish from the graph and become entries of the list: of data, where a
value is handed on or read; of weights, whose codes are dequantized once. QOperator nodes (QLinearConv, QGemm,
QLinearAdd, ...) become the float operator between such entries, which is what they compute up to the last bit before
rounding. Dynamic quantization (DynamicQuantizeLinear with MatMulInteger or ConvInteger) becomes an entry whose scale
each sample makes. A model with a node that has no such reading runs as it is, and says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.models.onnx.names import names_read, rename_reads
from gfpq_inspect.models.onnx.quantized_operators import (
    INTEGER_PRODUCTS,
    LINEAR_OPERATORS,
    PASSING,
    NotConvertible,
    attribute,
)
from gfpq_inspect.models.onnx.quantized_view import QuantizedView, is_quantized
from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize.number_format import NumberFormat
from gfpq_inspect.quantize.stored import CODE_RANGES, FLOAT_TYPES, DynamicUint8, StoredQuantization

Array = NDArray[Any]


def float_view(model: onnx.ModelProto) -> QuantizedView | None:
    """Rewrite a normalized model that quantizes itself, in place.

    Args:
        model: After `normalize`.

    Returns:
        What it quantizes; None for a float model.
    """
    if not is_quantized(model.graph):
        return None
    rewriter = Rewriter(model.graph)
    try:
        rewriter.run()
    except NotConvertible as reason:
        return QuantizedView(as_it_is=str(reason))
    rewriter.replace_graph(model)
    return rewriter.view


class Rewriter:
    """One pass over the nodes, in order.

    Args:
        graph: Left as it is until `replace_graph`.

    Attributes:
        view: What was found.
        floats: Quantized value to the float value that stands for it, and its format.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.view = QuantizedView()
        self.floats: dict[str, tuple[str, NumberFormat]] = {}
        self._graph = graph
        self._arrays = {tensor.name: tensor for tensor in graph.initializer}
        self._new_tensors: dict[str, onnx.TensorProto] = {}
        self._outputs = {value.name for value in graph.output}
        self._nodes: list[onnx.NodeProto] = []
        self._alias: dict[str, str] = {}
        self._constants: dict[str, tuple[Array, StoredQuantization]] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._products: dict[str, tuple[onnx.NodeProto, tuple[str, ...]]] = {}
        self._scales: dict[str, tuple[tuple[str, ...], Array]] = {}
        for node in graph.node:
            for name in names_read(node):
                self._readers.setdefault(name, []).append(node)

    def run(self) -> None:
        """Rewrite all nodes.

        Raises:
            NotConvertible: A node that has no float reading.
        """
        for node in self._graph.node:
            operator = (node.domain if node.domain != "ai.onnx" else "", node.op_type)
            if operator[1] == "QuantizeLinear" and operator[0] in ("", "com.microsoft"):
                self._quantize(node)
            elif operator[1] == "DequantizeLinear" and operator[0] in ("", "com.microsoft"):
                self._dequantize(node)
            elif operator == ("", "DynamicQuantizeLinear"):
                self._dynamic(node)
            elif operator[1] in INTEGER_PRODUCTS:
                INTEGER_PRODUCTS[operator[1]](self, node)
            elif operator in LINEAR_OPERATORS:
                LINEAR_OPERATORS[operator](self, node)
            elif not self._scale_arithmetic(node):
                self._plain(node)
        made = {name for node in self._nodes for name in node.output} | {value.name for value in self._graph.input}
        for name in self._outputs - made - self._new_tensors.keys() - self._arrays.keys():
            if name not in self._alias:
                raise NotConvertible(f"the output '{name}' holds codes")
            self._nodes.append(onnx.helper.make_node("Identity", [self.float_of(name)], [name], name=f"{name}/out"))
        left = [name for node in self._nodes for name in names_read(node) if name in self._products]
        if left:
            raise NotConvertible(f"the integer product '{left[0]}' is not scaled back in a known way")

    def float_of(self, name: str) -> str:
        """The value that stands for this one in the float graph."""
        if name in self.floats:
            name = self.floats[name][0]
        return self._alias.get(name, name)

    def array(self, name: str, node: onnx.NodeProto) -> Array:
        """A constant."""
        if name not in self._arrays:
            raise NotConvertible(f"'{name}', a parameter of the {node.op_type} '{node.name}', is computed")
        return array_of(self._arrays[name])

    def is_constant(self, name: str) -> bool:
        """Whether it is an initializer of the file."""
        return name in self._arrays

    def stored(
        self, node: onnx.NodeProto, scale: str, zero_point: str, axis: int | None, block: int = 0
    ) -> StoredQuantization:
        """The format of a scale and a zero point that a node names."""
        scales = self.array(scale, node).astype(np.float32)
        saturate = bool(attribute(node, "saturate", 1))
        if zero_point:
            tensor = self._arrays.get(zero_point)
            if tensor is None:
                raise NotConvertible(f"'{zero_point}', the zero point of '{node.name}', is computed")
            zeros, kind = array_of(tensor).astype(np.float32), tensor.data_type
        else:
            zeros, kind = np.zeros_like(scales), self._code_type(node)
        name = onnx.TensorProto.DataType.Name(kind).lower()
        if name not in CODE_RANGES and name not in FLOAT_TYPES:
            raise NotConvertible(f"'{node.name}' quantizes to {name}")
        if scales.size == 1 and not block:
            return StoredQuantization(name, scales.reshape(()), zeros.reshape(-1)[:1].reshape(()), saturate=saturate)
        return StoredQuantization(name, scales, np.broadcast_to(zeros, scales.shape), axis, block, saturate)

    def _code_type(self, node: onnx.NodeProto) -> int:
        """Element type of codes where no zero point tells it."""
        given: int = attribute(node, "output_dtype", 0)
        if node.op_type == "QuantizeLinear":
            return given if given else int(onnx.TensorProto.UINT8)
        tensor = self._arrays.get(node.input[0])
        if tensor is not None:
            return int(tensor.data_type)
        known = self.floats.get(node.input[0])
        return int(onnx.TensorProto.DataType.Value(known[1].name.upper()) if known else onnx.TensorProto.UINT8)

    def _quantize(self, node: onnx.NodeProto) -> None:
        chosen = self._format_of(node)
        source, codes = node.input[0], node.output[0]
        if source in self._arrays:
            self._constants[codes] = (self.array(source, node), chosen)
            return
        self.quantize_value(source, codes, chosen, node.name)

    def _format_of(self, node: onnx.NodeProto) -> StoredQuantization:
        zero_point = node.input[2] if len(node.input) > 2 else ""
        return self.stored(
            node, node.input[1], zero_point, attribute(node, "axis", 1), attribute(node, "block_size", 0)
        )

    def quantize_value(self, source: str, codes: str, chosen: NumberFormat, name: str) -> None:
        """Let `codes` stand for the quantized copy of a float value.

        Where nobody else reads the value, the node that makes it hands it on quantized; else a node of its own does.
        """
        value = self.float_of(source)
        known = self.view.outputs.get(value)
        if known is not None and _identity(known) == _identity(chosen) is not None:
            # Quantizing once more in the same way changes nothing.
            self.floats[codes] = (value, chosen)
            return
        maker = next((node for node in self._nodes if value in node.output), None)
        target = self._float_name(codes)
        if maker is not None and value not in self.view.outputs and self._only_quantized(source, chosen):
            if target in self._outputs and value not in self._outputs:
                maker.output[list(maker.output).index(value)] = target
                self._alias[source] = value = target
            self.view.outputs[value] = chosen
            self.floats[codes] = (value, chosen)
            return
        taken = {entry for entry, _ in self.view.inputs.values()} | self.view.outputs.keys()
        if value in taken:
            copy = f"{codes}/copy"
            self._nodes.append(onnx.helper.make_node("Identity", [value], [copy], name=copy))
            value = copy
        self._nodes.append(onnx.helper.make_node("Identity", [value], [target], name=name))
        self.view.inputs[name] = (value, chosen)
        self.floats[codes] = (target, chosen)

    def _only_quantized(self, source: str, chosen: NumberFormat) -> bool:
        """Whether all that is done with a value is to quantize it in this way."""
        if source in self._outputs:
            return False
        readers = self._readers.get(source, [])
        for reader in readers:
            if reader.op_type != "QuantizeLinear" or reader.input[0] != source or reader.input[1] not in self._arrays:
                # The operators that quantize what they compute themselves make a value that has no reader.
                return False
            other = self._format_of(reader)
            if not isinstance(chosen, StoredQuantization) or other.identity != chosen.identity:
                return False
        return True

    def _float_name(self, codes: str) -> str:
        """The name for the quantized copy: a network output that it is, else that of the dequantized tensor."""
        names = [node.output[0] for node in self._readers.get(codes, []) if node.op_type == "DequantizeLinear"]
        free = [name for name in names if name not in self._alias]
        return next((name for name in free if name in self._outputs), free[0] if free else codes)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        codes, target = node.input[0], node.output[0]
        if codes in self._constants:
            values, chosen = self._constants[codes]
            self.add_weight(target, chosen.apply(values.astype(np.float32)).astype(values.dtype), chosen, values)
            return
        if codes in self._arrays:
            self._dequantize_constant(node)
            return
        known = self.floats.get(codes)
        if known is None:
            raise NotConvertible(f"'{node.name}' dequantizes what is computed in integers")
        if isinstance(known[1], StoredQuantization) and self._format_of(node).identity != known[1].identity:
            raise NotConvertible(f"'{node.name}' dequantizes with another scale than '{codes}' was quantized with")
        if known[0] != target:
            self._alias[target] = self.float_of(codes)

    def _dequantize_constant(self, node: onnx.NodeProto) -> None:
        chosen = self._format_of(node)
        dtype = self.array(node.input[1], node).dtype
        values = dequantized(self.array(node.input[0], node), chosen).astype(dtype)
        self.add_weight(node.output[0], values, chosen)

    def add_weight(self, name: str, values: Array, chosen: NumberFormat, before: Array | None = None) -> str:
        """Add a float weight that codes stand for; `before` is what was quantized, where the file still has it."""
        if name not in self.view.weights:
            stored = values if before is None else before
            self._new_tensors[name] = onnx.numpy_helper.from_array(np.ascontiguousarray(stored), name)
            self.view.weights[name] = (chosen, values)
        return name

    def weight(self, codes: str, chosen: StoredQuantization, node: onnx.NodeProto) -> str:
        """A constant operand of an integer operator, as a float weight."""
        values = dequantized(self.array(codes, node), chosen).astype(np.float32)
        return self.add_weight(f"{codes}/{node.name}", values, chosen)

    def emit(self, operator: str, inputs: Iterable[str], output: str, node: onnx.NodeProto, **attributes: Any) -> None:
        """Add a float node in place of another."""
        made = onnx.helper.make_node(operator, list(inputs), [output], name=node.name, **attributes)
        self._nodes.append(made)

    def _dynamic(self, node: onnx.NodeProto) -> None:
        codes, scale = node.output[0], node.output[1]
        self.quantize_value(node.input[0], codes, DynamicUint8(), node.name)
        self._scales[scale] = ((codes,), np.ones((), np.float32))

    def integer_product(self, node: onnx.NodeProto, operands: tuple[str, ...]) -> None:
        """Remember an integer product until its scale is known."""
        self._products[node.output[0]] = (node, operands)

    def _scale_arithmetic(self, node: onnx.NodeProto) -> bool:
        """Cast of an integer product, products of scales, and the product of both: the float node takes their place."""
        read = list(node.input)
        if node.op_type == "Cast" and read[0] in self._products:
            self._products[node.output[0]] = self._products[read[0]]
            return True
        if node.op_type in ("Reshape", "Unsqueeze", "Squeeze") and read[0] in self._scales:
            self._scales[node.output[0]] = self._scales[read[0]]
            return True
        if node.op_type != "Mul":
            return False
        if any(name in self._scales for name in read) and not any(name in self._products for name in read):
            if not all(name in self._scales or name in self._arrays for name in read):
                return False
            factors = [self._scales.get(name) or ((), self.array(name, node)) for name in read]
            self._scales[node.output[0]] = (factors[0][0] + factors[1][0], factors[0][1] * factors[1][1])
            return True
        product = next((name for name in read if name in self._products), None)
        scale = next((name for name in read if name in self._scales), None)
        if product is None or scale is None:
            return False
        source, operands = self._products[product]
        self.float_product(source, operands, np.asarray(self._scales[scale][1]), node.output[0])
        return True

    def float_product(
        self, node: onnx.NodeProto, operands: tuple[str, ...], scale: Array, output: str, zero_point: str | None = None
    ) -> None:
        """Write an integer product as one of floats; the constant operand takes the scale."""
        zeros = zero_point if zero_point is not None else (node.input[3] if len(node.input) > 3 else "")
        inputs = []
        convolution = node.op_type == "ConvInteger"
        for name in operands:
            if name in self._arrays:
                kind = onnx.TensorProto.DataType.Name(self._arrays[name].data_type).lower()
                offsets = self.array(zeros, node) if zeros else np.zeros((), np.int32)
                codes = self.array(name, node)
                axis = 0 if convolution else codes.ndim - 1
                flat = np.broadcast_to(offsets.astype(np.float32).reshape(-1), max(offsets.size, scale.size, 1))
                spread = np.broadcast_to(scale.astype(np.float32).reshape(-1), flat.shape)
                single = flat.size == 1
                chosen = StoredQuantization(
                    kind, spread.reshape(()) if single else spread, flat.reshape(()) if single else flat,
                    None if single else axis,
                )  # fmt: skip
                inputs.append(self.weight(name, chosen, node))
            elif name in self.floats:
                inputs.append(self.float_of(name))
            else:
                raise NotConvertible(f"'{node.name}' multiplies integers that were not quantized in the graph")
        kept = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        self.emit("Conv" if convolution else "MatMul", inputs, output, node, **(kept if convolution else {}))

    def _plain(self, node: onnx.NodeProto) -> None:
        """A node of floats; or one that only moves codes, and then moves the floats that they stand for."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        read = names_read(node)
        integers = [name for name in read if name in self.floats]
        if any(name in self._scales or name in self._products for name in read):
            raise NotConvertible(f"'{node.name}' ({node.op_type}) computes with scales or integer products")
        if integers:
            formats = [self.floats[name][1] for name in integers]
            first = formats[0]
            alike = all(isinstance(one, StoredQuantization) and isinstance(first, StoredQuantization)
                        and one.identity == first.identity for one in formats)  # fmt: skip
            if node.op_type not in PASSING or not alike:
                raise NotConvertible(f"'{node.name}' ({node.op_type}) computes with codes")
            for output in copy.output:
                self.floats[output] = (output, first)
        rename_reads(copy, {name: self.float_of(name) for name in read if self.float_of(name) != name})
        self._nodes.append(copy)

    def replace_graph(self, model: onnx.ModelProto) -> None:
        """Put the float nodes into the model."""
        graph = model.graph
        for node in self._nodes:
            rename_reads(node, {name: self.float_of(name) for name in names_read(node) if name in self._alias})
        read = {name for node in self._nodes for name in names_read(node)}
        read |= {value.name for value in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        tensors = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del graph.initializer[:], graph.node[:], graph.value_info[:]
        graph.initializer.extend(tensors)
        graph.initializer.extend(tensor for name, tensor in self._new_tensors.items() if name in read)
        graph.node.extend(self._nodes)
        self.view.weights = {name: entry for name, entry in self.view.weights.items() if name in read}


def _identity(chosen: NumberFormat) -> object:
    return chosen.identity if isinstance(chosen, StoredQuantization) else None


def dequantized(codes: Array, chosen: StoredQuantization) -> Array:
    """What codes stand for, float32: (code - zero point) * scale."""
    values = codes.astype(np.float32)
    steps = chosen.steps(values.shape)
    if codes.dtype == np.int32:
        # A bias: codes beyond 2^24 are no float32, so the difference is taken in double.
        result = (codes.astype(np.float64) - steps.zero_point) * steps.scale.astype(np.float64)
        return result.astype(np.float32)
    product: Array = (values - steps.zero_point) * steps.scale
    return product

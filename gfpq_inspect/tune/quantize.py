"""Quantizing a network's weights from files to files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.errors import QuantizationError, UsageError
from gfpq_inspect.inputs.coefficients import StoredCoefficient
from gfpq_inspect.models.fold import Refusal
from gfpq_inspect.models.model import Layer, LayerKind, Model
from gfpq_inspect.models.onnx.names import names_read
from gfpq_inspect.quantize import kernels
from gfpq_inspect.tune.caffemodel import LayerEdit, edit_caffemodel
from gfpq_inspect.tune.fold import FoldedFiles, Shapes, fold_files, serialize
from gfpq_inspect.tune.networks import CaffeFiles, OnnxFile, reopen, single_samples
from gfpq_inspect.tune.weights import QuantizedTensor, quantize_tensor


@dataclass(frozen=True)
class QuantizedWeight:
    """A layer's weight, quantized.

    Attributes:
        layer: Name of the layer.
        type: Its type.
        tensor: Name of the initializer in the translated network.
        index: Number of the blob.
        shape: Shape of the weight.
        result: What quantization did.
    """

    layer: str
    type: str
    tensor: str
    index: int
    shape: tuple[int, ...]
    result: QuantizedTensor


@dataclass(frozen=True)
class FloatLayer:
    """A layer with weights that stay float, and why: one clause."""

    layer: str
    type: str
    reason: str


@dataclass(frozen=True)
class QuantizedFiles:
    """A network with quantized weights, not yet written.

    Attributes:
        files: Content by suffix: '.prototxt' (where there is one) and '.caffemodel', or '.onnx'.
        weights: What was quantized, in the network's order.
        float_layers: What was not.
        folded: What was folded before; None when nothing was to be folded.
        bits: Bit width of layers that do not ask for another.
        name: Name of the network.
        sha256: Files that were read, base name to SHA-256.
        notes: What a reader should know, one clause each.
        data: Coefficients of data, where they were observed.
    """

    files: Mapping[str, bytes]
    weights: tuple[QuantizedWeight, ...]
    float_layers: tuple[FloatLayer, ...]
    folded: FoldedFiles | None
    bits: int
    name: str
    sha256: Mapping[str, str]
    notes: tuple[str, ...] = ()
    data: tuple[StoredCoefficient, ...] = ()


def quantize_files(
    opened: CaffeFiles | OnnxFile,
    shapes: Shapes,
    *,
    bits: int = 8,
    fold: bool = True,
    settle: bool = False,
    allow_unknown_fields: bool = False,
) -> QuantizedFiles:
    """Quantize the weights of every layer that NNIE quantizes, per tensor.

    Args:
        opened: The network.
        shapes: Input shapes by name, where the files leave them open.
        bits: 8 or 16; layers named `*_hp` get 16.
        fold: Fold BatchNorm, Scale and Bias first, as the chip does.
        settle: See `quantize_tensor`.
        allow_unknown_fields: As the network was opened.

    Returns:
        The new files; everything in them that is not a weight of a quantized layer is as it was (folded).

    Raises:
        ModelError: The network cannot be translated.
        QuantizationError: Another bit width, or weights that are not finite.
        UsageError: Folding a Caffe network without a prototxt.
    """
    if bits not in (8, 16):
        raise QuantizationError(f"{bits} bits: GFPQ has 8 and 16")
    origin = opened.network.origin
    if fold and isinstance(opened, CaffeFiles) and opened.source is None:
        raise UsageError(f"{opened.paths[0]}: folding changes the structure; give the prototxt too, or --no-fold")
    folded = fold_files(opened, shapes, allow_unknown_fields=allow_unknown_fields) if fold else None
    if folded is not None and folded.folds:
        opened_now = reopen(folded.files, allow_unknown_fields=allow_unknown_fields)
    else:
        opened_now = opened
    model, bound = single_samples(opened_now.network, shapes)
    file = origin.weights_file or origin.structure_file
    weights = tuple(_quantize(model, bits, settle=settle, file=file))
    if isinstance(opened_now, OnnxFile):
        files, notes = _onnx_files(opened_now, weights)
    else:
        files, notes = _caffe_files(opened_now, weights), ()
    if opened_now is not opened and folded is not None:
        notes += tuple(_trained_unfolded(opened.network.build(bound), folded, bits))
    refusals = folded.refusals if folded is not None else ()
    floats = tuple(_float_layers(model, refusals))
    return QuantizedFiles(files, weights, floats, folded, bits, origin.name, origin.sha256, notes)


def _quantize(model: Model, bits: int, *, settle: bool, file: str | None) -> Iterator[QuantizedWeight]:
    tensors = {tensor.name: tensor for tensor in model.graph.graph.initializer}
    done: dict[tuple[str, int], QuantizedTensor] = {}
    for row in model.layers:
        if row.quantization is None:
            continue
        width = row.quantization.bits or bits
        for name in row.quantization.weights:
            array = numpy_helper.to_array(tensors[name])
            if (name, width) not in done:
                values = np.ascontiguousarray(array, np.float32)
                done[name, width] = quantize_tensor(values, width, settle=settle, layer=row.name, file=file)
            yield QuantizedWeight(row.name, row.type, name, row.weights.index(name), array.shape, done[name, width])


def _trained_unfolded(before: Model, folded: FoldedFiles, bits: int) -> Iterator[str]:
    """Say which weights were quantized in training and are not what was trained any more, since folding moved them."""
    tensors = {tensor.name: tensor for tensor in before.graph.graph.initializer}
    bases = {fold.base for fold in folded.folds}
    moved = [
        row.name
        for row in before.layers
        if row.key in bases and row.quantization is not None
        for name in row.quantization.weights
        if kernels.on_grid(np.ascontiguousarray(numpy_helper.to_array(tensors[name]), np.float32), bits)
    ]
    if moved:
        shown = ", ".join(moved[:5]) + (", ..." if len(moved) > 5 else "")
        yield (
            f"{len(moved)} weights were on the grid before folding and had to be quantized again after it ({shown}): "
            "what was trained is not what is deployed; fold first and fine-tune the folded network"
        )


def _caffe_files(opened: CaffeFiles, weights: Sequence[QuantizedWeight]) -> dict[str, bytes]:
    edits: dict[int, LayerEdit] = {}
    for one in weights:
        values = one.result.values
        for position, layer in enumerate(opened.stored.layers):
            blob = layer.blobs.get(one.index)
            if layer.name == one.layer and blob is not None and not _equal(blob.values, values):
                edits[position] = LayerEdit({one.index: values.reshape(-1)})
    files = {} if opened.source is None else {".prototxt": opened.source.encode(opened.source.text)}
    return files | {".caffemodel": edit_caffemodel(opened.stored, edits)}


def _equal(stored: NDArray[np.float32], values: NDArray[np.float32]) -> bool:
    """Whether a stored blob needs no edit: it has the values already, or belongs to a layer of another size."""
    return stored.size != values.size or stored.tobytes() == values.tobytes()


def _onnx_files(opened: OnnxFile, weights: Sequence[QuantizedWeight]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    nodes = {node.name: node for node in proto.graph.node}
    readers: dict[str, int] = {}
    for node in proto.graph.node:
        for name in names_read(node):
            readers[name] = readers.get(name, 0) + 1
    uses: dict[str, list[QuantizedWeight]] = {}
    for one in weights:
        uses.setdefault(one.tensor, []).append(one)
    notes = []
    for name, users in uses.items():
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensors[name].data_type)
        if dtype != np.float32:
            notes.append(f"'{name}' is stored as {dtype}, which rounds grid values")
        shared = readers[name] != len(users) or len({one.result.bits for one in users}) > 1
        for one in users:
            target = f"{name}/quantized{one.result.bits}" if shared else name
            array = numpy_helper.from_array(one.result.values.reshape(one.shape).astype(dtype), target)
            if not shared:
                tensors[name].CopyFrom(array)
                continue
            if target not in tensors:
                tensors[target] = proto.graph.initializer.add()
                tensors[target].CopyFrom(array)
            node = nodes[one.layer]
            for position, read in enumerate(node.input):
                if read == name:
                    node.input[position] = target
    return {".onnx": serialize(proto)}, tuple(notes)


def _float_layers(model: Model, refusals: Sequence[Refusal]) -> Iterator[FloatLayer]:
    reasons = {refusal.key: refusal.reason for refusal in refusals}
    for row in model.layers:
        if row.kind is not LayerKind.COMPUTE or not row.weights or _is_quantized(row):
            continue
        reason = row.quantization_reason
        if row.key in reasons:
            reason = f"not folded: {reasons[row.key]}"
        yield FloatLayer(row.name, row.type, reason)


def _is_quantized(row: Layer) -> bool:
    return row.quantization is not None and bool(row.quantization.weights)

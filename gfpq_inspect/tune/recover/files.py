"""Trained weights in the files of their network: float master and quantized, everything else as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.tune.caffemodel import LayerEdit, edit_caffemodel
from gfpq_inspect.tune.fold import serialize
from gfpq_inspect.tune.networks import CaffeFiles, OnnxFile

Arrays = Mapping[str, NDArray[np.float32]]


def unwritable(opened: CaffeFiles | OnnxFile, model: Model) -> frozenset[str]:
    """Initializers that have no place of their own in the file.

    In Caffe: weights that layers share by a `param` name or that belong to one of two layers of a name, and biases that
    the file does not hold. In ONNX every initializer has its place; those that come from constants do not.
    """
    if isinstance(opened, OnnxFile):
        there = {tensor.name for tensor in opened.proto.graph.initializer}
        return frozenset(tensor.name for tensor in model.graph.graph.initializer if tensor.name not in there)
    names = Counter(layer.name for layer in opened.network.net.layers)
    shared = Counter(
        param.text("name") for layer in opened.network.net.layers for param in layer.message.messages("param")
    )
    sharing = {
        layer.name
        for layer in opened.network.net.layers
        if any(shared[param.text("name")] > 1 and param.text("name") for param in layer.message.messages("param"))
    }
    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.graph.initializer}
    found = set()
    for row, index, name in _blobs(model.layers):
        stored = [
            layer.blobs[index] for layer in opened.stored.layers if layer.name == row.name and index in layer.blobs
        ]
        fits = any(blob.values.size == sizes.get(name) for blob in stored)
        if not fits or names[row.name] > 1 or row.name in sharing:
            found.add(name)
    return frozenset(found)


def with_weights(opened: CaffeFiles | OnnxFile, model: Model, arrays: Arrays) -> dict[str, bytes]:
    """Return the files of a network with other weights.

    Args:
        opened: The network.
        model: The same, translated.
        arrays: Initializer of `model` to its new values, float32.

    Returns:
        Content by suffix.

    Raises:
        ModelError: The weights are HDF5.
    """
    if isinstance(opened, OnnxFile):
        proto = onnx.ModelProto()
        proto.CopyFrom(opened.proto)
        for tensor in proto.graph.initializer:
            if tensor.name in arrays:
                shape = tuple(tensor.dims)
                tensor.CopyFrom(numpy_helper.from_array(arrays[tensor.name].reshape(shape), tensor.name))
        return {".onnx": serialize(proto)}
    edits: dict[int, dict[int, NDArray[Any]]] = {}
    for row, index, name in _blobs(model.layers):
        if name not in arrays:
            continue
        for position, layer in enumerate(opened.stored.layers):
            blob = layer.blobs.get(index)
            if layer.name == row.name and blob is not None and blob.values.size == arrays[name].size:
                edits.setdefault(position, {})[index] = arrays[name].reshape(-1)
    content = edit_caffemodel(opened.stored, {position: LayerEdit(blobs) for position, blobs in edits.items()})
    files = {} if opened.source is None else {".prototxt": opened.source.encode(opened.source.text)}
    return files | {".caffemodel": content}


def _blobs(layers: Iterable[Layer]) -> Iterator[tuple[Layer, int, str]]:
    for row in layers:
        for index, name in enumerate(row.weights):
            yield row, index, name

"""Weights beside the graph: a model's text stays small, its arrays are handed over in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from gfpq_inspect.models.tensors import array_of
from gfpq_inspect.quantize.aligned import aligned_copy, as_aligned

Array = NDArray[Any]

_INLINE_BYTES = 1024
"""Smaller arrays stay in the graph: shape inference wants to see them."""

_NOWHERE = Path(__file__).with_name("__init__.py")
"""ONNX Runtime asks for a file that is there, even of arrays that it never reads; this one is too short to be read."""


def optimiser_options(file: Path) -> onnxruntime.SessionOptions:
    """Options that optimise a graph as far as it goes and write it down."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(file)
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(_INLINE_BYTES)
    )
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def tensors_of(model: onnx.ModelProto, known: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """All initializers; those that are known already are not copied once more."""
    there = known or {}
    return {
        tensor.name: there[tensor.name] if tensor.name in there else array_of(tensor)
        for tensor in model.graph.initializer
    }


def read_back(file: Path, own: Mapping[str, Array]) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Read a model that ONNX Runtime wrote with its large arrays in a file beside it.

    Args:
        file: The model.
        own: Arrays that were handed over; what came back unchanged is that array again.

    Returns:
        The model without its arrays, and all of them.
    """
    model = onnx.load_model(str(file), load_external_data=False)
    arrays = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            arrays[tensor.name] = onnx.numpy_helper.to_array(tensor)
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}
        stored = np.memmap(
            file.with_name(place["location"]),
            onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type),
            "r",
            int(place.get("offset", 0)),
            tuple(tensor.dims),
        )
        same = own.get(tensor.name)
        if same is not None and same.shape == stored.shape and same.dtype == stored.dtype and _equal(same, stored):
            arrays[tensor.name] = same
        else:
            arrays[tensor.name] = aligned_copy(stored)
        del stored
    del model.graph.initializer[:]
    return model, arrays


def _equal(one: Array, other: Array) -> bool:
    """Bit for bit, a piece at a time: no room for a comparison of everything is needed."""
    first, second = one.reshape(-1).view(np.uint8), other.reshape(-1).view(np.uint8)
    step = 1 << 22
    return all(np.array_equal(first[at : at + step], second[at : at + step]) for at in range(0, first.size, step))


def shell_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model without its initializers, shapes of inner values and outputs."""
    shell = onnx.ModelProto()
    shell.ir_version = max(model.ir_version, 8)
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    shell.graph.name = "network"
    shell.graph.node.extend(model.graph.node)
    names = {tensor.name for tensor in model.graph.initializer}
    shell.graph.input.extend(value for value in model.graph.input if value.name not in names)
    return shell


def hand_over(
    model: onnx.ModelProto,
    initializers: Mapping[str, Array],
    options: onnxruntime.SessionOptions,
    *,
    optimised: bool = True,
) -> tuple[bytes, list[Any]]:
    """Serialize a model whose initializers are arrays; large ones go through the options.

    Args:
        model: Without initializers; gets them.
        initializers: Those that are used are taken.
        options: Know of the large arrays afterwards.
        optimised: Whether the optimiser may look at the arrays; sessions then have copies. Without, all sessions
            compute with the very arrays that are handed over.

    Returns:
        The model, and what must outlive every session made of it.
    """
    used = {name for node in model.graph.node for name in node.input}
    names: list[str] = []
    kept: list[Any] = []
    for name, array in initializers.items():
        if name not in used:
            continue
        if array.nbytes <= _INLINE_BYTES or array.dtype == object:
            model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
            continue
        tensor = model.graph.initializer.add()
        tensor.name = name
        tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor.dims.extend(array.shape)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, text in (("location", _NOWHERE.name), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=text)
        names.append(name)
        kept.append(as_aligned(array))
    if names:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in kept]
        kept += values
        if optimised:
            options.add_external_initializers(names, values)
        else:
            options.add_session_config_entry(
                "session.model_external_initializers_file_folder_path", str(_NOWHERE.parent)
            )
            for name, value in zip(names, values, strict=True):
                options.add_initializer(name, value)
    return model.SerializeToString(), kept

"""A network's tensors for dumps: in float, and as a chip would compute them, by the formulas alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import gfpq_inspect
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_layers, run_model

Array = NDArray[Any]


def digits(fixtures: Path) -> Model:
    return gfpq_inspect.load(fixtures / "digits" / "float.caffemodel")


def digit_images(fixtures: Path, count: int) -> Array:
    with np.load(fixtures / "digits" / "test.npz") as archive:
        images: Array = archive["data"][:count].astype(np.float32)
    return images


def float_tensors(model: Model, image: Array) -> dict[str, Array]:
    """Every graph value for one image."""
    return run_model(model, {model.inputs[0].name: image.reshape(model.inputs[0].shape)})


def rounded(array: Array, bits: int = 8, largest: float | None = None) -> Array:
    """GFPQ by its formula, in float64."""
    steps, top = (16, 127) if bits == 8 else (128, 1407)
    x = array.astype(np.float64)
    delta = np.floor(steps * np.log2(largest or float(np.abs(x).max()) or 1e-6)) - top
    with np.errstate(divide="ignore"):
        codes = np.floor(steps * np.log2(np.abs(x)) + 0.5) - delta
    lowest = np.where(x < 0, 1, 0)
    values = np.sign(x) * 2.0 ** ((delta + np.clip(codes, lowest, top)) / steps)
    dead = np.abs(x) <= 2.0 ** ((delta + lowest) / steps) / 2
    return np.where(dead, 0.0, values).astype(np.float32)


def chip_tensors(model: Model, image: Array, bits: int = 8) -> dict[str, Array]:
    """Every graph value with weights and data quantized, coefficients of the data from the float tensors."""
    plain = float_tensors(model, image)
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    wanted = {name for layer in model.layers if layer.quantization for name in layer.quantization.weights}
    for tensor in graph.graph.initializer:
        if tensor.name in wanted:
            array = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded(array, bits), tensor.name))
    changed = replace(model, graph=graph)
    values = {entry.value: plain[entry.value] for entry in model.inputs}
    for layer in model.layers:
        if not layer.nodes:
            continue
        fed = dict(values)
        if layer.quantization is not None:
            for name in layer.quantization.inputs:
                fed[name] = rounded(values[name], bits, float(np.abs(plain[name]).max()))
        values.update(run_layers(changed, [layer], fed))
    return values


def blobs(model: Model, values: Mapping[str, Array]) -> dict[str, Array]:
    """What Caffe's blobs hold at the end of the forward pass, by blob name."""
    names: dict[str, str] = {}
    for layer in model.layers:
        names.update(zip(layer.blob_names, layer.outputs, strict=True))
    return {name: values[value] for name, value in names.items()}


def by_layer(model: Model, values: Mapping[str, Array]) -> dict[str, Array]:
    """Every layer's own output, by the name that the report gives it."""
    return {
        name: values[value]
        for layer in model.layers
        for name, value in zip(layer.output_names, layer.outputs, strict=True)
    }

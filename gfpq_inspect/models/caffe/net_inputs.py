"""Shapes of network inputs, as far as the definition tells them."""

from __future__ import annotations

from collections.abc import Sequence

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.cut import DATA_TYPES
from gfpq_inspect.models.caffe.net import NetInput, NetLayer
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.weights import MAX_BLOB_AXES, MAX_BLOB_VALUES

_BATCH_OWNERS = {
    "Data": "data_param", "AnnotatedData": "data_param", "VideoData": "data_param", "ImageData": "image_data_param",
    "HDF5Data": "hdf5_data_param", "MemoryData": "memory_data_param", "WindowData": "window_data_param",
}  # fmt: skip
_KEEPS_CHANNELS = frozenset(
    {"BatchNorm", "Scale", "Bias", "Power", "ReLU", "Pooling", "Dropout", "Split", "LRN", "Quant", "MVN", "Eltwise"}
)
_CONVOLUTIONS = frozenset({"Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "DepthwiseConv"})


def find_inputs(layers: Sequence[NetLayer], problems: Problems) -> tuple[NetInput, ...]:
    """Describe every top of every input layer.

    Args:
        layers: All layers, connected and with their weights.
        problems: Receives shapes that are impossible.
    """
    inputs = []
    for layer in layers:
        if layer.is_input:
            for value, blob in zip(layer.tops, layer.top_blobs, strict=True):
                try:
                    inputs.append(_input(layer, value, blob, layers))
                except ModelError as error:
                    problems.extend(error.problems)
    return tuple(inputs)


def _input(layer: NetLayer, value: str, blob: str, layers: Sequence[NetLayer]) -> NetInput:
    index = 0 if value == layer.key else int(value.rpartition(":")[2])
    if layer.type == "Input":
        shape = _declared(layer, "input_param", index, share=True)
        return NetInput(blob, value, shape, layer.key, "" if shape else "the prototxt gives it no shape")
    if layer.type == "Custom":
        return NetInput(blob, value, _declared(layer, "custom_param", index, share=False), layer.key, _foreign(layer))
    if layer.type not in DATA_TYPES:
        return NetInput(blob, value, None, layer.key, _foreign(layer))
    transform = layer.parameters("transform_param") if layer.has("transform_param") else None
    shape = _data_shape(layer, value, layers) if index == 0 else _label_shape(layer)
    note = f"fed by {layer.type} layer '{layer.name}'"
    if shape is None or -1 in shape:
        note += ", which says nothing of its size"
    return NetInput(blob, value, shape, layer.key, note, transform if index == 0 else None)


def _foreign(layer: NetLayer) -> str:
    what = layer.type
    if layer.type == "Python":
        python = layer.parameters("python_param")
        what = f"Python ({python.string('module')}.{python.string('layer')})"
    return f"computed outside, by {what} layer '{layer.name}'"


def _declared(layer: NetLayer, field: str, index: int, *, share: bool) -> tuple[int, ...] | None:
    parameters = layer.parameters(field)
    shapes = parameters.subs("shape")
    if not shapes:
        return None
    if share and len(shapes) == 1:
        index = 0
    if index >= len(shapes):
        what = f"it has {len(shapes)} shapes for {len(layer.message.texts('top'))} tops"
        raise ModelError(parameters.problem(what, "give one shape, or one for every top", "shape"))
    dimensions = shapes[index].integers("dim")
    count = 1
    for size in dimensions:
        count *= max(size, 1)
    if len(dimensions) > MAX_BLOB_AXES or count > MAX_BLOB_VALUES:
        what = f"input shape {'x'.join(map(str, dimensions[:40]))} is larger than any Caffe blob"
        raise ModelError(shapes[index].problem(what, f"a blob has at most {MAX_BLOB_VALUES} values; correct the shape"))
    return tuple(size if size > 0 else -1 for size in dimensions) or None


def _data_shape(layer: NetLayer, value: str, layers: Sequence[NetLayer]) -> tuple[int, ...] | None:
    owner = layer.parameters(_BATCH_OWNERS[layer.type]) if layer.type in _BATCH_OWNERS else None
    batch = owner.integer("batch_size") if owner is not None else 0
    if layer.type == "MemoryData" and owner is not None:
        sizes = (batch, *(owner.integer(name) for name in ("channels", "height", "width")))
        return tuple(size or -1 for size in sizes)
    if layer.type == "HDF5Data":
        return None
    height, width = _image_size(layer, owner)
    return (batch or -1, _channels(layer, value, layers) or -1, height or -1, width or -1)


def _image_size(layer: NetLayer, owner: Parameters | None) -> tuple[int, int]:
    """Return what images are cropped, else resized, to; 0 where the file does not say."""
    transform = layer.parameters("transform_param")
    crop = transform.integer("crop_size")
    if not crop and layer.type == "WindowData" and owner is not None:
        crop = owner.integer("crop_size")
    if crop:
        return crop, crop
    if transform.integer("crop_h") and transform.integer("crop_w"):
        return transform.integer("crop_h"), transform.integer("crop_w")
    resize = transform.sub("resize_param")
    if resize.present and resize.string("resize_mode") != "FIT_SMALL_SIZE":
        return resize.integer("height"), resize.integer("width")
    if layer.type == "ImageData" and owner is not None:
        return owner.integer("new_height"), owner.integer("new_width")
    return 0, 0


def _channels(layer: NetLayer, value: str, layers: Sequence[NetLayer]) -> int:
    """Return the number of channels: one mean value each, else what the first convolution wants, else what is usual."""
    transform = layer.parameters("transform_param")
    means = len(transform.numbers("mean_value"))
    if means > 1:
        return means
    wanted = _wanted_channels(value, layers)
    if wanted:
        return wanted
    if transform.flag("force_gray") or means == 1:
        return 1
    return 3 if transform.flag("force_color") or layer.type in ("ImageData", "AnnotatedData") else 0


def _wanted_channels(value: str, layers: Sequence[NetLayer]) -> int:
    same = {value}
    for layer in layers:
        if not same.intersection(layer.bottoms):
            continue
        if layer.type in _CONVOLUTIONS and layer.blobs and layer.blobs[0].ndim >= 2:
            group = layer.parameters("convolution_param").integer("group")
            if layer.type in ("ConvolutionDepthwise", "DepthwiseConv"):
                return int(layer.blobs[0].shape[0])
            return int(layer.blobs[0].shape[1]) * group
        if layer.type in _KEEPS_CHANNELS:
            same.update(layer.tops)
    return 0


def _label_shape(layer: NetLayer) -> tuple[int, ...] | None:
    if layer.type not in ("Data", "ImageData", "MemoryData"):
        return None
    return (layer.parameters(_BATCH_OWNERS[layer.type]).integer("batch_size") or -1,)

"""ONNX operators that look through windows, as PyTorch functions: convolution, pooling, resizing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from gfpq_inspect.analyze.engine.torch_call import Call, Function, Tensor, UnsupportedError

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True)
class _Window:
    """Where a window goes, one number an axis.

    Attributes:
        kernel: Its extent.
        strides: Steps between places.
        dilations: Steps within it.
        before: Padding before the first element.
        after: Padding after the last.
        beyond: Further padding that rounding the number of places up needs; it counts as outside.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    beyond: list[int]

    def padding(self, *, beyond: bool = True) -> list[int]:
        """As `functional.pad` takes it: last axis first."""
        pads: list[int] = []
        for axis in reversed(range(len(self.kernel))):
            pads += [self.before[axis], self.after[axis] + (self.beyond[axis] if beyond else 0)]
        return pads


def _window(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> _Window:
    """The window of a convolution or pooling over axes of these sizes."""
    rank = len(sizes)
    strides = list(call.option("strides", [1] * rank))
    dilations = list(call.option("dilations", [1] * rank))
    reach = [dilations[axis] * (kernel[axis] - 1) + 1 for axis in range(rank)]
    automatic = call.option("auto_pad", "NOTSET")
    pads = list(call.option("pads", [0] * (2 * rank))) if automatic == "NOTSET" else [0] * (2 * rank)
    before, after, beyond = pads[:rank], pads[rank:], [0] * rank
    for axis in range(rank):
        if automatic.startswith("SAME"):
            places = math.ceil(sizes[axis] / strides[axis])
            missing = max(0, (places - 1) * strides[axis] + reach[axis] - sizes[axis])
            smaller, larger = missing // 2, missing - missing // 2
            upper = automatic == "SAME_UPPER"
            before[axis], after[axis] = (smaller, larger) if upper else (larger, smaller)
        elif call.option("ceil_mode", 0):
            free = sizes[axis] + before[axis] + after[axis] - reach[axis]
            places = math.ceil(free / strides[axis]) + 1
            if (places - 1) * strides[axis] >= sizes[axis] + before[axis]:
                places -= 1  # the last place must begin inside
            beyond[axis] = max(0, (places - 1) * strides[axis] - free)
    return _Window(list(kernel), strides, dilations, before, after, beyond)


def _convolution(call: Call) -> Tensor:
    data, weight = call[0], call[1]
    window = _window(call, data.shape[2:], weight.shape[2:])
    bias = call[2] if call.has(2) else None
    padding: Sequence[int] = window.before
    if window.before != window.after:
        data, padding = functional.pad(data, window.padding()), [0] * len(window.before)
    function = _CONVOLUTIONS.get(data.dim() - 2)
    if function is None:
        raise UnsupportedError(f"convolution over {data.dim() - 2} axes")
    result: Tensor = function(data, weight, bias, window.strides, padding, window.dilations, call.option("group", 1))
    return result


def _transposed_convolution(call: Call) -> Tensor:
    if call.option("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in call.attributes:
        raise UnsupportedError("ConvTranspose with computed padding")
    data, weight = call[0], call[1]
    rank = data.dim() - 2
    function = _TRANSPOSED.get(rank)
    if function is None:
        raise UnsupportedError(f"transposed convolution over {rank} axes")
    strides, dilations = list(call.option("strides", [1] * rank)), list(call.option("dilations", [1] * rank))
    pads, extra = list(call.option("pads", [0] * (2 * rank))), list(call.option("output_padding", [0] * rank))
    bias = call[2] if call.has(2) else None
    result: Tensor = function(data, weight, bias, strides, 0, 0, call.option("group", 1), dilations)
    # Padding of the output is cut off, and what is added at its end holds nothing but the bias.
    cut: list[int] = []
    for axis in reversed(range(rank)):
        cut += [-pads[axis], extra[axis] - pads[rank + axis]]
    if bias is not None and any(number > 0 for number in cut):
        result = function(data, weight, None, strides, 0, 0, call.option("group", 1), dilations)
        return functional.pad(result, cut) + bias.reshape(1, -1, *[1] * rank)
    return functional.pad(result, cut) if any(cut) else result


def _max_pool(call: Call) -> Tensor:
    data = call[0]
    if call.outputs > 1 or call.option("storage_order", 0) or not data.is_floating_point():
        raise UnsupportedError("MaxPool with places or of whole numbers")
    window = _window(call, data.shape[2:], call.attributes["kernel_shape"])
    function = _MAXIMA.get(data.dim() - 2)
    if function is None:
        raise UnsupportedError(f"pooling over {data.dim() - 2} axes")
    if any(window.padding()):
        data = functional.pad(data, window.padding(), value=-math.inf)
    result: Tensor = function(data, window.kernel, window.strides, 0, window.dilations)
    return result


def _average_pool(call: Call) -> Tensor:
    data = call[0]
    rank = data.dim() - 2
    window = _window(call, data.shape[2:], call.attributes["kernel_shape"])
    if rank > 2 or any(number != 1 for number in window.dilations):
        raise UnsupportedError("AveragePool with dilation or over three axes")
    inside = torch.ones_like(data[:1, :1])
    if call.option("count_include_pad", 0):
        inside = functional.pad(inside, window.padding(beyond=False), value=1.0)
        inside = functional.pad(inside, _only_beyond(window))
    else:
        inside = functional.pad(inside, window.padding())
    padded = functional.pad(data, window.padding())
    return _window_sums(padded, window) / _window_sums(inside, window)


def _only_beyond(window: _Window) -> list[int]:
    return [number for axis in reversed(range(len(window.kernel))) for number in (0, window.beyond[axis])]


def _window_sums(data: Tensor, window: _Window) -> Tensor:
    if data.dim() == 3:
        flat = functional.avg_pool2d(data[:, :, None], (1, *window.kernel), (1, *window.strides), divisor_override=1)
        return flat[:, :, 0]
    return functional.avg_pool2d(data, window.kernel, window.strides, divisor_override=1)


def _global_average(call: Call) -> Tensor:
    return call[0].mean(dim=list(range(2, call[0].dim())), keepdim=True)


def _global_maximum(call: Call) -> Tensor:
    return call[0].amax(dim=list(range(2, call[0].dim())), keepdim=True)


# --------------------------------------------------------------------------------------------------------------- resize


def _resize(call: Call) -> Tensor:
    data = call[0]
    mode = call.option("mode", "nearest")
    if mode not in ("nearest", "linear") or "axes" in call.attributes or call.option("antialias", 0):
        raise UnsupportedError(f"Resize of mode {mode}, or of chosen axes")
    if call.option("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnsupportedError("Resize that keeps the aspect ratio")
    old = call.opset < 11
    scales_at, sizes_at = (1, -1) if call.opset < 11 else (2, 3)
    scales = [float(number) for number in call.array(scales_at).ravel()] if call.has(scales_at) else []
    if scales:
        sizes = [math.floor(length * scale) for length, scale in zip(data.shape, scales, strict=True)]
    else:
        sizes = call.integers(sizes_at) or []
        scales = [size / length for size, length in zip(sizes, data.shape, strict=True)]
    coordinates = "asymmetric" if old else call.option("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.option("nearest_mode", "round_prefer_floor")
    for axis, (size, scale) in enumerate(zip(sizes, scales, strict=True)):
        if size == data.shape[axis] and scale == 1.0:
            continue
        places = _source_places(coordinates, size, data.shape[axis], scale)
        data = _nearest(data, axis, places, rounding) if mode == "nearest" else _between(data, axis, places)
    return data


def _source_places(coordinates: str, size: int, length: int, scale: float) -> Tensor:
    """Where in the source each element lies, float64 on the host."""
    index = torch.arange(size, dtype=torch.float32)
    if coordinates == "asymmetric":
        return index / scale
    if coordinates == "align_corners":
        return index * (length - 1) / (size - 1) if size > 1 else torch.zeros(size)
    if coordinates == "half_pixel" or (coordinates == "pytorch_half_pixel" and size > 1):
        return (index + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel":
        return torch.zeros(size)
    raise UnsupportedError(f"Resize with {coordinates}")


def _nearest(data: Tensor, axis: int, places: Tensor, rounding: str) -> Tensor:
    if rounding == "floor":
        index = places.floor()
    elif rounding == "ceil":
        index = places.ceil()
    elif rounding == "round_prefer_ceil":
        index = (places + 0.5).floor()
    else:
        index = (places - 0.5).ceil()
    index = index.long().clamp(0, data.shape[axis] - 1)
    return data.index_select(axis, index.to(data.device))


def _between(data: Tensor, axis: int, places: Tensor) -> Tensor:
    places = places.clamp(0, data.shape[axis] - 1)
    low = places.floor().long()
    high = (low + 1).clamp(max=data.shape[axis] - 1)
    share = (places - low).to(data.dtype).to(data.device)
    share = share.reshape([-1 if place == axis else 1 for place in range(data.dim())])
    lower, upper = (data.index_select(axis, index.to(data.device)) for index in (low, high))
    return lower * (1 - share) + upper * share


WINDOWS: Mapping[str, Function] = {
    "AveragePool": _average_pool,
    "Conv": _convolution,
    "ConvTranspose": _transposed_convolution,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": _global_maximum,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "Upsample": _resize,
}
"""Operator to its function."""

"""Pooling (max, average, stochastic at test) and SPP, with Caffe's window and divisor rules."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer

_LOWEST = np.float32(-np.finfo(np.float32).max)


@dataclass(frozen=True)
class Pooled:
    """Geometry of a pooling layer; one entry for height and one for width each.

    Attributes:
        size: Input size.
        kernel: Window size.
        stride: Step.
        pad: Padding on both sides.
        out: Output size.
    """

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out: tuple[int, int]

    @property
    def end(self) -> tuple[int, int]:
        """Padding after the image that lets the last window fit; 0 where rows at the end go unused."""
        return (self._end(0), self._end(1))

    def _end(self, axis: int) -> int:
        reach = (self.out[axis] - 1) * self.stride[axis] + self.kernel[axis]
        return max(reach - self.size[axis] - self.pad[axis], 0)

    @property
    def has_empty_window(self) -> bool:
        """Whether a window lies wholly beyond the image (stride larger than kernel, no padding)."""
        return any((self.out[i] - 1) * self.stride[i] - self.pad[i] >= self.size[i] for i in range(2))

    @property
    def pads(self) -> list[int]:
        """Padding as ONNX writes it."""
        return [*self.pad, *self.end]

    @property
    def covers_all(self) -> bool:
        """Whether one window sees exactly the whole image."""
        return self.out == (1, 1) and self.kernel == self.size and self.pad == (0, 0)

    def divisors(self) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Return the divisor of each window: padding counts, what lies beyond the padding does not."""
        spans = []
        for size, kernel, stride, pad, out in zip(self.size, self.kernel, self.stride, self.pad, self.out, strict=True):
            start = np.arange(out) * stride - pad
            spans.append((np.minimum(start + kernel, size + pad) - start).astype(np.float32))
        return np.outer(spans[0], spans[1]).astype(np.float32)


@layer("Pooling")
def pooling(context: LayerContext) -> None:
    """MAX with an optional second top that tells where each maximum was, AVE, STOCHASTIC at test."""
    parameters = context.parameters("pooling_param")
    context.expect(bottoms=1, tops=range(1, 3))
    context.expect_rank(4)
    geometry = _geometry(context, parameters)
    method = parameters.string("pool")
    if context.top_count == 2 and method != "MAX":
        context.fail(f"only MAX pooling has a second top, this one is {method}")
    if method == "MAX":
        for index, value in enumerate(_max_pool(context, geometry, with_index=context.top_count == 2)):
            context.output(value, index)
    elif method == "AVE":
        context.output(average_pool(context, context.bottom(), geometry))
    else:
        context.output(_stochastic_pool(context, geometry))


@layer("SPP")
def spatial_pyramid_pooling(context: LayerContext) -> None:
    """Pool to 1, 2, 4, ... bins an axis, flatten each and join them."""
    parameters = context.parameters("spp_param")
    context.expect(bottoms=1, tops=1)
    count, channels, height, width = context.expect_rank(4)
    levels = parameters.integer("pyramid_height")
    if not 0 < levels < 16:
        context.fail(f"pyramid_height is {levels}", "give a small positive number")
    pooled = []
    for level in range(levels):
        geometry = _pyramid_level(context, (height, width), 2**level)
        method = parameters.string("pool")
        if method == "MAX":
            pooled += _max_pool(context, geometry)
        elif method == "AVE":
            pooled.append(average_pool(context, context.bottom(), geometry))
        else:
            if geometry.pad != (0, 0):
                context.fail("stochastic pooling cannot be padded, as this pyramid level would need")
            pooled.append(_stochastic_pool(context, geometry))
    if levels == 1:
        context.output(pooled[0])
        return
    flat = [
        context.reshape(
            value, (count, context.builder.value(value).shape[2] * context.builder.value(value).shape[3] * channels)
        )
        for value in pooled
    ]
    width = sum(context.shape(value)[1] for value in flat)
    context.output(context.emit("Concat", *flat, shape=(count, width), axis=1))


def _geometry(context: LayerContext, parameters: Parameters) -> Pooled:
    size = (context.shape()[2], context.shape()[3])
    if parameters.flag("global_pooling"):
        if any(parameters.has(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
            context.fail("global_pooling forbids a kernel size", "remove kernel_size or global_pooling")
        kernel = size
    elif parameters.has("kernel_size"):
        if parameters.has("kernel_h") or parameters.has("kernel_w"):
            context.fail("kernel_size and kernel_h/kernel_w are both given", "keep one of them")
        kernel = (parameters.integer("kernel_size"),) * 2
    else:
        kernel = (parameters.integer("kernel_h"), parameters.integer("kernel_w"))
    pad = _pair(parameters, "pad")
    stride = _pair(parameters, "stride")
    if min(kernel) < 1 or min(stride) < 1:
        context.fail(
            f"kernel {text_of(kernel)} and stride {text_of(stride)} must be positive",
            "give kernel_size, or both kernel_h and kernel_w",
        )
    if parameters.flag("global_pooling") and (pad != (0, 0) or stride != (1, 1)):
        context.fail("global_pooling needs pad 0 and stride 1", "remove pad and stride")
    floors = parameters.string("round_mode") == "FLOOR" or not parameters.flag("ceil_mode")
    if parameters.string("pool") == "STOCHASTIC" and pad != (0, 0):
        context.fail("stochastic pooling cannot be padded", "remove pad")
    return _pooled(context, size, kernel, stride, pad, floors=floors)


def _pair(parameters: Parameters, name: str) -> tuple[int, int]:
    if parameters.has(f"{name}_h"):
        return (parameters.integer(f"{name}_h"), parameters.integer(f"{name}_w"))
    value = parameters.integer(name)
    return (value, value)


def _pooled(
    context: LayerContext,
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pad: tuple[int, int],
    *,
    floors: bool = False,
) -> Pooled:
    if any(p >= k for p, k in zip(pad, kernel, strict=True)):
        context.fail(f"pad {text_of(pad)} is not smaller than the kernel {text_of(kernel)}", "reduce pad")
    out = []
    for axis in range(2):
        room = np.float32(size[axis] + 2 * pad[axis] - kernel[axis])
        steps = np.float32(room / np.float32(stride[axis]))
        count = (floor(steps) if floors else ceil(steps)) + 1
        if any(pad) and (count - 1) * stride[axis] >= size[axis] + pad[axis]:
            count -= 1
        if count < 1:
            context.fail(
                f"its kernel {text_of(kernel)} is larger than the padded input {text_of(size)}",
                "enlarge the input (--input-shape) or correct kernel_size",
            )
        out.append(count)
    return Pooled(size, kernel, stride, pad, (out[0], out[1]))


def _pyramid_level(context: LayerContext, size: tuple[int, int], bins: int) -> Pooled:
    kernel = (ceil(size[0] / bins), ceil(size[1] / bins))
    pad = ((kernel[0] * bins - size[0] + 1) // 2, (kernel[1] * bins - size[1] + 1) // 2)
    return _pooled(context, size, kernel, kernel, pad)


def _out_shape(context: LayerContext, geometry: Pooled) -> tuple[int, ...]:
    return (*context.shape()[:2], *geometry.out)


def _padded(context: LayerContext, value: str, geometry: Pooled, fill: np.float32) -> str:
    (top, left), (bottom, right) = geometry.pad, geometry.end
    count, channels, height, width = context.shape(value)
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    shape = (count, channels, height + top + bottom, width + left + right)
    return context.emit("Pad", value, pads, fill, shape=shape)


def _max_pool(context: LayerContext, geometry: Pooled, *, with_index: bool = False) -> list[str]:
    source, pads = context.bottom(), geometry.pads
    if geometry.has_empty_window:
        source, pads = _padded(context, source, geometry, _LOWEST), [0, 0, 0, 0]
    elif geometry.covers_all and not with_index:
        return [context.emit("GlobalMaxPool", source, shape=_out_shape(context, geometry))]
    shape = _out_shape(context, geometry)
    outputs: list[tuple[tuple[int, ...], DTypeLike]] = [(shape, np.float32)]
    if with_index:
        outputs.append((shape, np.int64))
    made = context.emit_many(
        "MaxPool",
        [source],
        outputs,
        kernel_shape=list(geometry.kernel),
        strides=list(geometry.stride),
        pads=pads,
    )
    if with_index:
        made[1] = _plane_index(context, made[1], context.shape(source), geometry, made[0])
    return made


def _plane_index(context: LayerContext, index: str, source: tuple[int, ...], geometry: Pooled, pooled: str) -> str:
    """Turn ONNX's index over the whole tensor into Caffe's over one plane, -1 for an empty window."""
    height, width = source[2:]
    plane = context.emit("Mod", index, np.int64(height * width))
    if not geometry.has_empty_window:
        return context.emit("Cast", plane, dtype=np.float32, to=1)
    row = context.emit("Div", plane, np.int64(width))
    column = context.emit("Mod", plane, np.int64(width))
    unpadded = context.emit("Add", context.emit("Mul", row, np.int64(geometry.size[1])), column)
    found = context.emit("Greater", pooled, _LOWEST, dtype=np.bool_)
    return context.emit(
        "Where", found, context.emit("Cast", unpadded, dtype=np.float32, to=1), np.float32(-1), dtype=np.float32
    )


def average_pool(context: LayerContext, source: str, geometry: Pooled) -> str:
    """Emit average pooling: the mean over full windows, times a map where Caffe divides by less."""
    shape = _out_shape(context, geometry)
    if geometry.covers_all:
        return context.emit("GlobalAveragePool", source, shape=shape)
    pads = geometry.pads
    if geometry.has_empty_window:
        source, pads = _padded(context, source, geometry, np.float32(0)), [0, 0, 0, 0]
    mean = context.emit(
        "AveragePool",
        source,
        shape=shape,
        kernel_shape=list(geometry.kernel),
        strides=list(geometry.stride),
        pads=pads,
        count_include_pad=1,
    )
    full = np.float32(geometry.kernel[0] * geometry.kernel[1])
    divisors = geometry.divisors()
    if (divisors == full).all():
        return mean
    with np.errstate(divide="ignore"):
        return context.emit("Mul", mean, (full / divisors)[None, None])


def _stochastic_pool(context: LayerContext, geometry: Pooled) -> str:
    """Emit what Caffe uses at test: the sum of squares over the sum, 0 where the sum is not positive."""
    shape = _out_shape(context, geometry)
    attributes: dict[str, Any] = {
        "kernel_shape": list(geometry.kernel),
        "strides": list(geometry.stride),
    }
    padded = _padded(context, context.bottom(), geometry, np.float32(0)) if any(geometry.end) else context.bottom()
    squares = context.emit("Mul", padded, padded)
    mean_square = context.emit("AveragePool", squares, shape=shape, **attributes)
    mean = context.emit("AveragePool", padded, shape=shape, **attributes)
    positive = context.emit("Greater", mean, np.float32(0), dtype=np.bool_)
    return context.emit(
        "Where", positive, context.emit("Div", mean_square, mean), np.float32(0), shape=shape, dtype=np.float32
    )

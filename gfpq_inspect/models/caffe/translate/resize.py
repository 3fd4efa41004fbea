"""Enlarging and shrinking images: Upsample (nearest or by mask), MaxUnpool, Interp."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer


@layer("Upsample")
def upsample(context: LayerContext) -> None:
    """One bottom: repeat pixels. Two bottoms (SegNet): put each value where the mask of a max pooling says."""
    parameters = context.parameters("upsample_param")
    context.expect(bottoms=range(1, 3), tops=1)
    if len(context.bottoms) == 2:
        unpool(context, _unpooled_size(context, parameters))
        return
    count, channels, height, width = context.expect_rank(4)
    factor = np.float32(1)
    if any(parameters.has(name) for name in ("stride", "stride_h", "stride_w")):
        # Ascend's edition: stride enlarges and scale multiplies.
        both = parameters.integer("stride")
        steps = [parameters.integer(name) if parameters.has(name) else both for name in ("stride_h", "stride_w")]
        size = (height * steps[0], width * steps[1])
        factor = np.float32(parameters.number("scale"))
    elif parameters.has("upsample_h") or parameters.has("upsample_w"):
        size = (parameters.integer("upsample_h"), parameters.integer("upsample_w"))
    else:
        scales = _scales(context, parameters, default=1)
        size = (height * scales[0], width * scales[1])
    value = _nearest(context, context.bottom(), (count, channels, *size))
    context.output(context.emit("Mul", value, factor) if factor != 1 else value)


def _scales(context: LayerContext, parameters: Parameters, default: int) -> tuple[int, int]:
    whole = parameters.number("scale") if parameters.has("scale") else default
    scales = tuple(parameters.integer(name) if parameters.has(name) else whole for name in ("scale_h", "scale_w"))
    if any(scale < 1 or scale != int(scale) for scale in scales):
        context.fail(f"scale {whole:g} is no positive whole number", "give a whole number")
    return int(scales[0]), int(scales[1])


def _nearest(context: LayerContext, value: str, shape: tuple[int, int, int, int]) -> str:
    """Emit out[h, w] = in[h in/out rounded down, w in/out rounded down]."""
    context.check_size(shape)
    known = context.shape(value)
    scales = np.array([1, 1, shape[2] / known[2], shape[3] / known[3]], np.float32)
    whole = shape[2] % known[2] == 0 and shape[3] % known[3] == 0
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if whole:
        return context.emit("Resize", value, "", scales, shape=shape, **attributes)
    rows, columns = (
        np.arange(out, dtype=np.int64) * size // out for out, size in zip(shape[2:], known[2:], strict=True)
    )
    tall = context.emit("Gather", value, rows, shape=(*known[:2], shape[2], known[3]), axis=2)
    return context.emit("Gather", tall, columns, shape=shape, axis=3)


def _unpooled_size(context: LayerContext, parameters: Parameters) -> tuple[int, int]:
    _, _, height, width = context.expect_rank(4)
    if parameters.has("upsample_h") and parameters.has("upsample_w"):
        return parameters.integer("upsample_h"), parameters.integer("upsample_w")
    scales = _scales(context, parameters, default=2)
    pads = (parameters.flag("pad_out_h"), parameters.flag("pad_out_w"))
    return height * scales[0] - int(pads[0]), width * scales[1] - int(pads[1])


@layer("MaxUnpool")
def max_unpool(context: LayerContext) -> None:
    """Put each value where the mask of a max pooling says, in an image of dst_h by dst_w."""
    parameters = context.parameters("max_unpool_param")
    context.expect(bottoms=2, tops=1)
    unpool(context, (parameters.integer("dst_h"), parameters.integer("dst_w")))


def unpool(context: LayerContext, size: tuple[int, int]) -> None:
    """Emit zeros with top[mask] = bottom; the mask counts within one plane of the output, later values overwrite."""
    count, channels, height, width = context.expect_rank(4)
    if context.shape(context.bottom(1)) != context.shape():
        context.fail(
            f"its mask {text_of(context.shape(context.bottom(1)))} and its values {text_of(context.shape())} differ"
        )
    if size[0] < 1 or size[1] < 1:
        context.fail(f"the output would be {text_of(size)}", "correct upsample_param")
    planes, plane = count * channels, size[0] * size[1]
    positions = context.emit("Cast", context.bottom(1), dtype=np.int64, to=7)
    flat = np.array([-1, height * width], np.int64)
    flat_positions = context.emit("Reshape", positions, flat, shape=(planes, height * width))
    values = context.emit("Reshape", context.bottom(), flat, shape=(planes, height * width))
    size_of_canvas = np.array([planes, plane], np.int64)
    canvas = context.emit("ConstantOfShape", size_of_canvas, shape=(planes, plane), dtype=np.float32)
    filled = context.emit("ScatterElements", canvas, flat_positions, values, axis=1)
    context.output(
        context.emit("Reshape", filled, np.array([-1, channels, *size], np.int64), shape=(count, channels, *size))
    )


@layer("Interp")
def interpolate(context: LayerContext) -> None:
    """Bilinear with corners aligned, after cropping by pads that are 0 or negative."""
    parameters = context.parameters("interp_param")
    context.expect(bottoms=1, tops=1)
    count, channels, height, width = context.expect_rank(4)
    begin, end = parameters.integer("pad_beg"), parameters.integer("pad_end")
    if begin > 0 or end > 0:
        context.fail("pad_beg and pad_end must be 0 or negative: Interp only crops")
    seen = (height + begin + end, width + begin + end)
    if min(seen) < 1:
        context.fail(f"cropping {begin} and {end} leaves nothing of {height}x{width}")
    value = context.bottom()
    if begin or end:
        value = context.emit(
            "Slice",
            value,
            np.array([-begin, -begin], np.int64),
            np.array([height + end, width + end], np.int64),
            np.array([2, 3], np.int64),
            shape=(count, channels, *seen),
        )
    size = _interpolated_size(context, parameters, seen)
    if size == seen:
        context.output(value)
        return
    shape = (count, channels, *size)
    sizes = np.array(shape, np.int64)
    context.output(
        context.emit(
            "Resize", value, "", "", sizes, shape=shape, mode="linear", coordinate_transformation_mode="align_corners"
        )
    )


def _interpolated_size(context: LayerContext, parameters: Parameters, seen: tuple[int, int]) -> tuple[int, int]:
    shrink, zoom = parameters.integer("shrink_factor"), parameters.integer("zoom_factor")
    if shrink < 1 or zoom < 1:
        context.fail("shrink_factor and zoom_factor must be positive")
    shrunk = tuple((size - 1) // shrink + 1 for size in seen)
    if parameters.has("shrink_factor") and not parameters.has("zoom_factor"):
        size = shrunk
    elif parameters.has("zoom_factor") and not parameters.has("shrink_factor"):
        size = tuple(one + (one - 1) * (zoom - 1) for one in seen)
    elif parameters.has("height") and parameters.has("width"):
        size = (parameters.integer("height"), parameters.integer("width"))
    elif parameters.has("zoom_factor") and parameters.has("shrink_factor"):
        size = tuple(one + (one - 1) * (zoom - 1) for one in shrunk)
    else:
        context.fail("interp_param gives no size", "give height and width, zoom_factor or shrink_factor")
    return (size[0], size[1])

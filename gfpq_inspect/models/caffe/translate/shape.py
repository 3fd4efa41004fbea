"""Layers that move or rename elements: Reshape, Flatten, Permute, Tile, Reverse, ShuffleChannel, Reorg, Pad, ..."""

from __future__ import annotations

from math import prod

import numpy as np

from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer

_BEFORE_THE_START = np.iinfo(np.int64).min + 1


@layer("Reshape")
def reshape(context: LayerContext) -> None:
    """Replace axes [axis, axis + num_axes) by `shape`; 0 copies the axis at that place, one -1 is inferred."""
    parameters = context.parameters("reshape_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    wanted = parameters.sub("shape").integers("dim")
    axis, count = parameters.integer("axis"), parameters.integer("num_axes")
    start = axis if axis >= 0 else len(shape) + axis + 1
    end = len(shape) if count == -1 else start + count
    if not 0 <= start <= len(shape) or not start <= end <= len(shape) or count < -1:
        context.fail(f"axis {axis} with num_axes {count} is out of range for {text_of(shape)}")
    middle = []
    for position, size in enumerate(wanted):
        if size == 0 and start + position >= len(shape):
            context.fail(f"dim 0 at position {position} has no axis to copy in {text_of(shape)}")
        middle.append(shape[start + position] if size == 0 else size)
    target = [*shape[:start], *middle, *shape[end:]]
    if target.count(-1) > 1 or any(size < -1 for size in target):
        context.fail(f"shape {wanted} is no shape", "give at most one -1")
    if -1 in target:
        known = -prod(target)
        if known == 0 or prod(shape) % known:
            context.fail(f"{text_of(shape)} cannot be reshaped to {wanted}", "correct reshape_param or the input shape")
        target[target.index(-1)] = prod(shape) // known
    if prod(target) != prod(shape):
        context.fail(
            f"{text_of(shape)} cannot be reshaped to {text_of(target)}: the counts differ",
            "correct reshape_param or the input shape",
        )
    context.output(context.reshape(context.bottom(), target))


@layer("Flatten")
def flatten(context: LayerContext) -> None:
    """Join axes `axis` to `end_axis`, both included."""
    parameters = context.parameters("flatten_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    start = context.axis(parameters.integer("axis"))
    end = context.axis(parameters.integer("end_axis"), what="end_axis")
    if end < start:
        context.fail(f"end_axis {end} comes before axis {start}")
    target = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
    context.output(context.reshape(context.bottom(), target))


@layer("Permute")
def permute(context: LayerContext) -> None:
    """Axes in the order given, those not named after them."""
    order = context.parameters("permute_param").integers("order")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    if len(set(order)) != len(order) or any(axis >= len(shape) for axis in order):
        context.fail(f"order {order} does not name axes of {text_of(shape)} once each")
    order = [*order, *(axis for axis in range(len(shape)) if axis not in order)]
    if order == list(range(len(shape))):
        context.output(context.emit("Identity", context.bottom()))
        return
    context.output(context.emit("Transpose", context.bottom(), shape=[shape[axis] for axis in order], perm=order))


@layer("Tile")
def tile(context: LayerContext) -> None:
    """Repeat whole blocks along an axis."""
    parameters = context.parameters("tile_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    axis, tiles = context.axis(parameters.integer("axis")), parameters.integer("tiles")
    if tiles < 1:
        context.fail(f"tiles is {tiles}", "give a positive number")
    repeats = np.array([tiles if i == axis else 1 for i in range(len(shape))], np.int64)
    target = (*shape[:axis], shape[axis] * tiles, *shape[axis + 1 :])
    context.output(context.emit("Tile", context.bottom(), repeats, shape=target))


@layer("Reverse")
def reverse(context: LayerContext) -> None:
    """The order of elements along an axis (1 unless given) turned round."""
    parameters = context.parameters("reverse_param")
    context.expect(bottoms=1, tops=1)
    axes = [context.axis(axis) for axis in parameters.integers("axis") or [1]]
    if 0 in axes:
        context.mixes_samples("the batch is reversed")
    ends = np.full(len(axes), _BEFORE_THE_START, np.int64)
    steps = np.full(len(axes), -1, np.int64)
    context.output(context.emit("Slice", context.bottom(), steps, ends, np.array(axes, np.int64), steps))


@layer("ShuffleChannel")
def shuffle_channel(context: LayerContext) -> None:
    """Channels as a (group, C/group) table, read column by column."""
    groups = context.parameters("shuffle_channel_param").integer("group")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    if len(shape) < 2 or groups < 1 or shape[1] % groups:
        context.fail(f"group {groups} does not divide the channels of {text_of(shape)}")
    rest = shape[2:]
    table = context.reshape(context.bottom(), (shape[0], groups, shape[1] // groups, *rest))
    turned_shape = (shape[0], shape[1] // groups, groups, *rest)
    order = [0, 2, 1, *range(3, 3 + len(rest))]
    turned = context.emit("Transpose", table, shape=turned_shape, perm=order)
    context.output(context.reshape(turned, shape))


@layer("Reorg")
def reorganize(context: LayerContext) -> None:
    """Darknet's reorganisation with its own index formula, and its reverse."""
    parameters = context.parameters("reorg_param")
    _darknet_reorganize(context, parameters.integer("stride"), backward=parameters.flag("reverse"))


@layer("PassThrough")
def pass_through(context: LayerContext) -> None:
    """NNIE's name for Reorg: blocks become channels."""
    parameters = context.parameters("pass_through_param")
    height, width = parameters.integer("block_height"), parameters.integer("block_width")
    if height != width:
        context.fail(f"block_height {height} and block_width {width} differ", "only square blocks are understood")
    channels = context.expect_rank(4)[1]
    wanted = parameters.integer("num_output")
    if wanted and wanted != channels * height * height:
        context.fail(
            f"num_output is {wanted}, {channels} channels in blocks of {height}x{height} give {channels * height**2}"
        )
    _darknet_reorganize(context, height, backward=False)


def _darknet_reorganize(context: LayerContext, stride: int, *, backward: bool) -> None:
    """Emit darknet's reorganisation.

    Forward, y[k, j, i] is x, seen as (D, H s, W s) with D = C / s^2, at
    [k mod D, j s + o / s, i s + o mod s], o = k / D; y is then seen as (C s^2, H / s, W / s). Backward scatters by the
    same formula instead.
    """
    context.expect(bottoms=1, tops=1)
    count, channels, height, width = context.expect_rank(4)
    square = stride * stride
    divides = stride > 0 and channels % square == 0
    if not divides or (not backward and (height % stride or width % stride)):
        context.fail(
            f"{channels}x{height}x{width} does not divide into blocks of {stride}x{stride}",
            f"channels must be a multiple of {square}" + ("" if backward else f", height and width of {stride}"),
        )
    spread = (count, channels // square, height * stride, width * stride)
    if backward:
        context.output(context.emit("DepthToSpace", context.bottom(), shape=spread, blocksize=stride, mode="DCR"))
        return
    seen = context.reshape(context.bottom(), spread)
    mixed = context.emit("SpaceToDepth", seen, shape=(count, channels, height, width), blocksize=stride)
    context.output(context.reshape(mixed, (count, channels * square, height // stride, width // stride)))


@layer("PixelShuffle")
def pixel_shuffle(context: LayerContext) -> None:
    """Channels become blocks of pixels, channel by channel."""
    factor = context.parameters("pixelshuffle_param").integer("upscale_factor")
    context.expect(bottoms=1, tops=1)
    count, channels, height, width = context.expect_rank(4)
    if factor < 1 or channels % (factor * factor):
        context.fail(f"upscale_factor {factor} does not divide {channels} channels into blocks")
    shape = (count, channels // factor**2, height * factor, width * factor)
    context.output(context.emit("DepthToSpace", context.bottom(), shape=shape, blocksize=factor, mode="CRD"))


@layer("Unsqueeze")
def unsqueeze(context: LayerContext) -> None:
    """Insert an axis of size 1."""
    position = context.parameters("unsqueeze_param").integer("dim")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    axis = context.axis(position, len(shape) + 1, "dim")
    context.output(context.reshape(context.bottom(), (*shape[:axis], 1, *shape[axis:])))


@layer("Pad")
def pad(context: LayerContext) -> None:
    """Enlarge height and width: by a constant, by the edge, or mirrored."""
    parameters = context.parameters("pad_param")
    context.expect(bottoms=1, tops=1)
    count, channels, height, width = context.expect_rank(4)
    top, bottom, left, right = (parameters.integer(f"pad_{side}") for side in "udlr")
    mode = {"CONSTANT": "constant", "REPLICATE": "edge", "REFLECT": "reflect"}[parameters.string("pad_type")]
    if min(top, bottom, left, right) < 0:
        context.fail("pads must not be negative")
    if mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
        context.fail(f"mirrored pads must be smaller than the image {height}x{width}")
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    inputs: list[str | np.generic | np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = [context.bottom(), pads]
    if mode == "constant":
        inputs.append(np.float32(parameters.number("pad_value")))
    shape = (count, channels, height + top + bottom, width + left + right)
    context.output(context.emit("Pad", *inputs, shape=shape, mode=mode))

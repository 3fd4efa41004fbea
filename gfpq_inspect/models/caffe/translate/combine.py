"""Layers of several bottoms: Eltwise, Concat, Slice, Crop, Axpy, MatMul, BatchReindex, Filter, Split."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import LayerKind


@layer("Eltwise")
def eltwise(context: LayerContext) -> None:
    """Sum with coefficients, product or maximum of bottoms of one shape."""
    parameters = context.parameters("eltwise_param")
    context.expect(bottoms=range(2, 10_000), tops=1)
    for bottom in context.bottoms[1:]:
        if context.shape(bottom) != context.shape():
            context.fail(
                f"its bottoms differ in shape: {text_of(context.shape())} and {text_of(context.shape(bottom))}",
                "Eltwise never broadcasts; correct the layers above or the input shape",
            )
    operation, coefficients = parameters.string("operation"), parameters.numbers("coeff")
    if coefficients and len(coefficients) != len(context.bottoms):
        context.fail(f"{len(coefficients)} coeff for {len(context.bottoms)} bottoms", "give one a bottom, or none")
    if operation == "PROD" and coefficients:
        context.fail("a product takes no coeff", "remove coeff")
    if operation == "MAX":
        context.output(context.emit("Max", *context.bottoms))
        return
    terms = list(context.bottoms)
    if operation == "SUM" and coefficients:
        terms = [_times(context, term, coefficient) for term, coefficient in zip(terms, coefficients, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = context.emit("Mul" if operation == "PROD" else "Add", total, term)
    context.output(total)


def _times(context: LayerContext, value: str, coefficient: float) -> str:
    return value if coefficient == 1 else context.emit("Mul", value, np.float32(coefficient))


@layer("Concat")
def concat(context: LayerContext) -> None:
    """Join bottoms along an axis."""
    parameters = context.parameters("concat_param")
    context.expect(bottoms=range(1, 100_000), tops=1)
    axis = _axis_or_dim(context, parameters, "concat_dim")
    first = context.shape()
    for bottom in context.bottoms[1:]:
        shape = context.shape(bottom)
        if len(shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(shape, first, strict=True)) if i != axis
        ):
            context.fail(
                f"{text_of(first)} and {text_of(shape)} cannot be joined along axis {axis}",
                "the other axes must agree; correct the layers above or the input shape",
            )
    total = sum(context.shape(bottom)[axis] for bottom in context.bottoms)
    if len(context.bottoms) == 1:
        context.kind = LayerKind.IDENTITY
        context.output(context.emit("Identity", context.bottom()))
        return
    shape = (*first[:axis], total, *first[axis + 1 :])
    context.output(context.emit("Concat", *context.bottoms, shape=shape, axis=axis))


@layer("Slice")
def slice_layer(context: LayerContext) -> None:
    """Cut a bottom along an axis, at given points or in equal parts."""
    parameters = context.parameters("slice_param")
    context.expect(bottoms=1, tops=range(1, 100_000))
    axis = _axis_or_dim(context, parameters, "slice_dim")
    shape, points, tops = context.shape(), parameters.integers("slice_point"), context.top_count
    size = shape[axis]
    if points:
        edges = [0, *points, size]
        if len(points) != tops - 1 or any(a >= b for a, b in pairwise(edges)):
            context.fail(
                f"slice_point {points} does not cut axis {axis} of size {size} into {tops} parts",
                f"give {tops - 1} rising points below {size}",
            )
    elif size % tops:
        context.fail(f"axis {axis} of size {size} cannot be cut into {tops} equal parts", "give slice_point")
    else:
        edges = [size // tops * i for i in range(tops + 1)]
    if tops == 1:
        context.kind = LayerKind.IDENTITY
        context.output(context.emit("Identity", context.bottom()))
        return
    sizes = np.diff(np.array(edges, np.int64))
    outputs = [((*shape[:axis], int(part), *shape[axis + 1 :]), np.dtype(np.float32)) for part in sizes]
    for index, value in enumerate(context.emit_many("Split", [context.bottom(), sizes], outputs, axis=axis)):
        context.output(value, index)


def _axis_or_dim(context: LayerContext, parameters: Parameters, old: str) -> int:
    if not parameters.has(old):
        return context.axis(parameters.integer("axis"))
    if parameters.has("axis"):
        context.fail(f"axis and {old} are both given", f"remove {old}")
    return context.axis(parameters.integer(old), what=old)


@layer("Split")
def split(context: LayerContext) -> None:
    """Copies."""
    context.expect(bottoms=1)
    context.kind = LayerKind.IDENTITY
    for index in range(context.top_count):
        context.output(context.emit("Identity", context.bottom()), index)


@layer("Crop")
def crop(context: LayerContext) -> None:
    """Cut the first bottom to the size of the second, from `axis` on."""
    parameters = context.parameters("crop_param")
    context.expect(bottoms=2, tops=1)
    shape, like = context.shape(), context.shape(context.bottom(1))
    axis = context.axis(parameters.integer("axis"))
    offsets = parameters.integers("offset") or [0]
    cropped = len(shape) - axis
    if len(like) != len(shape):
        context.fail(f"its bottoms have {len(shape)} and {len(like)} axes", "Crop needs equally many")
    if len(offsets) not in (1, cropped):
        context.fail(f"{len(offsets)} offsets for {cropped} cropped axes", f"give one, or {cropped}")
    offsets = offsets * cropped if len(offsets) == 1 else offsets
    starts = np.array(offsets, np.int64)
    ends = starts + np.array(like[axis:], np.int64)
    if (ends > np.array(shape[axis:])).any():
        context.fail(
            f"cutting {text_of(like[axis:])} at offset {text_of(offsets)} goes beyond {text_of(shape[axis:])}",
            "reduce the offset",
        )
    keep = [i for i in range(cropped) if offsets[i] or like[axis + i] != shape[axis + i]]
    axes = np.array([axis + i for i in keep], np.int64)
    if not keep:
        context.output(context.emit("Identity", context.bottom()))
        return
    out = (*shape[:axis], *like[axis:])
    context.output(context.emit("Slice", context.bottom(), starts[keep], ends[keep], axes, shape=out))


@layer("CropCenter")
def crop_center(context: LayerContext) -> None:
    """Cut crop_size elements from both ends of each axis."""
    sizes = context.parameters("crop_center_param").integers("crop_size")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    if len(sizes) != len(shape) or any(size < 0 for size in sizes):
        context.fail(f"crop_size {sizes} does not fit {len(shape)} axes", "give one number, 0 or more, an axis")
    out = tuple(size - 2 * cut for size, cut in zip(shape, sizes, strict=True))
    axes = np.array([i for i, cut in enumerate(sizes) if cut], np.int64)
    if not axes.size:
        context.output(context.emit("Identity", context.bottom()))
        return
    starts = np.array([sizes[i] for i in axes], np.int64)
    context.output(context.emit("Slice", context.bottom(), starts, -starts, axes, shape=out))


@layer("Axpy")
def axpy(context: LayerContext) -> None:
    """A factor a channel times one blob, plus another: bottoms a (N, C), x, y (N, C, H, W)."""
    context.expect(bottoms=3, tops=1)
    factor, x, y = context.bottoms
    shape = context.shape(x)
    if context.shape(y) != shape or len(shape) < 2 or prod(context.shape(factor)) != shape[0] * shape[1]:
        context.fail(
            f"its bottoms {', '.join(text_of(context.shape(b)) for b in context.bottoms)} do not fit a x + y",
            "the first needs one number a channel, the others one shape",
        )
    factor = context.reshape(factor, (*shape[:2], *[1] * (len(shape) - 2)))
    context.output(context.emit("Add", context.emit("Mul", x, factor, shape=shape), y))


@layer("MatMul")
def matrix_product(context: LayerContext) -> None:
    """Product of the last two axes of two bottoms."""
    parameters = context.parameters("matmul_param")
    context.expect(bottoms=2, tops=1)
    left, right = context.shape(), context.shape(context.bottom(1))
    for name, size in (("dim_1", left[-2:-1]), ("dim_2", left[-1:]), ("dim_3", right[-1:])):
        if parameters.has(name) and (parameters.integer(name),) != size:
            context.fail(f"{name} is {parameters.integer(name)}, its bottoms are {text_of(left)} and {text_of(right)}")
    if len(left) < 2 or len(left) != len(right) or left[:-2] != right[:-2] or left[-1] != right[-2]:
        context.fail(f"{text_of(left)} times {text_of(right)} is no matrix product over the last two axes")
    context.multiply_adds = prod(left) * right[-1]
    context.output(context.emit("MatMul", *context.bottoms, shape=(*left[:-1], right[-1])))


@layer("BatchReindex")
def batch_reindex(context: LayerContext) -> None:
    """Pick items of axis 0 by the indices in the second bottom."""
    context.expect(bottoms=2, tops=1)
    indices = context.shape(context.bottom(1))
    if len(indices) != 1:
        context.fail(f"its indices have the shape {text_of(indices)}", "give them one axis")
    context.mixes_samples("items of the batch are picked by index")
    positions = context.emit("Cast", context.bottom(1), dtype=np.int64, to=7)
    context.output(context.emit("Gather", context.bottom(), positions, shape=(*indices, *context.shape()[1:]), axis=0))


@layer("Filter")
def filter_layer(context: LayerContext) -> None:
    """Keep the items of axis 0 whose selector, the last bottom, is not 0."""
    context.expect(bottoms=range(2, 10_000), tops=len(context.bottoms) - 1)
    selector = context.shape(context.bottoms[-1])
    for bottom in context.bottoms[:-1]:
        if context.shape(bottom)[:1] != selector[:1] or prod(selector[1:]) != 1:
            context.fail(f"selector {text_of(selector)} does not fit {text_of(context.shape(bottom))}")
    context.mixes_samples("how many items are left depends on the data")
    chosen = context.emit("Cast", context.reshape(context.bottoms[-1], selector[:1]), dtype=np.bool_, to=9)
    for index, bottom in enumerate(context.bottoms[:-1]):
        made = context.emit_many(
            "Compress", [bottom, chosen], [(context.shape(bottom), np.float32)], dynamic_axis=0, axis=0
        )
        context.output(made[0], index)

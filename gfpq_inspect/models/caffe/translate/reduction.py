"""Softmax, Reduction, ArgMax."""

from __future__ import annotations

from math import prod

import numpy as np

from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer


@layer("Softmax")
def softmax(context: LayerContext) -> None:
    """Exponentials over their sum, along one axis."""
    axis = context.axis(context.parameters("softmax_param").integer("axis"))
    context.expect(bottoms=1, tops=1)
    if axis == 0:
        context.mixes_samples("Softmax runs along the batch")
    context.output(context.emit("Softmax", context.bottom(), axis=axis))


@layer("Reduction")
def reduction(context: LayerContext) -> None:
    """Sum, sum of magnitudes, sum of squares or mean over all axes from `axis` on, times coeff."""
    parameters = context.parameters("reduction_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    axis = context.axis(parameters.integer("axis"))
    operation, factor = parameters.string("operation"), np.float32(parameters.number("coeff"))
    if operation == "MEAN":
        factor = np.float32(factor / np.float32(prod(shape[axis:])))
    axes = list(range(axis, len(shape)))
    out = shape[:axis]
    if operation in ("SUM", "MEAN"):
        value = context.emit("ReduceSum", context.bottom(), np.array(axes, np.int64), shape=out, keepdims=0)
    else:
        operator = "ReduceL1" if operation == "ASUM" else "ReduceSumSquare"
        value = context.emit(operator, context.bottom(), shape=out, axes=axes, keepdims=0)
    context.output(context.emit("Mul", value, factor) if factor != 1 else value)


@layer("ArgMax")
def arg_max(context: LayerContext) -> None:
    """Positions (as floats) or values of the top_k largest, in falling order; of equals the later comes first."""
    parameters = context.parameters("argmax_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    count, with_values = parameters.integer("top_k"), parameters.flag("out_max_val")
    along_axis = parameters.has("axis")
    source, axis = context.bottom(), 1
    if along_axis:
        axis = context.axis(parameters.integer("axis"))
    else:
        source = context.reshape(source, (shape[0], prod(shape[1:])))
    looked_at = context.shape(source)
    size = looked_at[axis]
    if not 1 <= count <= size:
        context.fail(f"top_k {count} of {size} values", f"give 1 to {size}")
    out = (*looked_at[:axis], count, *looked_at[axis + 1 :])
    back = np.array([-1], np.int64)
    turned = context.emit("Slice", source, back, np.array([-size - 1], np.int64), np.array([axis], np.int64), back)
    values, turned_indices = context.emit_many(
        "TopK",
        [turned, np.array([count], np.int64)],
        [(out, np.dtype(np.float32)), (out, np.dtype(np.int64))],
        axis=axis,
        largest=1,
        sorted=1,
    )
    whole = context.emit("Sub", np.array(size - 1, np.int64), turned_indices, shape=out)
    indices = context.emit("Cast", whole, dtype=np.float32, to=1)
    if along_axis:
        context.output(values if with_values else indices)
        return
    tail = [1] * max(0, len(shape) - 3)
    if with_values:
        both = context.emit("Concat", indices, values, shape=(shape[0], 2 * count), axis=1)
        context.output(context.reshape(both, (shape[0], 2, count, *tail)))
    else:
        context.output(context.reshape(indices, (shape[0], 1, count, *tail)))

"""InnerProduct and Embed."""

from __future__ import annotations

from math import prod

import numpy as np

from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer


@layer("InnerProduct", needs_weights=True)
def inner_product(context: LayerContext) -> None:
    """Axes from `axis` on become one vector, multiplied by weight (O, K), or (K, O) with transpose."""
    parameters = context.parameters("inner_product_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    axis = context.axis(parameters.integer("axis"))
    outputs, length, rows = parameters.integer("num_output"), prod(shape[axis:]), prod(shape[:axis])
    if outputs < 1:
        context.fail("num_output is missing or 0", "give inner_product_param.num_output")
    transpose, biased = parameters.flag("transpose"), parameters.flag("bias_term")
    context.expect_blobs(1 + biased)
    inputs = [
        context.weight(
            0,
            "weight",
            (length, outputs) if transpose else (outputs, length),
            filler=parameters.sub("weight_filler"),
            quantized=True,
        )
    ]
    if biased:
        inputs.append(context.weight(1, "bias", (outputs,), filler=parameters.sub("bias_filler")))
    context.multiply_adds = rows * length * outputs
    flat = context.reshape(context.bottom(), (rows, length))
    product = context.emit("Gemm", flat, *inputs, shape=(rows, outputs), transB=0 if transpose else 1)
    context.output(context.reshape(product, (*shape[:axis], outputs)))


@layer("Embed", needs_weights=True)
def embed(context: LayerContext) -> None:
    """Look integers, stored as floats, up in a table (input_dim, num_output); a bias is added to each row."""
    parameters = context.parameters("embed_param")
    context.expect(bottoms=1, tops=1)
    rows, width = parameters.integer("input_dim"), parameters.integer("num_output")
    if rows < 1 or width < 1:
        context.fail("input_dim and num_output must be positive", "give both in embed_param")
    biased = parameters.flag("bias_term")
    context.expect_blobs(1 + biased)
    table = context.weight(0, "weight", (rows, width), filler=parameters.sub("weight_filler"))
    indices = context.emit("Cast", context.bottom(), dtype=np.int64, to=7)
    value = context.emit("Gather", table, indices, shape=(*context.shape(), width), axis=0)
    if biased:
        value = context.emit("Add", value, context.weight(1, "bias", (width,), filler=parameters.sub("bias_filler")))
    context.output(value)

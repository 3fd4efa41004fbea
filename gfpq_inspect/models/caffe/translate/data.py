"""Layers without bottoms that hold their own data: Parameter, DummyData; and those that produce nothing."""

from __future__ import annotations

from math import prod

import numpy as np

from gfpq_inspect.models.caffe.translate.blob_shapes import MAX_CONSTANT_ELEMENTS, text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.fillers import fill
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import LayerKind


@layer("Parameter", needs_weights=True)
def parameter(context: LayerContext) -> None:
    """A learned blob."""
    shape = context.parameters("parameter_param").sub("shape").integers("dim")
    context.kind = LayerKind.CONSTANT
    context.expect_blobs(1)
    context.output(context.emit("Identity", context.weight(0, "value", shape)))


@layer("DummyData")
def dummy_data(context: LayerContext) -> None:
    """Constant blobs; what Caffe draws at random on every run is drawn once here."""
    parameters = context.parameters("dummy_data_param")
    context.kind = LayerKind.CONSTANT
    shapes = [tuple(shape.integers("dim")) for shape in parameters.subs("shape")]
    if not shapes:
        sizes = [parameters.integers(name) for name in ("num", "channels", "height", "width")]
        if len({len(size) for size in sizes}) != 1:
            context.fail("num, channels, height and width are given unequally often", "give shape { dim: ... }")
        shapes = list(zip(*sizes, strict=True))
    fillers = parameters.subs("data_filler")
    tops = context.top_count
    if len(shapes) not in (1, tops) or len(fillers) not in (0, 1, tops):
        context.fail(f"{len(shapes)} shapes and {len(fillers)} fillers for {tops} tops", "give one, or one a top")
    for index in range(tops):
        shape = shapes[index if len(shapes) > 1 else 0]
        if prod(shape) > MAX_CONSTANT_ELEMENTS or any(size < 1 for size in shape):
            context.fail(f"it cannot hold {text_of(shape)}", "correct dummy_data_param")
        filler = fillers[index if len(fillers) > 1 else 0] if fillers else None
        array, how = fill(filler, shape, 0.0, f"{context.layer.key}:{index}")
        if "random" in how:
            context.notes.append(f"top {index} is {how}")
        context.output(context.emit("Identity", np.ascontiguousarray(array)), index)


@layer("Silence", "HDF5Output")
def silence(context: LayerContext) -> None:
    """Nothing: such layers swallow their bottoms."""
    context.kind = LayerKind.IDENTITY

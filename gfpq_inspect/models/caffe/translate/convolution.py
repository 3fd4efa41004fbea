"""Convolution, Deconvolution, their depthwise spellings, Im2col. Any number of spatial axes, any channel axis."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import MAX_CONSTANT_ELEMENTS, text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer

_FIELD = "convolution_param"


@dataclass(frozen=True)
class Window:
    """A sliding window: one entry a spatial axis each."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """Size of the dilated kernel."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


@layer("Convolution", needs_weights=True)
def convolution(context: LayerContext) -> None:
    """Correlation, no kernel flip: weight (O, I/group, k...), bias (O)."""
    _convolve(context, context.parameters(_FIELD), context.parameters(_FIELD).integer("group"))


@layer("DepthwiseConvolution", needs_weights=True)
def depthwise_convolution(context: LayerContext) -> None:
    """Convolution as written in the forks that define it; a group left out follows the stored weights."""
    parameters = context.parameters(_FIELD)
    stored = context.layer.blobs[0].shape if context.layer.blobs else ()
    implied = not parameters.has("group") and len(stored) == 4 and stored[1] == 1
    _convolve(context, parameters, _channels(context, parameters) if implied else parameters.integer("group"))


@layer("DepthwiseConv", "DepthWiseConv", "ConvolutionDepthwise", "ConvolutionDepthWise", needs_weights=True)
def convolution_depthwise(context: LayerContext) -> None:
    """Convolution with one group a channel, whether the file says so or not."""
    parameters = context.parameters(_FIELD)
    channels = _channels(context, parameters)
    if parameters.has("group") and parameters.integer("group") not in (1, channels):
        context.fail(f"group {parameters.integer('group')} contradicts {context.layer.type} on {channels} channels")
    _convolve(context, parameters, channels)


@layer("Deconvolution", needs_weights=True)
def deconvolution(context: LayerContext) -> None:
    """The transpose of a convolution: weight (I, O/group, k...), bias (O)."""
    parameters = context.parameters(_FIELD)
    _convolve(context, parameters, parameters.integer("group"), transposed=True)


@layer("DeconvolutionDepthwise", "DepthwiseDeconvolution", needs_weights=True)
def deconvolution_depthwise(context: LayerContext) -> None:
    """Deconvolution with one group a channel."""
    parameters = context.parameters(_FIELD)
    _convolve(context, parameters, _channels(context, parameters), transposed=True)


@layer("Im2col")
def im2col(context: LayerContext) -> None:
    """Copy every window into channels: a convolution whose filters each pick one element."""
    parameters = context.parameters(_FIELD)
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    axis = context.axis(parameters.integer("axis"))
    window = read_window(context, parameters, len(shape) - axis - 1)
    if axis != 1:
        context.fail("Im2col is only understood with axis 1")
    channels, elements = shape[1], prod(window.kernel)
    if channels * elements * elements > MAX_CONSTANT_ELEMENTS:
        context.fail(f"its windows of {elements} elements on {channels} channels are too large", "reduce kernel_size")
    weight = np.tile(
        np.eye(elements, dtype=np.float32).reshape(elements, 1, *window.kernel), (channels, *[1] * (len(shape) - 1))
    )
    out = _convolved_size(context, shape[2:], window)
    context.output(
        context.emit(
            "Conv",
            context.bottom(),
            weight,
            shape=(shape[0], channels * elements, *out),
            group=channels,
            **_attributes(shape[2:], out, window),
        )
    )


def read_window(context: LayerContext, parameters: Parameters, axes: int) -> Window:
    """Read kernel, stride, pad and dilation: one value for all axes, one each, or _h and _w of 2-D layers."""
    return Window(
        kernel=_per_axis(context, parameters, "kernel_size", axes, pair="kernel"),
        stride=_per_axis(context, parameters, "stride", axes, pair="stride", default=1),
        pad=_per_axis(context, parameters, "pad", axes, pair="pad", default=0),
        dilation=_per_axis(context, parameters, "dilation", axes, default=1),
    )


def _per_axis(
    context: LayerContext,
    parameters: Parameters,
    field: str,
    axes: int,
    *,
    pair: str | None = None,
    default: int | None = None,
) -> tuple[int, ...]:
    values = parameters.integers(field)
    if pair and (parameters.has(f"{pair}_h") or parameters.has(f"{pair}_w")):
        if values:
            context.fail(f"{field} and {pair}_h/{pair}_w are both given", "keep one of them")
        if axes != 2:
            context.fail(f"{pair}_h and {pair}_w need two spatial axes, there are {axes}", f"use {field}")
        values = [parameters.integer(f"{pair}_h"), parameters.integer(f"{pair}_w")]
    if not values and default is not None:
        values = [default]
    if len(values) not in (1, axes):
        context.fail(f"{field} has {len(values)} values for {axes} spatial axes", f"give one, or {axes}")
    sizes = tuple(values * axes if len(values) == 1 else values)
    if field != "pad" and any(size < 1 for size in sizes):
        context.fail(f"{field} must be positive, it is {text_of(sizes)}", "correct the layer's parameters")
    return sizes


def _channels(context: LayerContext, parameters: Parameters) -> int:
    return context.shape()[context.axis(parameters.integer("axis"))]


def _convolve(context: LayerContext, parameters: Parameters, group: int, *, transposed: bool = False) -> None:
    shape = context.shape()
    if context.top_count != len(context.bottoms):
        context.fail(f"{len(context.bottoms)} bottom(s) but {context.top_count} top(s)", "give one top a bottom")
    for bottom in context.bottoms:
        if context.shape(bottom) != shape:
            context.fail(f"its bottoms differ in shape: {text_of(shape)} and {text_of(context.shape(bottom))}")
    axis = context.axis(parameters.integer("axis"))
    spatial = shape[axis + 1 :]
    window = read_window(context, parameters, len(spatial))
    channels = shape[axis]
    outputs = parameters.integer("num_output")
    if outputs == 0 and group == channels and not parameters.has("num_output"):
        outputs = channels
    _check_groups(context, channels, outputs, group)
    first, second = (channels, outputs // group) if transposed else (outputs, channels // group)
    out = _transposed_size(spatial, window) if transposed else _convolved_size(context, spatial, window)
    biased = parameters.flag("bias_term")
    context.expect_blobs(1 + biased)
    inputs = [
        context.weight(
            0,
            "weight",
            (first, second, *(window.kernel or (1,))),
            stored_as=(first, second, *window.kernel),
            filler=parameters.sub("weight_filler"),
            quantized=True,
        )
    ]
    if biased:
        inputs.append(context.weight(1, "bias", (outputs,), filler=parameters.sub("bias_filler")))
    context.group = group
    per_output = second * prod(window.kernel)
    positions = prod(shape) if transposed else prod(shape[:axis]) * outputs * prod(out)
    context.multiply_adds = positions * per_output * len(context.bottoms)
    for index, bottom in enumerate(context.bottoms):
        batch = (prod(shape[:axis]),)
        flat = context.reshape(bottom, (*batch, channels, *(spatial or (1,))))
        made = context.emit(
            "ConvTranspose" if transposed else "Conv",
            flat,
            *inputs,
            shape=(*batch, outputs, *(out or (1,))),
            group=group,
            **_attributes(spatial, out, window, transposed=transposed),
        )
        context.output(context.reshape(made, (*shape[:axis], outputs, *out)), index)


def _check_groups(context: LayerContext, channels: int, outputs: int, group: int) -> None:
    if outputs < 1:
        context.fail("num_output is missing or 0", "give convolution_param.num_output")
    if group < 1 or channels % group or outputs % group:
        context.fail(
            f"group {group} does not divide both the {channels} input channels and num_output {outputs}",
            "correct group or num_output",
        )


def _convolved_size(context: LayerContext, spatial: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """Return the output size as C++ divides: towards zero, so that a kernel a little too large still fits once."""
    out = []
    for size, extent, stride, pad in zip(spatial, window.extent, window.stride, window.pad, strict=True):
        room = size + 2 * pad - extent
        steps = room // stride if room >= 0 else -(-room // stride)
        if steps < 0:
            context.fail(
                f"its kernel spans {extent} but the padded input only {size + 2 * pad}",
                "enlarge the input (--input-shape) or correct kernel_size",
            )
        out.append(steps + 1)
    return tuple(out)


def _transposed_size(spatial: tuple[int, ...], window: Window) -> tuple[int, ...]:
    return tuple(
        stride * (size - 1) + extent - 2 * pad
        for size, extent, stride, pad in zip(spatial, window.extent, window.stride, window.pad, strict=True)
    )


def _attributes(
    spatial: tuple[int, ...], out: tuple[int, ...], window: Window, *, transposed: bool = False
) -> dict[str, Any]:
    if not spatial:
        return {"kernel_shape": [1]}
    ends = list(window.pad)
    if not transposed:
        # Zeros read beyond the padding, where C++ rounds a negative size up to one window.
        reach = [(o - 1) * s + e for o, s, e in zip(out, window.stride, window.extent, strict=True)]
        ends = [max(pad, span - size - pad) for pad, span, size in zip(window.pad, reach, spatial, strict=True)]
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [*window.pad, *ends],
        "dilations": list(window.dilation),
    }

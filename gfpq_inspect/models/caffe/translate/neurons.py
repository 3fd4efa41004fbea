"""Layers that work on each element by itself."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import LayerKind


def _single(context: LayerContext) -> str:
    context.expect(bottoms=1, tops=1)
    return context.bottom()


def _positive(value: np.float32) -> bool:
    return bool(np.isfinite(value) and value > 0)


@layer("ReLU")
def relu(context: LayerContext) -> None:
    """max(x, 0) + negative_slope min(x, 0)."""
    slope = context.parameters("relu_param").number("negative_slope")
    context.output(leaky_relu(context, _single(context), slope))


def leaky_relu(context: LayerContext, value: str, slope: float) -> str:
    """Emit a rectifier with a slope for negative values."""
    return context.emit("LeakyRelu", value, alpha=slope) if slope else context.emit("Relu", value)


@layer("PReLU")
def prelu(context: LayerContext) -> None:
    """A rectifier with a learned slope a channel (axis 1), or one for all."""
    parameters = context.parameters("prelu_param")
    value = _single(context)
    shape = context.shape()
    if len(shape) < 2:
        context.fail("PReLU needs a channel axis")
    shared = parameters.flag("channel_shared")
    context.expect_blobs(1)
    slope = context.weight(
        0,
        "slope",
        (1,) if shared else (shape[1], *[1] * (len(shape) - 2)),
        stored_as=() if shared else (shape[1],),
        filler=parameters.sub("filler"),
        unset=0.25,
    )
    context.output(context.emit("PRelu", value, slope))


@layer("RReLU")
def randomized_relu(context: LayerContext) -> None:
    """At test a rectifier whose slope is the middle of the range that training draws from."""
    parameters = context.parameters("rrelu_param")
    slope = (parameters.number("lower") + parameters.number("upper")) / 2
    context.output(leaky_relu(context, _single(context), slope))


@layer("ReLU6")
def relu6(context: LayerContext) -> None:
    """min(max(x, 0) + negative_slope min(x, 0), threshold), threshold 6."""
    parameters = context.parameters("relu6_param")
    value = _single(context)
    slope, limit = parameters.number("negative_slope"), np.float32(parameters.number("threshold"))
    if slope:
        context.output(context.emit("Min", leaky_relu(context, value, slope), limit))
    else:
        context.output(context.emit("Clip", value, np.float32(0), limit))


@layer("CReLU")
def concatenated_relu(context: LayerContext) -> None:
    """relu(x) and relu(-x), joined along the channels."""
    value = _single(context)
    shape = context.shape()
    axis = context.axis(1)
    parts = [context.emit("Relu", value), context.emit("Relu", context.emit("Neg", value))]
    doubled = (*shape[:axis], 2 * shape[axis], *shape[axis + 1 :])
    context.output(context.emit("Concat", *parts, shape=doubled, axis=axis))


@layer("ELU")
def exponential_linear(context: LayerContext) -> None:
    """max(x, 0) + alpha (exp(min(x, 0)) - 1)."""
    alpha = context.parameters("elu_param").number("alpha")
    context.output(context.emit("Elu", _single(context), alpha=alpha))


@layer("Sigmoid")
def sigmoid(context: LayerContext) -> None:
    """1 / (1 + exp(-x))."""
    context.parameters("sigmoid_param")
    context.output(context.emit("Sigmoid", _single(context)))


@layer("TanH")
def hyperbolic_tangent(context: LayerContext) -> None:
    """Hyperbolic tangent."""
    context.parameters("tanh_param")
    context.output(context.emit("Tanh", _single(context)))


@layer("AbsVal")
def absolute_value(context: LayerContext) -> None:
    """Magnitude."""
    context.output(context.emit("Abs", _single(context)))


@layer("BNLL")
def binomial_log_likelihood(context: LayerContext) -> None:
    """log(1 + exp(x)), without overflow."""
    context.output(context.emit("Softplus", _single(context)))


@layer("Power")
def power(context: LayerContext) -> None:
    """(shift + scale x) ^ power; a constant when power or scale is 0, whatever x is (NaN included)."""
    parameters = context.parameters("power_param")
    value = _single(context)
    exponent, scale, shift = (np.float32(parameters.number(name)) for name in ("power", "scale", "shift"))
    with np.errstate(all="ignore"):
        is_constant = exponent * scale == 0
    if is_constant:
        with np.errstate(all="ignore"):
            constant = np.float32(1) if exponent == 0 else np.power(shift, exponent, dtype=np.float32)
        size = context.emit("Shape", value, shape=(len(context.shape()),), dtype=np.int64)
        context.output(
            context.emit("Expand", np.full((), constant, np.float32), size, shape=context.shape(), dtype=np.float32)
        )
        return
    value = _affine(context, value, scale, shift)
    if exponent != 1:
        value = context.emit("Pow", value, exponent)
    context.output(value)


def _affine(context: LayerContext, value: str, scale: np.float32, shift: np.float32) -> str:
    if scale != 1:
        value = context.emit("Mul", value, scale)
    if shift != 0:
        value = context.emit("Add", value, shift)
    return value


@layer("Exp")
def exponential(context: LayerContext) -> None:
    """Compute base ^ (shift + scale x), as base^shift exp(ln(base) scale x); base -1 stands for e."""
    parameters = context.parameters("exp_param")
    value = _single(context)
    base, scale, shift = (np.float32(parameters.number(name)) for name in ("base", "scale", "shift"))
    if base != -1 and not _positive(base):
        context.fail(f"exp_param.base is {base:g}", "give a positive base, or -1 for e")
    outer = np.float32(1)
    with np.errstate(all="ignore"):
        inner = np.float32(scale if base == -1 else np.log(base) * scale)
        if shift != 0:
            outer = np.exp(shift) if base == -1 else np.power(base, shift)
    if inner != 1:
        value = context.emit("Mul", value, inner)
    value = context.emit("Exp", value)
    context.output(context.emit("Mul", value, outer) if outer != 1 else value)


@layer("Log")
def logarithm(context: LayerContext) -> None:
    """Logarithm to `base` of shift + scale x; base -1 stands for e."""
    parameters = context.parameters("log_param")
    value = _single(context)
    base, scale, shift = (np.float32(parameters.number(name)) for name in ("base", "scale", "shift"))
    if base != -1 and not (_positive(base) and base != 1):
        context.fail(f"log_param.base is {base:g}", "give a positive base other than 1, or -1 for e")
    value = context.emit("Log", _affine(context, value, scale, shift))
    context.output(value if base == -1 else context.emit("Mul", value, np.float32(1) / np.log(base)))


@layer("Threshold")
def threshold(context: LayerContext) -> None:
    """1 above the threshold, else 0."""
    limit = np.float32(context.parameters("threshold_param").number("threshold"))
    above = context.emit("Greater", _single(context), limit, dtype=np.bool_)
    context.output(context.emit("Cast", above, dtype=np.float32, to=1))


@layer("Clip")
def clip(context: LayerContext) -> None:
    """max(min, min(x, max))."""
    parameters = context.parameters("clip_param")
    low, high = np.float32(parameters.number("min")), np.float32(parameters.number("max"))
    context.output(context.emit("Clip", _single(context), low, high))


@layer("Swish")
def swish(context: LayerContext) -> None:
    """Compute x sigmoid(beta x)."""
    beta = np.float32(context.parameters("swish_param").number("beta"))
    value = _single(context)
    gate = context.emit("Sigmoid", context.emit("Mul", value, beta) if beta != 1 else value)
    context.output(context.emit("Mul", value, gate))


@layer("HardSigmoid")
def hard_sigmoid(context: LayerContext) -> None:
    """Hold alpha x + beta between 0 and 1."""
    parameters = context.parameters("hardsigmoid_param")
    context.output(
        context.emit("HardSigmoid", _single(context), alpha=parameters.number("alpha"), beta=parameters.number("beta"))
    )


@layer("HardSwish")
def hard_swish(context: LayerContext) -> None:
    """Multiply x by x/6 + 1/2 held between 0 and 1."""
    context.output(context.emit("HardSwish", _single(context)))


@layer("Mish")
def mish(context: LayerContext) -> None:
    """Compute x tanh(ln(1 + e^x))."""
    value = _single(context)
    context.output(context.emit("Mul", value, context.emit("Tanh", context.emit("Softplus", value))))


@layer("Dropout")
def dropout(context: LayerContext) -> None:
    """The identity at test; forks that do not scale while training scale here instead (scale_train: false)."""
    parameters = context.parameters("dropout_param")
    value = _single(context)
    if context.layer.phase == "TRAIN":
        context.fail(
            "Dropout with phase: TRAIN drops at random, so its output cannot be reproduced",
            "remove 'phase: TRAIN' from the layer",
        )
    if parameters.flag("scale_train"):
        context.kind = LayerKind.IDENTITY
        context.output(context.emit("Identity", value))
        return
    kept = np.float32(1) - np.float32(parameters.number("dropout_ratio"))
    context.output(context.emit("Mul", value, kept))

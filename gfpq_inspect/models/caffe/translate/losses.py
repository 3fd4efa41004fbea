"""Losses and accuracies: figures over the whole batch, present only where the reader was asked to keep them."""

from __future__ import annotations

from math import prod

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import MAX_CONSTANT_ELEMENTS, text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer

_SMALLEST = np.finfo(np.float32).tiny
_LOG_FLOOR = np.float32(1e-20)


def _refuse_many_classes(context: LayerContext, classes: int) -> None:
    if classes > MAX_CONSTANT_ELEMENTS:
        context.fail(f"{classes} classes are too many", "correct the layer's bottoms")


def _total(context: LayerContext, value: str) -> str:
    """Emit the sum over all elements, a scalar."""
    axes = np.arange(len(context.shape(value)), dtype=np.int64)
    if not axes.size:
        return value
    return context.emit("ReduceSum", value, axes, shape=(), keepdims=0)


def _as_number(context: LayerContext, truth: str) -> str:
    return context.emit("Cast", truth, dtype=np.float32, to=1)


class _Labels:
    """Class numbers of a loss, and which of them count.

    Args:
        context: The layer.
        scores: Shape of the scores.
        axis: Their class axis.
        parameters: Where `ignore_label` stands, or None.
    """

    def __init__(
        self, context: LayerContext, scores: tuple[int, ...], axis: int, parameters: Parameters | None
    ) -> None:
        self.outer, self.classes, self.inner = prod(scores[:axis]), scores[axis], prod(scores[axis + 1 :])
        bottom = context.bottom(1)
        if prod(context.shape(bottom)) != self.outer * self.inner:
            context.fail(
                f"{text_of(context.shape(bottom))} labels for scores {text_of(scores)}",
                f"there must be {self.outer * self.inner}",
            )
        flat = context.reshape(bottom, (self.outer, 1, self.inner))
        whole = context.emit("Cast", flat, dtype=np.int64, to=7)
        self.counted: str | None = None
        if parameters is not None and parameters.has("ignore_label"):
            ignored = context.emit("Equal", whole, np.int64(parameters.integer("ignore_label")), dtype=np.bool_)
            self.counted = _as_number(context, context.emit("Not", ignored))
            whole = context.emit("Where", ignored, np.int64(0), whole, dtype=np.int64)
        self.indices = whole

    def counting(self, context: LayerContext, value: str) -> str:
        """Emit a value (outer, 1, inner) with the ignored positions set to 0."""
        return value if self.counted is None else context.emit("Mul", value, self.counted)

    def count(self, context: LayerContext) -> str:
        """Emit how many positions count."""
        if self.counted is None:
            return context.constant(np.float32(self.outer * self.inner), "positions")
        return _total(context, self.counted)


def _normalized(context: LayerContext, loss: str, mode: str, labels: _Labels) -> str:
    if mode == "VALID":
        divisor = context.emit("Max", labels.count(context), np.float32(1))
    else:
        sizes = {"FULL": labels.outer * labels.inner, "BATCH_SIZE": labels.outer, "NONE": 1}
        divisor = context.constant(np.float32(max(1, sizes[mode])), "normalizer")
    return context.emit("Div", loss, divisor)


def _mode(parameters: Parameters, unset: str) -> str:
    if parameters.has("normalization"):
        return parameters.string("normalization")
    if parameters.has("normalize"):
        return "VALID" if parameters.flag("normalize") else "BATCH_SIZE"
    return unset


def _of_label(context: LayerContext, value: str, labels: _Labels) -> str:
    shape = (labels.outer, 1, labels.inner)
    return context.emit("GatherElements", value, labels.indices, shape=shape, axis=1)


@layer("SoftmaxWithLoss")
def softmax_with_loss(context: LayerContext) -> None:
    """Mean of -log softmax(x)[label]; the probabilities are the optional second top."""
    parameters = context.parameters("loss_param")
    context.expect(bottoms=2, tops=range(1, 3))
    context.mixes_samples("a loss is one number for the batch")
    shape = context.shape()
    axis = context.axis(context.parameters("softmax_param").integer("axis"))
    labels = _Labels(context, shape, axis, parameters)
    probability = context.emit("Softmax", context.bottom(), axis=axis)
    table = context.reshape(probability, (labels.outer, labels.classes, labels.inner))
    chosen = context.emit("Max", _of_label(context, table, labels), _SMALLEST)
    loss = _total(context, labels.counting(context, context.emit("Neg", context.emit("Log", chosen))))
    context.output(_normalized(context, loss, _mode(parameters, "VALID"), labels))
    if context.top_count == 2:
        context.output(context.emit("Identity", probability), 1)


@layer("MultinomialLogisticLoss")
def multinomial_logistic_loss(context: LayerContext) -> None:
    """Mean of -log p[label] over the batch."""
    context.expect(bottoms=2, tops=1)
    context.mixes_samples("a loss is one number for the batch")
    shape = context.shape()
    labels = _Labels(context, (shape[0], prod(shape[1:])), 1, None)
    table = context.reshape(context.bottom(), (labels.outer, labels.classes, 1))
    logarithm = context.emit("Log", context.emit("Max", _of_label(context, table, labels), _LOG_FLOOR))
    total = _total(context, context.emit("Neg", logarithm))
    context.output(context.emit("Div", total, np.float32(shape[0])))


@layer("InfogainLoss")
def infogain_loss(context: LayerContext) -> None:
    """Mean of -sum H[label, j] log softmax(x)[j], H from the third bottom."""
    parameters = context.parameters("loss_param")
    own = context.parameters("infogain_loss_param")
    if len(context.bottoms) < 3:
        context.fail("its matrix stands in a file of its own", "give it as a third bottom (a Parameter layer)")
    context.expect(bottoms=3, tops=range(1, 3))
    context.mixes_samples("a loss is one number for the batch")
    axis = context.axis(own.integer("axis"))
    labels = _Labels(context, context.shape(), axis, parameters)
    probability = context.emit("Softmax", context.bottom(), axis=axis)
    table = context.reshape(probability, (labels.outer, labels.classes, labels.inner))
    logarithm = context.emit("Log", context.emit("Max", table, _LOG_FLOOR))
    matrix = context.reshape(context.bottom(2), (labels.classes, labels.classes))
    rows_shape = (labels.outer, 1, labels.inner, labels.classes)
    rows = context.emit("Gather", matrix, labels.indices, shape=rows_shape, axis=0)
    turned = context.emit("Transpose", rows, shape=(labels.outer, labels.classes, labels.inner, 1), perm=[0, 3, 2, 1])
    weights = context.reshape(turned, (labels.outer, labels.classes, labels.inner))
    products = context.emit("Neg", context.emit("Mul", logarithm, weights))
    summed = context.emit(
        "ReduceSum", products, np.array([1], np.int64), shape=(labels.outer, 1, labels.inner), keepdims=1
    )
    loss = _total(context, labels.counting(context, summed))
    context.output(_normalized(context, loss, _mode(parameters, "VALID"), labels))
    if context.top_count == 2:
        context.output(context.emit("Identity", probability), 1)


@layer("EuclideanLoss")
def euclidean_loss(context: LayerContext) -> None:
    """Sum of squared differences over twice the batch size."""
    context.expect(bottoms=2, tops=1)
    context.mixes_samples("a loss is one number for the batch")
    shape, other = context.shape(), context.shape(context.bottom(1))
    if shape[:1] != other[:1] or prod(shape) != prod(other):
        context.fail(f"its bottoms differ in shape: {text_of(shape)} and {text_of(other)}")
    difference = context.emit("Sub", context.bottom(), context.reshape(context.bottom(1), shape))
    total = _total(context, context.emit("Mul", difference, difference))
    context.output(context.emit("Div", total, np.float32(2 * shape[0])))


@layer("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(context: LayerContext) -> None:
    """Cross entropy of sigmoid(x) against targets: -sum x (t - [x >= 0]) - log(1 + exp(-|x|))."""
    parameters = context.parameters("loss_param")
    context.expect(bottoms=2, tops=range(1, 3))
    context.mixes_samples("a loss is one number for the batch")
    shape = context.shape()
    if prod(shape) != prod(context.shape(context.bottom(1))):
        context.fail("its two bottoms differ in count")
    value, target = context.bottom(), context.reshape(context.bottom(1), shape)
    positive = context.emit("Relu", value)
    tail = context.emit("Softplus", context.emit("Neg", context.emit("Abs", value)))
    each = context.emit("Add", context.emit("Sub", positive, context.emit("Mul", value, target)), tail)
    counted = None
    if parameters.has("ignore_label"):
        whole = context.emit("Cast", target, dtype=np.int64, to=7)
        ignored = context.emit("Equal", whole, np.int64(parameters.integer("ignore_label")), dtype=np.bool_)
        counted = _as_number(context, context.emit("Not", ignored))
        each = context.emit("Mul", each, counted)
    mode = _mode(parameters, "BATCH_SIZE")
    sizes = {"FULL": prod(shape), "VALID": prod(shape), "BATCH_SIZE": shape[0], "NONE": 1}
    divisor = context.constant(np.float32(max(1, sizes[mode])), "normalizer")
    if mode == "VALID" and counted is not None:
        divisor = context.emit("Max", _total(context, counted), np.float32(1))
    context.output(context.emit("Div", _total(context, each), divisor))
    if context.top_count == 2:
        context.output(context.emit("Sigmoid", value), 1)


@layer("HingeLoss")
def hinge_loss(context: LayerContext) -> None:
    """Mean of the margins max(0, 1 +- x), or of their squares."""
    parameters = context.parameters("hinge_loss_param")
    context.expect(bottoms=2, tops=1)
    context.mixes_samples("a loss is one number for the batch")
    shape = context.shape()
    labels = _Labels(context, (shape[0], prod(shape[1:])), 1, None)
    _refuse_many_classes(context, labels.classes)
    scores = context.reshape(context.bottom(), (labels.outer, labels.classes))
    numbers = np.arange(labels.classes, dtype=np.int64)[None]
    flat = context.reshape(labels.indices, (labels.outer, 1))
    own = context.emit("Equal", flat, numbers, shape=(labels.outer, labels.classes), dtype=np.bool_)
    signed = context.emit("Where", own, context.emit("Neg", scores), scores, dtype=np.float32)
    margin = context.emit("Relu", context.emit("Add", signed, np.float32(1)))
    if parameters.string("norm") == "L2":
        margin = context.emit("Mul", margin, margin)
    context.output(context.emit("Div", _total(context, margin), np.float32(shape[0])))


@layer("ContrastiveLoss")
def contrastive_loss(context: LayerContext) -> None:
    """Squared distance of similar pairs, squared shortfall from the margin of others, over twice the batch size."""
    parameters = context.parameters("contrastive_loss_param")
    context.expect(bottoms=3, tops=1)
    context.mixes_samples("a loss is one number for the batch")
    shape = context.shape()
    if context.shape(context.bottom(1)) != shape or prod(context.shape(context.bottom(2))) != shape[0]:
        context.fail("its bottoms do not fit: two blobs of one shape and a label a sample")
    margin = np.float32(parameters.number("margin"))
    count = (shape[0],)
    difference = context.emit("Sub", context.bottom(), context.bottom(1))
    axes = np.arange(1, len(shape), dtype=np.int64)
    square = context.emit("ReduceSum", context.emit("Mul", difference, difference), axes, shape=count, keepdims=0)
    if parameters.flag("legacy_version"):
        apart = context.emit("Relu", context.emit("Sub", margin, square, shape=count))
    else:
        short = context.emit("Relu", context.emit("Sub", margin, context.emit("Sqrt", square), shape=count))
        apart = context.emit("Mul", short, short)
    whole = context.emit("Cast", context.reshape(context.bottom(2), count), dtype=np.int64, to=7)
    different = context.emit("Equal", whole, np.int64(0), dtype=np.bool_)
    each = context.emit("Where", different, apart, square, dtype=np.float32)
    context.output(context.emit("Div", _total(context, each), np.float32(2 * shape[0])))


@layer("Accuracy")
def accuracy(context: LayerContext) -> None:
    """Share of positions where fewer than top_k other classes score at least as high; a class each as second top."""
    parameters = context.parameters("accuracy_param")
    context.expect(bottoms=2, tops=range(1, 3))
    context.mixes_samples("an accuracy is one number for the batch")
    shape = context.shape()
    axis = context.axis(parameters.integer("axis"))
    labels = _Labels(context, shape, axis, parameters)
    scores = context.reshape(context.bottom(), (labels.outer, labels.classes, labels.inner))
    at_least = context.emit("GreaterOrEqual", scores, _of_label(context, scores, labels), dtype=np.bool_)
    better = context.emit(
        "ReduceSum",
        _as_number(context, at_least),
        np.array([1], np.int64),
        shape=(labels.outer, 1, labels.inner),
        keepdims=1,
    )
    hit = context.emit("LessOrEqual", better, np.float32(parameters.integer("top_k")), dtype=np.bool_)
    right = labels.counting(context, _as_number(context, hit))
    count = context.emit("Max", labels.count(context), np.float32(1))
    context.output(context.emit("Div", _total(context, right), count))
    if context.top_count == 2:
        context.output(_accuracy_of_classes(context, labels, right), 1)


def _accuracy_of_classes(context: LayerContext, labels: _Labels, right: str) -> str:
    _refuse_many_classes(context, labels.classes)
    numbers = np.arange(labels.classes, dtype=np.int64)[None, :, None]
    shape = (labels.outer, labels.classes, labels.inner)
    own = _as_number(context, context.emit("Equal", labels.indices, numbers, shape=shape, dtype=np.bool_))
    if labels.counted is not None:
        own = context.emit("Mul", own, labels.counted)
    axes, out = np.array([0, 2], np.int64), (labels.classes,)
    seen = context.emit("ReduceSum", own, axes, shape=out, keepdims=0)
    hits = context.emit("ReduceSum", context.emit("Mul", own, right), axes, shape=out, keepdims=0)
    return context.emit("Div", hits, context.emit("Max", seen, np.float32(1)))

"""BatchNorm, Scale, Bias, BN of two forks, LRN, MVN, Normalize, in the order of operations that Caffe uses."""

from __future__ import annotations

import numpy as np

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer


@layer("BatchNorm", needs_weights=True)
def batch_norm(context: LayerContext) -> None:
    """(x - mean) / sqrt(variance + eps); stored sums are divided by the stored factor, a factor of 0 counts as no sums.

    Subtraction and division stay apart, so that results equal Caffe's to the last bit; ONNX's BatchNormalization
    rearranges the formula and loses digits where the mean is large.
    """
    parameters = context.parameters("batch_norm_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    channels = 1 if len(shape) == 1 else shape[1]
    epsilon = np.float32(parameters.number("eps"))
    context.expect_blobs(3)
    stored = [context.blob(i, role, (size,)) for i, (role, size) in enumerate(_batch_norm_blobs(channels))]
    context.stop_if_faulty()
    stored_statistics = context.layer.phase == "TEST"
    if parameters.has("use_global_stats"):
        stored_statistics = parameters.flag("use_global_stats")
    if not stored_statistics:
        _batch_statistics(context, epsilon)
        return
    factor = stored[2][0]
    with np.errstate(all="ignore"):
        scale = np.float32(0) if factor == 0 else np.float32(1) / factor
        mean = stored[0] * scale
        deviation = np.sqrt(stored[1] * scale + epsilon, dtype=np.float32)
    along = (channels, *[1] * max(len(shape) - 2, 0))
    if not np.isfinite(deviation).all() or not (deviation > 0).all():
        context.notes.append("a stored variance is negative or not finite: the output holds NaN or infinity")
    centred = context.emit("Sub", context.bottom(), context.derived_weight("mean", mean.reshape(along)))
    context.output(context.emit("Div", centred, context.derived_weight("deviation", deviation.reshape(along))))


def _batch_norm_blobs(channels: int) -> list[tuple[str, int]]:
    return [("mean", channels), ("variance", channels), ("factor", 1)]


def _batch_statistics(context: LayerContext, epsilon: np.float32) -> None:
    shape = context.shape()
    context.mixes_samples("BatchNorm uses the statistics of the batch")
    context.notes.append("normalises by the statistics of the batch, not by stored ones")
    axes = [axis for axis in range(len(shape)) if axis != 1 or len(shape) == 1]
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    centred = context.emit("Sub", context.bottom(), _mean(context, context.bottom(), axes, small))
    variance = _mean(context, context.emit("Mul", centred, centred), axes, small)
    deviation = context.emit("Sqrt", context.emit("Add", variance, epsilon))
    context.output(context.emit("Div", centred, deviation))


def _mean(context: LayerContext, value: str, axes: list[int], shape: tuple[int, ...]) -> str:
    return context.emit("ReduceMean", value, shape=shape, axes=axes, keepdims=1)


@layer("Scale")
def scale(context: LayerContext) -> None:
    """A factor, and with bias_term a summand, aligned at `axis`; from weights or from the second bottom."""
    parameters = context.parameters("scale_param")
    context.expect(bottoms=range(1, 3), tops=1)
    learned, biased = len(context.bottoms) == 1, parameters.flag("bias_term")
    context.expect_blobs(learned + biased)
    factor, aligned, own = _operand(context, parameters, "scale", unset=1.0)
    value = context.emit("Mul", context.bottom(), factor, shape=context.shape())
    if biased:
        filler = parameters.sub("bias_filler")
        value = context.emit("Add", value, context.weight(int(learned), "bias", aligned, stored_as=own, filler=filler))
    context.output(value)


@layer("Bias")
def bias(context: LayerContext) -> None:
    """A summand aligned at `axis`, from weights or from the second bottom."""
    parameters = context.parameters("bias_param")
    context.expect(bottoms=range(1, 3), tops=1)
    context.expect_blobs(int(len(context.bottoms) == 1))
    summand, _, _ = _operand(context, parameters, "bias", unset=0.0)
    context.output(context.emit("Add", context.bottom(), summand, shape=context.shape()))


def _operand_shape(context: LayerContext, parameters: Parameters) -> tuple[int, tuple[int, ...]]:
    """Return the axis where the operand of a Scale or Bias layer is aligned, and its own shape."""
    shape = context.shape()
    if len(context.bottoms) > 1:
        own = context.shape(context.bottom(1))
        return (0 if not own else context.axis(parameters.integer("axis"))), own
    count = parameters.integer("num_axes")
    if count == 0:
        return 0, ()
    axis = context.axis(parameters.integer("axis"))
    if count < -1 or axis + count > len(shape):
        context.fail(f"num_axes {count} from axis {axis} goes beyond the {len(shape)} axes of its bottom")
    return axis, shape[axis:] if count == -1 else shape[axis : axis + count]


def _operand(
    context: LayerContext, parameters: Parameters, role: str, unset: float
) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return the second operand, the shape that lines it up with the first bottom, and its own shape."""
    shape = context.shape()
    axis, own = _operand_shape(context, parameters)
    if shape[axis : axis + len(own)] != own:
        context.fail(
            f"its {role} {text_of(own)} does not match {text_of(shape)} from axis {axis} on",
            "correct axis, or the layers that make its bottoms",
        )
    aligned = (*own, *[1] * (len(shape) - axis - len(own))) if own else ()
    if len(context.bottoms) > 1:
        return context.reshape(context.bottom(1), aligned), aligned, own
    if own and axis == 0:
        context.mixes_samples("its weights have an entry a sample")
    filler = parameters.sub("filler")
    return context.weight(0, role, aligned, stored_as=own, filler=filler, unset=unset), aligned, own


@layer("BN", needs_weights=True)
def forked_batch_norm(context: LayerContext) -> None:
    """Two forks' layers of one name, told apart by their blobs.

    Four blobs (slope, bias, mean, variance): slope (x - mean) (variance + eps)^-1/2 + bias. Two blobs (scale, shift):
    scale x + shift in mode INFERENCE; with the batch's statistics before it in mode LEARN.
    """
    parameters = context.parameters("bn_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    if len(shape) < 2:
        context.fail("BN needs a channel axis")
    channels = shape[1]
    along = (channels, *[1] * (len(shape) - 2))
    stored_as = (1, channels, *[1] * (len(shape) - 2))
    if len(context.layer.blobs) != 2:
        context.expect_blobs(4)
        slope = context.weight(0, "slope", along, stored_as=stored_as, filler=parameters.sub("slope_filler"))
        offset = context.weight(1, "bias", along, stored_as=stored_as, filler=parameters.sub("bias_filler"))
        mean = context.weight(2, "mean", along, stored_as=stored_as)
        variance = context.blob(3, "variance", stored_as, unset=1.0)
        context.stop_if_faulty()
        if (variance < 0).any():
            context.fail(
                "its fourth blob has negative values, so it is no variance",
                "some editions of this fork store 1/sqrt(variance) there; store the variance",
            )
        inverse = np.power(variance + np.float32(parameters.number("eps")), np.float32(-0.5), dtype=np.float32)
        centred = context.emit("Sub", context.bottom(), mean)
        normal = context.emit("Mul", centred, context.derived_weight("inverse_deviation", inverse.reshape(along)))
        context.output(context.emit("Add", context.emit("Mul", normal, slope), offset))
        return
    factor = context.weight(0, "scale", along, stored_as=stored_as)
    shift = context.weight(1, "shift", along, stored_as=stored_as)
    value = context.bottom()
    if parameters.string("bn_mode") == "LEARN":
        value = _learned_statistics(context)
    context.output(context.emit("Add", context.emit("Mul", value, factor), shift))


def _learned_statistics(context: LayerContext) -> str:
    shape = context.shape()
    context.mixes_samples("BN in mode LEARN uses the statistics of the batch")
    axes = [axis for axis in range(len(shape)) if axis != 1]
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    value = context.bottom()
    mean = _mean(context, value, axes, small)
    square = _mean(context, context.emit("Mul", value, value), axes, small)
    variance = context.emit("Sub", square, context.emit("Mul", mean, mean))
    deviation = context.emit("Sqrt", context.emit("Add", variance, np.float32(1e-9)))
    return context.emit("Div", context.emit("Sub", value, mean), deviation)


@layer("LRN")
def local_response(context: LayerContext) -> None:
    """Across channels x (k + alpha/n sum of squares)^-beta; within a channel x (1 + alpha mean of squares)^-beta."""
    parameters = context.parameters("lrn_param")
    context.expect(bottoms=1, tops=1)
    context.expect_rank(4)
    size = parameters.integer("local_size")
    alpha, beta = parameters.number("alpha"), parameters.number("beta")
    if size % 2 == 0:
        context.fail(f"local_size {size} is not odd", "give an odd number")
    value = context.bottom()
    if parameters.string("norm_region") == "ACROSS_CHANNELS":
        context.output(context.emit("LRN", value, size=size, alpha=alpha, beta=beta, bias=parameters.number("k")))
        return
    mean = context.emit(
        "AveragePool",
        context.emit("Mul", value, value),
        kernel_shape=[size, size],
        strides=[1, 1],
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    base = context.emit("Add", context.emit("Mul", mean, np.float32(alpha)), np.float32(1))
    context.output(context.emit("Mul", value, context.emit("Pow", base, np.float32(-beta))))


@layer("MVN")
def mean_variance(context: LayerContext) -> None:
    """(x - mean) / (deviation + eps) over each plane, or over each whole image; the output has four axes."""
    parameters = context.parameters("mvn_param")
    context.expect(bottoms=1, tops=1)
    shape = context.shape()
    if len(shape) > 4:
        context.fail(f"MVN takes at most 4 axes, it gets {text_of(shape)}")
    shape = (*shape, *[1] * (4 - len(shape)))
    value = context.reshape(context.bottom(), shape)
    axes = [1, 2, 3] if parameters.flag("across_channels") else [2, 3]
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    centred = context.emit("Sub", value, _mean(context, value, axes, small))
    if not parameters.flag("normalize_variance"):
        context.output(centred)
        return
    variance = _mean(context, context.emit("Mul", centred, centred), axes, small)
    deviation = context.emit("Add", context.emit("Sqrt", variance), np.float32(parameters.number("eps")))
    context.output(context.emit("Div", centred, deviation))


@layer("Normalize", needs_weights=True)
def normalize(context: LayerContext) -> None:
    """Divide x by its Euclidean norm (of the whole image, or of each pixel's channels), then scale it."""
    parameters = context.parameters("norm_param")
    context.expect(bottoms=1, tops=1)
    shape = context.expect_rank(4)
    shared = parameters.flag("channel_shared")
    context.expect_blobs(1)
    factor = context.weight(
        0,
        "scale",
        (1,) if shared else (shape[1], 1, 1),
        stored_as=() if shared else (shape[1],),
        filler=parameters.sub("scale_filler"),
        unset=1.0,
    )
    axes = [1, 2, 3] if parameters.flag("across_spatial") else [1]
    small = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    value = context.bottom()
    squares = context.emit("Mul", value, value)
    total = context.emit("ReduceSum", squares, np.array(axes, np.int64), shape=small, keepdims=1)
    norm = context.emit("Sqrt", context.emit("Add", total, np.float32(parameters.number("eps"))))
    context.output(context.emit("Mul", context.emit("Div", value, norm), factor))

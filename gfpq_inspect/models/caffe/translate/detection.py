"""Layers of detectors: PriorBox, DetectionOutput, ROIPooling, PSROIPooling."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.translate.blob_shapes import text_of
from gfpq_inspect.models.caffe.translate.context import LayerContext
from gfpq_inspect.models.caffe.translate.registry import layer
from gfpq_inspect.models.model import CUSTOM_DOMAIN, LayerKind

_MAX_BOXES = 2**22


@layer("PriorBox")
def prior_box(context: LayerContext) -> None:
    """Boxes and variances that depend on shapes only: a constant (1, 2, boxes times 4)."""
    parameters = context.parameters("prior_box_param")
    context.expect(bottoms=2, tops=1)
    context.kind = LayerKind.CONSTANT
    features, image = context.expect_rank(4)[2:], context.expect_rank(4, context.bottom(1))[2:]
    grid = _prior_grid(context, parameters, features, image)
    sizes = _prior_sizes(context, parameters)
    count = features[0] * features[1] * len(sizes)
    if count > _MAX_BOXES:
        context.fail(f"it would make {count} boxes", "correct prior_box_param or the input shape")
    boxes = _prior_boxes(grid, sizes)
    if parameters.flag("clip"):
        boxes = np.clip(boxes, np.float32(0), np.float32(1))
    variance = parameters.numbers("variance") or [float(np.float32(0.1))]
    if len(variance) not in (1, 4):
        context.fail(f"{len(variance)} variances", "give one, or four")
    if any(not value > 0 for value in variance):
        context.fail("a variance is not positive")
    variances = np.tile(np.array(variance, np.float32), boxes.size // len(variance))
    context.output(context.emit("Identity", np.stack([boxes.reshape(-1), variances])[None]))


@dataclass(frozen=True)
class PriorGrid:
    """Where the boxes of a PriorBox layer are centred: (index + offset) step; (height, width) pairs."""

    features: tuple[int, ...]
    image: tuple[int, int]
    step: tuple[np.float32, np.float32]
    offset: np.float32


def _prior_grid(
    context: LayerContext, parameters: Parameters, features: tuple[int, ...], shown: tuple[int, ...]
) -> PriorGrid:
    image = (shown[0], shown[1])
    if parameters.has("img_h") or parameters.has("img_w"):
        if parameters.has("img_size"):
            context.fail("img_size and img_h/img_w are both given", "keep one of them")
        image = (parameters.integer("img_h"), parameters.integer("img_w"))
    elif parameters.has("img_size"):
        image = (parameters.integer("img_size"),) * 2
    if min(image) < 1:
        context.fail(f"the image size {text_of(image)} is not positive", "give both img_h and img_w")
    if parameters.has("step_h") or parameters.has("step_w"):
        if parameters.has("step"):
            context.fail("step and step_h/step_w are both given", "keep one of them")
        step = (np.float32(parameters.number("step_h")), np.float32(parameters.number("step_w")))
    elif parameters.has("step"):
        step = (np.float32(parameters.number("step")),) * 2
    else:
        step = (np.float32(image[0]) / np.float32(features[0]), np.float32(image[1]) / np.float32(features[1]))
    if not (step[0] > 0 and step[1] > 0):
        context.fail("the step is not positive", "give both step_h and step_w")
    return PriorGrid(features, image, step, np.float32(parameters.number("offset")))


def _prior_sizes(context: LayerContext, parameters: Parameters) -> NDArray[np.float32]:
    """Return width and height of each box at one place, shape (P, 2); sizes are truncated to integers as Caffe does."""
    ratios = [np.float32(1)]
    for ratio in (np.float32(value) for value in parameters.numbers("aspect_ratio")):
        if not ratio > 0:
            context.fail(f"aspect_ratio {ratio:g} is not positive")
        if any(abs(float(ratio) - float(known)) < 1e-6 for known in ratios):
            continue
        ratios.append(ratio)
        if parameters.flag("flip"):
            ratios.append(np.float32(1.0 / float(ratio)))
    if not all(isfinite(value) for name in ("min_size", "max_size") for value in parameters.numbers(name)):
        context.fail("a min_size or max_size is no finite number")
    smallest = [int(value) for value in parameters.numbers("min_size")]
    largest = [int(value) for value in parameters.numbers("max_size")]
    if not smallest or min(smallest) < 1:
        context.fail("min_size is missing or below 1", "give prior_box_param.min_size")
    if largest and len(largest) != len(smallest):
        context.fail(f"{len(largest)} max_size for {len(smallest)} min_size", "give equally many")
    sizes: list[tuple[float, float]] = []
    for index, small in enumerate(smallest):
        sizes.append((small, small))
        if largest:
            if largest[index] <= small:
                context.fail(f"max_size {largest[index]} is not larger than min_size {small}")
            square = np.float32(sqrt(small * largest[index]))
            sizes.append((float(square), float(square)))
        for ratio in ratios:
            if abs(float(ratio) - 1) >= 1e-6:
                root = np.sqrt(ratio, dtype=np.float32)
                sizes.append((float(np.float32(small) * root), float(np.float32(small) / root)))
    return np.array(sizes, np.float32)


def _prior_boxes(grid: PriorGrid, sizes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes (height, width, P, 4): centres and sizes are floats, the rest runs in double."""
    centres = [
        ((np.arange(count, dtype=np.float32) + grid.offset) * step).astype(np.float64)
        for count, step in zip(grid.features, grid.step, strict=True)
    ]
    half = sizes.astype(np.float64) / 2
    boxes = np.empty((*grid.features, len(sizes), 4))
    for corner, sign in ((0, -1), (2, 1)):
        boxes[..., corner] = (centres[1][None, :, None] + sign * half[:, 0]) / grid.image[1]
        boxes[..., corner + 1] = (centres[0][:, None, None] + sign * half[:, 1]) / grid.image[0]
    return boxes.astype(np.float32)


@layer("DetectionOutput")
def detection_output(context: LayerContext) -> None:
    """Decode boxes, drop overlapping ones, keep the best; on the host, since NonMaxSuppression cannot say it."""
    parameters = context.parameters("detection_output_param")
    context.expect(bottoms=range(3, 6), tops=1)
    if len(context.bottoms) > 3:
        context.fail("more than three bottoms belong to another fork's DetectionOutput", "only SSD's is understood")
    classes, shared = parameters.integer("num_classes"), parameters.flag("share_location")
    location, confidence, priors = (context.shape(bottom) for bottom in context.bottoms)
    count = priors[-1] // 4 if priors else 0
    wanted = (count * (1 if shared else classes) * 4, count * classes)
    actual = tuple(int(np.prod(shape[1:])) for shape in (location, confidence))
    if classes < 1 or count < 1 or actual != wanted:
        context.fail(
            f"{count} priors and {classes} classes need {wanted[0]} locations and {wanted[1]} confidences an image, "
            f"it gets {actual[0]} and {actual[1]}",
            "correct num_classes, share_location or the layers above",
        )
    suppression = parameters.sub("nms_param")
    keep = parameters.integer("keep_top_k")
    most = keep if keep > -1 else count * classes
    context.mixes_samples("detections of all images come in one list")
    made = context.emit_many(
        "DetectionOutput",
        context.bottoms,
        [((1, 1, location[0] * max(most, 1), 7), np.float32)],
        domain=CUSTOM_DOMAIN,
        dynamic_axis=2,
        num_classes=classes,
        share_location=int(shared),
        background_label_id=parameters.integer("background_label_id"),
        nms_threshold=suppression.number("nms_threshold"),
        nms_top_k=suppression.integer("top_k") if suppression.has("top_k") else -1,
        eta=suppression.number("eta"),
        code_type=parameters.string("code_type"),
        variance_encoded_in_target=int(parameters.flag("variance_encoded_in_target")),
        keep_top_k=keep,
        clip=int(parameters.flag("clip")),
        confidence_threshold=parameters.number("confidence_threshold")
        if parameters.has("confidence_threshold")
        else float(-np.finfo(np.float32).max),
    )
    context.output(made[0])


@layer("ROIPooling")
def roi_pooling(context: LayerContext) -> None:
    """Maximum over a grid of bins in each region; regions are (image, x1, y1, x2, y2)."""
    parameters = context.parameters("roi_pooling_param")
    context.expect(bottoms=2, tops=1)
    channels = context.expect_rank(4)[1]
    regions = _regions(context)
    pooled = [parameters.integer("pooled_h"), parameters.integer("pooled_w")]
    if min(pooled) < 1:
        context.fail("pooled_h and pooled_w must be positive", "give both in roi_pooling_param")
    scale = parameters.number("spatial_scale")
    context.output(
        context.emit(
            "MaxRoiPool",
            context.bottom(),
            regions,
            shape=(context.shape(regions)[0], channels, *pooled),
            pooled_shape=pooled,
            spatial_scale=scale,
        )
    )


@layer("PSROIPooling")
def position_sensitive_roi_pooling(context: LayerContext) -> None:
    """Mean over each bin, every bin from a channel group of its own; computed on the host."""
    parameters = context.parameters("psroi_pooling_param")
    context.expect(bottoms=2, tops=1)
    channels = context.expect_rank(4)[1]
    regions = _regions(context)
    outputs, groups = parameters.integer("output_dim"), parameters.integer("group_size")
    if outputs < 1 or groups < 1 or channels != outputs * groups * groups:
        context.fail(f"output_dim {outputs} with group_size {groups} does not fit {channels} channels")
    context.output(
        context.emit(
            "PSROIPooling",
            context.bottom(),
            regions,
            shape=(context.shape(regions)[0], outputs, groups, groups),
            domain=CUSTOM_DOMAIN,
            spatial_scale=parameters.number("spatial_scale"),
            output_dim=outputs,
            group_size=groups,
        )
    )


def _regions(context: LayerContext) -> str:
    shape = context.shape(context.bottom(1))
    if int(np.prod(shape[1:])) != 5:
        context.fail(
            f"its regions have the shape {text_of(shape)}", "they are (image, x1, y1, x2, y2), five numbers each"
        )
    context.mixes_samples("regions pick their image by number")
    return context.reshape(context.bottom(1), (shape[0], 5))

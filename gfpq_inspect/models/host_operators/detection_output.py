"""SSD's DetectionOutput: decode boxes against priors, suppress overlaps a class, keep the best of all classes.

What ONNX's NonMaxSuppression cannot say: the best `nms_top_k` before suppression, the adaptive threshold, the order of
the rows, one row of -1 an image where nothing is found. All arithmetic is float32, as in Caffe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InternalError
from gfpq_inspect.models.host_operators.registry import Array, host_operator

Floats: TypeAlias = NDArray[np.float32]
_TWO = np.float32(2)


@dataclass(frozen=True)
class _Suppression:
    """How overlapping boxes of one class are dropped."""

    confidence: np.float32
    overlap: np.float32
    top_k: int
    eta: np.float32


@host_operator("DetectionOutput")
def detection_output(attributes: Mapping[str, Any], inputs: Sequence[Array]) -> list[Array]:
    """Compute one DetectionOutput node.

    Args:
        attributes: As in the translation of the Caffe layer.
        inputs: Locations (N, P L 4), confidences (N, P C), priors (1, 2, P 4), float32;
            any shapes that flatten to these.

    Returns:
        One array (1, 1, M, 7): image, label, score, xmin, ymin, xmax, ymax; by image, label, falling score.
    """
    classes, shared = int(attributes["num_classes"]), bool(attributes["share_location"])
    boxes = inputs[2].reshape(2, -1, 4)
    count, images = boxes.shape[1], inputs[0].shape[0]
    locations = inputs[0].reshape(images, count, 1 if shared else classes, 4)
    confidences = inputs[1].reshape(images, count, classes)
    variances = np.ones_like(boxes[1]) if attributes["variance_encoded_in_target"] else boxes[1]
    rows: list[Floats] = []
    for image in range(images):
        decoded = [
            decode(boxes[0], variances, locations[image, :, label], attributes["code_type"])
            for label in range(locations.shape[2])
        ]
        if attributes["clip"]:
            decoded = [np.clip(corners, np.float32(0), np.float32(1)) for corners in decoded]
        rows += _detections(attributes, image, decoded, confidences[image])
    if not rows:
        nothing = np.full((images, 7), -1, np.float32)
        nothing[:, 0] = np.arange(images)
        return [nothing[None, None]]
    return [np.concatenate(rows).astype(np.float32)[None, None]]


def decode(priors: Floats, variances: Floats, locations: Floats, code: str) -> Floats:
    """Turn predicted offsets into corners.

    Args:
        priors: Corners (P, 4).
        variances: What offsets are multiplied with (P, 4).
        locations: Predicted offsets (P, 4).
        code: 'CORNER', 'CENTER_SIZE' or 'CORNER_SIZE'.
    """
    if code == "CORNER":
        return priors + variances * locations
    size = priors[:, 2:] - priors[:, :2]
    if code == "CORNER_SIZE":
        return priors + variances * locations * np.tile(size, 2)
    if code != "CENTER_SIZE":
        raise InternalError(f"no box code is called {code}")
    centre = (priors[:, :2] + priors[:, 2:]) / _TWO
    moved = variances[:, :2] * locations[:, :2] * size + centre
    with np.errstate(over="ignore"):
        half = np.exp(variances[:, 2:] * locations[:, 2:]) * size / _TWO
    return np.concatenate([moved - half, moved + half], axis=1)


def _detections(attributes: Mapping[str, Any], image: int, decoded: Sequence[Floats], scores: Floats) -> list[Floats]:
    """Return the rows of one image, one array a label."""
    rule = _Suppression(
        confidence=np.float32(attributes["confidence_threshold"]),
        overlap=np.float32(attributes["nms_threshold"]),
        top_k=int(attributes["nms_top_k"]),
        eta=np.float32(attributes["eta"]),
    )
    kept = {
        label: suppress(decoded[label if len(decoded) > 1 else 0], scores[:, label], rule)
        for label in range(scores.shape[1])
        if label != attributes["background_label_id"]
    }
    best = int(attributes["keep_top_k"])
    if -1 < best < sum(len(indices) for indices in kept.values()):
        kept = _best_of_all(kept, scores, best)
    rows = []
    for label, indices in kept.items():
        if len(indices):
            head = np.stack([np.full(len(indices), value, np.float32) for value in (image, label)], axis=1)
            own = decoded[label if len(decoded) > 1 else 0][indices]
            rows.append(np.concatenate([head, scores[indices, label, None], own], axis=1))
    return rows


def _best_of_all(kept: Mapping[int, NDArray[np.int64]], scores: Floats, best: int) -> dict[int, NDArray[np.int64]]:
    labels = np.concatenate([np.full(len(indices), label) for label, indices in kept.items()])
    indices = np.concatenate(list(kept.values()))
    order = np.argsort(-scores[indices, labels], kind="stable")[:best]
    return {label: indices[order[labels[order] == label]] for label in kept}


def suppress(boxes: Floats, scores: Floats, rule: _Suppression) -> NDArray[np.int64]:
    """Return which boxes of one class are kept, by falling score: none overlaps a better one too much.

    Args:
        boxes: Corners (P, 4).
        scores: Scores (P).
        rule: Thresholds.
    """
    candidates = np.flatnonzero(scores > rule.confidence)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    if rule.top_k > -1:
        candidates = candidates[: rule.top_k]
    boxes = boxes[candidates]
    areas = _areas(boxes)
    largest = np.full(len(candidates), -np.inf, np.float32)  # overlap of each candidate with the boxes kept so far
    kept: list[int] = []
    threshold = rule.overlap
    for place in range(len(candidates)):
        if largest[place] <= threshold:
            kept.append(place)
            np.maximum(largest[place:], _overlaps(boxes, areas, place), out=largest[place:])
            if rule.eta < 1 and threshold > np.float32(0.5):
                threshold = np.float32(threshold * rule.eta)
    return candidates[kept]


def _areas(boxes: Floats) -> Floats:
    size = boxes[:, 2:] - boxes[:, :2]
    inverted = (size < 0).any(axis=1)
    return np.where(inverted, np.float32(0), size[:, 0] * size[:, 1])


def _overlaps(boxes: Floats, areas: Floats, place: int) -> Floats:
    """Return intersection over union of one box with itself and all after it; 0 where they only touch."""
    rest = boxes[place:]
    size = np.minimum(boxes[place, 2:], rest[:, 2:]) - np.maximum(boxes[place, :2], rest[:, :2])
    meets = (size > 0).all(axis=1)
    common = np.where(meets, size[:, 0] * size[:, 1], np.float32(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = common / (areas[place] + areas[place:] - common)
    return np.where(meets, shares, np.float32(0)).astype(np.float32)

"""DetectionOutput on boxes few enough to follow by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.models.host_operators import compute
from gfpq_inspect.models.host_operators.detection_output import decode

ATTRIBUTES = {
    "num_classes": 2,
    "share_location": 1,
    "background_label_id": 0,
    "nms_threshold": 0.5,
    "nms_top_k": -1,
    "eta": 1.0,
    "code_type": "CORNER",
    "variance_encoded_in_target": 0,
    "keep_top_k": -1,
    "confidence_threshold": 0.1,
    "clip": 0,
}
PRIORS = np.array([[0, 0, 4, 4], [0, 0, 4, 5], [6, 6, 8, 8], [0, 0, 4, 4]], np.float32) / 10


def detect(scores, boxes=PRIORS, **changes):
    """Run on priors with no offsets; scores of class 1, one row an image."""
    scores = np.atleast_2d(np.array(scores, np.float32))
    prior = np.stack([boxes.ravel(), np.full(boxes.size, 0.1, np.float32)])[None]
    location = np.zeros((len(scores), boxes.size), np.float32)
    confidence = np.stack([1 - scores, scores], axis=2).reshape(len(scores), -1)
    return compute("DetectionOutput", {**ATTRIBUTES, **changes}, [location, confidence, prior])[0][0, 0]


def test_the_better_of_two_that_overlap_is_kept():
    rows = detect([0.8, 0.9, 0.3, 0.05])
    np.testing.assert_allclose(rows[:, 2], [0.9, 0.3], rtol=1e-6)
    np.testing.assert_allclose(rows[0], [0, 1, 0.9, 0, 0, 0.4, 0.5], rtol=1e-6)


def test_a_score_equal_to_the_threshold_is_dropped():
    assert len(detect([0.5, 0.5, 0.5, 0.5], confidence_threshold=0.5, nms_threshold=1.0)) == 1
    assert detect([0.5, 0.5, 0.5, 0.5], confidence_threshold=0.5)[0, 1] == -1


def test_equal_scores_keep_their_order():
    rows = detect([0.7, 0.7, 0.7, 0.7], nms_threshold=1.0)
    np.testing.assert_allclose(rows[:, 6], [0.4, 0.5, 0.8, 0.4], rtol=1e-6)


def test_top_k_counts_before_suppression():
    assert len(detect([0.8, 0.9, 0.3, 0.85], nms_top_k=3)) == 1


def test_keep_top_k_takes_the_best_of_all():
    rows = detect([0.8, 0.1, 0.9, 0.1], keep_top_k=1)
    np.testing.assert_allclose(rows[:, 2], [0.9], rtol=1e-6)


def test_images_follow_each_other_and_empty_ones_vanish():
    rows = detect([[0.05] * 4, [0.9, 0.0, 0.0, 0.0]])
    assert rows[:, 0].tolist() == [1]


def test_nothing_found_gives_a_row_of_minus_one_an_image():
    rows = detect([[0.05] * 4, [0.0] * 4])
    np.testing.assert_array_equal(rows, [[0, -1, -1, -1, -1, -1, -1], [1, -1, -1, -1, -1, -1, -1]])


def test_boxes_that_touch_do_not_overlap():
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1]], np.float32)
    assert len(detect([0.9, 0.8], boxes, nms_threshold=0.0)) == 2


def test_eta_lowers_the_threshold_after_each_kept_box():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 6]], np.float32)
    assert len(detect([0.9, 0.8, 0.7], boxes, nms_threshold=0.65)) == 3
    assert len(detect([0.9, 0.8, 0.7], boxes, nms_threshold=0.65, eta=0.9)) == 2


def test_clip_holds_boxes_inside_the_image():
    boxes = np.array([[-1, -1, 2, 0.5]], np.float32)
    np.testing.assert_array_equal(detect([0.9], boxes, clip=1)[0, 3:], [0, 0, 1, 0.5])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CORNER", [1.1, 1.2, 3.6, 7.8]),
        ("CENTER_SIZE", [2.2 - np.exp(0.6), 4.8 - 3 * np.exp(0.8 * 1), 2.2 + np.exp(0.6), 4.8 + 3 * np.exp(0.8)]),
        ("CORNER_SIZE", [1.2, 2.2, 4.2, 11.8]),
    ],
)
def test_box_codes(code, expected):
    prior = np.array([[1, 1, 3, 7]], np.float32)
    variance = np.array([[0.1, 0.1, 0.2, 0.2]], np.float32)
    offsets = np.array([[1, 2, 3, 4]], np.float32)
    if code == "CENTER_SIZE":
        expected = [2.2 - np.exp(0.6), 5.2 - 3 * np.exp(0.8), 2.2 + np.exp(0.6), 5.2 + 3 * np.exp(0.8)]
    np.testing.assert_allclose(decode(prior, variance, offsets, code)[0], expected, rtol=1e-5)

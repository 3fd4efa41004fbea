"""Every real network in both engines: the same tensors, the same statuses, the same sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

from .agreement import assert_engines_agree, capturing, experiment_of, noise

pytestmark = [pytest.mark.shared, pytest.mark.slow]

MERGED = {
    "cifar10": ("cifar10_full_v1/cifar10_full_iter_70000.caffemodel", "cifar10_full_v1/cifar10_full.prototxt"),
    "lenet": ("lenet_mnist_v1/lenet_iter_10000.caffemodel", "lenet_mnist_v1/lenet.prototxt"),
    "yolo_nano": (
        "mbv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.caffemodel",
        "mbv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.prototxt",
    ),
    "det1": ("mtcnn/det1.caffemodel", "mtcnn/det1.prototxt"),
    "det2": ("mtcnn/det2.caffemodel", "mtcnn/det2.prototxt"),
    "det3": ("mtcnn/det3.caffemodel", "mtcnn/det3.prototxt"),
    "det4": ("mtcnn/det4.caffemodel", "mtcnn/det4.prototxt"),
    "nsfw": ("opennsfw_resnet50_1by2/resnet_50_1by2_nsfw.caffemodel", "opennsfw_resnet50_1by2/deploy.prototxt"),
    "retinaface": ("retinaface_mnet25/mnet.caffemodel", "retinaface_mnet25/mnet.prototxt"),
    "ultraface": ("ultraface_slim_320/slim-320.caffemodel", "ultraface_slim_320/slim-320.prototxt"),
    "waifu2x": (
        "waifu2x_upresnet10/scale2.0x_model.json.caffemodel",
        "waifu2x_upresnet10/scale2.0x_model.prototxt",
    ),
    "wechat_sr": ("wechat_qr_sr/sr.caffemodel", "wechat_qr_sr/sr.prototxt"),
    "yoloface": ("yoloface_500k/yoloface-500k-v2.caffemodel", "yoloface_500k/yoloface-500k-v2.prototxt"),
    "mnist": ("mnist_cntk/mnist.onnx", None),
    "ocr_detector": ("rapidocr_ppocrv4/ch_PP-OCRv4_det_infer.onnx", None),
    "ocr_direction": ("rapidocr_ppocrv4/ch_ppocr_mobile_v2.0_cls_infer.onnx", None),
    "tinycnn": ("tinycnn_cifar10_pair/model.onnx", None),
    "ultraface_onnx": ("ultraface_slim_320/version-slim-320_simplified.onnx", None),
    "ultraface_raw": ("ultraface_slim_320/version-slim-320_without_postprocessing.onnx", None),
    "yunet_n": ("yunet/yunet_n_320_320.onnx", None),
    "yunet_s": ("yunet/yunet_s_320_320.onnx", None),
}
"""Networks that must run in one graph; the others hold layers that the host computes, or quantize themselves."""


def model_of(shared: Path, name: str) -> Model:
    weights, structure = MERGED[name]
    folder = shared / "models"
    network = open_network(folder / weights, None if structure is None else folder / structure)
    shapes = {
        entry.name: tuple(length if length > 0 else (1, 3, 160, 160)[axis] for axis, length in enumerate(entry.shape))
        for entry in network.declared_inputs
        if any(length < 1 for length in entry.shape)
    }
    return network.build(shapes)


@pytest.mark.parametrize("blocked", [False, True], ids=["plain", "blocked"])
@pytest.mark.parametrize("name", MERGED)
def test_engines_agree(shared: Path, name: str, blocked: bool) -> None:
    experiment = experiment_of(model_of(shared, name))
    merged = assert_engines_agree(experiment, noise(experiment), blocked=blocked)
    assert merged.is_merged, merged.notes
    assert merged.is_plain is not blocked, merged.notes


@pytest.mark.parametrize("name", MERGED)
def test_blocked_float_lane_is_that_of_plain_nodes(shared: Path, name: str) -> None:
    """Sums in another order, through all layers, and what ONNX Runtime's own logistic function is good for."""
    experiment = experiment_of(model_of(shared, name), isolate=False)
    feeds = noise(experiment)
    experiment = capturing(experiment, LayeredEngine(experiment), feeds)
    plain, merged = LayeredEngine(experiment), MergedEngine(experiment)
    deltas = [0] * len(experiment.points)
    expected, found = plain.measure(feeds, 1, deltas).captured, merged.measure(feeds, 1, deltas).captured
    for key in experiment.captured:
        one, other = found[key, "float"], expected[key, "float"]
        bound = 5e-5 * np.abs(other).max(initial=0.0) + 1e-6
        np.testing.assert_allclose(one, other, rtol=0, atol=bound, err_msg=key)

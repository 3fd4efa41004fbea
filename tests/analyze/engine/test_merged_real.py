"""Every real network in both engines: the same tensors, the same statuses, the same sums."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from gfpq_inspect.analyze.engine.interface import Experiment, Feeds, Measurement
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.steps import session_options
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

from .agreement import assert_engines_agree, capturing, coefficients, experiment_of, noise, stacks
from .clauses import LOGISTIC, TENSOR, Pair, logistic_values
from .exact import ExactNetwork

pytestmark = [pytest.mark.shared, pytest.mark.slow]

MERGED = {
    "cifar10": ("cifar10_full_v1/cifar10_full_iter_70000.caffemodel", "cifar10_full_v1/cifar10_full.prototxt"),
    "conv": (
        "opencv_dnn_layer_goldens/layers/layer_convolution.caffemodel",
        "opencv_dnn_layer_goldens/layers/layer_convolution.prototxt",
    ),
    "deconv": (
        "opencv_dnn_layer_goldens/layers/layer_deconvolution.caffemodel",
        "opencv_dnn_layer_goldens/layers/layer_deconvolution.prototxt",
    ),
    "lenet_v2": ("lenet_mnist_v2/lenet_iter_10000.caffemodel", "lenet_mnist_v2/mnist_deploy.prototxt"),
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
    "retinaface_nnie": ("retinaface_mnet25/mnet.caffemodel", "retinaface_mnet25_nnie/mnet_nnie.prototxt"),
    "ultraface": ("ultraface_slim_320/slim-320.caffemodel", "ultraface_slim_320/slim-320.prototxt"),
    "waifu2x": (
        "waifu2x_upresnet10/scale2.0x_model.json.caffemodel",
        "waifu2x_upresnet10/scale2.0x_model.prototxt",
    ),
    "waifu2x_noise": (
        "waifu2x_upresnet10/noise1_scale2.0x_model.json.caffemodel",
        "waifu2x_upresnet10/noise1_scale2.0x_model.prototxt",
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
def test_engines_agree_on_batches_of_pixels(shared: Path, name: str) -> None:
    """16 bit, samples without negative values, together where the network lets them."""
    experiment = experiment_of(model_of(shared, name), bits=16, isolate=False)
    samples = 2 if stacks(experiment, noise(experiment, 2), 2) else 1
    feeds = {
        side: {value: np.abs(array) * np.float32(100) for value, array in arrays.items()}
        for side, arrays in noise(experiment, samples, seed=5).items()
    }
    assert assert_engines_agree(experiment, feeds, samples, blocked=True).is_merged


# An SE block behind a large scale magnifies rounding: one sigmoid is 1.65e-5 off there, 1.58e-5 would be allowed.
BEYOND = pytest.mark.xfail(reason="known miss: '/res4/fc2_sigmoid' by 4 % of what is allowed", strict=False)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[BEYOND] * (name == "waifu2x_noise")) for name in MERGED])
def test_blocks_keep_what_plain_nodes_give(shared: Path, name: str) -> None:
    """Another order of sums: every clause, on the float lane no more than what the plain nodes themselves are off."""
    experiment, feeds, deltas, plain = measured_plainly(model_of(shared, name), 16)
    blocked = MergedEngine(experiment, merge=False)
    blocked.trial(feeds, 1)
    assert not blocked.is_plain
    errors = errors_of(experiment, feeds, plain)
    loose = logistic_values(experiment.models)
    found = Pair(experiment, blocked.measure(feeds, 1, deltas), plain, deltas, loose=loose, errors=errors).check()
    assert found.tensors > 1
    assert found.codes > 1000


@pytest.mark.parametrize("name", MERGED)
def test_pytorch_gives_what_plain_nodes_give(shared: Path, name: str) -> None:
    pytest.importorskip("torch")
    from gfpq_inspect.analyze.engine.torch_layered import TorchEngine

    experiment, feeds, deltas, plain = measured_plainly(model_of(shared, name), 8)
    errors = errors_of(experiment, feeds, plain)
    found = TorchEngine(experiment, "cpu").measure(feeds, 1, deltas)
    loose = logistic_values(experiment.models)
    # Its convolutions add in yet another way: cosines of quantized weights come within 2e-6.
    Pair(experiment, found, plain, deltas, cosine=1e-5, loose=loose, errors=errors).check()


@pytest.mark.parametrize("name", MERGED)
def test_each_blocked_layer_is_exact(shared: Path, name: str) -> None:
    """Every layer by itself on the very same numbers, against double precision: three times closer than asked for."""
    model = model_of(shared, name)
    experiment = experiment_of(model, isolate=False)
    exact, feeds = ExactNetwork(model), noise(experiment)
    blocked = MergedEngine(experiment, merge=False)
    blocked.trial(feeds, 1)
    loose = logistic_values(experiment.models)
    for step, read, given in blocked.run_layers(feeds, 1):
        expected = exact.layer(step.layer, read)
        for value, array in zip(step.outputs, given, strict=True):
            largest = np.abs(expected[value]).max(initial=0.0)
            allowed = 3e-6 * largest + (LOGISTIC if (Side.FIRST, value) in loose else 0.0)
            assert np.abs(array - expected[value]).max(initial=0.0) <= allowed, step.layer.name


@pytest.mark.parametrize("name", MERGED)
def test_layers_by_themselves_are_the_whole_network(shared: Path, name: str) -> None:
    """One session a layer gives what one session of the whole network gives."""
    model = model_of(shared, name)
    experiment, feeds, _, plain = measured_plainly(model, 8)
    whole = onnx.ModelProto()
    whole.CopyFrom(model.graph)
    produced = {output for node in whole.graph.node for output in node.output}
    keys = {row.values[Side.FIRST]: row.key for row in experiment.rows if row.key in experiment.captured}
    names = [value for value in keys if value in produced]
    del whole.graph.output[:]
    for value in names:
        whole.graph.output.add().name = value
    results = onnxruntime.InferenceSession(whole.SerializeToString(), session_options()).run(names, feeds[Side.FIRST])
    for value, array in zip(names, results, strict=True):
        np.testing.assert_array_equal(plain.captured[keys[value], "float"], array, err_msg=value)


@pytest.mark.parametrize("name", MERGED)
def test_results_are_as_exact_as_those_of_an_optimised_session(shared: Path, name: str) -> None:
    """The network's own results: within 1e-5 of double precision, or no further than ONNX Runtime at its best."""
    model = model_of(shared, name)
    experiment = experiment_of(model, isolate=False)
    feeds, exact = noise(experiment), ExactNetwork(model)
    blocked = MergedEngine(experiment, merge=False)
    blocked.trial(feeds, 1)
    made = {}
    for step, _, given in blocked.run_layers(feeds, 1):
        made.update(zip(step.outputs, given, strict=True))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    optimised = onnxruntime.InferenceSession(model.graph.SerializeToString(), options)
    expected, loose = exact.network(feeds[Side.FIRST]), logistic_values(experiment.models)
    ends = [value for value in model.outputs if value in made]
    for value, array in zip(ends, optimised.run(ends, feeds[Side.FIRST]), strict=True):
        besides = LOGISTIC if (Side.FIRST, value) in loose else 0.0
        allowed = TENSOR * np.abs(expected[value]).max() + besides
        error = np.abs(made[value] - expected[value]).max()
        assert error <= max(allowed, np.abs(array - expected[value]).max()), value


def measured_plainly(model: Model, bits: int) -> tuple[Experiment, Feeds, list[object], Measurement]:
    """An experiment with its samples, coefficients of the model's own nodes, and what those give."""
    experiment = experiment_of(model, bits=bits)
    feeds = noise(experiment)
    engine = LayeredEngine(experiment)
    experiment = capturing(experiment, engine, feeds)
    engine = LayeredEngine(experiment)
    deltas = coefficients(experiment, engine.calibrate(feeds, 1))
    return experiment, feeds, deltas, engine.measure(feeds, 1, deltas)


def errors_of(experiment: Experiment, feeds: Feeds, plain: Measurement) -> dict[tuple[Side, str], float]:
    """How far the model's own nodes in single precision are from double precision, where that is more than asked."""
    exact = ExactNetwork(experiment.models[Side.FIRST]).network(feeds[Side.FIRST])
    errors = {}
    for row in experiment.rows:
        if row.key in experiment.captured:
            value = row.values[Side.FIRST]
            found = np.abs(plain.captured[row.key, "float"] - exact[value]).max(initial=0.0)
            asked = TENSOR * np.abs(exact[value]).max(initial=0.0)
            errors[Side.FIRST, value] = float(found) if 2 * found > asked else 0.0
    return errors

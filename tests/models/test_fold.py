"""Folding at the level of models: equal outputs, every spelling, and the reason for what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.fold import FoldedModel, fold_model, fold_model_report
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.models.run import run_model

from .small_networks import Blobs, batch_norm, conv, data, draw, simple, write_network

SCALE = "scale_param { bias_term: true }"


def build(folder: Path, prototxt: str, blobs: Blobs, **shapes: tuple[int, ...]) -> Model:
    structure, weights = write_network(folder, prototxt, blobs)
    return read_network(weights, structure).build(shapes or None)


def run(model: Model, seed: int = 7) -> dict[str, NDArray[np.float32]]:
    feed = {one.name: draw(*one.shape, seed=seed) for one in model.inputs}
    values = run_model(model, feed)
    return {name: values[name] for name in model.outputs}


def folded(model: Model) -> FoldedModel:
    """Fold, and insist on equal outputs."""
    done = fold_model_report(model)
    before, after = run(model), run(done.model)
    assert before.keys() == after.keys()
    for name, expected in before.items():
        scale = np.abs(expected).max()
        assert np.abs(after[name] - expected).max() <= 1e-5 * scale, name
    return done


def test_convolution_with_batch_norm_and_scale(tmp_path: Path) -> None:
    net = data(1, 3, 6, 6) + conv("conv", "data", "conv", 4, extra="bias_term: false")
    net += simple("bn", "BatchNorm", "conv", "conv") + simple("scale", "Scale", "conv", "conv", SCALE)
    net += simple("relu", "ReLU", "conv", "conv")
    blobs = {
        "conv": [draw(4, 3, 3, 3)],
        "bn": batch_norm(4, factor=3.0),
        "scale": [draw(4, seed=3), draw(4, seed=4)],
    }
    done = folded(build(tmp_path, net, blobs))
    assert [layer.key for layer in done.model.layers] == ["data", "conv", "relu"]
    row = done.model.layers[1]
    assert row.folded == ("bn", "scale")
    assert row.outputs == ("scale",)
    assert row.output_names == ("conv",)
    assert row.blob_names == ("conv",)
    assert row.quantization is not None
    assert row.quantization.weights == (row.weights[0],)
    assert len(row.weights) == 2
    assert done.refusals == ()
    assert "went into the weights" in done.model.origin.notes[-1]


def test_arithmetic_is_double_and_rounded_once(tmp_path: Path) -> None:
    net = data(1, 2, 3, 3) + conv("conv", "data", "conv", 3) + simple("bn", "BatchNorm", "conv", "bn")
    blobs = {"conv": [draw(3, 2, 3, 3), draw(3)], "bn": batch_norm(3, factor=7.0)}
    model = fold_model(build(tmp_path, net, blobs))
    arrays = {tensor.name: np.frombuffer(tensor.raw_data, np.float32) for tensor in model.graph.graph.initializer}
    scale = np.float32(1) / np.float32(7)
    mean = blobs["bn"][0] * scale
    deviation = np.sqrt(blobs["bn"][1] * scale + np.float32(1e-5), dtype=np.float32).astype(np.float64)
    weight = (blobs["conv"][0].astype(np.float64) / deviation[:, None, None, None]).astype(np.float32)
    bias = ((blobs["conv"][1].astype(np.float64) - mean) / deviation).astype(np.float32)
    kernel, offset = (arrays[name] for name in model.layers[1].weights)
    np.testing.assert_allclose(kernel, weight.reshape(-1), rtol=1.2e-7)
    np.testing.assert_allclose(offset, bias, rtol=1.2e-7, atol=1e-9)


def test_factor_zero_means_no_statistics(tmp_path: Path) -> None:
    net = data(1, 2, 3, 3) + conv("conv", "data", "conv", 3) + simple("bn", "BatchNorm", "conv", "conv")
    blobs = {"conv": [draw(3, 2, 3, 3), draw(3)], "bn": batch_norm(3, factor=0.0)}
    assert folded(build(tmp_path, net, blobs)).folds[0].folded == ("bn",)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_grouped_and_transposed_layouts(tmp_path: Path, kind: str, group: int) -> None:
    net = data(1, 4, 5, 5) + conv("conv", "data", "conv", 8, extra=f"group: {group} stride: 2", kind=kind)
    net += simple("bn", "BatchNorm", "conv", "bn") + simple("scale", "Scale", "bn", "scale", SCALE)
    shape = (4, 8 // group, 3, 3) if kind == "Deconvolution" else (8, 4 // group, 3, 3)
    blobs = {"conv": [draw(*shape), draw(8)], "bn": batch_norm(8), "scale": [draw(8, seed=5), draw(8, seed=6)]}
    assert folded(build(tmp_path, net, blobs)).folds[0].folded == ("bn", "scale")


@pytest.mark.parametrize("kind", ["DepthwiseConvolution", "DepthwiseConv", "ConvolutionDepthwise"])
def test_depthwise_spellings(tmp_path: Path, kind: str) -> None:
    net = data(1, 4, 5, 5) + conv("dw", "data", "dw", 4, extra="bias_term: false", kind=kind)
    net += simple("scale", "Scale", "dw", "dw")
    done = folded(build(tmp_path, net, {"dw": [draw(4, 1, 3, 3)], "scale": [draw(4, seed=2)]}))
    assert done.folds[0].folded == ("scale",)


def test_inner_product_scale_and_bias(tmp_path: Path) -> None:
    product = "inner_product_param { num_output: 5 transpose: true bias_term: false }"
    net = data(2, 3, 2, 2) + simple("fc", "InnerProduct", "data", "fc", product)
    net += simple("bn", "BatchNorm", "fc", "fc") + simple("scale", "Scale", "fc", "fc")
    net += simple("bias", "Bias", "fc", "bias")
    blobs = {"fc": [draw(12, 5)], "bn": batch_norm(5), "scale": [draw(5, seed=1)], "bias": [draw(5, seed=2)]}
    assert folded(build(tmp_path, net, blobs)).folds[0].folded == ("bn", "scale", "bias")


def test_inner_product_along_a_later_axis(tmp_path: Path) -> None:
    product = "inner_product_param { num_output: 5 axis: 2 }"
    net = data(2, 3, 4) + simple("fc", "InnerProduct", "data", "fc", product)
    net += simple("good", "Scale", "fc", "good", "scale_param { axis: 2 }")
    net += simple("bn", "BatchNorm", "good", "bn")
    blobs = {"fc": [draw(5, 4), draw(5)], "good": [draw(5, seed=1)], "bn": batch_norm(3)}
    done = folded(build(tmp_path, net, blobs))
    assert done.folds[0].folded == ("good",)
    assert [refusal.key for refusal in done.refusals] == ["bn"]
    assert "another axis" in done.refusals[0].reason


def test_forked_batch_norm_with_four_blobs(tmp_path: Path) -> None:
    net = data(1, 3, 4, 4) + conv("conv", "data", "conv", 4) + simple("bn", "BN", "conv", "conv")
    four = [draw(1, 4, 1, 1, seed=seed, low=0.2, high=2.0) for seed in range(4)]
    assert folded(build(tmp_path, net, {"conv": [draw(4, 3, 3, 3), draw(4)], "bn": four})).folds


def refusal(folder: Path, net: str, blobs: Blobs, key: str) -> str:
    done = folded(build(folder, net, blobs))
    reasons = {one.key: one.reason for one in done.refusals}
    notes = {layer.key: layer.notes for layer in done.model.layers}
    assert f"not folded: {reasons[key]}" in notes[key]
    return reasons[key]


CONV = {"conv": [draw(4, 3, 3, 3), draw(4)]}
HEAD = data(1, 3, 4, 4) + conv("conv", "data", "conv", 4)


def test_several_readers_of_the_unfolded_value(tmp_path: Path) -> None:
    net = HEAD + simple("bn", "BatchNorm", "conv", "bn") + simple("relu", "ReLU", "conv", "other")
    reason = refusal(tmp_path, net, CONV | {"bn": batch_norm(4)}, "bn")
    assert reason == "'conv' before it is read by 'relu' as well"


def test_network_output_in_between(tmp_path: Path) -> None:
    # Caffe's outputs are blobs that nobody reads, so only an ONNX graph can have one in between.
    model = build(tmp_path, HEAD + simple("bn", "BatchNorm", "conv", "bn"), CONV | {"bn": batch_norm(4)})
    model.graph.graph.output.add().name = "conv"
    done = fold_model_report(model)
    assert not done.folds
    assert "network output" in done.refusals[0].reason


def test_scale_along_another_axis(tmp_path: Path) -> None:
    net = HEAD + simple("scale", "Scale", "conv", "scale", "scale_param { axis: 2 }")
    assert "another axis" in refusal(tmp_path, net, CONV | {"scale": [draw(4)]}, "scale")


def test_one_factor_for_all_channels_is_folded(tmp_path: Path) -> None:
    net = HEAD + simple("scale", "Scale", "conv", "scale", "scale_param { num_axes: 0 }")
    assert folded(build(tmp_path, net, CONV | {"scale": [np.array(1.5, np.float32)]})).folds


def test_batch_norm_before_the_convolution(tmp_path: Path) -> None:
    net = data(1, 3, 4, 4) + simple("bn", "BatchNorm", "data", "bn") + simple("scale", "Scale", "bn", "scale")
    net += conv("conv", "scale", "conv", 4)
    blobs = CONV | {"bn": batch_norm(3), "scale": [draw(3)]}
    assert "no convolution or inner product stands before it" in refusal(tmp_path, net, blobs, "bn")
    assert "'bn' (BatchNorm) before it was not folded" in refusal(tmp_path, net, blobs, "scale")


def test_batch_statistics(tmp_path: Path) -> None:
    net = HEAD + simple("bn", "BatchNorm", "conv", "bn", "batch_norm_param { use_global_stats: false }")
    assert "statistics of the batch" in refusal(tmp_path, net, CONV | {"bn": batch_norm(4)}, "bn")


def test_scale_of_two_bottoms(tmp_path: Path) -> None:
    net = data(1, 4, name="factor") + HEAD
    net += 'layer { name: "scale" type: "Scale" bottom: "conv" bottom: "factor" top: "scale" scale_param { axis: 0 } }'
    assert "second bottom" in refusal(tmp_path, net, CONV, "scale")


def test_after_something_else(tmp_path: Path) -> None:
    net = HEAD + simple("relu", "ReLU", "conv", "conv") + simple("scale", "Scale", "conv", "conv")
    reason = refusal(tmp_path, net, CONV | {"scale": [draw(4)]}, "scale")
    assert reason == "it follows 'relu' (ReLU), not a convolution or inner product"


def test_a_convolution_of_two_tops(tmp_path: Path) -> None:
    net = data(1, 3, 4, 4) + data(1, 3, 4, 4, name="other")
    net += (
        'layer { name: "conv" type: "Convolution" bottom: "data" bottom: "other" top: "a" top: "b"\n'
        "  convolution_param { num_output: 4 kernel_size: 3 } }\n"
    )
    net += simple("bn", "BatchNorm", "a", "bn")
    assert "several outputs" in refusal(tmp_path, net, CONV | {"bn": batch_norm(4)}, "bn")


def test_values_that_would_not_fit(tmp_path: Path) -> None:
    net = HEAD + simple("scale", "Scale", "conv", "scale")
    model = build(tmp_path, net, {"conv": [draw(4, 3, 3, 3) * 1e30, draw(4)], "scale": [np.full(4, 1e20, np.float32)]})
    done = fold_model_report(model)
    assert not done.folds
    assert "would not fit" in done.refusals[0].reason


def test_the_model_is_not_changed(tmp_path: Path) -> None:
    model = build(tmp_path, HEAD + simple("bn", "BatchNorm", "conv", "bn"), CONV | {"bn": batch_norm(4)})
    before, layers = model.graph.SerializeToString(), model.layers
    fold_model(model)
    assert model.graph.SerializeToString() == before
    assert model.layers is layers


def test_digits(fixtures: Path) -> None:
    model = read_network(fixtures / "digits/float.caffemodel").build()
    done = folded(model)
    assert len(done.folds) == 4
    assert not done.refusals


REAL = {
    "opennsfw_resnet50_1by2/deploy.prototxt": ("resnet_50_1by2_nsfw.caffemodel", 53, 0, 128.0),
    "retinaface_mnet25/mnet.prototxt": ("mnet.caffemodel", 47, 0, 255.0),
    "ssd_res10_face/deploy.prototxt": ("res10_300x300_ssd_iter_140000.caffemodel", 5, 10, 128.0),
    "mbv2_yolov3_nano_voc/MobileNetV2-YOLOv3-Nano-voc.prototxt": (
        "MobileNetV2-YOLOv3-Nano-voc.caffemodel",
        57,
        0,
        1.0,
    ),
    "yoloface_500k/yoloface-500k-v2.prototxt": ("yoloface-500k-v2.caffemodel", 52, 3, 1.0),
    "wechat_qr_detect/detect.prototxt": ("detect.caffemodel", 1, 2, 1.0),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_networks(shared: Path, name: str) -> None:
    weights, folds, refusals, high = REAL[name]
    structure = shared / "models" / name
    model = read_network(structure.with_name(weights), structure, options=CaffeOptions()).build()
    done = fold_model_report(model)
    assert len(done.folds) == folds
    assert len(done.refusals) == refusals
    feed = {one.name: draw(*one.shape, low=0.0, high=high) for one in model.inputs}
    before, after = run_model(model, feed), run_model(done.model, feed)
    for layer in done.model.layers:
        for value in layer.outputs:
            scale = np.abs(before[value]).max()
            assert before[value].shape == after[value].shape
            assert np.abs(after[value] - before[value]).max() <= 1e-5 * scale, layer.key


def test_onnx_nodes_are_layers(tmp_path: Path) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[n,3,6,6] x) => (float[n,4,4,4] y, float[n,4,4,4] z)
    {
      [conv] c = Conv(x, w)
      [bn] b = BatchNormalization <epsilon = 0.001> (c, s, t, m, v)
      [mul] a = Mul(b, f)
      [relu] y = Relu(a)
      [other] o = Conv(x, w)
      [shift] z = Add(o, u)
    }
    """
    proto = onnx.parser.parse_model(text)
    arrays = {"w": draw(4, 3, 3, 3), "s": draw(4), "t": draw(4, seed=1), "m": draw(4, seed=2)}
    arrays |= {"v": draw(4, seed=3, low=0.1), "f": draw(4, 1, 1), "u": draw(4, 1, 1, seed=8)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "net.onnx")
    done = folded(read_onnx(tmp_path / "net.onnx").build({"x": (2, 3, 6, 6)}))
    rows = {layer.key: layer for layer in done.model.layers}
    assert list(rows) == ["x", "conv", "relu", "other"]
    assert rows["conv"].folded == ("bn", "mul")
    assert rows["other"].folded == ("shift",)
    assert rows["conv"].weights[0] != rows["other"].weights[0]  # a kernel that two share is not overwritten


def test_matrix_product_gets_a_bias(tmp_path: Path) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[2,3] x) => (float[2,4] y)
    {
      [product] p = MatMul(x, w)
      [bias] b = Add(p, u)
      [scale] y = Mul(b, s)
    }
    """
    proto = onnx.parser.parse_model(text)
    arrays = {"w": draw(3, 4), "u": draw(4), "s": draw(4, seed=1)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.save(proto, tmp_path / "net.onnx")
    done = folded(read_onnx(tmp_path / "net.onnx").build())
    assert [node.op_type for node in done.model.graph.graph.node] == ["MatMul", "Add"]
    assert done.model.layers[1].nodes == ("product", "product/bias")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "folds"),
    [
        ("ultraface_slim_320/version-slim-320_without_postprocessing.onnx", 25),
        ("rapidocr_ppocrv4/ch_ppocr_mobile_v2.0_cls_infer.onnx", 35),
        ("mnist_cntk/mnist.onnx", 2),
    ],
)
def test_real_onnx_models(shared: Path, name: str, folds: int) -> None:
    network = read_onnx(shared / "models" / name)
    shapes = {"x": (1, 3, 48, 192)} if "ppocr" in name else None
    assert len(folded(network.build(shapes)).folds) == folds

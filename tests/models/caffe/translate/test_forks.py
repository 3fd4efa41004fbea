"""Layers of forks and of NNIE against their formulas, written out with loops."""

from __future__ import annotations

import numpy as np
import pytest

from .single import numbers, run_layer


def test_relu6_holds_values_between_0_and_6(tmp_path):
    x = numbers(2, 3, 4, 4) * 5
    (y,) = run_layer(tmp_path, "ReLU6", {"x": x})
    np.testing.assert_array_equal(y, np.clip(x, 0, 6))


def test_relu6_with_a_slope_and_another_limit(tmp_path):
    x = numbers(2, 3, 4, 4) * 5
    (y,) = run_layer(tmp_path, "ReLU6", {"x": x}, "relu6_param { negative_slope: 0.25 threshold: 4 }")
    np.testing.assert_array_equal(y, np.minimum(np.where(x > 0, x, x * np.float32(0.25)), np.float32(4)))


def test_rrelu_uses_the_middle_of_its_range(tmp_path):
    x = numbers(1, 2, 3, 3)
    (y,) = run_layer(tmp_path, "RReLU", {"x": x}, "rrelu_param { lower: 0.25 upper: 0.75 }")
    np.testing.assert_array_equal(y, np.where(x > 0, x, x * np.float32(0.5)))


def test_crelu_joins_both_signs_along_the_channels(tmp_path):
    x = numbers(2, 3, 4, 5)
    (y,) = run_layer(tmp_path, "CReLU", {"x": x})
    np.testing.assert_array_equal(y, np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], axis=1))


@pytest.mark.parametrize(
    ("kind", "rest", "formula"),
    [
        ("Swish", "swish_param { beta: 1.5 }", lambda x: x / (1 + np.exp(-1.5 * x))),
        ("Mish", "", lambda x: x * np.tanh(np.log1p(np.exp(x)))),
        ("HardSwish", "", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
        ("HardSigmoid", "", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
        ("HardSigmoid", "hardsigmoid_param { alpha: 0.1 beta: 0.25 }", lambda x: np.clip(0.1 * x + 0.25, 0, 1)),
    ],
)
def test_activations(kind, rest, formula, tmp_path):
    x = numbers(2, 3, 4, 4) * 4
    (y,) = run_layer(tmp_path, kind, {"x": x}, rest)
    np.testing.assert_allclose(y, formula(x.astype(np.float64)), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["DepthwiseConv", "ConvolutionDepthwise", "DepthwiseConvolution", "Convolution"])
def test_depthwise_spellings_agree(kind, tmp_path):
    x, weight, bias = numbers(2, 6, 9, 8), numbers(6, 1, 3, 3, seed=1), numbers(6, seed=2)
    group = "group: 6" if kind == "Convolution" else ""
    rest = f"convolution_param {{ num_output: 6 kernel_size: 3 stride: 2 pad: 1 {group} }}"
    (y,) = run_layer(tmp_path, kind, {"x": x}, rest, blobs=[weight, bias])
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    expected = np.zeros((2, 6, 5, 4))
    for i in range(5):
        for j in range(4):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            expected[:, :, i, j] = (window * weight[:, 0]).sum(axis=(2, 3)) + bias
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_depthwise_with_a_multiplier(tmp_path):
    x, weight = numbers(1, 2, 5, 5), numbers(4, 1, 1, 1, seed=1)
    rest = "convolution_param { num_output: 4 kernel_size: 1 bias_term: false }"
    (y,) = run_layer(tmp_path, "DepthwiseConv", {"x": x}, rest, blobs=[weight])
    np.testing.assert_allclose(y, np.repeat(x, 2, axis=1) * weight[:, 0], rtol=1e-6)


def test_upsample_repeats_pixels(tmp_path):
    x = numbers(2, 3, 4, 5)
    (y,) = run_layer(tmp_path, "Upsample", {"x": x}, "upsample_param { scale: 3 }")
    np.testing.assert_array_equal(y, x.repeat(3, axis=2).repeat(3, axis=3))


def test_upsample_by_two_scales(tmp_path):
    x = numbers(1, 2, 3, 3)
    (y,) = run_layer(tmp_path, "Upsample", {"x": x}, "upsample_param { scale_h: 2 scale_w: 3 }")
    np.testing.assert_array_equal(y, x.repeat(2, axis=2).repeat(3, axis=3))


def test_upsample_to_a_size_takes_the_pixel_below(tmp_path):
    x = numbers(1, 2, 4, 5)
    (y,) = run_layer(tmp_path, "Upsample", {"x": x}, "upsample_param { upsample_h: 7 upsample_w: 12 }")
    rows, columns = [i * 4 // 7 for i in range(7)], [j * 5 // 12 for j in range(12)]
    np.testing.assert_array_equal(y, x[:, :, rows][:, :, :, columns])


def test_upsample_of_ascend_multiplies_by_scale(tmp_path):
    x = numbers(1, 2, 3, 3)
    (y,) = run_layer(tmp_path, "Upsample", {"x": x}, "upsample_param { scale: 0.5 stride: 2 }")
    np.testing.assert_array_equal(y, x.repeat(2, axis=2).repeat(2, axis=3) * np.float32(0.5))


@pytest.mark.parametrize(
    ("rest", "size"),
    [
        ("upsample_param { scale: 2 }", (6, 10)),
        ("", (6, 10)),
        ("upsample_param { scale: 2 pad_out_h: true }", (5, 10)),
        ("upsample_param { upsample_h: 7 upsample_w: 11 }", (7, 11)),
    ],
)
def test_unpooling_by_mask(rest, size, tmp_path):
    x = numbers(2, 3, 3, 5)
    random = np.random.default_rng(5)
    mask = np.stack([random.permutation(size[0] * size[1])[:15] for _ in range(6)]).reshape(2, 3, 3, 5)
    (y,) = run_layer(tmp_path, "Upsample", {"x": x, "mask": mask}, rest)
    expected = np.zeros((2, 3, size[0] * size[1]), np.float32)
    for n, c in np.ndindex(2, 3):
        expected[n, c, mask[n, c].ravel()] = x[n, c].ravel()
    np.testing.assert_array_equal(y, expected.reshape(2, 3, *size))


def test_max_unpool(tmp_path):
    x, mask = numbers(1, 1, 2, 2), np.array([[[[0, 5], [9, 11]]]])
    (y,) = run_layer(tmp_path, "MaxUnpool", {"x": x, "mask": mask}, "max_unpool_param { dst_h: 3 dst_w: 4 }")
    expected = np.zeros(12, np.float32)
    expected[[0, 5, 9, 11]] = x.ravel()
    np.testing.assert_array_equal(y.ravel(), expected)


@pytest.mark.parametrize(
    ("rest", "crop", "size"),
    [
        ("zoom_factor: 3", (0, 0), (13, 19)),
        ("shrink_factor: 2", (0, 0), (3, 4)),
        ("height: 9 width: 4", (0, 0), (9, 4)),
        ("height: 1 width: 1", (0, 0), (1, 1)),
        ("shrink_factor: 2 zoom_factor: 2", (0, 0), (5, 7)),
        ("height: 8 width: 8 pad_beg: -1 pad_end: -2", (1, 2), (8, 8)),
        ("zoom_factor: 2 pad_end: -1", (0, 1), (7, 11)),
    ],
)
def test_interp_is_bilinear_with_corners_aligned(rest, crop, size, tmp_path):
    x = numbers(2, 3, 5, 7)
    (y,) = run_layer(tmp_path, "Interp", {"x": x}, f"interp_param {{ {rest} }}")
    seen = x[:, :, crop[0] : 5 - crop[1], crop[0] : 7 - crop[1]].astype(np.float64)
    expected = np.empty((2, 3, *size))
    steps = [(a - 1) / (b - 1) if b > 1 else 0.0 for a, b in zip(seen.shape[2:], size, strict=True)]
    for i, j in np.ndindex(*size):
        v, u = i * steps[0], j * steps[1]
        top, left = int(v + 1e-9), int(u + 1e-9)
        bottom, right = min(top + 1, seen.shape[2] - 1), min(left + 1, seen.shape[3] - 1)
        upper = seen[:, :, top, left] * (1 - u + left) + seen[:, :, top, right] * (u - left)
        lower = seen[:, :, bottom, left] * (1 - u + left) + seen[:, :, bottom, right] * (u - left)
        expected[:, :, i, j] = upper * (1 - v + top) + lower * (v - top)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_shuffle_channel(tmp_path):
    x = numbers(2, 6, 3, 2)
    (y,) = run_layer(tmp_path, "ShuffleChannel", {"x": x}, "shuffle_channel_param { group: 3 }")
    np.testing.assert_array_equal(y, x[:, [0, 2, 4, 1, 3, 5]])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1)])
def test_axpy(shape, tmp_path):
    a, x, y = numbers(*shape), numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
    (out,) = run_layer(tmp_path, "Axpy", {"a": a, "x": x, "y0": y})
    np.testing.assert_array_equal(out, a.reshape(2, 3, 1, 1) * x + y)


def test_crop_center(tmp_path):
    x = numbers(1, 2, 7, 9)
    rest = "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 3 }"
    (y,) = run_layer(tmp_path, "CropCenter", {"x": x}, rest)
    np.testing.assert_array_equal(y, x[:, :, 2:-2, 3:-3])


def test_mat_mul(tmp_path):
    a, b = numbers(2, 3, 4, 5), numbers(2, 3, 5, 6)
    (y,) = run_layer(tmp_path, "MatMul", {"a": a, "b": b})
    np.testing.assert_allclose(y, a @ b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backward", [False, True])
def test_reorg_by_darknets_loop(backward, tmp_path):
    stride, count, channels, height, width = 2, 2, 8, 4, 6
    x = numbers(count, channels, height, width)
    (y,) = run_layer(
        tmp_path, "Reorg", {"x": x}, f"reorg_param {{ stride: {stride} reverse: {str(backward).lower()} }}"
    )
    fewer = channels // stride**2
    source, target = x.ravel(), np.zeros(x.size, np.float32)
    for b, k, j, i in np.ndindex(count, channels, height, width):
        one = i + width * (j + height * (k + channels * b))
        offset = k // fewer
        across, down = i * stride + offset % stride, j * stride + offset // stride
        other = across + width * stride * (down + height * stride * (k % fewer + fewer * b))
        if backward:
            target[other] = source[one]
        else:
            target[one] = source[other]
    shape = (fewer, height * stride, width * stride) if backward else (channels * 4, height // 2, width // 2)
    np.testing.assert_array_equal(y, target.reshape(count, *shape))


def test_pass_through_is_reorg(tmp_path):
    x = numbers(1, 4, 4, 4)
    rest = "pass_through_param { num_output: 16 block_height: 2 block_width: 2 }"
    (y,) = run_layer(tmp_path, "PassThrough", {"x": x}, rest)
    (reorg,) = run_layer(tmp_path, "Reorg", {"x": x}, "reorg_param { stride: 2 }")
    np.testing.assert_array_equal(y, reorg)


def test_pixel_shuffle(tmp_path):
    x = numbers(1, 8, 3, 2)
    (y,) = run_layer(tmp_path, "PixelShuffle", {"x": x}, "pixelshuffle_param { upscale_factor: 2 }")
    expected = np.empty((1, 2, 6, 4), np.float32)
    for c, i, j in np.ndindex(2, 6, 4):
        expected[0, c, i, j] = x[0, c * 4 + (i % 2) * 2 + j % 2, i // 2, j // 2]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("kind", "mode"), [("CONSTANT", "constant"), ("REPLICATE", "edge"), ("REFLECT", "reflect")])
def test_pad(kind, mode, tmp_path):
    x = numbers(1, 2, 4, 5)
    rest = f"pad_param {{ pad_type: {kind} pad_u: 1 pad_d: 2 pad_l: 3 pad_r: 0 pad_value: 0.5 }}"
    (y,) = run_layer(tmp_path, "Pad", {"x": x}, rest)
    more = {"constant_values": np.float32(0.5)} if mode == "constant" else {}
    np.testing.assert_array_equal(y, np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 0)), mode, **more))


def test_unsqueeze(tmp_path):
    (y,) = run_layer(tmp_path, "Unsqueeze", {"x": numbers(2, 3)}, "unsqueeze_param { dim: 1 }")
    assert y.shape == (2, 1, 3)


def test_bn_of_four_blobs(tmp_path):
    x = numbers(2, 3, 4, 4)
    slope, bias, mean = (numbers(1, 3, 1, 1, seed=i) for i in range(3))
    variance = np.abs(numbers(1, 3, 1, 1, seed=3))
    (y,) = run_layer(tmp_path, "BN", {"x": x}, "bn_param { eps: 0.001 }", blobs=[slope, bias, mean, variance])
    np.testing.assert_allclose(y, slope * (x - mean) / np.sqrt(variance + 0.001) + bias, rtol=1e-5, atol=1e-6)


def test_bn_of_two_blobs(tmp_path):
    x, scale, shift = numbers(2, 3, 4, 4), numbers(1, 3, 1, 1), numbers(1, 3, 1, 1, seed=1)
    (plain,) = run_layer(tmp_path, "BN", {"x": x}, "bn_param { bn_mode: INFERENCE }", blobs=[scale, shift])
    np.testing.assert_array_equal(plain, x * scale + shift)
    (learned,) = run_layer(tmp_path, "BN", {"x": x}, blobs=[scale, shift])
    mean, variance = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose(learned, (x - mean) / np.sqrt(variance + 1e-9) * scale + shift, rtol=1e-4, atol=1e-5)


def test_dropout_of_fast_rcnn_scales_at_test(tmp_path):
    x = numbers(2, 3)
    (y,) = run_layer(tmp_path, "Dropout", {"x": x}, "dropout_param { dropout_ratio: 0.25 scale_train: false }")
    np.testing.assert_array_equal(y, x * np.float32(0.75))


def test_pooling_in_floor_mode(tmp_path):
    x = numbers(1, 2, 6, 6)
    for spelling in ("round_mode: FLOOR", "ceil_mode: false"):
        (y,) = run_layer(tmp_path, "Pooling", {"x": x}, f"pooling_param {{ kernel_size: 3 stride: 2 {spelling} }}")
        assert y.shape == (1, 2, 2, 2)


def test_stochastic_pooling_at_test(tmp_path):
    x = np.maximum(numbers(1, 2, 5, 4), 0)
    x[0, 0, :2, :2] = 0
    (y,) = run_layer(tmp_path, "Pooling", {"x": x}, "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }")
    expected = np.zeros((1, 2, 3, 2))
    for c, i, j in np.ndindex(2, 3, 2):
        window = x[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].astype(np.float64)
        expected[0, c, i, j] = (window**2).sum() / window.sum() if window.sum() > 0 else 0
    np.testing.assert_allclose(y, expected, rtol=1e-6)


def _round(value: float) -> int:
    return int(np.sign(value) * np.floor(abs(value) + 0.5))


def test_roi_pooling_by_the_forks_loop(tmp_path):
    x = numbers(2, 3, 13, 17)
    random = np.random.default_rng(3)
    corners = random.uniform(-10, 280, (24, 2))
    regions = np.column_stack([random.integers(0, 2, 24), corners, corners + random.uniform(0, 150, (24, 2))])
    regions = regions.astype(np.float32)
    (y,) = run_layer(
        tmp_path,
        "ROIPooling",
        {"x": x, "rois": regions},
        "roi_pooling_param { pooled_h: 4 pooled_w: 5 spatial_scale: 0.0625 }",
    )
    expected = np.zeros((24, 3, 4, 5), np.float32)
    for n, region in enumerate(regions):
        left, top, right, bottom = (_round(value * 0.0625) for value in region[1:])
        height, width = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for i, j in np.ndindex(4, 5):
            rows = np.clip([np.floor(i * height / 4) + top, np.ceil((i + 1) * height / 4) + top], 0, 13).astype(int)
            across = np.clip([np.floor(j * width / 5) + left, np.ceil((j + 1) * width / 5) + left], 0, 17).astype(int)
            window = x[int(region[0]), :, rows[0] : rows[1], across[0] : across[1]]
            if window.size:
                expected[n, :, i, j] = window.max(axis=(1, 2))
    np.testing.assert_array_equal(y, expected)


def test_psroi_pooling_by_the_forks_loop(tmp_path):
    outputs, groups = 2, 3
    x = numbers(2, outputs * groups**2, 12, 14)
    random = np.random.default_rng(4)
    corners = random.uniform(-10, 230, (20, 2))
    regions = np.column_stack([random.integers(0, 2, 20), corners, corners + random.uniform(-4, 120, (20, 2))])
    regions = regions.astype(np.float32)
    (y,) = run_layer(
        tmp_path,
        "PSROIPooling",
        {"x": x, "rois": regions},
        "psroi_pooling_param { spatial_scale: 0.0625 output_dim: 2 group_size: 3 }",
    )
    expected = np.zeros((20, outputs, groups, groups))
    for n, region in enumerate(regions):
        start = [_round(value) * 0.0625 for value in region[1:3]]
        end = [(_round(value) + 1) * 0.0625 for value in region[3:]]
        width, height = (max(b - a, 0.1) / groups for a, b in zip(start, end, strict=True))
        for c, i, j in np.ndindex(outputs, groups, groups):
            rows = np.clip([np.floor(i * height + start[1]), np.ceil((i + 1) * height + start[1])], 0, 12).astype(int)
            across = np.clip([np.floor(j * width + start[0]), np.ceil((j + 1) * width + start[0])], 0, 14).astype(int)
            window = x[int(region[0]), (c * groups + i) * groups + j, rows[0] : rows[1], across[0] : across[1]]
            expected[n, c, i, j] = window.astype(np.float64).mean() if window.size else 0
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)

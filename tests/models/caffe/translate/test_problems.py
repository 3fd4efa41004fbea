"""What cannot be translated is refused: every problem of a network together, each with place and remedy."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError

from .single import build, inputs_text, layer_text, numbers, run_layer

IMAGE = inputs_text({"x": (1, 3, 8, 8)})


def problems(folder, text, blobs=None, shapes=None, **options):
    with pytest.raises(ModelError) as caught:
        build(folder, text, blobs, shapes, **options)
    return caught.value.problems


def single_problem(folder, text, blobs=None, **options):
    found = problems(folder, text, blobs, **options)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_all_problems_come_together_in_the_order_of_the_file(tmp_path):
    text = IMAGE
    text += layer_text("Convolutoin", "x", "convolution_param { num_output: 2 kernel_size: 3 }", tops="a", name="one")
    text += layer_text("InnerProduct", "x", "inner_product_param { num_output: 2 }", tops="b", name="two")
    text += layer_text("Pooling", "x", "pooling_param { kernel_size: 3 pad: 3 }", tops="c", name="three")
    text += layer_text("BatchNorm", "a", tops="d", name="four")
    text += layer_text("Warp", "d", tops="e", name="five")
    found = problems(tmp_path, text, {"unrelated": [], "two": [], "one": [numbers(1)]})
    assert [problem.layer for problem in found] == ["one", "two", "two", "three", "four", "five"]
    assert [problem.line for problem in found] == [2, 3, 3, 4, 5, 6]
    assert all(problem.remedy and problem.file for problem in found)
    assert "did you mean 'Convolution'" in found[0].what
    assert "no weight for it" in found[1].what
    assert "pad 3x3 is not smaller" in found[3].what
    assert "no weights for it" in found[4].what
    assert "'Warp' is not known" in found[5].what


def test_missing_weights_can_be_allowed(tmp_path):
    text = IMAGE + layer_text("InnerProduct", "x", "inner_product_param { num_output: 2 }", name="two")
    text += layer_text("BatchNorm", "x", tops="z", name="known")
    stored = {"known": [numbers(3), np.abs(numbers(3)), np.ones(1, np.float32)]}
    assert "--allow-missing" in (problems(tmp_path, text, stored)[0].remedy or "")
    model = build(tmp_path, text, stored, allow_missing=True)
    assert any("missing and was filled: constant 0" in note for note in model.layers[1].notes)


@pytest.mark.parametrize(
    ("filler", "check"),
    [
        ('type: "constant" value: 3', lambda w: (w == 3).all()),
        ('type: "bilinear"', lambda w: w[0, 0, 1, 1] == np.float32(0.75) ** 2 and (w[0] == w[1]).all()),
        ('type: "xavier"', lambda w: np.abs(w).max() <= np.sqrt(3 / 16) + 1e-6 and w.std() > 0),
        ('type: "gaussian" mean: 5 std: 0.1', lambda w: abs(w.mean() - 5) < 0.1),
        ('type: "uniform" min: 2 max: 3', lambda w: (w >= 2).all() and (w <= 3).all()),
        ('type: "msra" variance_norm: AVERAGE', lambda w: w.std() > 0),
        ('type: "positive_unitball"', lambda w: np.allclose(w.sum(axis=(1, 2, 3)), 1)),
    ],
)
def test_fillers_stand_in_for_weights_that_are_missing(filler, check, tmp_path):
    rest = (
        f"convolution_param {{ num_output: 2 group: 2 kernel_size: 4 bias_term: false weight_filler {{ {filler} }} }}"
    )
    text = inputs_text({"x": (1, 2, 8, 8)}) + layer_text("Deconvolution", "x", rest)
    first, second = build(tmp_path, text), build(tmp_path, text)
    assert first.graph == second.graph
    (tensor,) = first.graph.graph.initializer
    assert check(np.frombuffer(tensor.raw_data, np.float32).reshape(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("kind", "rest", "blobs", "what"),
    [
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 9 bias_term: false }", [(2, 3, 9, 9)], "spans"),
        ("Convolution", "convolution_param { num_output: 2 }", [(2, 3, 1, 1)], "kernel_size has 0 values"),
        (
            "Convolution",
            "convolution_param { num_output: 2 kernel_h: 3 }",
            [(2, 3, 3, 1)],
            "kernel_size must be positive",
        ),
        (
            "Convolution",
            "convolution_param { num_output: 3 group: 2 kernel_size: 1 }",
            [(3, 1, 1, 1)],
            "does not divide",
        ),
        ("Convolution", "convolution_param { kernel_size: 1 }", [(3, 1, 1, 1)], "num_output is missing"),
        ("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", [(2, 3, 1, 1)], "takes 2 weight blob(s)"),
        (
            "Convolution",
            "convolution_param { num_output: 2 kernel_size: 3 }",
            [(2, 4, 3, 3), (2,)],
            "2x3x3x3 is needed",
        ),
        (
            "Deconvolution",
            "convolution_param { num_output: 2 kernel_size: 1 pad: 9 }",
            [(3, 2, 1, 1), (2,)],
            "impossible",
        ),
        ("Pooling", "pooling_param { kernel_size: 12 }", None, "larger than the padded input"),
        ("Pooling", "pooling_param { stride: 2 }", None, "must be positive"),
        ("Pooling", "pooling_param { global_pooling: true kernel_size: 2 }", None, "forbids a kernel size"),
        ("SPP", "spp_param { pyramid_height: 5 }", None, "not smaller"),
        ("Reshape", "reshape_param { shape { dim: 5 } }", None, "the counts differ"),
        ("Reshape", "reshape_param { shape { dim: -1 dim: 5 } }", None, "cannot be reshaped"),
        ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", None, "no shape"),
        ("Reshape", "reshape_param { axis: 7 shape { dim: -1 } }", None, "out of range"),
        ("Flatten", "flatten_param { axis: 3 end_axis: 1 }", None, "comes before"),
        ("Softmax", "softmax_param { axis: 4 }", None, "out of range"),
        ("Slice", "slice_param { slice_point: 1 slice_point: 2 }", None, "does not cut"),
        ("Permute", "permute_param { order: 1 order: 1 }", None, "once each"),
        ("LRN", "lrn_param { local_size: 4 }", None, "odd"),
        ("ArgMax", "argmax_param { axis: 1 top_k: 4 }", None, "top_k 4 of 3"),
        ("Tile", "tile_param { tiles: 0 }", None, "tiles is 0"),
        ("Tile", "tile_param { tiles: 2000000000 }", None, "more than 2147483647 elements"),
        ("Upsample", "upsample_param { scale: 1.5 }", None, "no positive whole number"),
        ("Upsample", "upsample_param { upsample_h: 4000000000 upsample_w: 4000000000 }", None, "more than"),
        ("Interp", "interp_param { pad_beg: 1 height: 4 width: 4 }", None, "only crops"),
        ("Interp", "", None, "gives no size"),
        ("Reorg", "reorg_param { stride: 2 }", None, "does not divide into blocks"),
        ("ShuffleChannel", "shuffle_channel_param { group: 2 }", None, "does not divide the channels"),
        ("Exp", "exp_param { base: -2 }", None, "base is -2"),
        ("Scale", "scale_param { axis: 2 num_axes: 5 }", None, "goes beyond"),
        ("Scale", "", [(4,)], "3 is needed"),
        ("PReLU", "", [(4,)], "3 is needed"),
        ("Eltwise", "", None, "takes at least 2 bottom"),
        ("Im2col", "convolution_param { kernel_size: 5000 pad: 5000 }", None, "too large"),
        ("PriorBox", "prior_box_param { min_size: 4 }", None, "takes 2 bottom"),
        ("Dropout", "phase: TRAIN", None, "at random"),
        ("FQConvolution", "", None, "fixed-point fine-tuning fork"),
        ("Yolov3DetectionOutput", "", None, "forks disagree"),
    ],
)
def test_single_faults(kind, rest, blobs, what, tmp_path):
    text = IMAGE + layer_text(kind, "x", rest, name="layer")
    stored = None if blobs is None else {"layer": [numbers(*shape) for shape in blobs]}
    problem = single_problem(tmp_path, text, stored)
    assert what in problem.what
    assert problem.layer == "layer"
    assert problem.line == 2


def test_too_many_tops_are_refused(tmp_path):
    text = IMAGE + layer_text("ReLU", "x", tops="a b")
    assert "takes 1 top" in single_problem(tmp_path, text).what


def test_fields_that_nobody_knows_are_refused_or_noted(tmp_path):
    text = IMAGE + layer_text("Pooling", "x", "pooling_param { kernel_size: 2 wobble: 3 }")
    problem = single_problem(tmp_path, text)
    assert "'wobble'" in problem.what
    assert problem.line == 2
    assert problem.column is not None
    model = build(tmp_path, text, allow_unknown_fields=True)
    assert "unknown field pooling_param.wobble ignored" in model.layers[-1].notes


def test_inputs_need_shapes(tmp_path):
    text = 'layer { name: "in" type: "Input" top: "x" top: "y" }\n' + layer_text("ReLU", "x", tops="z")
    found = problems(tmp_path, text)
    assert [problem.remedy for problem in found] == [
        "give it by --input-shape x:1,3,224,224",
        "give it by --input-shape y:1,3,224,224",
    ]
    model = build(tmp_path, text, shapes={"x": (2, 3), "y": (4,)})
    assert [one.shape for one in model.inputs] == [(2, 3), (4,)]


def test_input_names_are_checked(tmp_path):
    found = problems(tmp_path, IMAGE + layer_text("ReLU", "x"), shapes={"X1": (1, 2)})
    assert "no input is called 'X1'" in found[0].what


@pytest.mark.parametrize("shape", [(0, 3), (1, -2), (2**20, 2**20)])
def test_impossible_input_shapes_are_refused(shape, tmp_path):
    assert problems(tmp_path, IMAGE + layer_text("ReLU", "x"), shapes={"x": shape})


def test_legacy_headers_fit_and_are_noted(tmp_path):
    x = numbers(2, 3)
    weight, bias = numbers(1, 1, 4, 3), numbers(1, 1, 1, 4)
    (y,) = run_layer(tmp_path, "InnerProduct", {"x": x}, "inner_product_param { num_output: 4 }", blobs=[weight, bias])
    np.testing.assert_allclose(y, x @ weight[0, 0].T + bias[0, 0, 0], rtol=1e-5, atol=1e-6)


def test_custom_layers_become_inputs(tmp_path):
    text = inputs_text({"x": (1, 3, 4, 4)})
    text += layer_text("Proposal", "x", tops="rois", name="proposal")
    text += layer_text("Custom", "x", "custom_param { shape { dim: 1 dim: 3 dim: 4 dim: 4 } }", tops="c", name="own")
    text += layer_text("ROIPooling", "c rois", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", tops="p", name="pool")
    assert "rois" in problems(tmp_path, text)[0].what
    model = build(tmp_path, text, shapes={"rois": (7, 5)})
    assert [(one.name, one.shape) for one in model.inputs] == [
        ("x", (1, 3, 4, 4)),
        ("rois", (7, 5)),
        ("c", (1, 3, 4, 4)),
    ]
    assert not model.batchable

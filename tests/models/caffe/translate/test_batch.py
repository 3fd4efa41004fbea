"""A model claims to be batchable exactly when samples stay apart; then a batch equals its samples one by one."""

from __future__ import annotations

import numpy as np
import pytest

from gfpq_inspect.models.run import run_model

from .single import build, inputs_text, layer_text, numbers

CONV = "convolution_param { num_output: 2 kernel_size: 3 }"


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("ReLU", ""),
        ("Convolution", CONV),
        ("Pooling", "pooling_param { kernel_size: 2 stride: 2 pool: AVE }"),
        ("Flatten", ""),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }"),
        ("Reshape", "reshape_param { axis: 1 shape { dim: -1 } }"),
        ("Reshape", "reshape_param { shape { dim: -1 dim: 4 dim: 36 } }"),
        ("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"),
        ("InnerProduct", "inner_product_param { num_output: 3 }"),
        ("InnerProduct", "inner_product_param { num_output: 3 axis: 2 }"),
        ("Softmax", ""),
        ("MVN", ""),
        ("LRN", ""),
        ("ArgMax", ""),
        ("ArgMax", "argmax_param { axis: 1 top_k: 2 }"),
        ("Power", "power_param { scale: 0 shift: 2 }"),
        ("ShuffleChannel", "shuffle_channel_param { group: 2 }"),
        ("Upsample", "upsample_param { scale: 2 }"),
        ("Reduction", "reduction_param { axis: 1 }"),
        ("SPP", "spp_param { pyramid_height: 2 }"),
        ("Im2col", "convolution_param { kernel_size: 2 }"),
        ("Reorg", "reorg_param { stride: 2 }"),
        ("CReLU", ""),
        ("Slice", "slice_param { axis: 1 }"),
    ],
)
def test_samples_stay_apart(kind, rest, tmp_path):
    shape = (4, 6, 6)
    text = layer_text(kind, "x", rest)
    alone = build(tmp_path, inputs_text({"x": (1, *shape)}) + text)
    together = build(tmp_path, inputs_text({"x": (1, *shape)}) + text, shapes={"x": (3, *shape)})
    assert alone.batchable
    assert together.batchable
    batch = numbers(3, *shape)
    made = run_model(together, {"x": batch})["layer"]
    single = [run_model(alone, {"x": batch[i : i + 1]})["layer"] for i in range(3)]
    np.testing.assert_allclose(made, np.concatenate(single), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("Reshape", "reshape_param { shape { dim: 1 dim: -1 } }"),
        ("Reshape", "reshape_param { shape { dim: 1 dim: 4 dim: 36 } }"),
        ("Reshape", "reshape_param { shape { dim: -1 } }"),
        ("Flatten", "flatten_param { axis: 0 }"),
        ("Permute", "permute_param { order: 1 order: 0 }"),
        ("Softmax", "softmax_param { axis: 0 }"),
        ("Reduction", ""),
        ("ArgMax", "argmax_param { axis: 0 }"),
        ("BatchNorm", "batch_norm_param { use_global_stats: false }"),
        ("Tile", "tile_param { axis: 0 tiles: 2 }"),
        ("Reverse", "reverse_param { axis: 0 }"),
        ("Scale", "scale_param { axis: 0 }"),
        ("InnerProduct", "inner_product_param { num_output: 2 axis: 0 }"),
    ],
)
def test_samples_mix_or_the_batch_is_fixed(kind, rest, tmp_path):
    assert not build(tmp_path, inputs_text({"x": (1, 4, 6, 6)}) + layer_text(kind, "x", rest)).batchable


def test_two_inputs_of_different_batches_are_not_batchable(tmp_path):
    text = (
        inputs_text({"x": (2, 3), "z": (1, 3)}) + layer_text("ReLU", "x") + layer_text("ReLU", "z", tops="w", name="b")
    )
    assert not build(tmp_path, text).batchable


def test_a_constant_of_one_sample_fixes_the_batch(tmp_path):
    dummy = "dummy_data_param { shape { dim: 1 dim: 3 } data_filler { value: 2 } }"
    text = inputs_text({"x": (1, 3)}) + layer_text("DummyData", "", dummy, tops="c", name="c")
    assert not build(tmp_path, text + layer_text("Eltwise", "x c")).batchable


def test_constants_do_not_count(tmp_path):
    """Boxes of an SSD have axis 0 of size 1 whatever the batch is."""
    text = inputs_text({"x": (1, 3, 8, 8)})
    text += layer_text("PriorBox", "x x", "prior_box_param { min_size: 3 }", tops="p", name="p")
    text += layer_text("Concat", "p p", "concat_param { axis: 2 }", tops="pp", name="pp")
    text += layer_text("ReLU", "x", name="r")
    model = build(tmp_path, text)
    assert model.batchable
    assert [layer.kind.value for layer in model.layers] == ["input", "constant", "constant", "compute"]


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("InnerProduct", "inner_product_param { num_output: 3 }"),
        ("InnerProduct", "inner_product_param { num_output: 3 axis: 2 }"),
        ("Convolution", CONV),
        ("Flatten", ""),
        ("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
        ("ArgMax", ""),
        ("Scale", ""),
        ("MVN", ""),
    ],
)
def test_layers_after_a_filter_take_what_is_left(kind, rest, tmp_path):
    """How many items Filter leaves is known at run time only; layers after it must not have the count written in."""
    after = layer_text(kind, "kept", rest, name="after")
    text = inputs_text({"x": (5, 2, 4, 4), "s": (5,)}) + layer_text("Filter", "x s", tops="kept", name="filter") + after
    x, selector = numbers(5, 2, 4, 4), np.array([1, 0, 0, 1, 1], np.float32)
    made = run_model(build(tmp_path, text), {"x": x, "s": selector})["after"]
    direct = build(tmp_path, inputs_text({"kept": (3, 2, 4, 4)}) + after)
    np.testing.assert_allclose(made, run_model(direct, {"kept": x[selector > 0]})["after"], rtol=1e-6, atol=1e-6)


def test_layers_without_tops_vanish(tmp_path):
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" }\n'
    text = inputs_text({"x": (2, 3), "t": (2,)}) + layer_text("ReLU", "x") + loss
    assert [layer.key for layer in build(tmp_path, text, keep_losses=True).layers] == ["input", "layer"]

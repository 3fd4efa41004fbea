"""From a training definition to what can be computed: rules, inputs, losses, foreign layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.models.caffe.definition import NetState
from gfpq_inspect.models.caffe.network import CaffeNetwork, CaffeOptions, read_network
from tests.models.caffe.text_nets import INPUT, layer, messages, read


def names(network: CaffeNetwork) -> list[str]:
    return [one.key for one in network.net.layers]


@pytest.mark.parametrize(
    ("rules", "state", "stays"),
    [
        ("", NetState(), True),
        ("include { phase: TEST }", NetState(), True),
        ("include { phase: TRAIN }", NetState(), False),
        ("include { phase: TRAIN }", NetState("TRAIN"), True),
        ("exclude { phase: TEST }", NetState(), False),
        ("exclude { phase: TRAIN } exclude { stage: 'x' }", NetState(), True),
        ("exclude { phase: TRAIN } exclude { stage: 'x' }", NetState(stages=("x",)), False),
        ("include { phase: TRAIN } include { stage: 'x' }", NetState(stages=("x",)), True),
        ("include { stage: 'x' stage: 'y' }", NetState(stages=("x",)), False),
        ("include { stage: 'x' stage: 'y' }", NetState(stages=("y", "x")), True),
        ("include { not_stage: 'x' }", NetState(), True),
        ("include { not_stage: 'x' }", NetState(stages=("x",)), False),
        ("include { min_level: 1 }", NetState(), False),
        ("include { min_level: 1 max_level: 2 }", NetState(level=2), True),
        ("include { min_level: 1 max_level: 2 }", NetState(level=3), False),
        ("include { }", NetState(), True),
        ("exclude { }", NetState(), False),
        ("phase: TRAIN", NetState(), True),
        ("include { stage: 'own' }", NetState(), True),
    ],
)
def test_rules(tmp_path: Path, rules: str, state: NetState, stays: bool) -> None:
    text = INPUT + f'layer {{ name: "r" type: "ReLU" bottom: "data" top: "y" {rules} }}'
    text += 'state { phase: TRAIN level: 7 stage: "own" }'
    network = read(tmp_path, text, options=CaffeOptions(state=state))
    assert ("r" in names(network)) is stays
    if rules.startswith("phase"):
        assert layer(network, "r").phase == "TRAIN"


def test_the_recorded_training_net(fixtures: Path) -> None:
    folder = fixtures / "caffe/train_val"
    network = read_network(folder / "net.caffemodel", folder / "train_val.prototxt")
    assert not network.problems
    assert names(network) == [
        "data", "conv1", "bn1", "scale1", "relu1", "pool1", "drop1", "ip2", "prob2", "prob",
    ]  # fmt: skip
    (only,) = network.net.inputs
    assert (only.name, only.shape) == ("data", (4, 3, 12, 12))
    assert only.transform is not None
    assert only.transform.numbers("mean_value") == [104.0, 117.0, 123.0]
    assert only.transform.number("scale") == np.float32(0.017)
    kept = read_network(
        folder / "net.caffemodel", folder / "train_val.prototxt", options=CaffeOptions(keep_losses=True)
    )
    assert [one.name for one in kept.net.inputs] == ["data", "label"]
    assert kept.net.inputs[1].shape == (4,)
    assert {"loss", "acc1", "acc2", "euclid"} <= set(names(kept))
    staged = read_network(
        folder / "net.caffemodel",
        folder / "train_val.prototxt",
        options=CaffeOptions(state=NetState(stages=("keep", "deploy"))),
    )
    assert {"not_in_val", "ip_deploy_only"} <= set(names(staged))


@pytest.mark.parametrize(
    ("data", "shape", "note"),
    [
        ('type: "Data" data_param { batch_size: 4 } transform_param { crop_size: 6 mean_value: 1 mean_value: 2 }',
         (4, 2, 6, 6), ""),
        ('type: "Data" data_param { batch_size: 4 }', (4, 5, -1, -1), "says nothing of its size"),
        ('type: "MemoryData" memory_data_param { batch_size: 2 channels: 5 height: 7 width: 9 }', (2, 5, 7, 9), ""),
        ('type: "ImageData" image_data_param { batch_size: 2 new_height: 7 new_width: 9 }', (2, 5, 7, 9), ""),
        ('type: "WindowData" window_data_param { batch_size: 2 crop_size: 9 }', (2, 5, 9, 9), ""),
        ('type: "HDF5Data" hdf5_data_param { batch_size: 2 }', None, "says nothing"),
        ('type: "AnnotatedData" data_param { batch_size: 8 } transform_param { resize_param { height: 30 width: 40 } }',
         (8, 5, 30, 40), ""),
        ('type: "DenseImageData" dense_image_data_param { batch_size: 4 }', None, "by DenseImageData layer 'd'"),
        ('type: "Python" python_param { module: "m" layer: "L" }', None, "Python (m.L) layer 'd'"),
    ],
)  # fmt: skip
def test_data_layers_become_inputs(tmp_path: Path, data: str, shape: tuple[int, ...] | None, note: str) -> None:
    text = f'layer {{ name: "d" {data} top: "x" top: "label" }}\n'
    text += 'layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_h: 1'
    text += " kernel_w: 1 } }"
    network = read(tmp_path, text, {"c": [np.zeros((2, 5, 1, 1), np.float32), np.zeros(2, np.float32)]})
    (only,) = network.net.inputs
    assert (only.name, only.value, only.shape) == ("x", "d", shape)
    assert note in only.note
    assert layer(network, "d").is_input
    assert layer(network, "d").tops == ("d",)


def test_what_served_only_losses_goes_too_but_predictions_stay(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "Data" top: "label" top: "x" data_param { batch_size: 2 } transform_param { crop_size: 4 } }
    layer { name: "hot" type: "Power" bottom: "label" top: "hot" }
    layer { name: "flat" type: "Flatten" bottom: "x" top: "flat" }
    layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: "s" type: "Sigmoid" bottom: "y" top: "s" }
    layer { name: "l1" type: "EuclideanLoss" bottom: "s" bottom: "hot" top: "l1" }
    layer { name: "l2" type: "EuclideanLoss" bottom: "flat" bottom: "s" top: "l2" }
    layer { name: "scaled" type: "Power" bottom: "l2" top: "scaled" }
    layer { name: "quiet" type: "ReLU" bottom: "y" top: "quiet" }
    layer { name: "silence" type: "Silence" bottom: "quiet" }
    """
    network = read(tmp_path, text)
    assert names(network) == ["d", "c", "s", "quiet"]
    assert layer(network, "d").tops == ("d:1",)
    assert layer(network, "c").bottoms == ("d:1",)
    assert network.net.outputs == ("quiet", "s")
    assert any("left out: l1 (EuclideanLoss)" in note and "and 2 layers" in note for note in network.net.notes)


@pytest.mark.parametrize("kind", ["Proposal", "Custom", "Python"])
def test_foreign_layers_cut_the_network(tmp_path: Path, kind: str) -> None:
    extra = "custom_param { shape { dim: 1 dim: 5 } shape { dim: 7 } }" if kind == "Custom" else ""
    text = INPUT + 'layer { name: "a" type: "ReLU" bottom: "data" top: "a" }\n'
    text += f'layer {{ name: "p" type: "{kind}" bottom: "a" top: "rois" top: "scores" {extra} }}\n'
    text += 'layer { name: "b" type: "ReLU" bottom: "scores" top: "b" }\n'
    network = read(tmp_path, text)
    assert [one.name for one in network.net.inputs] == ["data", "scores"]
    assert network.net.inputs[1].shape == ((7,) if kind == "Custom" else None)
    assert layer(network, "p").is_input
    assert layer(network, "p").bottoms == ("a",)
    assert "a" in network.net.outputs
    assert layer(network, "b").bottoms == ("p:1",)


def test_a_foreign_layer_that_nobody_reads_is_left_out(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "p" type: "Python" bottom: "data" top: "loss" loss_weight: 1 }'
    text += 'layer { name: "a" type: "ReLU" bottom: "data" top: "a" }'
    assert names(read(tmp_path, text)) == ["data", "a"]


def test_layers_of_unknown_type_are_told_not_cut(tmp_path: Path) -> None:
    text = INPUT + 'layer { name: "u" type: "Unheard" bottom: "data" top: "u" }'
    text += 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "u" bottom: "data" top: "l" }'
    network = read(tmp_path, text)
    with pytest.raises(Exception, match="layer type 'Unheard' is not known"):
        network.build()


@pytest.mark.parametrize(
    ("shape", "declared", "problem"),
    [
        ("shape { dim: 1 dim: 3 dim: 0 dim: -1 }", (1, 3, -1, -1), ""),
        ("", (), ""),
        ("shape { }", (), ""),
        ("shape { dim: 100000 dim: 100000 }", None, "larger than any Caffe blob"),
        ("shape { dim: 1 } shape { dim: 2 }", (1,), ""),
    ],
)
def test_input_shapes(tmp_path: Path, shape: str, declared: tuple[int, ...] | None, problem: str) -> None:
    text = f'layer {{ name: "d" type: "Input" top: "x" input_param {{ {shape} }} }}'
    network = read(tmp_path, text + 'layer { name: "a" type: "ReLU" bottom: "x" top: "a" }')
    assert problem in messages(network)
    assert bool(problem) is bool(network.problems)
    if declared is not None:
        assert network.declared_inputs[0].shape == declared


def test_every_shape_once_a_top(tmp_path: Path) -> None:
    text = 'layer { name: "d" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 } shape { dim: 3 } } }'
    network = read(tmp_path, text)
    assert [one.shape for one in network.net.inputs] == [(2,), (3,)]
    text = (
        'layer { name: "d" type: "Input" top: "x" top: "y" top: "z" input_param { shape { dim: 2 } shape { dim: 3 } } }'
    )
    assert "it has 2 shapes for 3 tops" in messages(read(tmp_path, text))

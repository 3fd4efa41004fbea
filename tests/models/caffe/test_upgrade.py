"""V0 and V1 definitions become current ones, in text and from binaries, as Caffe upgrades them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.schema import enum_values
from gfpq_inspect.models.caffe.text import parse_text
from gfpq_inspect.models.caffe.upgrade import V1_TYPES, upgrade
from gfpq_inspect.models.caffe.upgrade_v0 import V0_TYPES
from gfpq_inspect.models.caffe.write import format_prototxt
from tests.models.caffe.text_nets import layer, messages, read


def upgraded(text: str) -> tuple[str, str]:
    """Return the upgraded layers as text, and the problems."""
    problems = Problems()
    layers, _ = upgrade(parse_text(text.encode(), "net.prototxt"), "net.prototxt", problems)
    root = Message({"layer": list(layers)})
    return " ".join(format_prototxt(root).split()), "\n".join(map(str, problems.found()))


def test_every_v1_type_has_a_current_name() -> None:
    assert set(V1_TYPES) == set(enum_values("V1LayerParameter", "LayerType"))
    assert set(V0_TYPES.values()) <= set(V1_TYPES)
    assert V1_TYPES["SOFTMAX_LOSS"] == "SoftmaxWithLoss"


def test_v1_lists_become_param_messages() -> None:
    text, _ = upgraded(
        'layers { name: "c" type: CONVOLUTION bottom: "x" top: "y" blobs_lr: 1 blobs_lr: 2 weight_decay: 1'
        ' weight_decay: 0 param: "w" param: "" convolution_param { num_output: 2 } }'
    )
    assert text == (
        'layer { name: "c" bottom: "x" top: "y" convolution_param { num_output: 2 } type: "Convolution"'
        ' param { name: "w" lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 } }'
    )


def test_v1_data_transforms_move() -> None:
    text, _ = upgraded(
        'layers { type: DATA top: "x" data_param { source: "s" batch_size: 4 scale: 0.5 crop_size: 7 mirror: true } }'
    )
    assert 'data_param { source: "s" batch_size: 4 }' in text
    assert "transform_param { scale: 0.5 crop_size: 7 mirror: true }" in text


@pytest.mark.parametrize(
    ("text", "inputs", "problem"),
    [
        ('input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4', "dim: 1 dim: 2 dim: 3 dim: 4", ""),
        ('input: "a" input_shape { dim: 5 dim: 6 }', "dim: 5 dim: 6", ""),
        ('input: "a" input_shape { dim: 5 } input_dim: 1', "dim: 5", ""),
        ('input: "a" input: "b" input_shape { dim: 5 }', 'top: "a" top: "b"', "2 inputs and 1 input shapes"),
        ('input: "a" input_dim: 1', 'top: "a"', "1 inputs and 1 input_dim numbers"),
        ('input: "a"', 'layer { name: "input" type: "Input" top: "a" }', ""),
        ('input: "a" layer { name: "d" type: "Data" top: "a" }', 'layer { name: "d" type: "Data" top: "a" }', ""),
    ],
)
def test_net_inputs(text: str, inputs: str, problem: str) -> None:
    layers, problems = upgraded(text)
    assert inputs in layers
    assert problem in problems
    assert bool(problem) is bool(problems)


def test_v0_fields_find_their_messages() -> None:
    text, problems = upgraded(
        'layers { layer { name: "c" type: "conv" num_output: 3 kernelsize: 5 pad: 2 group: 1 stride: 2 biasterm: false'
        ' weight_filler { type: "gaussian" } blobs_lr: 1 } bottom: "x" top: "c" }'
        'layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 2 stride: 2 } bottom: "c" top: "p" }'
        'layers { layer { name: "n" type: "lrn" local_size: 3 alpha: 0.5 beta: 1 k: 2 } bottom: "p" top: "n" }'
        'layers { layer { name: "k" type: "concat" concat_dim: 0 } bottom: "n" bottom: "p" top: "k" }'
        'layers { layer { name: "d" type: "data" source: "s" batchsize: 2 cropsize: 4 meanfile: "m" scale: 2 } }'
    )
    assert not problems
    assert (
        "convolution_param { num_output: 3 kernel_size: 5 pad: 2 group: 1 stride: 2 bias_term: false"
        ' weight_filler { type: "gaussian" } }'
    ) in text
    assert "pooling_param { pool: AVE kernel_size: 2 stride: 2 }" in text
    assert "lrn_param { local_size: 3 alpha: 0.5 beta: 1 k: 2 }" in text
    assert "concat_param { concat_dim: 0 }" in text
    assert 'data_param { source: "s" batch_size: 2 }' in text
    assert 'transform_param { crop_size: 4 mean_file: "m" scale: 2 }' in text
    assert 'type: "Convolution" param { lr_mult: 1 }' in text


def test_v0_padding_goes_into_its_reader() -> None:
    text, problems = upgraded(
        'input: "x" layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "x" top: "xp" }'
        'layers { layer { name: "c" type: "conv" num_output: 1 kernelsize: 3 } bottom: "xp" top: "c" }'
    )
    assert not problems
    assert "padding" not in text
    assert 'layer { bottom: "x" top: "c" name: "c" convolution_param { num_output: 1 kernel_size: 3 pad: 2 }' in text


def test_v0_faults_are_named() -> None:
    _, problems = upgraded(
        'input: "x" layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "x" top: "xp" }\n'
        'layers { layer { name: "r" type: "relu" } bottom: "xp" top: "r" }\n'
        'layers { layer { name: "s" type: "softmx" } bottom: "r" top: "s" }'
    )
    assert "net.prototxt:2:1: layer 'r': reads a padding layer" in problems
    assert "layer 's': 'softmx' is no layer type of the V0 format (did you mean 'softmax'?)" in problems


def test_both_formats_in_one_file() -> None:
    _, problems = upgraded('layer { type: "ReLU" }\nlayers { type: RELU }')
    assert "net.prototxt:2:1: the file has both 'layer' and 'layers' entries" in problems


def test_unknown_v1_type(tmp_path: Path) -> None:
    network = read(tmp_path, 'input: "a" layers { name: "r" type: RELUU bottom: "a" top: "b" }')
    assert "layer 'r': 'type: RELUU' is not one of RELU" in messages(network)


@pytest.mark.parametrize("name", ["v0_format", "v1_format"])
def test_old_and_current_files_give_one_network(fixtures: Path, name: str) -> None:
    folder = fixtures / "caffe" / name
    combinations = [
        read_network(folder / weights, structure)
        for weights in ("net.caffemodel", "net_v2.caffemodel")
        for structure in (folder / "net.prototxt", None)
        if (folder / weights).exists()
    ]
    assert len(combinations) >= 2
    first = combinations[0]
    for other in combinations:
        assert not other.problems
        assert [(one.key, one.type, one.bottoms, one.tops) for one in other.net.layers] == [
            (one.key, one.type, one.bottoms, one.tops) for one in first.net.layers
        ]
        for one in first.net.layers:
            for ours, theirs in zip(one.blobs, layer(other, one.key).blobs, strict=True):
                np.testing.assert_array_equal(ours.ravel(), theirs.ravel())

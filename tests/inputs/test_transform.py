"""Defaults from the data layers of a training prototxt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.inputs.transform import read_transform, with_prototxt_defaults, with_transform_defaults

from .helpers import COLOUR, colours, read

TRAIN_VAL = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 227 mean_value: 1 } data_param { batch_size: 2 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
  transform_param { mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" }
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "train_val.prototxt"
    path.write_text(text)
    return path


def test_the_test_phase_counts(tmp_path: Path) -> None:
    transform = read_transform(write(tmp_path, TRAIN_VAL))
    assert transform is not None
    assert transform.mean == (104, 117, 123)
    assert transform.scale == 0.017
    options = with_transform_defaults(InputOptions(), transform)
    assert options.mean == (104, 117, 123)
    assert options.scale == 0.017
    assert with_transform_defaults(InputOptions(scale=2.0, mean="1"), transform).mean == "1"
    assert with_transform_defaults(InputOptions(scale=2.0), transform).mean is None


def test_what_a_data_layer_did_is_not_done_to_floats_again(tmp_path: Path) -> None:
    options = with_prototxt_defaults(InputOptions(), write(tmp_path, TRAIN_VAL))
    assert options.notes == ()
    pixels = colours().transpose(2, 0, 1)[None]
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "floats.npy", pixels.astype(np.float32))
    expected = (pixels - np.float32([104, 117, 123]).reshape(3, 1, 1)) * np.float32(0.017)
    assert np.array_equal(read(tmp_path / "pixels.npy", COLOUR, options)["data"], expected)
    assert np.array_equal(read(tmp_path / "floats.npy", COLOUR, options)["data"], pixels)
    record = open_inputs([str(tmp_path / "pixels.npy")], COLOUR, options).facts().preprocessing
    assert "transform_param of layer 'data' in train_val.prototxt" in record["mean and scale from"]
    assert with_prototxt_defaults(InputOptions(), None) == InputOptions()
    only_training = write(tmp_path, TRAIN_VAL.replace("phase: TEST", "phase: TRAIN"))
    options = with_prototxt_defaults(InputOptions(), only_training)
    record = open_inputs([str(tmp_path / "pixels.npy")], COLOUR, options).facts().preprocessing
    assert "mirrors at random; left out" in record["notes"]


def test_only_a_training_layer(tmp_path: Path) -> None:
    transform = read_transform(write(tmp_path, TRAIN_VAL.replace("phase: TEST", "phase: TRAIN")))
    assert transform is not None
    assert transform.crop_size == 227
    assert len(transform.notes) == 3
    assert "TRAIN layer 'data'" in transform.notes[0]


def test_old_fields_and_image_data(tmp_path: Path) -> None:
    np.save(tmp_path / "mean.npy", np.zeros(3))
    old = """layers { name: "d" type: IMAGE_DATA top: "data" image_data_param {
      scale: 0.5 mean_file: "somewhere/else/mean.npy" new_height: 256 new_width: 300 crop_size: 224
      is_color: false } }"""
    transform = read_transform(write(tmp_path, old))
    assert transform is not None
    assert transform.mean == tmp_path / "mean.npy"
    assert transform.resize == "256x300"
    assert transform.scale == 0.5
    options = with_transform_defaults(InputOptions(), transform)
    assert options.channel_order == "gray"
    assert options.resize == "256x300"
    (tmp_path / "mean.npy").unlink()
    with pytest.raises(InputError, match=r"layer 'd': mean_file somewhere/else/mean\.npy: there is no such file"):
        read_transform(tmp_path / "train_val.prototxt")


def test_nothing_stated(tmp_path: Path, fixtures: Path) -> None:
    assert read_transform(fixtures / "digits/float.prototxt") is None
    assert (
        read_transform(write(tmp_path, 'layer { name: "d" type: "Data" top: "x" data_param { source: "y" } }')) is None
    )


def test_a_real_training_prototxt(shared: Path) -> None:
    transform = read_transform(shared / "models/lenet_fixedquant_pair/lenet_train_test.prototxt")
    assert transform is not None
    assert transform.scale == 0.00390625

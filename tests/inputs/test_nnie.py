"""nnie_mapper configurations: what they say is what the network is fed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.nnie import calibration_image, open_nnie_inputs, read_nnie_config
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, GRAY, collect, colours, save_image
from .test_images import binaryproto

PIXELS = colours()
BGR = PIXELS[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
HEADER = """# made for a test
[prototxt_file] ./net.prototxt
[caffemodel_file] net.caffemodel
[batch_num] 256
[net_type] 0
[sparse_rate] 0
[compile_mode] {mode}
[is_simulation] 0
[log_level] 3
[instruction_name] ./inst
"""


def write(folder: Path, body: str, mode: int = 0) -> Path:
    (folder / "net.prototxt").write_text("name: 'x'")
    (folder / "net.caffemodel").write_bytes(b"x")
    save_image(folder / "a.png", PIXELS)
    save_image(folder / "b.png", PIXELS[:, ::-1].copy())
    (folder / "list.txt").write_text("./a.png\n.\\b.png\n")
    path = folder / "mapper.cfg"
    path.write_text(HEADER.format(mode=mode) + body)
    return path


def feed(path: Path, inputs: tuple[ModelInput, ...] = COLOUR) -> np.ndarray:
    return collect(open_nnie_inputs(read_nnie_config(path), inputs), inputs)[inputs[0].name]


@pytest.mark.parametrize(
    ("norm_type", "mean_file", "expected"),
    [
        (0, "null", BGR),
        (1, "mean.binaryproto", BGR - 50),
        (2, "mean.txt", BGR - np.float32([104, 117, 123]).reshape(3, 1, 1)),
        (3, "null", BGR * np.float32(0.00390625)),
        (4, "mean.binaryproto", (BGR - 50) * np.float32(0.00390625)),
        (5, "mean.txt", (BGR - np.float32([104, 117, 123]).reshape(3, 1, 1)) * np.float32(0.00390625)),
    ],
)
def test_norm_types(tmp_path: Path, norm_type: int, mean_file: str, expected: np.ndarray) -> None:
    (tmp_path / "mean.txt").write_text("104\n117\n123\n")
    (tmp_path / "mean.binaryproto").write_bytes(binaryproto(np.full((1, 3, 4, 6), 50, np.float32)))
    body = f"[image_list] ./list.txt\n[image_type] 1\n[norm_type] {norm_type}\n[mean_file] {mean_file}\n"
    values = feed(write(tmp_path, body))
    assert np.array_equal(values[0], expected)
    assert len(values) == 2


def test_data_scale_and_order(tmp_path: Path) -> None:
    body = "[image_list] list.txt\n[image_type] 1\n[norm_type] 3\n[data_scale] 0.0078125\n[RGB_order] RGB\n"
    assert np.array_equal(feed(write(tmp_path, body))[0], BGR[::-1] * np.float32(0.0078125))


@pytest.mark.parametrize(("mode", "bits"), [(0, 8), (1, 16), (2, None)])
def test_what_else_it_says(tmp_path: Path, mode: int, bits: int | None) -> None:
    config = read_nnie_config(write(tmp_path, "[image_list] list.txt\n[norm_type] 0\n[colour] blue\n", mode))
    assert config.bits == bits
    assert config.prototxt is not None
    assert config.prototxt.name == "net.prototxt"
    assert config.caffemodel is not None
    assert config.notes == ("mapper.cfg:13: key [colour] is not known and changes nothing here",)
    assert calibration_image(config) == "b.png"


def test_feature_maps_are_text_and_never_normalized(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    lines = "\n".join(" ".join(repr(float(value)) for value in row) for row in values)
    (tmp_path / "features.txt").write_text(lines + "\n")
    path = write(tmp_path, "[image_list] features.txt\n[image_type] 0\n[norm_type] 3\n")
    assert np.array_equal(feed(path, GRAY), values.reshape(3, 1, 4, 6))
    assert "ignored" in read_nnie_config(path).notes[0]
    (tmp_path / "features.txt").write_text(lines + "\n1 2 3\n")
    with pytest.raises(InputError, match=r"features\.txt:4: holds 3 values, but a tensor of shape .* has 24"):
        feed(path, GRAY)


def test_raw_frames(tmp_path: Path) -> None:
    (tmp_path / "a.bgr").write_bytes(BGR.astype(np.uint8).tobytes())
    (tmp_path / "frames.txt").write_text("a.bgr\n")
    path = write(tmp_path, "[image_list] frames.txt\n[image_type] 1\n[norm_type] 0\n")
    assert np.array_equal(feed(path)[0], BGR)


def test_several_inputs_in_the_prototxts_order(tmp_path: Path) -> None:
    (tmp_path / "features.txt").write_text("1 2 3\n4 5 6\n")
    body = (
        "[image_list] list.txt\n[image_type] 1\n[norm_type] 3\n"
        "[image_list] features.txt\n[image_type] 0\n[norm_type] 0\n[mean_file] null\n"
    )
    inputs = (*COLOUR, ModelInput("info", "info", (1, 3)))
    values = collect(open_nnie_inputs(read_nnie_config(write(tmp_path, body)), inputs), inputs)
    assert np.array_equal(values["info"], [[1, 2, 3], [4, 5, 6]])
    assert np.array_equal(values["data"][0], BGR / 256)
    with pytest.raises(InputError, match=r"has 2 .image_list., but the network's inputs are 'data'"):
        open_nnie_inputs(read_nnie_config(write(tmp_path, body)), COLOUR)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", r"mapper\.cfg: has no \[image_list\]"),
        ("[image_list] none.txt\n", r"mapper\.cfg:11: \[image_list\] none\.txt: there is no such file"),
        ("image_list list.txt\n", r"mapper\.cfg:11: is not of the form '\[key\] value'"),
        ("[image_list] list.txt\n[norm_type] 6\n", r"mapper\.cfg:12: norm_type '6' is not one of 0, 1, 2, 3, 4, 5"),
        ("[image_list] list.txt\n[image_type] 2\n", r"mapper\.cfg:12: image_type '2' is not one of 0, 1, 3, 5"),
        ("[image_list] list.txt\n[norm_type] 2\n", r"mapper\.cfg: norm_type 2 needs a \[mean_file\]"),
        ("[image_list] list.txt\n[norm_type] 1\n[mean_file] null\n", r"norm_type 1 needs a \[mean_file\]"),
        ("[image_list] list.txt\n[norm_type] 3\n[data_scale] 0.0002\n", r"cfg:13: data_scale '0\.0002' is not"),
        ("[image_list] list.txt\n[RGB_order] GBR\n", r"mapper\.cfg:12: RGB_order 'GBR' is unknown"),
        (
            "[image_list] list.txt\n[norm_type] 0\n[norm_type] 3\n",
            r"cfg:13: \[norm_type\] stands 2 times for 1",
        ),
    ],
)
def test_bad_configurations(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_nnie_config(write(tmp_path, body))


def test_a_configuration_is_an_input_like_others(tmp_path: Path) -> None:
    path = write(tmp_path, "[image_list] list.txt\n[image_type] 1\n[norm_type] 3\n")
    values = collect(open_inputs([str(path)], COLOUR, InputOptions(samples=1)), COLOUR)["data"]
    assert np.array_equal(values, BGR[None] / 256)
    with pytest.raises(UsageError, match=r"--scale and .*mapper\.cfg both say how to preprocess; leave --scale out"):
        open_inputs([str(path)], COLOUR, InputOptions(scale=2))
    with pytest.raises(UsageError, match="give it alone"):
        open_inputs([str(path), "a.npy"], COLOUR)

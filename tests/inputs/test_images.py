"""Images as input: formats, orientation, channels, size, mean and scale; folders, patterns, lists; bad files."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, GRAY, colours, png_bytes, read, save_image

PIXELS = colours()
RGB = InputOptions(channel_order="rgb")
PLANES = PIXELS.transpose(2, 0, 1).astype(np.float32)[None]


def luma(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"), np.float32)


def test_colour_is_bgr_unless_said_otherwise(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    assert np.array_equal(read(path, COLOUR)["data"], PLANES[:, ::-1])
    assert np.array_equal(read(path, COLOUR, RGB)["data"], PLANES)
    gray = read(path, COLOUR, InputOptions(channel_order="gray"))["data"]
    assert np.array_equal(gray[0], np.repeat(luma(PIXELS)[None], 3, axis=0))
    assert np.array_equal(read(path, GRAY)["data"][0, 0], luma(PIXELS))


def test_nhwc_networks(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    packed = (ModelInput("data", "data", (1, 4, 6, 3)),)
    assert np.array_equal(read(path, packed, RGB)["data"][0], PIXELS.astype(np.float32))
    means = InputOptions(channel_order="rgb", mean="1,2,3", scale="0.5", layout="nhwc")
    expected = (PIXELS.astype(np.float32) - np.float32([1, 2, 3])) * np.float32(0.5)
    assert np.array_equal(read(path, packed, means)["data"][0], expected)
    flat = (ModelInput("data", "data", (1, 4, 6)),)
    assert np.array_equal(read(path, flat)["data"][0], luma(PIXELS))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16", "F", "YCbCr"])
def test_modes(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        deep = np.random.default_rng(3).integers(0, 65536, (4, 6), dtype=np.uint16)
        path = save_image(tmp_path / "a.png", deep)
        expected = np.repeat((deep / 257.0).astype(np.float32)[None, None], 3, axis=1)
        assert np.array_equal(read(path, COLOUR)["data"], expected)
        return
    suffix = ".tif" if mode in ("CMYK", "F", "YCbCr") else ".png"
    image = Image.fromarray(PIXELS).convert(mode)
    image.save(tmp_path / f"a{suffix}")
    expected = np.asarray(image.convert("L" if mode in ("1", "LA") else "RGB"), np.float32)
    if mode == "F":
        expected = np.asarray(image)
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    assert np.array_equal(read(tmp_path / f"a{suffix}", COLOUR, RGB)["data"][0], expected.transpose(2, 0, 1))


def test_transparency_is_dropped(tmp_path: Path) -> None:
    alpha = np.random.default_rng(4).integers(0, 256, (4, 6, 1), dtype=np.uint8)
    path = save_image(tmp_path / "a.png", np.concatenate([PIXELS, alpha], axis=2))
    assert np.array_equal(read(path, COLOUR, RGB)["data"], PLANES)
    image = Image.fromarray(PIXELS).convert("P")
    image.save(tmp_path / "p.png", transparency=0)
    expected = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)
    assert np.array_equal(read(tmp_path / "p.png", COLOUR, RGB)["data"][0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255  # one bright corner tells all eight apart together with the aspect
    upright[:8, 8:16] = 128
    undo = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save_image(tmp_path / "a.png", np.ascontiguousarray(undo[orientation]), exif=exif)
    values = read(path, (ModelInput("data", "data", (1, 1, 16, 32)),))["data"]
    assert np.array_equal(values[0, 0], upright)


def test_resize_stretches_bilinearly_unless_said_otherwise(tmp_path: Path) -> None:
    big = colours(20, 40)
    path = save_image(tmp_path / "a.png", big)
    image = Image.fromarray(big)

    def planes(picture: Image.Image) -> np.ndarray:
        return np.asarray(picture, np.float32).transpose(2, 0, 1)[None]

    stretched = image.resize((6, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(read(path, COLOUR, RGB)["data"], planes(stretched))
    options = InputOptions(channel_order="rgb", resize="10x10")
    cut = image.resize((10, 10), Image.Resampling.BILINEAR).crop((2, 3, 8, 7))
    assert np.array_equal(read(path, COLOUR, options)["data"], planes(cut))
    options = InputOptions(channel_order="rgb", resize="8")
    cut = image.resize((16, 8), Image.Resampling.BILINEAR).crop((5, 2, 11, 6))
    assert np.array_equal(read(path, COLOUR, options)["data"], planes(cut))
    options = InputOptions(channel_order="rgb", resize="none")
    assert np.array_equal(read(path, COLOUR, options)["data"], planes(image.crop((17, 8, 23, 12))))
    with pytest.raises(InputError, match=r"a\.png: is 3 x 6 .* smaller than the network's 4 x 6; leave --resize out"):
        read(path, COLOUR, InputOptions(resize="3"))


def test_mean_is_subtracted_before_scaling(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    options = InputOptions(mean="104,117,123.5", scale="0.017")
    expected = (PLANES[:, ::-1] - np.float32([104, 117, 123.5]).reshape(3, 1, 1)) * np.float32(0.017)
    assert np.array_equal(read(path, COLOUR, options)["data"], expected)
    values = read(path, COLOUR, InputOptions(mean=127.5, scale=[1, 2, 3]))["data"]
    assert np.array_equal(values, (PLANES[:, ::-1] - np.float32(127.5)) * np.float32([1, 2, 3]).reshape(3, 1, 1))
    with pytest.raises(UsageError, match="--mean: holds 2 values, but input 'data' has 3 channels"):
        read(path, COLOUR, InputOptions(mean="1,2"))
    with pytest.raises(UsageError, match="--scale 'big' is not a list of numbers"):
        read(path, COLOUR, InputOptions(scale="big"))


def binaryproto(values: np.ndarray) -> bytes:
    """A BlobProto with a legacy header, as Caffe's compute_image_mean writes it."""
    header = b"".join(bytes([number << 3, size]) for number, size in enumerate(values.shape, 1))
    data = values.astype("<f4").tobytes()
    length = len(data)
    size = b""
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return header + b"\x2a" + size + bytes([length]) + data


def test_mean_files(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    mean = np.random.default_rng(5).normal(100, 20, (1, 3, 8, 12)).astype(np.float32)
    cut = mean[:, :, 2:6, 3:9]
    expected = PLANES[:, ::-1] - cut
    (tmp_path / "mean.binaryproto").write_bytes(binaryproto(mean))
    np.save(tmp_path / "mean.npy", mean[0])
    np.save(tmp_path / "channels.npy", mean.mean((0, 2, 3)))
    for name in ("mean.binaryproto", "mean.npy"):
        assert np.array_equal(read(path, COLOUR, InputOptions(mean=str(tmp_path / name)))["data"], expected)
    assert np.array_equal(read(path, COLOUR, InputOptions(mean=mean))["data"], expected)
    values = read(path, COLOUR, InputOptions(mean=tmp_path / "channels.npy"))["data"]
    assert np.array_equal(values, PLANES[:, ::-1] - mean.mean((0, 2, 3)).reshape(3, 1, 1))


def test_bad_mean_files(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    small = np.arange(18, dtype=np.float32).reshape(1, 3, 2, 3)
    (tmp_path / "small.binaryproto").write_bytes(binaryproto(small))
    with pytest.raises(InputError, match=r"smaller than the network's 4 x 6; give its .* --mean 2\.5,8\.5,14\.5"):
        read(path, COLOUR, InputOptions(mean=str(tmp_path / "small.binaryproto")))
    (tmp_path / "cut.binaryproto").write_bytes(binaryproto(small)[:20])
    with pytest.raises(InputError, match=r"cut\.binaryproto \(byte \d+\): is no mean image \(.*\); make"):
        read(path, COLOUR, InputOptions(mean=str(tmp_path / "cut.binaryproto")))
    (tmp_path / "empty.binaryproto").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.binaryproto: is empty"):
        read(path, COLOUR, InputOptions(mean=str(tmp_path / "empty.binaryproto")))
    np.save(tmp_path / "gray.npy", np.zeros((1, 4, 6), np.float32))
    with pytest.raises(InputError, match=r"gray\.npy: a mean of shape \[1, 4, 6\] does not fit .* 3 channels"):
        read(path, COLOUR, InputOptions(mean=str(tmp_path / "gray.npy")))
    np.save(tmp_path / "nan.npy", np.array([1, np.nan, 3], np.float32))
    with pytest.raises(InputError, match=r"nan\.npy: the mean holds NaN"):
        read(path, COLOUR, InputOptions(mean=str(tmp_path / "nan.npy")))


# ------------------------------------------------------------------------------------------------ many files
def make_folder(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    for index, name in enumerate(("b.png", "a.jpg", "deep/a.png", "deep/c.BMP")):
        save_image(folder / name, np.full((4, 6), index * 10, np.uint8))
    (folder / "notes.md").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"not looked at")
    return folder


def test_folders(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos")
    source = open_inputs([str(folder)], GRAY)
    assert source.identities == ("a.jpg", "b.png", "deep/a.png", "deep/c.BMP")
    assert source.facts().description == "4 samples from photos/"
    values = read(folder, GRAY)["data"]
    assert [int(sample.mean().round()) for sample in values] == [10, 0, 20, 30]


def test_folder_of_arrays(tmp_path: Path) -> None:
    for name in ("b.npy", "a.npy"):
        np.save(tmp_path / name, np.full((2, 1, 4, 6), ord(name[0]), np.float32))
    source = open_inputs([str(tmp_path)], GRAY)
    assert source.identities == ("a.npy[0]", "a.npy[1]", "b.npy[0]", "b.npy[1]")


def test_patterns(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "photos")
    assert open_inputs([str(folder / "*.png")], GRAY).identities == ("b.png",)
    source = open_inputs([str(folder / "**" / "a.*")], GRAY)
    assert source.identities == ("a.jpg", "a.png")
    source = open_inputs([str(folder / "b.png"), str(folder / "**" / "*.png")], GRAY)
    assert source.identities == ("b.png", "b.png#2", "a.png")
    save_image(folder / "a.png", PIXELS)
    assert open_inputs([str(folder / "**" / "a.png")], GRAY).identities == ("photos/a.png", "deep/a.png")
    with pytest.raises(InputError, match=r"\*\.gif: no file fits this pattern; check the folder and quote the pattern"):
        open_inputs([str(folder / "*.gif")], GRAY)
    save_image(tmp_path / "odd[1].png", PIXELS)
    assert open_inputs([str(tmp_path / "odd[1].png")], GRAY).identities == ("odd[1].png",)


def test_lists(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos")
    save_image(tmp_path / "my photo.png", PIXELS)
    listing = tmp_path / "list.txt"
    listing.write_text("# calibration\nphotos/b.png 3\n\nmy photo.png\nphotos/b.png\n", encoding="utf-8")
    source = open_inputs([str(listing)], GRAY)
    assert source.identities == ("b.png", "my photo.png", "b.png#2")
    listing.write_text("photos/b.png\nphotos/none.png\n")
    with pytest.raises(InputError, match=r"list\.txt:2: there is no file 'photos/none\.png'; paths count from"):
        open_inputs([str(listing)], GRAY)
    listing.write_text("\n# nothing\n")
    with pytest.raises(InputError, match=r"list\.txt: lists no file"):
        open_inputs([str(listing)], GRAY)
    listing.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"list\.txt: is not a text file"):
        open_inputs([str(listing)], GRAY)


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no image")
    with pytest.raises(InputError, match=r"holds no image and no \.npy or \.npz file; check the folder"):
        open_inputs([str(tmp_path)], GRAY)


# ------------------------------------------------------------------------------------------------ bad images
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "gif", "webp"])
def test_truncated_images(tmp_path: Path, suffix: str) -> None:
    whole = save_image(tmp_path / f"whole.{suffix}", colours(64, 64))
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for length in (3, 20, len(content) // 2):
        cut.write_bytes(content[:length])
        with pytest.raises(
            InputError, match=rf"cut\.{suffix}: .*; (replace the file|give images, \.npy or \.npz files)"
        ) as caught:
            read(cut, COLOUR)
        assert "\n" not in str(caught.value)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"this is no image at all")
    with pytest.raises(InputError, match=r"a\.png: is not an image in a known format"):
        open_inputs([str(tmp_path / "a.png")], GRAY)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.png: is empty"):
        open_inputs([str(tmp_path / "empty.png")], GRAY)
    with pytest.raises(InputError, match=r"none\.png: there is no such file"):
        open_inputs([str(tmp_path / "none.png")], GRAY)


def test_one_bad_image_of_a_folder_is_told_before_the_run(tmp_path: Path) -> None:
    make_folder(tmp_path / "photos")
    (tmp_path / "photos" / "z.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"photos/z\.png: is not an image"):
        open_inputs([str(tmp_path / "photos")], GRAY)


def test_flipped_bytes_never_end_in_anything_but_an_input_error(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    path = tmp_path / "a.png"
    for content in (png_bytes(PIXELS), png_bytes(PIXELS[:, :, 0])):
        for _ in range(150):
            damaged = bytearray(content)
            for _ in range(int(generator.integers(1, 6))):
                damaged[generator.integers(0, len(damaged))] = generator.integers(0, 256)
            path.write_bytes(damaged)
            with contextlib.suppress(InputError):
                read(path, COLOUR)


def test_decompression_bombs(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(bomb)
    with pytest.raises(InputError, match=r"bomb\.png: is too large to be read safely .*; shrink the image first"):
        open_inputs([str(tmp_path / "bomb.png")], GRAY)


def test_inputs_that_take_no_images(tmp_path: Path) -> None:
    path = save_image(tmp_path / "a.png", PIXELS)
    for shape in ((1, 15, 4, 6), (1, 10), (2, 3, 4, 6)):
        inputs = (ModelInput("data", "data", shape),)
        with pytest.raises(InputError, match=r"a\.png: input 'data' of shape .* does not take images"):
            open_inputs([str(path)], inputs, batchable=False)

"""Data sets of other tools (idx, HDF5, LMDB) and raw frames."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.frames import FRAME_FORMATS
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.inputs.transform import with_prototxt_defaults
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, GRAY, colours, read

RNG = np.random.default_rng(2)
DIGITS = RNG.integers(0, 256, (5, 4, 6), dtype=np.uint8)


def idx_bytes(values: np.ndarray, code: int = 8) -> bytes:
    return bytes([0, 0, code, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "digits.idx", "digits.bin"])
def test_idx_files(tmp_path: Path, name: str) -> None:
    content = idx_bytes(DIGITS)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    values = read(tmp_path / name, options=InputOptions(scale="0.00390625"))["data"]
    assert np.array_equal(values[:, 0], DIGITS.astype(np.float32) / 256)
    assert open_inputs([str(tmp_path / name)], GRAY).identities[4] == f"{name}[4]"


def test_idx_of_floats(tmp_path: Path) -> None:
    stored = RNG.normal(size=(3, 4, 6)).astype(">f4")
    (tmp_path / "a.idx").write_bytes(idx_bytes(stored, 0x0D))
    assert np.array_equal(read(tmp_path / "a.idx")["data"][:, 0], stored)


@pytest.mark.parametrize("zipped", [False, True])
def test_truncated_idx(tmp_path: Path, zipped: bool) -> None:
    content = idx_bytes(DIGITS)
    for length in (6, 40, len(content) - 1):
        cut = gzip.compress(content[:length]) if zipped else content[:length]
        (tmp_path / "a-idx3-ubyte").write_bytes(cut)
        with pytest.raises(InputError, match=r"a-idx3-ubyte: is no readable idx file \(.*\); fetch the file again"):
            read(tmp_path / "a-idx3-ubyte")
    (tmp_path / "b-idx3-ubyte").write_bytes(gzip.compress(content)[:30])
    with pytest.raises(InputError, match="b-idx3-ubyte"):
        read(tmp_path / "b-idx3-ubyte")


def test_mnist(shared: Path) -> None:
    inputs = (ModelInput("data", "data", (1, 1, 28, 28)),)
    source = open_inputs([str(shared / "models/images/mnist/t10k-images-idx3-ubyte.gz")], inputs)
    assert source.count == 10000
    first = next(source.batches(2, {"data": (1, 1, 28, 28)}))["data"]
    assert first.shape == (2, 1, 28, 28)
    assert first.max() == 255


# ------------------------------------------------------------------------------------------------ HDF5
def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    values = RNG.normal(size=(5, 1, 4, 6)).astype(np.float32)
    for name, part in (("a.h5", values[:2]), ("b.h5", values[2:])):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"] = part
            file["label"] = np.arange(len(part))
    (tmp_path / "list.txt").write_text("a.h5\nb.h5\n")
    assert np.array_equal(read(tmp_path / "list.txt")["data"], values)
    inputs = (ModelInput("data", "data", (1, 1, 4, 6)), ModelInput("label", "label", (1,), "int64"))
    both = read(tmp_path / "list.txt", inputs)
    assert np.array_equal(both["data"], values)
    assert both["label"].tolist() == [0, 1, 0, 1, 2]
    (tmp_path / "cut.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:500])
    with pytest.raises(InputError, match=r"cut\.h5: is no readable HDF5 file \(.*\); make the file again"):
        read(tmp_path / "cut.h5")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_group("data")
    with pytest.raises(InputError, match=r"none\.h5: holds no dataset at its top"):
        read(tmp_path / "none.h5")


# ------------------------------------------------------------------------------------------------ LMDB
def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def datum(pixels: np.ndarray, label: int, encoding: str | None = None) -> bytes:
    """A Datum message as Caffe's convert_imageset writes it; `pixels` [C, H, W]."""
    numbers = b"".join(bytes([number << 3]) + varint(size) for number, size in enumerate(pixels.shape, 1))
    if encoding is not None:
        stream = io.BytesIO()
        Image.fromarray(pixels[::-1].transpose(1, 2, 0)).save(stream, encoding)
        content = stream.getvalue()
        return numbers + b"\x22" + varint(len(content)) + content + b"\x28" + varint(label) + b"\x38\x01"
    if pixels.dtype == np.float32:
        content = pixels.tobytes()
        return numbers + b"\x28" + varint(label) + b"\x32" + varint(len(content)) + content
    content = pixels.tobytes()
    return numbers + b"\x22" + varint(len(content)) + content + b"\x28" + varint(label)


def make_lmdb(folder: Path, records: list[bytes]) -> Path:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for index, record in enumerate(records):
            transaction.put(f"{index:08d}_x.jpg".encode(), record)
    return folder


def test_lmdb(tmp_path: Path) -> None:
    planes = RNG.integers(0, 256, (4, 3, 6, 9), dtype=np.uint8)
    records = [datum(planes[0], 7), datum(planes[1], 300), datum(planes[2].astype(np.float32), 1)]
    records.append(datum(planes[3], 2, "png"))
    folder = make_lmdb(tmp_path / "set_lmdb", records)
    source = open_inputs([str(folder)], COLOUR)
    assert source.identities[1] == "00000001_x.jpg"
    values = read(folder, COLOUR, InputOptions(mean="1,2,3"))["data"]
    cut = planes[:, :, 1:5, 1:7].astype(np.float32)
    assert np.array_equal(values, cut - np.float32([1, 2, 3]).reshape(3, 1, 1))
    with pytest.raises(InputError, match=r"record '00000000_x.jpg': values of shape \[3, 6, 9\] do not fit"):
        read(folder, GRAY)


def test_bad_lmdbs(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "a", [datum(np.zeros((3, 4, 6), np.uint8), 1)[:40]])
    with pytest.raises(InputError, match=r"a: record '00000000_x\.jpg': .*; make the data set again"):
        read(folder, COLOUR)
    folder = make_lmdb(tmp_path / "b", [])
    with pytest.raises(InputError, match="b: holds no record"):
        read(folder, COLOUR)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "data.mdb").write_bytes(b"no database")
    with pytest.raises(InputError, match="c: is no readable LMDB"):
        read(tmp_path / "c", COLOUR)


def test_what_caffe_read_from_its_lmdb(shared: Path) -> None:
    pytest.importorskip("lmdb")
    folder = shared / "golden/caffe/train_val"
    images = np.load(folder / "images_uint8.npy")
    channels, height, width = images.shape[1:]
    inputs = (ModelInput("data", "data", (1, channels, height, width)),)
    values = read(folder / "test_lmdb", inputs)["data"]
    assert np.array_equal(values, images.astype(np.float32))


# ------------------------------------------------------------------------------------------------ frames
def test_planar_frames(tmp_path: Path) -> None:
    frames = RNG.integers(0, 256, (2, 3, 4, 6), dtype=np.uint8)
    (tmp_path / "a.bgr").write_bytes(frames.tobytes())
    assert np.array_equal(read(tmp_path / "a.bgr", COLOUR)["data"], frames.astype(np.float32))
    rgb = InputOptions(channel_order="rgb")
    assert np.array_equal(read(tmp_path / "a.bgr", COLOUR, rgb)["data"], frames[:, ::-1].astype(np.float32))
    assert open_inputs([str(tmp_path / "a.bgr")], COLOUR).identities == ("a.bgr[0]", "a.bgr[1]")
    (tmp_path / "a.gray").write_bytes(frames[0, 0].tobytes())
    assert np.array_equal(read(tmp_path / "a.gray", GRAY)["data"][0, 0], frames[0, 0].astype(np.float32))
    (tmp_path / "bad.bgr").write_bytes(frames.tobytes()[:-1])
    with pytest.raises(InputError, match=r"bad\.bgr: holds 143 bytes, but a bgr frame of 4 x 6 takes 72; give"):
        read(tmp_path / "bad.bgr", COLOUR)


def test_frames_of_another_size_are_resized(tmp_path: Path) -> None:
    big = colours(8, 12)
    (tmp_path / "a.bgr").write_bytes(np.ascontiguousarray(big[:, :, ::-1].transpose(2, 0, 1)).tobytes())
    values = read(tmp_path / "a.bgr", COLOUR, InputOptions(frame_size="8x12"))["data"]
    expected = np.asarray(Image.fromarray(big).resize((6, 4), Image.Resampling.BILINEAR), np.float32)
    assert np.array_equal(values[0], expected.transpose(2, 0, 1)[::-1])


@pytest.mark.parametrize("suffix", [name for name, form in FRAME_FORMATS.items() if "sp" in form])
def test_semi_planar_frames(tmp_path: Path, suffix: str) -> None:
    """Against Pillow's own conversion, whose YCbCr is full range: smooth colours survive to within two steps."""
    form = FRAME_FORMATS[suffix]
    ramp = np.linspace(30, 220, 6)
    picture = np.stack([np.tile(ramp, (4, 1)), np.full((4, 6), 90.0), np.tile(ramp[::-1], (4, 1))], axis=2)
    picture = np.repeat(picture[:, ::2], 2, axis=1).astype(np.uint8)  # pairs of columns share their chroma
    ycc = np.asarray(Image.fromarray(picture).convert("YCbCr"), np.float64)
    luma = np.round(ycc[:, :, 0] * 219 / 255 + 16).astype(np.uint8)
    chroma = np.round((ycc[:, :, 1:] - 128) * 224 / 255 + 128).astype(np.uint8)[:: 2 if "420" in form else 1, ::2]
    pair = chroma[:, :, ::-1] if form.startswith("yvu") else chroma
    (tmp_path / f"a{suffix}").write_bytes(luma.tobytes() + np.ascontiguousarray(pair).tobytes())
    values = read(tmp_path / f"a{suffix}", COLOUR, InputOptions(channel_order="rgb"))["data"]
    assert np.abs(values[0].transpose(1, 2, 0) - picture).max() <= 3


def test_frames_as_used_on_the_chip(shared: Path) -> None:
    folder = shared / "models/retinaface_mnet25_nnie"
    inputs = (ModelInput("data", "data", (1, 3, 640, 640)),)
    raw, decoded = (read(folder / f"det39.{kind}", inputs)["data"] for kind in ("bgr", "jpg"))
    assert np.abs(raw - decoded).mean() < 0.5


def test_preprocessing_of_caffes_own_data_layer(shared: Path) -> None:
    """LMDB, centre cut, mean, then scale: what real Caffe's Data layer gave for this prototxt, bit for bit."""
    pytest.importorskip("lmdb")
    folder = shared / "golden/caffe/train_val"
    expected = np.load(folder / "out_lmdb_TEST.npz")["data"]
    inputs = (ModelInput("data", "data", (1, *expected.shape[1:])),)
    options = with_prototxt_defaults(InputOptions(), folder / "train_val.prototxt")
    assert np.array_equal(read(folder / "test_lmdb", inputs, options)["data"][: len(expected)], expected)

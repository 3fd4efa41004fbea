"""The binary format: every form of blob, every version, and what is refused."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.caffemodel import parse_caffemodel, read_caffemodel
from gfpq_inspect.models.caffe.weights import StoredBlob, fit_blob
from tests.models.caffe.wire_bytes import chunk, layer, number, tag, varint

VALUES = np.array([1.5, -2, 3.25, 4, 5, 6], np.float32)
PACKED = chunk(5, VALUES.tobytes())
SHAPE = chunk(7, chunk(1, varint(2), varint(3)))
NAME = chunk(1, "net")


def blob_of(*parts: bytes) -> StoredBlob:
    stored = parse_caffemodel(chunk(1, "net") + layer("a", b"".join(parts)), "net.caffemodel")
    return stored.layers[0].blobs[0]


def unpacked(field: int, wire: int, code: str) -> bytes:
    return b"".join(tag(field, wire) + struct.pack(code, value) for value in VALUES)


@pytest.mark.parametrize(
    ("parts", "shape"),
    [
        ((PACKED, SHAPE), (2, 3)),
        ((SHAPE, PACKED), (2, 3)),
        ((PACKED, chunk(7, number(1, 2), number(1, 3))), (2, 3)),
        ((unpacked(5, 5, "<f"), SHAPE), (2, 3)),
        ((PACKED[:2] + VALUES.tobytes(), SHAPE), (2, 3)),
        ((chunk(5, VALUES[:2].tobytes()), chunk(5, VALUES[2:].tobytes()), SHAPE), (2, 3)),
        ((chunk(5, VALUES[:4].tobytes()), unpacked(5, 5, "<f")[20:], SHAPE), (2, 3)),
        ((chunk(8, VALUES.astype("<f8").tobytes()), SHAPE), (2, 3)),
        ((unpacked(8, 1, "<d"), SHAPE), (2, 3)),
        ((chunk(8, VALUES.astype("<f8").tobytes()), chunk(5, VALUES[:1].tobytes()), SHAPE), (2, 3)),
        ((number(1, 1), number(2, 1), number(3, 2), number(4, 3), PACKED), (1, 1, 2, 3)),
        ((number(1, 1), number(2, 1), number(3, 2), number(4, 3), PACKED, SHAPE), (1, 1, 2, 3)),
        ((number(10, 2), chunk(12, VALUES.astype("<f2").tobytes()), SHAPE), (2, 3)),
        ((chunk(12, VALUES.tobytes()), SHAPE), (2, 3)),
        ((number(10, 0), chunk(12, VALUES.astype("<f8").tobytes()), SHAPE), (2, 3)),
        ((PACKED, SHAPE, chunk(6, VALUES.tobytes()), number(99, 7), tag(98, 5) + b"1234"), (2, 3)),
        ((PACKED, SHAPE, tag(97, 3) + number(1, 2) + tag(97, 4)), (2, 3)),
    ],
)
def test_blobs(parts: tuple[bytes, ...], shape: tuple[int, ...]) -> None:
    blob = blob_of(*parts)
    assert blob.fault == ""
    assert blob.shape == shape
    np.testing.assert_array_equal(blob.values, VALUES)
    assert blob.values.dtype == np.float32


def test_a_blob_without_shape_is_a_scalar() -> None:
    blob = blob_of(chunk(5, VALUES[:1].tobytes()))
    assert blob.shape == ()
    assert blob.values[0] == 1.5
    assert blob.fault == ""


def test_a_long_run_of_single_values_is_read_whole() -> None:
    values = np.arange(10_000, dtype=np.float32)
    singles = b"".join(tag(5, 5) + value.tobytes() for value in values)
    blob = blob_of(singles, chunk(7, number(1, 10_000)))
    np.testing.assert_array_equal(blob.values, values)


@pytest.mark.parametrize(
    ("parts", "fault"),
    [
        ((PACKED, chunk(7, number(1, 7))), "wants 7 values, 6 are stored"),
        ((PACKED,), "wants 1 values, 6 are stored"),
        ((PACKED, number(4, 6)), "wants 0 values"),
        ((PACKED, chunk(7, number(1, -1))), "could not hold"),
        ((PACKED, chunk(7, number(1, 2**31), number(1, 2**31))), "could not hold"),
        ((number(10, 3), chunk(12, b"123456"), SHAPE), "holds no weights"),
        ((number(10, 2), chunk(12, b"123"), SHAPE), "no whole number of float16"),
    ],
)
def test_blobs_that_cannot_be_used_say_why(parts: tuple[bytes, ...], fault: str) -> None:
    assert fault in blob_of(*parts).fault


REFUSED = [
    (b"", "is empty"),
    (chunk(1, "net"), "holds no layers"),
    (b"name: 'net'\nlayer { }\n" * 4, "is text where weights are due"),
    (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    (b"PK\x03\x04rest", "zip archive"),
    (b"\x1f\x8brest", "gzip archive"),
    (b"<html><body>404", "HTML page"),
    (bytes(range(128, 256)), "no caffemodel, or cut off"),
    (b"\x00" * 50, "field number 0 does not exist"),
    (layer("a", PACKED + SHAPE)[:-1], "does not fit"),
    (chunk(100, tag(7, 2) + varint(2**40)), "a field of 1099511627776 bytes does not fit into the 0"),
    (layer("a", chunk(5, b"12345")), "do not fill their field"),
    (layer("a", tag(5, 5) + b"12"), "a number is cut off"),
    (tag(100, 2) + b"\xff" * 11, "more than ten bytes"),
    (NAME + tag(9, 3) * 100, "nested more than 64"),
    (NAME + tag(9, 4), "wire type 4 is out of place"),
    (NAME + tag(9, 7), "wire type 7 is out of place"),
    (layer("a", chunk(7, number(1, 1) * 40)), "more than 32 axes"),
    (chunk(100) * 50_001, "more than 50000 layers"),
    (chunk(100, chunk(7) * 65_537), "more than 65536 weight arrays"),
    (layer("a") + chunk(2, chunk(4, "b")), "both 'layer' and 'layers'"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(content: bytes, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_caffemodel(content, "net.caffemodel")
    assert message in str(caught.value)
    assert str(caught.value).startswith("net.caffemodel")


def test_versions() -> None:
    blob = PACKED + SHAPE
    old = parse_caffemodel(chunk(2, chunk(4, "b"), number(5, 4), chunk(6, blob)), "f")
    oldest = parse_caffemodel(chunk(2, chunk(1, chunk(1, "c"), chunk(50, blob)), chunk(2, "x")), "f")
    assert [(item.layers[0].name, item.layers[0].version) for item in (old, oldest)] == [("b", 1), ("c", 0)]
    assert "V1" in old.notes[0]
    assert "V0" in oldest.notes[0]
    for item in (old, oldest):
        np.testing.assert_array_equal(item.layers[0].blobs[0].values, VALUES)


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(layer("a", PACKED + SHAPE))
    values = read_caffemodel(path).layers[0].blobs[0].values
    base = values
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    assert isinstance(base, mmap.mmap)
    assert not values.flags.writeable


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net\.caffemodel: cannot be read"):
        read_caffemodel(tmp_path / "net.caffemodel")


@pytest.mark.parametrize(
    ("stored", "wanted", "fits", "remark"),
    [
        ((4, 3, 2, 2), (4, 3, 2, 2), True, False),
        ((1, 1, 1, 4), (4,), True, False),
        ((1, 1, 4, 12), (4, 12), True, False),
        ((1, 1, 1, 1), (), True, False),
        ((1, 4, 1, 1), (4,), True, True),
        ((4, 12, 1, 1), (4, 12), True, True),
        ((12, 4), (4, 12), False, False),
        ((48,), (4, 12), False, False),
        ((2, 2, 3, 4), (4, 3, 2, 2), False, False),
    ],
)
def test_fitting_shapes(stored: tuple[int, ...], wanted: tuple[int, ...], fits: bool, remark: bool) -> None:
    array, note = fit_blob(np.zeros(stored, np.float32), wanted)
    assert (array is not None) is fits
    assert array is None or array.shape == wanted
    assert (note is not None) is remark


def test_every_real_caffemodel(shared: Path) -> None:
    paths = sorted(shared.glob("models/**/*.caffemodel")) + sorted(shared.glob("golden/caffe/*/*.caffemodel"))
    assert len(paths) > 20
    for path in paths:
        stored = read_caffemodel(path)
        assert not [blob.fault for item in stored.layers for blob in item.blobs.values() if blob.fault], path
        assert sum(len(item.blobs) for item in stored.layers), path


def test_half_precision_weights_as_opencv_stores_them(shared: Path) -> None:
    folder = shared / "models"
    half = read_caffemodel(folder / "ssd_res10_face_fp16/res10_300x300_ssd_iter_140000_fp16.caffemodel")
    full = read_caffemodel(folder / "ssd_res10_face/res10_300x300_ssd_iter_140000.caffemodel")
    assert "weights stored as float16" in half.notes
    originals = {item.name: item for item in full.layers}
    compared = 0
    for item in half.layers:
        for index, blob in item.blobs.items():
            original = originals[item.name].blobs[index]
            assert blob.values.size == original.values.size
            np.testing.assert_allclose(blob.values, original.values, rtol=2e-3, atol=1e-5)
            compared += 1
    assert compared > 90

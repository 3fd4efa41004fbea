"""Labels: with the samples, or in a file of their own."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import COLOUR, GRAY, save_image
from .test_datasets import datum, make_lmdb

PIXELS = np.zeros((4, 6), np.uint8)


def images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_image(folder / name, PIXELS)


def test_an_array_beside_the_data(fixtures: Path) -> None:
    inputs = (ModelInput("data", "data", (1, 1, 8, 8)),)
    path = fixtures / "digits/test.npz"
    labels = open_inputs([str(path)], inputs).labels()
    assert labels is not None
    assert np.array_equal(labels.classes, np.load(path)["label"])
    assert labels.origin == "array 'label' of test.npz"
    few = open_inputs([str(path)], inputs, InputOptions(samples=3)).labels()
    assert few is not None
    assert few.classes == labels.classes[:3]


def test_behind_the_paths_of_a_list(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    listing = tmp_path / "list.txt"
    listing.write_text("b.png 7\na.png 0\n")
    labels = open_inputs([str(listing)], GRAY).labels()
    assert labels is not None
    assert labels.classes == (7, 0)
    listing.write_text("b.png dog\na.png cat\n")
    labels = open_inputs([str(listing)], GRAY).labels()
    assert labels is not None
    assert (labels.classes, labels.names) == ((1, 0), ("cat", "dog"))
    listing.write_text("b.png 7\na.png\n")
    assert open_inputs([str(listing)], GRAY).labels() is None


def test_folder_names(tmp_path: Path) -> None:
    images(tmp_path, "dog/1.png", "cat/1.png", "cat/2.png")
    labels = open_inputs([str(tmp_path)], GRAY).labels()
    assert labels is not None
    assert (labels.classes, labels.names) == ((0, 0, 1), ("cat", "dog"))
    images(tmp_path, "loose.png")
    assert open_inputs([str(tmp_path)], GRAY).labels() is None


def test_an_lmdbs_own(tmp_path: Path) -> None:
    folder = make_lmdb(tmp_path / "set", [datum(np.zeros((3, 4, 6), np.uint8), label) for label in (3, 300)])
    labels = open_inputs([str(folder)], COLOUR).labels()
    assert labels is not None
    assert labels.classes == (3, 300)


def test_files_of_labels(tmp_path: Path) -> None:
    images(tmp_path, "photos/a.png", "photos/b.png")
    source = open_inputs([str(tmp_path / "photos")], GRAY)
    assert source.labels() is None
    (tmp_path / "ordered.txt").write_text("4\n2\n9\n")
    (tmp_path / "named.txt").write_text("# name label\nsomewhere.png 1\nb.png 2\n./a.png 4\n")
    (tmp_path / "labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + struct.pack(">I", 2) + bytes([4, 2]))
    np.save(tmp_path / "labels.npy", np.array([[4], [2]], np.float32))
    for name in ("ordered.txt", "named.txt", "labels-idx1-ubyte", "labels.npy"):
        labels = source.labels(tmp_path / name)
        assert labels is not None
        assert labels.classes == (4, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("4\n", "holds 1 labels for 2 samples"),
        ("a.png 4\n", r"has no label for 1 of 2 samples \(the first is 'b\.png'\)"),
        ("a.png 4\n2\n", "mixes lines"),
        ("", "is empty"),
    ],
)
def test_bad_files_of_labels(tmp_path: Path, content: str, message: str) -> None:
    images(tmp_path, "photos/a.png", "photos/b.png")
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(InputError, match=rf"labels\.txt: {message}"):
        open_inputs([str(tmp_path / "photos")], GRAY).labels(tmp_path / "labels.txt")


def test_values_that_are_no_classes(tmp_path: Path) -> None:
    images(tmp_path, "photos/a.png")
    np.save(tmp_path / "labels.npy", np.array([0.5]))
    with pytest.raises(InputError, match="holds values that are no classes"):
        open_inputs([str(tmp_path / "photos")], GRAY).labels(tmp_path / "labels.npy")


def test_mnist(shared: Path) -> None:
    folder = shared / "models/images/mnist"
    inputs = (ModelInput("data", "data", (1, 1, 28, 28)),)
    source = open_inputs([str(folder / "t10k-images-idx3-ubyte.gz")], inputs)
    labels = source.labels(folder / "t10k-labels-idx1-ubyte.gz")
    assert labels is not None
    assert labels.classes[:5] == (7, 2, 1, 0, 4)
    assert len(labels.classes) == 10000

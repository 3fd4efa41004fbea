"""Weights find their layers by name, with Caffe's rules for repeated names and shared parameters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import MissingExtraError, ModelError
from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.caffe.write import write_caffemodel
from tests.models.caffe.text_nets import INPUT, layer, messages, read
from tests.models.caffe.wire_bytes import chunk
from tests.models.caffe.wire_bytes import layer as stored_layer


def dense(name: str, top: str, params: str = "", bottom: str = "data") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{top}" {params}'
        " inner_product_param { num_output: 2 bias_term: false } }\n"
    )


def constant(value: float) -> list[np.ndarray]:
    return [np.full((2, 192), value, np.float32)]


def first_value(network: object, key: str) -> float:
    return float(layer(network, key).blobs[0][0, 0])  # type: ignore[arg-type]  # a CaffeNetwork


def test_by_name_whatever_the_order_and_the_type(tmp_path: Path) -> None:
    network = read(
        tmp_path, INPUT + dense("a", "x") + dense("b", "y"), {"b": constant(2), "else": constant(9), "a": constant(1)}
    )
    assert (first_value(network, "a"), first_value(network, "b")) == (1, 2)
    assert any("1 stored layer(s) with weights are not in the net" in note for note in network.net.notes)


def test_repeated_names_fill_the_first_layer_with_the_last_copy(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(INPUT + dense("a", "x") + dense("a", "y"))
    pairs = [("a", "Any", (), (), constant(1)), ("a", "Any", (), (), constant(2))]
    write_caffemodel(tmp_path / "net.caffemodel", "n", pairs)
    network = read_network(tmp_path / "net.caffemodel", options=CaffeOptions(allow_missing=True))
    assert first_value(network, "a") == 2
    assert not layer(network, "a@3").blobs


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": constant(1), "b": constant(2)}, 2),
        ({"b": constant(2), "a": constant(1)}, 1),
        ({"a": constant(1)}, 1),
        ({"b": constant(2)}, 2),
    ],
)
def test_shared_parameters(tmp_path: Path, weights: dict[str, list[np.ndarray]], expected: float) -> None:
    share = 'param { name: "w" }'
    network = read(tmp_path, INPUT + dense("a", "x", share) + dense("b", "y", share), weights)
    assert first_value(network, "a") == first_value(network, "b") == expected
    assert not network.problems
    network.build()


def test_shared_with_another_shape(tmp_path: Path) -> None:
    text = (
        INPUT
        + dense("a", "x", 'param { name: "w" }')
        + (
            'layer { name: "b" type: "InnerProduct" bottom: "x" top: "y" param { name: "w" share_mode: PERMISSIVE }'
            " inner_product_param { num_output: 192 bias_term: false } }"
        )
    )
    network = read(tmp_path, text, {"a": constant(1), "b": [np.full((192, 2), 5, np.float32)]})
    assert layer(network, "b").blobs[0].shape == (192, 2)
    assert first_value(network, "a") == first_value(network, "b") == 5
    network.build()


def test_nothing_matches(tmp_path: Path) -> None:
    network = read(tmp_path, INPUT + dense("a", "x"), {"other": constant(1)})
    text = messages(network)
    assert "net.caffemodel: no stored layer has the name of a layer of" in text
    assert "'other'" in text
    assert "'data'" in text


def test_missing_weights_are_an_error_unless_allowed(tmp_path: Path) -> None:
    weights = {"a": constant(1)}
    text = INPUT + dense("a", "x") + dense("b", "y")
    with pytest.raises(ModelError, match=r"net\.prototxt:3: layer 'b': .*--allow-missing"):
        read(tmp_path, text, weights).build()
    model = read(tmp_path, text, weights, CaffeOptions(allow_missing=True)).build()
    assert any("missing" in note for one in model.layers for note in one.notes if one.key == "b")


def test_unusable_blobs_are_told_only_where_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(INPUT + dense("a", "x"))
    bad = chunk(5, b"1234") + chunk(7, chunk(1, b"\x05"))
    good = chunk(5, np.ones(384, np.float32).tobytes()) + chunk(7, chunk(1, b"\x02\xc0\x01"))
    (tmp_path / "net.caffemodel").write_bytes(stored_layer("a", good) + stored_layer("b", bad))
    assert not read_network(tmp_path / "net.caffemodel").problems
    (tmp_path / "net.caffemodel").write_bytes(stored_layer("a", bad))
    network = read_network(tmp_path / "net.caffemodel")
    assert "net.caffemodel: layer 'a': its stored weights cannot be used: its shape 5 wants 5 values" in messages(
        network
    )


def test_wrong_number_and_shape_of_blobs(tmp_path: Path) -> None:
    text = INPUT + dense("a", "x")
    with pytest.raises(ModelError, match="layer 'a': InnerProduct takes 1 weight blob"):
        read(tmp_path, text, {"a": [*constant(1), np.zeros(2, np.float32)]}).build()
    with pytest.raises(ModelError, match="layer 'a': its weight is stored as 2x3, 2x192 is needed"):
        read(tmp_path, text, {"a": [np.zeros((2, 3), np.float32)]}).build()


def test_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    text = INPUT + dense("a/b", "x", 'param { name: "w" }') + dense("c", "y", 'param { name: "w" }')
    (tmp_path / "net.prototxt").write_text(text)
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/b/0", data=np.full((2, 192), 3, np.float32))
        file.create_group("data/c")
        file.create_group("data/data")
    network = read_network(path)
    assert not network.problems
    assert network.origin.structure_source == "beside the weights"
    assert (first_value(network, "a/b"), first_value(network, "c")) == (3, 3)
    network.build()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.create_group("other"), "has no group 'data'"),
        (lambda file: file.create_group("data"), "holds no layers"),
        (lambda file: file.create_dataset("data/a/0", shape=(2**14, 2**14), dtype="f4"), "absurdly large"),
        (lambda file: file.create_dataset("data/a/0", data=np.zeros((2, 192), np.int32)), "int32 values"),
        (
            lambda file: file.create_dataset("data/a/0", shape=(2**20, 2**20), dtype="f4", chunks=(8, 8)),
            "could not hold",
        ),
    ],
)
def test_bad_hdf5(tmp_path: Path, make: object, message: str) -> None:
    h5py = pytest.importorskip("h5py")
    (tmp_path / "net.prototxt").write_text(INPUT + dense("a", "x"))
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        make(file)  # type: ignore[operator]  # a function of the file
    with pytest.raises(ModelError, match=message):
        read_network(path).build()


def test_cut_hdf5(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("data/a/0", data=np.zeros((2, 192), np.float32))
    content = path.read_bytes()
    (tmp_path / "net.prototxt").write_text(INPUT + dense("a", "x"))
    for end in range(8, len(content), 97):
        path.write_bytes(content[:end])
        with pytest.raises(ModelError):
            read_network(path)


def test_hdf5_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "net.prototxt").write_text(INPUT)
    (tmp_path / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(MissingExtraError, match=r"gfpq-inspect\[hdf5\]"):
        read_network(tmp_path / "net.h5", tmp_path / "net.prototxt")

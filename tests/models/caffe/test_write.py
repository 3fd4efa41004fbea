"""What we write is what we read: caffemodels and prototxts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gfpq_inspect.errors import OutputError
from gfpq_inspect.models.caffe.caffemodel import parse_caffemodel, read_caffemodel
from gfpq_inspect.models.caffe.message import Message, Scalar
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.caffe.schema import Parameters
from gfpq_inspect.models.caffe.text import parse_text
from gfpq_inspect.models.caffe.write import (
    WrittenLayer,
    encode_caffemodel,
    format_prototxt,
    tree,
    write_caffemodel,
    write_prototxt,
)

BLOBS = st.lists(
    arrays(np.float32, array_shapes(min_dims=0, max_dims=5, max_side=4), elements=st.floats(width=32)), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=12), BLOBS), min_size=1, max_size=5))
def test_weights_come_back(layers: list[tuple[str, list[np.ndarray]]]) -> None:
    layers = [(name.encode(errors="replace").decode(), blobs) for name, blobs in layers]
    content = encode_caffemodel("net", [(name, "Any", ["a"], ["b"], blobs) for name, blobs in layers])
    stored = parse_caffemodel(content, "net.caffemodel")
    assert [item.name for item in stored.layers] == [name for name, _ in layers]
    for item, (_, blobs) in zip(stored.layers, layers, strict=True):
        assert len(item.blobs) == len(blobs)
        for index, blob in enumerate(blobs):
            assert item.blobs[index].shape == blob.shape
            assert item.blobs[index].values.tobytes() == blob.tobytes()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_come_back(text: str) -> None:
    assert parse_text(format_prototxt(tree(name=text)).encode(), "f").text("name") == text


def test_a_network_comes_back_without_a_prototxt(tmp_path: Path) -> None:
    convolution = tree(
        convolution_param=tree(num_output=2, kernel_size=[3, 1], bias_term=False, weight_filler=tree(type="xavier"))
    )
    quant = tree(quant_param=tree(quant_bits=16, quant_en=False))
    layers = [
        WrittenLayer("data", "Input", (), ("data",), (), tree(input_param=tree(shape=tree(dim=[1, 3, 8, 8])))),
        WrittenLayer("c", "Convolution", ("data",), ("c",), [np.ones((2, 3, 3, 1), np.float32)], convolution),
        WrittenLayer("q", "Quant", ("c",), ("c",), (), quant),
        WrittenLayer("p", "Pooling", ("c",), ("p",), (), tree(pooling_param=tree(
            pool=Scalar("AVE", "identifier"), kernel_size=2))),
    ]  # fmt: skip
    path = tmp_path / "net.caffemodel"
    write_caffemodel(path, "made", layers)
    network = read_network(path)
    assert network.origin.structure_source == "inside the weights"
    assert not network.problems
    by_key = {layer.key: layer for layer in network.net.layers}
    assert by_key["c"].parameters("convolution_param").integers("kernel_size") == [3, 1]
    assert by_key["c"].parameters("convolution_param").flag("bias_term") is False
    assert by_key["c"].parameters("convolution_param").sub("weight_filler").string("type") == "xavier"
    assert by_key["q"].parameters("quant_param").integer("quant_bits") == 16
    assert by_key["q"].parameters("quant_param").flag("quant_en") is False
    assert by_key["p"].parameters("pooling_param").string("pool") == "AVE"
    assert network.declared_inputs[0].shape == (1, 3, 8, 8)
    assert network.build().outputs == ("p",)


def test_existing_files_stay_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    write_prototxt(path, tree(name="one"))
    with pytest.raises(OutputError, match="exists already"):
        write_prototxt(path, tree(name="two"))
    with pytest.raises(OutputError, match="exists already"):
        write_caffemodel(path, "two", [])
    assert path.read_text() == 'name: "one"\n'
    write_prototxt(path, tree(name="two"), overwrite=True)
    assert path.read_text() == 'name: "two"\n'


def test_real_weights_written_again_are_the_same(tmp_path: Path, fixtures: Path) -> None:
    for name in ("layers4d", "v1_format", "v0_format"):
        stored = read_caffemodel(fixtures / "caffe" / name / "net.caffemodel")
        again = tmp_path / f"{name}.caffemodel"
        write_caffemodel(
            again,
            name,
            [
                (item.name, "Any", (), (), [blob.values.reshape(blob.shape) for blob in item.blobs.values()])
                for item in stored.layers
            ],
        )
        copy = read_caffemodel(again)
        for ours, theirs in zip(copy.layers, stored.layers, strict=True):
            assert ours.name == theirs.name
            for index, blob in theirs.blobs.items():
                assert ours.blobs[index].shape == blob.shape
                np.testing.assert_array_equal(ours.blobs[index].values, blob.values)


def test_python_values_as_a_tree() -> None:
    message = tree(
        name="x",
        number=[1, 2.5, np.float32(0.5)],
        flag=True,
        inner=[tree(a=1), tree()],
        kind=Scalar("AVE", "identifier"),
    )
    assert isinstance(message, Message)
    assert format_prototxt(message) == (
        'name: "x"\nnumber: 1\nnumber: 2.5\nnumber: 0.5\nflag: true\ninner {\n  a: 1\n}\ninner {\n}\nkind: AVE\n'
    )
    assert Parameters(tree(eps=1e-5), "BatchNormParameter").number("eps") == np.float32(1e-5)

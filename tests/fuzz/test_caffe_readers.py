"""Damaged and random files: both Caffe readers answer with a network or with an error of ours, never otherwise."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import read_network
from tests.fuzz.caffe_reader import read_binary_file, read_text_file
from tests.models.caffe.wire_bytes import chunk, varint

QUIET = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NETS = ("layers4d", "quirks", "recurrent_misc", "ssd", "train_val", "v0_format", "v1_format")
WORDS = [
    "layer",
    "layers",
    "name",
    "type",
    "bottom",
    "top",
    "input",
    "input_dim",
    "input_shape",
    "dim",
    "param",
    "include",
    "exclude",
    "phase",
    "TEST",
    "TRAIN",
    "stage",
    "convolution_param",
    "num_output",
    "kernel_size",
    "input_param",
    "shape",
    "CONVOLUTION",
    "RELU",
    "conv",
    "padding",
    "pad",
    "transform_param",
]


@st.composite
def text_like(draw: st.DrawFn) -> bytes:
    """Text of the words and signs that prototxts are made of."""
    token = st.one_of(
        st.sampled_from(WORDS),
        st.sampled_from(["{", "}", "<", ">", "[", "]", ":", ",", ";", "-", '"a"', "'b'", "#x\n", "\n", '"']),
        st.sampled_from(
            ['type: "ReLU"', 'type: "Split"', 'bottom: "a"', 'top: "a"', 'top: "b"', "layer {", "layers {"]
        ),
        st.integers(-(2**70), 2**70).map(str),
        st.floats().map(repr),
    )
    return " ".join(draw(st.lists(token, max_size=60))).encode()


@QUIET
@given(text_like())
def test_random_text(tmp_path: Path, content: bytes) -> None:
    read_text_file(content, tmp_path)


@QUIET
@given(st.binary(max_size=300))
def test_random_bytes(tmp_path: Path, content: bytes) -> None:
    read_text_file(content, tmp_path)
    read_binary_file(content, tmp_path)


def wire_message(depth: int) -> st.SearchStrategy[bytes]:
    """Well-formed wire format with the field numbers that networks use, nested."""
    numbers = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 50, 100, 106, 121, 133, 143, 147, 149, 208, 4917])
    leaf = st.one_of(st.binary(max_size=12), st.sampled_from([b"a", b"ReLU", b"Quant", b"Split", b"Input", b"Pooling"]))
    content = leaf if depth == 0 else st.one_of(leaf, wire_message(depth - 1))
    field = st.one_of(
        st.tuples(numbers, content).map(lambda pair: chunk(pair[0], pair[1])),
        st.tuples(numbers, st.integers(0, 2**64 - 1)).map(lambda pair: varint(pair[0] << 3) + varint(pair[1])),
        st.tuples(numbers, st.binary(min_size=4, max_size=4)).map(lambda pair: varint(pair[0] << 3 | 5) + pair[1]),
    )
    return st.lists(field, max_size=6).map(b"".join)


@QUIET
@given(wire_message(4))
def test_random_messages(tmp_path: Path, content: bytes) -> None:
    read_binary_file(content, tmp_path)
    read_binary_file(content + chunk(100, chunk(2, "ReLU"), chunk(3, "a"), chunk(4, "b")), tmp_path)
    for kind in ("Pooling", "Quant", "Reshape", "Split"):
        read_binary_file(chunk(100, chunk(2, kind), chunk(3, "a"), chunk(4, "b"), content), tmp_path)
    read_binary_file(chunk(2, chunk(2, "a"), chunk(3, "b"), content), tmp_path)


def mutations(content: bytes, count: int, seed: int) -> list[bytes]:
    """Return damaged copies: bytes changed, cut out, doubled, moved."""
    source = random.Random(seed)
    out = []
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(source.randint(1, 4)):
            start = source.randrange(len(damaged))
            length = source.choice([1, 1, 2, 8, 64])
            match source.randrange(4):
                case 0:
                    damaged[start] = source.randrange(256)
                case 1:
                    del damaged[start : start + length]
                case 2:
                    damaged[start:start] = damaged[start : start + length]
                case _:
                    other = source.randrange(len(damaged))
                    damaged[other:other] = damaged[start : start + length]
            if not damaged:
                damaged = bytearray(b"\x00")
        out.append(bytes(damaged))
    return out


@pytest.mark.parametrize("net", NETS)
def test_damaged_networks(tmp_path: Path, fixtures: Path, net: str) -> None:
    folder = fixtures / "caffe" / net
    for content in mutations((folder / "net.prototxt").read_bytes(), 60, seed=1):
        read_text_file(content, tmp_path)
    weights = (folder / "net.caffemodel").read_bytes()
    for content in mutations(weights, 60, seed=2):
        read_binary_file(content, tmp_path)


@pytest.mark.parametrize("net", NETS)
def test_cut_networks(tmp_path: Path, fixtures: Path, net: str) -> None:
    folder = fixtures / "caffe" / net
    text, weights = (folder / "net.prototxt").read_bytes(), (folder / "net.caffemodel").read_bytes()
    for share in range(0, 100, 3):
        read_text_file(text[: len(text) * share // 100], tmp_path)
        read_binary_file(weights[: len(weights) * share // 100], tmp_path)


def test_real_weights_cut_anywhere_are_refused(tmp_path: Path, shared: Path) -> None:
    """A cut file is refused wherever it is cut, but for the few places between two layers."""
    source = random.Random(3)
    path = tmp_path / "cut.caffemodel"
    for real in sorted(shared.glob("models/*/*.caffemodel")):
        content = real.read_bytes()
        whole = len(read_caffemodel(real).layers)
        for end in [0, 1, 2, 10, len(content) - 1, *(source.randrange(len(content)) for _ in range(12))]:
            path.write_bytes(content[:end])
            layers = 0
            with contextlib.suppress(ModelError):
                layers = len(read_caffemodel(path).layers)
            assert layers < whole


def test_a_cut_between_layers_is_told_as_missing_weights(tmp_path: Path, fixtures: Path) -> None:
    folder = fixtures / "caffe/v1_format"
    content = (folder / "net.caffemodel").read_bytes()
    stored = read_caffemodel(folder / "net.caffemodel")
    cut = stored.layers[len(stored.layers) // 2].end
    (tmp_path / "net.caffemodel").write_bytes(content[:cut])
    with pytest.raises(ModelError, match="weight file holds no"):
        read_network(tmp_path / "net.caffemodel", folder / "net.prototxt").build()

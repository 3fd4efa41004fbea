"""Networks without a prototxt: what a caffemodel tells, and what it must not be asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.network import read_network
from tests.models.caffe.text_nets import layer, messages
from tests.models.caffe.wire_bytes import chunk, number, tag

DATA = chunk(
    100, chunk(1, "data"), chunk(2, "Input"), chunk(4, "data"), chunk(143, chunk(1, chunk(1, b"\x01\x03\x08\x08")))
)


def one(kind: str, *parts: bytes, bottom: str = "data", top: str = "y") -> bytes:
    return chunk(100, chunk(1, "l"), chunk(2, kind), chunk(3, bottom), chunk(4, top), *parts)


def write(folder: Path, *layers: bytes) -> Path:
    path = folder / "net.caffemodel"
    path.write_bytes(chunk(1, "net") + b"".join(layers))
    return path


def test_parameters_by_number(tmp_path: Path) -> None:
    pooling = chunk(121, number(1, 1), number(2, 3), number(3, 2), number(4, 1))
    network = read_network(write(tmp_path, DATA, one("Pooling", pooling)))
    assert not network.problems
    found = layer(network, "l").parameters("pooling_param")
    assert (found.string("pool"), found.integer("kernel_size"), found.integer("stride")) == ("AVE", 3, 2)
    assert network.origin.structure_source == "inside the weights"
    assert any("field numbers of BVLC" in note for note in network.net.notes)
    assert network.build().outputs == ("l",)


def test_negative_numbers_floats_and_repeated_messages(tmp_path: Path) -> None:
    reshape = chunk(133, chunk(1, number(1, 0), number(1, -1)), number(2, -2))
    power = chunk(122, tag(1, 5) + np.float32(0.1).tobytes())
    network = read_network(write(tmp_path, DATA, one("Reshape", reshape), one("Power", power, bottom="y", top="z")))
    assert layer(network, "l").parameters("reshape_param").sub("shape").integers("dim") == [0, -1]
    assert layer(network, "l").parameters("reshape_param").integer("axis") == -2
    assert layer(network, "l@2").parameters("power_param").number("power") == float(np.float32(0.1))


def test_split_messages_are_merged_and_the_last_value_stays(tmp_path: Path) -> None:
    pooling = chunk(121, number(2, 3), number(3, 2)) + chunk(121, number(2, 2))
    found = layer(read_network(write(tmp_path, DATA, one("Pooling", pooling))), "l").parameters("pooling_param")
    assert (found.integer("kernel_size"), found.integer("stride")) == (2, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (one("Swish", chunk(147, chunk(1, "roi"))), "field #147 in the caffemodel is not BVLC's swish_param"),
        (one("Pooling", chunk(121, number(1, 9))), "pool has no value 9"),
        (one("Pooling", chunk(121, number(99, 1))), "field #99 is not in PoolingParameter"),
        (one("Pooling", chunk(121, b"\xff")), "a number is cut off"),
        (one("Clip", chunk(148, tag(1, 5) + b"\0\0\0\0")), "ClipParameter lacks max"),
        (one("Upsample", chunk(149, number(1, 2))), "parameters stand in field #149 of the caffemodel"),
        (one("Interp", chunk(143, number(1, 2))), "parameters stand in field #143"),
        (one("Python", chunk(130, chunk(1, "m"))) + one("ReLU", bottom="y", top="z"), ""),
    ],
)
def test_what_does_not_fit_is_never_guessed(tmp_path: Path, content: bytes, message: str) -> None:
    found = messages(read_network(write(tmp_path, DATA, content)))
    assert message in found
    assert bool(message) is bool(found)
    assert not message or "give the prototxt" in found


def test_automatic_splits_are_undone(tmp_path: Path) -> None:
    split = chunk(100, chunk(1, "data_data_0_split"), chunk(2, "Split"), chunk(3, "data"),
                  chunk(4, "data_data_0_split_0"), chunk(4, "data_data_0_split_1"))  # fmt: skip
    network = read_network(
        write(tmp_path, DATA, split, one("ReLU", bottom="data_data_0_split_0"),
              one("TanH", bottom="data_data_0_split_1", top="z"))
    )  # fmt: skip
    assert [one.key for one in network.net.layers] == ["data", "l", "l@3"]
    assert [one.bottoms for one in network.net.layers[1:]] == [("data",), ("data",)]
    assert [(split.name, split.readers) for split in network.net.splits] == [("data_data_0_split", 2)]


def test_fields_of_a_wrong_kind_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, DATA, one("ReLU"), number(1, 5), chunk(4, b"\x80"), tag(3, 5) + b"1234")
    with pytest.raises(ModelError, match="structure that cannot be read: a number is cut off"):
        read_network(path)
    path = write(tmp_path, DATA, one("ReLU"), number(1, 5), number(3, 5), number(8, 1))
    assert [layer.key for layer in read_network(path).net.layers] == ["data", "l"]


def test_the_phase_it_was_trained_in_does_not_count(tmp_path: Path) -> None:
    train = number(10, 0)
    rules = chunk(8, number(1, 0))
    network = read_network(write(tmp_path, DATA, one("Dropout", train, rules)))
    assert [(one.key, one.phase) for one in network.net.layers] == [("data", "TEST"), ("l", "TEST")]


def test_weights_alone(tmp_path: Path) -> None:
    path = write(tmp_path, chunk(100, chunk(1, "a"), chunk(7, chunk(5, b"1234"))))
    (tmp_path / "deploy.prototxt").write_text("")
    with pytest.raises(ModelError, match=r"holds weights but no structure \(there is deploy\.prototxt beside it\)"):
        read_network(path)


@pytest.mark.parametrize(
    ("parts", "bits", "enabled"),
    [
        (chunk(4917, number(1, 16)), 16, True),
        (chunk(4917, number(1, 8), number(2, 0)), 8, False),
        (chunk(4917, chunk(1, "foreign")), None, None),
        (chunk(4918, number(1, 16)), None, None),
        (b"", None, None),
    ],
)
def test_quant_parameters_by_our_number_only(
    tmp_path: Path, parts: bytes, bits: int | None, enabled: bool | None
) -> None:
    path = write(tmp_path, DATA, one("Quant", parts))
    if b"foreign" not in parts:
        inside = layer(read_network(path), "l").parameters("quant_param")
        assert inside.present is (bits is not None)
        assert (inside.integer("quant_bits"), inside.flag("quant_en")) == (bits or 8, enabled is not False)
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
        'layer { name: "l" type: "Quant" bottom: "data" top: "y" }'
    )
    network = read_network(path)
    beside = layer(network, "l")
    assert beside.parameters("quant_param").present is (bits is not None)
    assert beside.parameters("quant_param").integer("quant_bits") == (bits or 8)
    assert any("from the caffemodel" in note for note in beside.notes) is (bits is not None)
    model = network.build()
    notes = [note for row in model.layers for note in row.notes]
    assert any("8 bits" in note for note in notes) is (bits is None)


@pytest.mark.parametrize(
    ("parts", "owner"),
    [(chunk(149, chunk(1, "hwgq")), "HWGQ"), (chunk(208, tag(2, 5) + b"\0\0\0\0"), "Ascend")],
)
def test_other_chips_quant_layers_are_refused_by_name(tmp_path: Path, parts: bytes, owner: str) -> None:
    with pytest.raises(ModelError, match=owner):
        read_network(write(tmp_path, DATA, one("Quant", parts))).build()


def test_real_files_without_their_prototxt(tmp_path: Path, shared: Path) -> None:
    models = shared / "models"
    names = ["mtcnn/det1", "mtcnn/det3", "ultraface_slim_320/slim-320", "wechat_qr_detect/detect", "wechat_qr_sr/sr"]
    compared = 0
    for name in names:
        path = tmp_path / Path(name).with_suffix(".caffemodel").name
        path.write_bytes((models / f"{name}.caffemodel").read_bytes())
        alone = read_network(path)
        together = read_network(models / f"{name}.caffemodel")
        ours = {one.name: one for one in alone.net.layers}
        for one in together.net.layers:
            if one.name in ours and one.type == ours[one.name].type and not one.is_input:
                assert len(one.blobs) == len(ours[one.name].blobs)
                compared += 1
    assert compared > 300

"""Connecting: in-place chains, shared storage, automatic splits, keys, and what Caffe refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from tests.models.caffe.text_nets import INPUT, layer, messages, read


def relu(name: str, bottom: str, top: str) -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def test_in_place_chains_keep_one_value_a_layer(tmp_path: Path) -> None:
    network = read(
        tmp_path, INPUT + relu("a", "data", "x") + relu("b", "x", "x") + relu("c", "x", "x") + relu("d", "x", "y")
    )
    assert layer(network, "b").bottoms == ("a",)
    assert layer(network, "c").bottoms == ("b",)
    assert layer(network, "d").bottoms == ("c",)
    assert layer(network, "c").in_place
    assert not layer(network, "d").in_place
    assert network.net.outputs == ("d",)
    assert layer(network, "c").top_blobs == ("x",)


def test_storage_shared_with_a_new_shape(tmp_path: Path) -> None:
    text = INPUT + relu("a", "data", "x") + 'layer { name: "f" type: "Flatten" bottom: "x" top: "xf" }\n'
    text += relu("early", "x", "e") + relu("fi", "xf", "xf") + relu("late", "x", "l") + relu("fl", "xf", "y")
    network = read(tmp_path, text)
    assert not network.problems
    assert (layer(network, "early").bottoms, layer(network, "early").bottom_shapes) == (("a",), (None,))
    assert (layer(network, "fi").bottoms, layer(network, "fi").bottom_shapes) == (("f",), (None,))
    assert (layer(network, "late").bottoms, layer(network, "late").bottom_shapes) == (("fi",), ("a",))
    assert (layer(network, "fl").bottoms, layer(network, "fl").bottom_shapes) == (("fi",), (None,))
    assert "share storage" in layer(network, "late").notes[0]


@pytest.mark.parametrize(
    "alias",
    [
        'type: "Split" bottom: "x" top: "u" top: "v"',
        'type: "Concat" bottom: "x" top: "u"',
        'type: "Slice" bottom: "x" top: "u"',
        'type: "Permute" bottom: "x" top: "u" permute_param { order: 0 order: 1 order: 2 order: 3 }',
    ],
)
def test_storage_shared_with_the_same_shape(tmp_path: Path, alias: str) -> None:
    text = (
        INPUT + relu("a", "data", "x") + f'layer {{ name: "s" {alias} }}\n' + relu("i", "u", "u") + relu("l", "x", "w")
    )
    network = read(tmp_path, text)
    assert (layer(network, "l").bottoms, layer(network, "l").bottom_shapes) == (("i",), (None,))


def test_no_sharing_where_caffe_copies(tmp_path: Path) -> None:
    text = INPUT + relu("a", "data", "x") + 'layer { name: "s" type: "Dropout" bottom: "x" top: "u" }\n'
    network = read(tmp_path, text + relu("i", "u", "u") + relu("l", "x", "w"))
    assert layer(network, "l").bottoms == ("a",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (relu("a", "dada", "x"), "2:40: layer 'a': reads blob 'dada', which no layer writes (did you mean 'data'?)"),
        (relu("a", "x", "y") + relu("b", "data", "x"), "only layer 'b' in line 3 below writes"),
        (relu("a", "x", "x"), "reads its own top 'x'"),
        (relu("a", "y", "x") + relu("b", "x", "y"), "only layer 'b' in line 3 below writes"),
        (relu("a", "data", "x") + relu("b", "data", "x"), "writes blob 'x', which layer 'a' has written already"),
        (
            relu("a", "data", "x") + relu("b", "x", "y") + relu("c", "x", "x"),
            "in place after another layer has read it",
        ),
        ('layer { name: "f" type: "Flatten" bottom: "data" top: "data" }', "Flatten cannot work in place"),
        (
            'layer { name: "e" type: "Eltwise" bottom: "data" bottom: "data" top: "data" }',
            "Eltwise in place overwrites what it still has to read",
        ),
        (
            'layer { name: "c" type: "Convolution" bottom: "data" top: "data"'
            " convolution_param { num_output: 3 kernel_size: 1 } }",
            "Convolution in place overwrites",
        ),
        ('layer { name: "l" type: "LRN" bottom: "data" top: "data" }', "LRN in place overwrites"),
        ('layer { name: "n" bottom: "data" top: "y" }', "layer 'n': has no type"),
        (
            'layer { name: "r" type: "ReLU" bottom: "data" top: "y" include { phase: TEST } exclude { phase: TRAIN } }',
            "has both include and exclude rules",
        ),
        (
            'layer { name: "r" type: "ReLU" bottom: "data" top: "y" include { phse: TEST } }',
            "its rule has an unknown field 'phse'",
        ),
    ],
)
def test_what_caffe_refuses(tmp_path: Path, text: str, message: str) -> None:
    assert message in messages(read(tmp_path, INPUT + text))


@pytest.mark.parametrize(
    "text",
    [
        'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "a" eltwise_param { operation: PROD } }',
        'layer { name: "l" type: "LRN" bottom: "a" top: "a" lrn_param { norm_region: WITHIN_CHANNEL } }',
        'layer { name: "d" type: "Dropout" bottom: "a" top: "a" }',
    ],
)
def test_in_place_layers_that_are_right(tmp_path: Path, text: str) -> None:
    network = read(tmp_path, INPUT + relu("ra", "data", "a") + relu("rb", "data", "b") + text)
    assert not network.problems


def test_all_problems_together_by_line(tmp_path: Path) -> None:
    text = (
        INPUT + relu("a", "q", "x") + relu("b", "r", "y") + 'layer { name: "c" type: "ReLLU" bottom: "x" top: "z" }\n'
    )
    network = read(tmp_path, text + "foo: 1\n")
    with pytest.raises(Exception, match="no layer writes") as caught:
        network.build()
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].split(":")[-2 if line.count(":") > 2 else -1] for line in lines] != []
    assert ["'q'" in lines[0], "'r'" in lines[1], "ReLLU" in lines[2], "'foo'" in lines[3]] == [True] * 4


def test_layers_called_like_values_stay_apart(tmp_path: Path) -> None:
    text = 'layer { name: "a" type: "Input" top: "p" top: "q" input_param { shape { dim: 1 dim: 3 } } }\n'
    network = read(
        tmp_path, text + relu("a:1", "p", "r") + relu("a", "q", "s") + relu("", "r", "t") + relu("", "s", "u")
    )
    keys = [one.key for one in network.net.layers]
    values = [value for one in network.net.layers for value in one.tops]
    assert len(set(keys)) == len(keys)
    assert len(set(values)) == len(values)
    assert keys[2] == "a@2"


def test_keys_splits_and_order_are_those_recorded_from_caffe(fixtures: Path) -> None:
    for folder in sorted((fixtures / "caffe").iterdir()):
        if not (folder / "index.json").exists():
            continue
        recorded = json.loads((folder / "index.json").read_text())
        network = read_network(
            folder / "net.caffemodel", folder / "net.prototxt", options=CaffeOptions(keep_losses=True)
        )
        ours = [list(one.tops) for one in network.net.layers if one.tops]
        theirs = [entry["keys"] for entry in recorded if not entry["auto_split"] and entry["keys"]]
        assert ours == theirs, folder.name
        types = {entry["keys"][0]: entry["type"] for entry in recorded if entry["keys"]}
        assert all(types[one.tops[0]] == one.type for one in network.net.layers if one.tops)
        in_place = {entry["keys"][0] for entry in recorded if entry["inplace"] and entry["keys"]}
        assert {one.tops[0] for one in network.net.layers if one.in_place} == in_place
        splits = {entry["name"]: len(entry["tops"]) for entry in recorded if entry["auto_split"]}
        silent = any(entry["type"] in ("Silence", "HDF5Output") for entry in recorded)
        found = {split.name: split.readers for split in network.net.splits}
        assert found == splits or (silent and set(found) <= set(splits)), folder.name

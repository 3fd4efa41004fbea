"""Quant layers in prototxts: where they go, what stays as it was, and the way back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gfpq_inspect.errors import ModelError, QuantizationError
from gfpq_inspect.models.caffe.connect import connect
from gfpq_inspect.models.caffe.definition import NetState, define_layers
from gfpq_inspect.models.caffe.problems import Problems
from gfpq_inspect.models.caffe.text import parse_text
from gfpq_inspect.models.caffe.upgrade import upgrade
from gfpq_inspect.tune.quant_layers import insert_quant_layers, strip_quant_layers


def insert(text: str, **options: object) -> str:
    """Insert, insist on the way back, on a legal net in both phases, and that a second time changes nothing."""
    raw = text.encode()
    change = insert_quant_layers(raw, "net.prototxt", **options)  # type: ignore[arg-type]  # as given
    assert strip_quant_layers(change.content, "net.prototxt").content == raw
    assert insert_quant_layers(change.content, "net.prototxt").content == change.content
    check(change.content)
    return change.content.decode()


def check(content: bytes) -> None:
    """A net that Caffe would connect, in either phase."""
    for phase in ("TRAIN", "TEST"):
        problems = Problems()
        layers, _ = upgrade(parse_text(content, "net"), "net", problems)
        connect(define_layers(layers, NetState(phase), "net", problems, filtered=True), "net", problems)
        problems.raise_if_any()


def readers(text: str) -> dict[str, list[str]]:
    """Layer name to its bottoms."""
    root = parse_text(text.encode(), "net")
    return {layer.text("name"): layer.texts("bottom") for layer in root.messages("layer")}


CHAIN = """\
# a comment at the top
name: "net"  # and one behind
input: 'data'
input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }

layer { name: "conv1"   type: "Convolution"  # odd   spacing
\tbottom: 'data' top: "conv1"
  convolution_param { num_output: 4, kernel_size: 3; }
}
layer {
  name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1"
}
# belongs to the branches
layer { name: "left" type: "Convolution" bottom: "conv1" top: "left" convolution_param { num_output: 4 } }
  layer {
    name: "right"
    type: "Convolution"
    bottom: "conv1"
    top: "right"
    convolution_param { num_output: 4 kernel_size: 1 }
  }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" bottom: "conv1" top: "sum" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool" pooling_param { kernel_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 2 } }
"""


def test_one_layer_a_blob_shared_by_its_quantized_readers() -> None:
    text = insert(CHAIN)
    found = readers(text)
    assert [name for name in found if name.endswith("_quant")] == [
        "data_quant", "conv1_quant", "sum_quant", "pool_quant",
    ]  # fmt: skip
    assert found["conv1"] == ["data_quant"]
    assert found["left"] == found["right"] == ["conv1_quant"]
    assert found["sum"] == ["left", "right", "conv1"]
    assert found["relu1"] == ["conv1"]
    names = list(found)
    assert names.index("relu1") < names.index("conv1_quant") < names.index("left")


def test_everything_else_stays_byte_for_byte() -> None:
    text = insert(CHAIN)
    kept = [line for line in text.splitlines() if line in CHAIN.splitlines()]
    assert "\tbottom: 'data_quant' top: \"conv1\"" in text
    changed = [line for line in CHAIN.splitlines() if line not in kept]
    assert len(changed) == 5  # only the lines of the five readers' bottoms
    assert "# belongs to the branches" in kept


def test_the_layer_itself() -> None:
    text = insert(CHAIN, bits=16)
    assert (
        "layer {\n  name: 'data_quant'\n  type: \"Quant\"\n  bottom: 'data'\n  top: 'data_quant'\n"
        '  quant_param {\n    quant_bits: 16\n    quant_en: 1\n  }\n}\nlayer { name: "conv1"' in text
    )


def test_python_layer() -> None:
    text = insert(CHAIN, python_layer=True)
    assert 'type: "Quant"' not in text
    assert 'module: "wk_quant"' in text
    layers, _ = upgrade(parse_text(text.encode(), "net"), "net", Problems())
    quant = [layer for layer in layers if layer.text("type") == "Quant"]
    assert len(quant) == 4
    assert quant[0].messages("quant_param")[0].text("quant_bits") == "8"


def test_high_precision_and_cpu_suffixes() -> None:
    text = CHAIN.replace('"left"', '"left_hp"').replace('"right"', '"right_cpu"')
    found = readers(insert(text))
    assert found["left_hp"] == ["conv1_quant"]
    assert found["right_cpu"] == ["conv1"]
    assert "quant_bits: 16" in insert(text)


def test_two_bit_widths_of_one_blob() -> None:
    found = readers(insert(CHAIN.replace('"left"', '"left_hp"')))
    assert found["left_hp"] == ["conv1_quant"]
    assert found["right"] == ["conv1_quant_2"]


def test_windows_line_endings_and_byte_order_mark() -> None:
    raw = b"\xef\xbb\xbf" + CHAIN.replace("\n", "\r\n").encode()
    change = insert_quant_layers(raw, "net")
    assert b"\n" not in change.content.replace(b"\r\n", b"")
    assert change.content.startswith(b"\xef\xbb\xbf")
    assert strip_quant_layers(change.content, "net").content == raw


def test_everything_on_one_line() -> None:
    one = " ".join(line.partition("#")[0].strip() for line in CHAIN.splitlines())
    assert insert(one.strip()).count("\n") == 0


def test_names_with_spaces_escapes_and_joined_strings() -> None:
    text = (
        CHAIN.replace('bottom: "pool"', 'bottom: "po" "ol"')
        .replace('"sum"', '"my sum"')
        .replace('"right"', '"ri\\147ht"')
    )
    found = insert(text)
    assert '"po" "ol_quant"' in found
    assert '"my_sum_quant"' in found


def test_taken_names() -> None:
    found = readers(insert(CHAIN.replace('"sum"', '"pool_quant"')))
    assert found["fc"] == ["pool_quant_2"]


def test_list_of_bottoms() -> None:
    text = CHAIN.replace('bottom: "pool" top: "fc"', 'bottom: ["pool"], top: "fc"')
    assert '["pool_quant"],' in insert(text)


TRAIN_VAL = """\
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } data_param { batch_size: 4 } }
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST } data_param { batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "aux_pool" type: "Pooling" bottom: "conv" top: "aux_pool" include { phase: TRAIN }
        pooling_param { kernel_size: 2 } }
layer { name: "aux" type: "InnerProduct" bottom: "aux_pool" top: "aux" exclude { phase: TEST }
        inner_product_param { num_output: 10 } }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label" include { phase: TRAIN } }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "drop" include { phase: TRAIN } }
layer { name: "train_fc" type: "InnerProduct" bottom: "drop" top: "fc" include { phase: TRAIN }
        inner_product_param { num_output: 10 } }
layer { name: "test_fc" type: "InnerProduct" bottom: "conv" top: "fc" include { phase: TEST stage: "deploy" }
        inner_product_param { num_output: 10 } }
layer { name: "test_fc" type: "InnerProduct" bottom: "conv" top: "fc" include { phase: TEST not_stage: "deploy" }
        inner_product_param { num_output: 10 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" }
"""


def test_train_and_test_in_one_file() -> None:
    text = insert(TRAIN_VAL)
    rules = dict(re.findall(r'name: "(\w+_quant)"\n.*\n.*\n.*\n((?:  include.*\n)*)', text))
    assert rules["data_quant"] == ""
    assert rules["aux_pool_quant"] == "  include { phase: TRAIN }\n"
    assert rules["drop_quant"] == "  include { phase: TRAIN }\n"
    assert rules["conv_quant"].count("include") == 3
    assert 'include { phase: TEST stage: "deploy" }' in rules["conv_quant"]
    for stages in ((), ("deploy",)):
        problems = Problems()
        layers, _ = upgrade(parse_text(text.encode(), "net"), "net", problems)
        connect(define_layers(layers, NetState("TEST", 0, stages), "net", problems, filtered=True), "net", problems)
        problems.raise_if_any()


def test_other_chips_quant_layers_are_left_alone() -> None:
    text = CHAIN.replace(
        "# belongs", 'layer { name: "q" type: "Quant" bottom: "conv1" top: "q" quant_param { clip_thr: 1 } }\n# belongs'
    )
    raw = text.encode()
    assert strip_quant_layers(raw, "net").content == raw


def test_as_in_the_digits_network(fixtures: Path) -> None:
    ours = insert_quant_layers((fixtures / "digits/float.prototxt").read_bytes(), "net").content.decode()
    assert readers(ours) == readers((fixtures / "digits/quant.prototxt").read_text())


V1 = """\
# old
name: "old"
input: "data" input_dim: 1 input_dim: 1 input_dim: 8 input_dim: 8
layers {
  name: "conv"  # keep me
  type: CONVOLUTION
  bottom: "data"
  top: "conv"
  blobs_lr: 1
  blobs_lr: 2
  weight_decay: 250
  weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 }
}
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { bottom: "conv" top: "fc" name: "fc" type: INNER_PRODUCT inner_product_param { num_output: 2 } }
"""


def test_old_format_is_upgraded_in_place() -> None:
    text = insert(V1)
    assert 'name: "conv"  # keep me\n  type: "Convolution"\n' in text
    assert "layers" not in text.split("# gfpq-inspect")[0]
    before, _ = upgrade(parse_text(V1.encode(), "net"), "net", Problems())
    after, _ = upgrade(parse_text(text.encode(), "net"), "net", Problems())
    assert len(after) == len(before) + 2
    specs = next(layer.messages("param") for layer in after if layer.text("name") == "conv")
    assert [(spec.text("lr_mult"), spec.text("decay_mult")) for spec in specs] == [("1", "250"), ("2", "0")]


def test_old_format_edited_since_is_stripped_only() -> None:
    content = insert_quant_layers(V1.encode(), "net").content.replace(b"num_output: 2", b"num_output: 3")
    stripped = strip_quant_layers(content, "net").content
    assert b"num_output: 3" in stripped
    assert b"quant" not in stripped
    check(stripped)


def test_in_place_layer_on_a_quant_blob_is_refused() -> None:
    text = (
        'input: "data" layer { name: "q" type: "Quant" bottom: "data" top: "q" }\n'
        'layer { name: "relu" type: "ReLU" bottom: "q" top: "q" }\n'
    )
    with pytest.raises(ModelError, match="layer 'relu': it works in place on 'q'"):
        strip_quant_layers(text.encode(), "net")


def test_bad_input() -> None:
    for change in (insert_quant_layers, strip_quant_layers):
        with pytest.raises(ModelError, match="net: holds no layers"):
            change(b"", "net")
    with pytest.raises(ModelError, match="net:1:9"):
        insert_quant_layers(b"layer { ", "net")
    with pytest.raises(QuantizationError, match="8 and 16"):
        insert_quant_layers(CHAIN.encode(), "net", bits=4)
    with pytest.raises(ModelError, match="list"):
        insert_quant_layers(b'layer: [ { name: "a" type: "Pooling" bottom: "b" top: "a" } ]', "net")


@pytest.mark.shared
def test_real_definitions(shared: Path) -> None:
    found = sorted(shared.glob("models/*/*.prototxt")) + sorted(shared.glob("golden/caffe/*/*.prototxt"))
    assert len(found) > 30
    for path in found:
        raw = path.read_bytes()
        for python_layer in (False, True):
            change = insert_quant_layers(raw, str(path), python_layer=python_layer)
            assert strip_quant_layers(change.content, str(path)).content == raw, path
            assert insert_quant_layers(change.content, str(path)).content == change.content, path

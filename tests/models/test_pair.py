"""Pairing of layers by name, by suffix, by output, by place; and what is said of the rest."""

from __future__ import annotations

import onnx
import pytest

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.model import Layer, LayerKind, Model, ModelInput, Origin
from gfpq_inspect.models.pair import Pairing, pair_inputs, pair_layers, plain_name

ORIGIN = Origin("caffe", "net", None, None, "given")


def model(*specifications: str) -> Model:
    """Layers written as 'name:Type<bottom,bottom>top'; without a bottom the layer before, without a top the name."""
    layers: list[Layer] = []
    seen: dict[str, int] = {}
    latest: dict[str, str] = {}
    for index, text in enumerate(specifications):
        head, _, tail = text.partition("<")
        name, _, kind = head.partition(":")
        bottoms, _, top = tail.partition(">")
        top = top or name
        count = seen.get(name, 0)
        seen[name] = count + 1
        value = f"v{index}"
        names = bottoms.split(",") if bottoms else ([layers[-1].blob_names[0]] if layers else [])
        kinds = {"Quant": LayerKind.QUANT, "Input": LayerKind.INPUT, "Dropout": LayerKind.IDENTITY}
        layers.append(
            Layer(
                key=name if not count else f"{name}@{count}",
                name=name,
                type=kind,
                kind=kinds.get(kind, LayerKind.COMPUTE),
                inputs=tuple(latest[bottom] for bottom in names) if kind != "Input" else (),
                outputs=(value,),
                output_names=(name if not count else f"{name}@{count}",),
                blob_names=(top,),
                nodes=(),
            )
        )
        latest[top] = value
    return Model(onnx.ModelProto(), tuple(layers), (), (), ORIGIN, batchable=True)


def pairs(pairing: Pairing) -> dict[str, str]:
    return {pair.first: pair.second for pair in pairing.pairs}


def left(pairing: Pairing, side: str) -> dict[str, bool]:
    return {entry.layer: entry.understood for entry in pairing.unmatched if entry.side == side}


def test_equal_names_need_no_reason() -> None:
    net = model("data:Input", "conv:Convolution", "relu:ReLU<conv>conv", "fc:InnerProduct")
    pairing = pair_layers(net, net)
    assert pairs(pairing) == {"data": "data", "conv": "conv", "relu": "relu", "fc": "fc"}
    assert all(not pair.reason for pair in pairing.pairs)
    assert pairing.unmatched == ()
    assert pairing.notes == ()


def test_quant_layers_are_understood() -> None:
    first = model("data:Input", "conv:Convolution", "fc:InnerProduct")
    second = model("data:Input", "q0:Quant", "conv:Convolution", "q1:Quant<conv>conv", "fc:InnerProduct")
    pairing = pair_layers(first, second)
    assert len(pairing.pairs) == 3
    assert left(pairing, "second") == {"q0": True, "q1": True}


def test_a_quant_layer_never_takes_the_place_of_another() -> None:
    first = model("data:Input", "x:Convolution", "fc:InnerProduct")
    second = model("data:Input", "x:Quant", "y:Convolution", "fc:InnerProduct")
    pairing = pair_layers(first, second)
    assert pairs(pairing)["x"] == "y"
    assert left(pairing, "second") == {"x": True}


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("conv1_hp", "conv1"),
        ("conv1_report", "conv1"),
        ("conv1_cpu_hp", "conv1"),
        ("conv1_hp_report", "conv1"),
        ("stage1/conv", "stage1_conv"),
        ("stage1/conv_hp", "stage1_conv"),
        ("a-b.c", "a_b_c"),
        ("_hp", "_hp"),
        ("hp", "hp"),
        ("warp", "warp"),
    ],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_suffixes_and_slashes() -> None:
    first = model("data:Input", "s1/conv:Convolution", "s1/relu:ReLU", "fc:InnerProduct", "prob:Softmax")
    second = model("data:Input", "s1_conv_hp:Convolution", "s1_relu:ReLU", "fc_cpu:InnerProduct", "prob:Softmax")
    pairing = pair_layers(first, second)
    assert pairs(pairing) == {
        "data": "data", "s1/conv": "s1_conv_hp", "s1/relu": "s1_relu", "fc": "fc_cpu", "prob": "prob"
    }  # fmt: skip
    assert next(pair for pair in pairing.pairs if pair.first == "fc").reason == "called 'fc_cpu' in the second model"


def test_report_suffix_on_a_top() -> None:
    first = model("data:Input", "a:Convolution<data>feature", "b:ReLU<feature>out")
    second = model("data:Input", "c:Convolution<data>feature_report", "b:ReLU<feature_report>out")
    pairing = pair_layers(first, second)
    assert pairs(pairing)["a"] == "c"
    assert "output" in next(pair for pair in pairing.pairs if pair.first == "a").reason


def test_repeated_names_pair_in_order() -> None:
    first = model("data:Input", "relu:ReLU", "relu:ReLU", "relu:ReLU")
    second = model("data:Input", "relu:ReLU", "relu:ReLU")
    pairing = pair_layers(first, second)
    assert pairs(pairing) == {"data": "data", "relu": "relu", "relu@1": "relu@1"}
    (extra,) = pairing.unmatched
    assert not extra.understood
    assert extra.reason == "the name occurs 3 times here and 2 times in the other model"


def test_layers_that_serve_training_are_understood() -> None:
    first = model("data:Input", "conv:Convolution", "prob:Softmax")
    second = model(
        "data:Input", "label:Data", "conv:Convolution<data>", "drop:Dropout<conv>conv", "prob:Softmax<conv>",
        "loss:SoftmaxWithLoss<conv,label>", "accuracy:Accuracy<prob,label>",
    )  # fmt: skip
    pairing = pair_layers(first, second)
    assert left(pairing, "second") == {"label": True, "drop": True, "loss": True, "accuracy": True}


def test_a_layer_that_is_simply_missing_is_not_understood() -> None:
    first = model("data:Input", "conv:Convolution", "relu:ReLU", "fc:InnerProduct")
    second = model("data:Input", "conv:Convolution", "fc:InnerProduct<conv>fc")
    assert left(pair_layers(first, second), "first") == {"relu": False}


def test_one_renamed_layer_is_found_by_its_place() -> None:
    first = model("data:Input", "conv:Convolution", "relu:ReLU", "fc8:InnerProduct", "prob:Softmax")
    second = model("data:Input", "conv:Convolution", "relu:ReLU", "fc8_new:InnerProduct", "prob:Softmax")
    pairing = pair_layers(first, second)
    assert pairs(pairing)["fc8"] == "fc8_new"
    assert pairing.notes == ("1 layer with another name was paired by its place between named neighbours.",)


def test_no_common_names_but_the_same_structure() -> None:
    types = ["Input", "Convolution", "ReLU", "Pooling", "InnerProduct", "Softmax"]
    first = model(*[f"a{i}:{kind}" for i, kind in enumerate(types)])
    second = model(*[f"b{i}:{kind}" for i, kind in enumerate(types)])
    pairing = pair_layers(first, second)
    assert len(pairing.pairs) == len(types)
    assert "share no names" in pairing.notes[0]
    assert "by graph order and type" in pairing.pairs[1].reason


def test_other_structure_is_not_forced() -> None:
    first = model("a:Input", "b:Convolution", "c:ReLU")
    second = model("x:Input", "y:Convolution", "z:Sigmoid")
    pairing = pair_layers(first, second)
    assert left(pairing, "first") == {"a": True, "b": False, "c": False}


def test_onnx_and_caffe_call_layers_by_other_types() -> None:
    first = model("x:Input", "1:Convolution", "2:ReLU", "3:Pooling", "4:InnerProduct")
    second = model("x:Input", "c:Conv", "r:Relu", "p:GlobalAveragePool", "m:MatMul")
    assert len(pair_layers(first, second).pairs) == 5


def test_same_name_other_type_is_said() -> None:
    first = model("data:Input", "conv:Convolution", "act:ReLU", "fc:InnerProduct")
    second = model("data:Input", "conv:Convolution", "act:PReLU", "fc:InnerProduct")
    pairing = pair_layers(first, second)
    assert "ReLU in the first and PReLU" in next(pair for pair in pairing.pairs if pair.first == "act").reason


@pytest.mark.parametrize("swap", [False, True])
def test_folded_against_unfolded(swap: bool) -> None:
    plain = model(
        "data:Input", "conv:Convolution", "bn:BatchNorm<conv>conv", "scale:Scale<conv>conv", "relu:ReLU<conv>conv",
        "fc:InnerProduct<conv>fc",
    )  # fmt: skip
    folded = model("data:Input", "conv:Convolution", "relu:ReLU<conv>conv", "fc:InnerProduct<conv>fc")
    pairing = pair_layers(folded, plain) if swap else pair_layers(plain, folded)
    assert pairs(pairing) == {"data": "data", "relu": "relu", "fc": "fc"} | (
        {"conv": "scale"} if swap else {"scale": "conv"}
    )
    entries = {entry.layer: entry for entry in pairing.unmatched}
    assert set(entries) == {"conv", "bn"}
    assert all(entry.understood and entry.folded_into == "scale" for entry in entries.values())
    pair = next(pair for pair in pairing.pairs if "scale" in (pair.first, pair.second))
    assert "BatchNorm and Scale folded in" in pair.reason


def test_only_the_batchnorm_is_folded() -> None:
    first = model("data:Input", "conv:Convolution", "bn:BatchNorm", "scale:Scale", "relu:ReLU")
    second = model("data:Input", "conv:Convolution", "scale:Scale", "relu:ReLU")
    pairing = pair_layers(first, second)
    assert pairs(pairing) == {"data": "data", "bn": "conv", "scale": "scale", "relu": "relu"}
    assert left(pairing, "first") == {"conv": True}


def test_a_batchnorm_with_nothing_before_it_is_not_understood() -> None:
    first = model("data:Input", "bn:BatchNorm", "conv:Convolution")
    second = model("data:Input", "conv:Convolution")
    assert left(pair_layers(first, second), "first") == {"bn": False}


def test_inputs_by_name_then_place() -> None:
    one = [ModelInput("data", "a", (1,)), ModelInput("info", "b", (1,))]
    other = [ModelInput("info", "x", (1,)), ModelInput("image", "y", (1,))]
    assert pair_inputs(one, other) == {"info": "info", "image": "data"}
    with pytest.raises(ModelError, match="has no counterpart"):
        pair_inputs(one[:1], other)


def test_multiple_readers_stop_a_fold() -> None:
    """A convolution whose output is read elsewhere too cannot have been folded away."""
    plain = model("data:Input", "conv:Convolution", "bn:BatchNorm<conv>n", "sum:Eltwise<conv,n>sum")
    folded = model("data:Input", "conv:Convolution", "sum:Eltwise<conv,conv>sum")
    pairing = pair_layers(plain, folded)
    assert pairs(pairing)["conv"] == "conv"

"""What only hands a value on does not stop folding: Dropout at test, Split; and what does, with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.fold import fold_model_report
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.tune.fold import fold_files
from gfpq_inspect.tune.networks import open_files

from .small_networks import batch_norm, conv, data, draw, simple, write_network
from .test_fold import SCALE, build, folded, refusal

HEAD = data(1, 3, 4, 4) + conv("conv", "data", "conv", 4, extra="bias_term: false")
BLOBS = {"conv": [draw(4, 3, 3, 3)], "bn": batch_norm(4), "scale": [draw(4, seed=3), draw(4, seed=4)]}
BETWEEN = {
    "in place": simple("drop", "Dropout", "conv", "conv")
    + simple("bn", "BatchNorm", "conv", "conv")
    + simple("scale", "Scale", "conv", "conv", SCALE),
    "not in place": simple("drop", "Dropout", "conv", "d", "dropout_param { dropout_ratio: 0.3 }")
    + simple("bn", "BatchNorm", "d", "bn")
    + simple("scale", "Scale", "bn", "scale", SCALE),
    "further down": simple("bn", "BatchNorm", "conv", "bn")
    + simple("drop", "Dropout", "bn", "d")
    + simple("scale", "Scale", "d", "scale", SCALE),
    "of a fork that scales at test": simple(
        "drop", "Dropout", "conv", "d", "dropout_param { dropout_ratio: 0.3 scale_train: false }"
    )
    + simple("bn", "BatchNorm", "d", "bn")
    + simple("scale", "Scale", "bn", "scale", SCALE),
    "split": simple("drop", "Split", "conv", "d")
    + simple("bn", "BatchNorm", "d", "bn")
    + simple("scale", "Scale", "bn", "scale", SCALE),
}


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_it_goes_with_what_is_folded_behind_it(tmp_path: Path, between: str) -> None:
    top = "conv" if between is BETWEEN["in place"] else "scale"
    done = folded(build(tmp_path, HEAD + between + simple("relu", "ReLU", top, "relu"), BLOBS))
    assert [layer.key for layer in done.model.layers] == ["data", "conv", "relu"]
    assert set(done.folds[0].folded) == {"drop", "bn", "scale"}
    assert done.refusals == ()


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_files(tmp_path: Path, between: str) -> None:
    top = "conv" if between is BETWEEN["in place"] else "scale"
    structure, weights = write_network(tmp_path, HEAD + between + simple("relu", "ReLU", top, "relu"), BLOBS)
    done = fold_files(open_files((structure, weights)), {})
    assert done.difference <= 1e-5
    assert b"BatchNorm" not in done.files[".prototxt"]
    for suffix, content in done.files.items():
        (tmp_path / f"folded{suffix}").write_bytes(content)
    again = read_network(tmp_path / "folded.caffemodel", tmp_path / "folded.prototxt").build()
    assert [layer.type for layer in again.layers] == ["Input", "Convolution", "ReLU"]


def test_behind_the_last_step_it_stays(tmp_path: Path) -> None:
    net = HEAD + simple("bn", "BatchNorm", "conv", "conv") + simple("drop", "Dropout", "conv", "conv")
    done = folded(build(tmp_path, net, {"conv": BLOBS["conv"], "bn": BLOBS["bn"]}))
    assert [layer.key for layer in done.model.layers] == ["data", "conv", "drop"]
    net = HEAD + simple("bn", "BatchNorm", "conv", "conv")
    net += simple("drop", "Dropout", "conv", "d", "dropout_param { scale_train: false }")
    done = folded(build(tmp_path, net, {"conv": BLOBS["conv"], "bn": BLOBS["bn"]}))
    assert [layer.key for layer in done.model.layers] == ["data", "conv", "drop"]
    net = HEAD + simple("drop", "Dropout", "conv", "conv") + simple("relu", "ReLU", "conv", "conv")
    assert folded(build(tmp_path, net, {"conv": BLOBS["conv"]})).folds == ()


def test_a_split_that_serves_two(tmp_path: Path) -> None:
    net = HEAD + 'layer { name: "split" type: "Split" bottom: "conv" top: "a" top: "b" }\n'
    net += simple("bn", "BatchNorm", "a", "bn") + simple("relu", "ReLU", "b", "relu")
    reason = refusal(tmp_path, net, {"conv": BLOBS["conv"], "bn": BLOBS["bn"]}, "bn")
    assert reason == "'split' (Split) before it hands the value on to others as well"


def test_the_value_before_it_is_read_elsewhere(tmp_path: Path) -> None:
    net = HEAD + simple("drop", "Dropout", "conv", "d") + simple("bn", "BatchNorm", "d", "bn")
    blobs = {"conv": BLOBS["conv"], "bn": BLOBS["bn"]}
    reason = refusal(tmp_path, net + simple("relu", "ReLU", "conv", "relu"), blobs, "bn")
    assert reason == "'conv' before it is read by 'relu' as well"
    reason = refusal(tmp_path, net + simple("relu", "ReLU", "d", "relu"), blobs, "bn")
    assert "is read by 'relu' as well" in reason or "hands the value on" in reason


def test_dropout_after_something_else(tmp_path: Path) -> None:
    net = HEAD + simple("relu", "ReLU", "conv", "relu") + simple("drop", "Dropout", "relu", "d")
    net += simple("bn", "BatchNorm", "d", "bn")
    reason = refusal(tmp_path, net, {"conv": BLOBS["conv"], "bn": BLOBS["bn"]}, "bn")
    assert reason == "it follows 'relu' (ReLU), not a convolution or inner product"


@pytest.mark.parametrize("operator", ["Dropout", "Identity"])
@pytest.mark.parametrize("mask", [False, True])
def test_onnx(tmp_path: Path, operator: str, mask: bool) -> None:
    outputs = ["d", "mask"] if mask and operator == "Dropout" else ["d"]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        onnx.helper.make_node(operator, ["c"], outputs, name="drop"),
        onnx.helper.make_node("BatchNormalization", ["d", "g", "b", "m", "v"], ["y"], name="bn"),
    ]
    arrays = {"w": draw(4, 3, 1, 1), "g": draw(4), "b": draw(4, seed=2), "m": draw(4, seed=3)}
    arrays["v"] = draw(4, seed=4, low=0.5, high=2.0)
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", 1, [1, 3, 4, 4])],
        [onnx.helper.make_tensor_value_info("y", 1, [1, 4, 4, 4])]
        + ([onnx.helper.make_tensor_value_info("mask", 9, [1, 4, 4, 4])] if len(outputs) > 1 else []),
        [onnx.numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in arrays.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "net.onnx")
    if len(outputs) > 1:  # the mask is an output: the layer is needed
        assert fold_model_report(read_onnx(tmp_path / "net.onnx").build()).folds == ()
        return
    done = folded(read_onnx(tmp_path / "net.onnx").build())
    assert done.folds[0].folded[-1] == "bn"
    assert not {node.op_type for node in done.model.graph.graph.node} & {"BatchNormalization", "Dropout"}

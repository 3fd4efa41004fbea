"""Decisions of every lane: counted, compared, told; and what is taken for a decision at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.analyze.task import CHANGES_A_LANE, DecisionMeter
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.models.model import Model
from gfpq_inspect.report.jsonfile import parse_result, render_json
from gfpq_inspect.report.markdown import render_markdown
from gfpq_inspect.report.task_figure import task_loss

from .networks import ArraySource, GraphMaker, samples, small_network


def labels_of(values: Any) -> Labels:
    return Labels(tuple(int(value) for value in values), "a test")


def compared(model: Model, data: NDArray[Any], **options: Any) -> Result:
    return compare_networks(ComparisonRequest(first=model, source=ArraySource({model.inputs[0].name: data}), **options))


def metered(lanes: dict[str, NDArray[Any]], labels: Labels | None = None, *, batch: int = 7, **options: Any) -> Any:
    values = lanes["float"]
    given = {"only_output": True, "chosen": False, **options}
    meter = DecisionMeter({"out": values.shape[1]}, labels, **given)
    for first in range(0, len(values), batch):
        part = {("out", lane): array[first : first + batch] for lane, array in lanes.items()}
        meter.add(first, len(values[first : first + batch]), part)
    return meter


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


@pytest.fixture
def logits() -> dict[str, NDArray[Any]]:
    random = np.random.default_rng(0)
    values = random.normal(size=(200, 12)).astype(np.float32)
    return {"float": values, "both": values + random.normal(size=values.shape).astype(np.float32) * np.float32(0.4)}


def test_counts_are_those_of_a_plain_loop(logits: dict[str, NDArray[Any]]) -> None:
    truth = np.random.default_rng(1).integers(12, size=200)
    names = [f"s{index}" for index in range(200)]
    (output,) = metered(logits, labels_of(truth)).result("both", names)
    expected = {lane: array.argmax(axis=1) for lane, array in logits.items()}
    for lane in output.lanes:
        decided = expected[lane.lane]
        assert lane.top1 == np.mean(decided == truth)
        five = np.argsort(-logits[lane.lane], axis=1, kind="stable")[:, :5]
        assert lane.top5 == np.mean([truth[i] in five[i] for i in range(200)])
        assert lane.changed == np.count_nonzero(decided != expected["float"])
    both = output.lane("both")
    right = {lane: decided == truth for lane, decided in expected.items()}
    assert both.lost == np.count_nonzero(right["float"] & ~right["both"])
    assert both.gained == np.count_nonzero(~right["float"] & right["both"])
    assert both.loss_points == pytest.approx(100 * (output.lane("float").top1 - both.top1))
    assert both.loss_interval.low < both.loss_points < both.loss_interval.high
    first = output.changes[0]
    index = names.index(first.sample)
    assert (first.old, first.new, first.label) == (expected["float"][index], expected["both"][index], truth[index])


def test_batches_change_nothing(logits: dict[str, NDArray[Any]]) -> None:
    truth, names = labels_of(range(12)).classes * 17, [str(index) for index in range(200)]
    found = [metered(logits, labels_of(truth), batch=size).result("both", names) for size in (1, 7, 200)]
    assert found[0] == found[1] == found[2]


def test_a_state_goes_on_where_it_was_taken(logits: dict[str, NDArray[Any]]) -> None:
    names = [str(index) for index in range(200)]
    truth = labels_of(np.arange(200) % 12)
    half = DecisionMeter({"out": 12}, truth, only_output=True, chosen=False)
    half.add(0, 90, {("out", lane): array[:90] for lane, array in logits.items()})
    later = DecisionMeter({"out": 12}, truth, only_output=True, chosen=False)
    later.restore(half.state())
    later.add(90, 110, {("out", lane): array[90:] for lane, array in logits.items()})
    assert later.result("both", names) == metered(logits, truth).result("both", names)


def test_ties_go_to_the_first_class_in_both_figures() -> None:
    values = np.zeros((3, 8), np.float32)
    (output,) = metered({"float": values}, labels_of([0, 4, 5])).result("float", ["a", "b", "c"])
    assert output.lanes[0].top1 == pytest.approx(1 / 3)
    assert output.lanes[0].top5 == pytest.approx(2 / 3)


def test_nan_is_no_decision() -> None:
    values = np.eye(3, dtype=np.float32)
    broken = values.copy()
    broken[1, 0] = np.nan
    (output,) = metered({"float": values, "both": broken}, labels_of([0, 1, 2])).result("both", ["a", "b", "c"])
    assert output.lane("both").top1 == pytest.approx(2 / 3)
    assert [(change.sample, change.old, change.new) for change in output.changes] == [("b", 1, -1)]


def test_many_changes_are_counted_and_not_all_listed() -> None:
    values = np.tile(np.eye(2, dtype=np.float32), (300, 1))
    names = [str(index) for index in range(600)]
    (output,) = metered({"float": values, "both": values[::-1].copy()}, labels_of([0, 1] * 300)).result("both", names)
    assert output.lane("both").changed == 600
    assert len(output.changes) == CHANGES_A_LANE
    assert output.changes_left_out == 600 - CHANGES_A_LANE
    assert output.loss == "beyond 1"


def test_without_labels_probabilities_are_decisions_and_boxes_are_none() -> None:
    values = np.abs(np.random.default_rng(0).normal(size=(20, 6))).astype(np.float32)
    shares = values / values.sum(axis=1, keepdims=True)
    (output,) = metered({"float": shares, "both": shares}, only_output=False).result(
        "both", list("abcdefghijklmnopqrst")
    )
    assert "probabilities" in output.basis
    assert output.lane("both").top1 is None
    assert output.lane("both").agreement == 1.0
    assert metered({"float": values}, only_output=False).result("float", [""] * 20) == ()
    (named,) = metered({"float": values}, only_output=False, chosen=True).result("float", [""] * 20)
    assert named.basis == "named by the user"


def test_a_whole_run_says_accuracy_in_every_report(network: Model) -> None:
    data = samples(40, 3, 8, 8)
    truth = compared(network, data)
    assert truth.task is not None
    assert truth.task.labels is None
    result = compared(network, data, labels=labels_of([0] * 40))
    assert result.task is not None
    (output,) = result.task.outputs
    assert (output.output, output.classes) == ("prob", 10)
    assert [lane.lane for lane in output.lanes] == ["float", "data", "weight", "both"]
    assert result.judgement.lines == (output.sentence,)
    assert "points" in output.sentence
    again = parse_result(render_json(result), "r.json")
    assert again.task == result.task
    assert "top\\-1" in render_markdown(result) or "top-1" in render_markdown(result)
    figure = task_loss(result)
    assert figure is not None
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [0.5, 1.0]


def test_a_second_model_is_compared_with_both_floats(network: Model) -> None:
    result = compared(network, samples(12, 3, 8, 8), second=network, labels=labels_of([1] * 12))
    assert result.task is not None
    (output,) = result.task.outputs
    assert {lane.reference for lane in output.lanes} == {"float"}
    assert [(lane.lane, lane.reference) for lane in output.tuned_lanes] == [
        (name, "tuned_float") for name in ("tuned_data", "tuned_weight", "tuned")
    ]
    assert result.task.judged_lane == "tuned"


def flipped(model: Model) -> Model:
    """A copy whose last layer gives the classes in reverse order."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for tensor in graph.graph.initializer:
        if tensor.name in ("fc_w", "fc_b"):
            array = onnx.numpy_helper.to_array(tensor)[::-1]
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return replace(model, graph=graph)


def test_a_loss_beyond_the_design_is_no_good_verdict(network: Model) -> None:
    data = samples(60, 3, 8, 8)
    plain = compared(network, data, labels=labels_of([0] * 60))
    assert plain.task is not None
    decided = plain.task.outputs[0]
    best = [change.old for change in decided.changes]
    assert all(0 <= value < 10 for value in best)
    truth = _decisions(network, data)
    result = compared(network, data, second=flipped(network), labels=labels_of(truth), threshold=0.01)
    assert result.judgement.failed_tasks == ("prob",)
    assert not result.judgement.good
    assert result.judgement.sentence.startswith("Not good")
    assert result.task is not None
    assert result.task.outputs[0].lane("tuned").loss_interval.low > 0


def _decisions(model: Model, data: NDArray[Any]) -> list[int]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.graph.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    wanted = [entry.name for entry in session.get_outputs()][-1:]
    rows = [session.run(wanted, {name: row[None]})[0].reshape(-1) for row in data]
    return [int(row.argmax()) for row in rows]


def test_labels_that_no_output_has_a_value_for(network: Model) -> None:
    with pytest.raises(InputError, match=r"go up to class 12.*'prob' with 10 values"):
        compared(network, samples(3, 3, 8, 8), labels=labels_of([0, 12, 1]))
    guessed = replace(labels_of([0, 12, 1]), guessed=True)
    result = compared(network, samples(3, 3, 8, 8), labels=guessed)
    assert result.task is not None
    assert result.task.labels is None


def test_an_output_that_is_named_must_hold_decisions(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 3, 8, 8)
    maker.conv("x", "heat", (3, 4))
    maker.node("GlobalAveragePool", ["heat"], "gap")
    maker.node("Flatten", ["gap"], "box")
    model = maker.build(tmp_path, "heat", "box")
    data = samples(4, 3, 8, 8)
    assert compared(model, data).task is None
    named = compared(model, data, task_outputs=("box",))
    assert named.task is not None
    assert named.task.outputs[0].output == "box"
    with pytest.raises(UsageError, match="'heat' is no network output with one value a class; there are 'box'"):
        compared(model, data, task_outputs=("heat",))

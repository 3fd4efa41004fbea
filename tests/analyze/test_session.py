"""Whole comparisons: two models, float only, interrupted, bad requests, what the result records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result, Status, Verdict
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import InputError, ModelError, QuantizationError, UsageError
from gfpq_inspect.models.model import Layer, LayerKind, Model, Quantization
from gfpq_inspect.quantize import kernels

from .networks import ArraySource, GraphMaker, samples, small_network


def compare(model: Model, data: NDArray, second: Model | None = None, progress: Any = None, **options: Any) -> Result:
    source = ArraySource({model.inputs[0].name: data})
    request = ComparisonRequest(first=model, second=second, source=source, **options)
    return compare_networks(request, progress)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return small_network().build(tmp_path_factory.mktemp("net"), "prob")


def with_weights(model: Model, change: Any) -> Model:
    """A copy whose initializers are changed by `change(name, array)`."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model.graph)
    for tensor in graph.graph.initializer:
        array = change(tensor.name, onnx.numpy_helper.to_array(tensor))
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    return replace(model, graph=graph)


def quantized(array: NDArray) -> NDArray:
    return kernels.apply(array, 8, kernels.coefficient_of(kernels.largest_magnitude(array)[0], 8))


def quantized_weights(model: Model) -> Model:
    return with_weights(model, lambda name, array: quantized(array) if name.endswith("_w") else array)


@pytest.mark.parametrize("options", [{"bits": None}, {"judge": "drift"}])
def test_a_model_is_exactly_itself(network: Model, options: dict[str, Any]) -> None:
    result = compare(network, samples(3, 3, 8, 8), network, **options)
    assert result.judgement.good
    assert "exactly equal" in result.judgement.sentence
    name = result.judgement.comparison
    assert {row.scores[name].status for row in result.layers} == {Status.EXACT}
    assert {row.scores[name].cosine for row in result.layers} == {1.0}
    if options.get("bits", 8) is None:
        assert result.run.bits is None
        assert result.coefficients == ()
        assert [entry.name for entry in result.comparisons] == ["total"]


def test_an_identical_second_model_has_the_lanes_of_the_first(network: Model) -> None:
    result = compare(network, samples(3, 3, 8, 8), network)
    for row in result.layers:
        assert row.scores["drift"].status is Status.EXACT
        for own, tuned in (("data", "tuned_data"), ("weight", "tuned_weight"), ("both", "tuned"), ("both", "total")):
            assert row.scores[own] == row.scores[tuned]
        assert row.isolation == row.tuned_isolation


def test_weights_on_the_grid_are_left_alone(network: Model) -> None:
    second = quantized_weights(network)
    result = compare(network, samples(3, 3, 8, 8), second)
    for row in result.layers:
        assert row.scores["tuned_weight"].status is Status.EXACT
        assert row.scores["drift"] == row.scores["weight"]
    rows = [row for row in result.coefficients if row.role == "weight"]
    assert {row.on_grid for row in rows if row.model == "first"} == {False}
    assert {row.on_grid for row in rows if row.model == "second"} == {True}


def test_drift_is_no_loss(network: Model) -> None:
    """A feature that training turned around, and an output that it did not."""

    def turned(name: str, array: NDArray) -> NDArray:
        return -array if name in ("conv1_w", "conv1_b") else array

    second = with_weights(network, turned)
    result = compare(network, samples(3, 3, 8, 8), second)
    row = next(row for row in result.layers if row.key == "conv1")
    assert row.scores["drift"].cosine == pytest.approx(-1.0)
    assert row.verdict is Verdict.FLAGGED
    assert row.cause == "drift"
    assert "conv1" in result.judgement.drifted
    assert "conv1" not in result.judgement.flagged


def test_quant_layers_decide_where_data_are_quantized(network: Model) -> None:
    """With a Quant layer the network is quantized there and nowhere else."""

    def with_quant(layer: Layer) -> Layer:
        if layer.key != "relu1":
            return layer
        return replace(layer, kind=LayerKind.QUANT, quantization=Quantization(inputs=layer.inputs, bits=16))

    second = replace(network, layers=tuple(with_quant(layer) for layer in network.layers))
    result = compare(network, samples(3, 3, 8, 8), second)
    rows = [row for row in result.coefficients if row.role == "data" and row.model == "second"]
    assert [(row.layer, row.bits) for row in rows] == [("relu1", 16)]
    conv1 = next(row for row in result.layers if row.key == "conv1")
    assert conv1.scores["tuned_data"].status is Status.EXACT
    assert conv1.scores["data"].status is Status.OK
    assert "The second model is quantized at its own Quant layers." in result.run.notes


def test_hp_layers_are_quantized_with_16_bits(network: Model) -> None:
    def hp(layer: Any) -> Any:
        return replace(layer, quantization=replace(layer.quantization, bits=16)) if layer.key == "branch_a" else layer

    model = replace(network, layers=tuple(hp(layer) for layer in network.layers))
    result = compare(model, samples(3, 3, 8, 8))
    bits = {(row.layer, row.role): row.bits for row in result.coefficients}
    assert bits["branch_a", "data"] == bits["branch_a", "weight"] == 16
    assert bits["branch_b", "data"] == bits["branch_b", "weight"] == 8


def test_spread_names_the_worst_sample(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 80)
    maker.node("MatMul", ["x", maker.weight("w", 80, 80)], "product")
    maker.node("ReduceMean", ["product"], "tiny", axes=[1])
    data = samples(10, 80)
    data[6] *= np.float32(0.003)  # far below the range that the others calibrate
    rows = {row.key: row for row in compare(maker.build(tmp_path, "tiny"), data).layers}
    spread = rows["product"].scores["both"].cosine_spread
    assert spread is not None
    assert spread.minimum_sample == "sample[6]"
    assert spread.minimum == spread.percentile_5 < spread.mean
    assert rows["product"].scores["both"].sqnr_db_spread.minimum_sample == "sample[6]"
    assert rows["tiny"].scores["both"].cosine_spread is None  # a single value a sample
    assert rows["tiny"].scores["both"].count == 10


def test_evidence_of_data(network: Model) -> None:
    data = samples(6, 3, 8, 8)
    result = compare(network, data)
    row = next(row for row in result.coefficients if row.layer == "conv1" and row.role == "data")
    assert row.maximum == np.abs(data).max()
    assert row.delta == kernels.coefficient_of(row.maximum, 8)
    counts = kernels.code_statistics(data, 8, row.delta)
    assert row.snapped_share == counts.snapped / counts.finite
    assert row.beyond_share == counts.beyond / counts.finite == 0
    assert row.flushed_share == counts.flushed / counts.nonzero
    assert row.grid_top == pytest.approx(2 ** ((row.delta + 127) / 16))
    assert row.grid_bottom == pytest.approx(2 ** (row.delta / 16))
    assert row.grid_top <= row.maximum < row.grid_top * 2 ** (1 / 16)
    assert len(bytes.fromhex(row.block)) == 16


def test_an_all_zero_sample_counts_as_the_original_counts_it(tmp_path: Path) -> None:
    """UPDATE keeps the larger coefficient, and an all-zero tensor has that of 1e-6."""
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "y")
    model = maker.build(tmp_path, "y")
    data = samples(3, 100) * np.float32(1e-12)
    data[1] = 0
    delta = next(row.delta for row in compare(model, data).coefficients if row.role == "data")
    assert delta == kernels.coefficient_of(1e-6, 8)


def test_dead_tensor_and_negative_zero(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "y")
    maker.node("Relu", ["y"], "relu")
    maker.node("Mul", ["relu", maker.constant("zero", np.float32(0))], "dead")
    result = compare(maker.build(tmp_path, "dead"), samples(3, 100))
    scores = result.layers[-1].scores["both"]
    assert scores.cosine == 1.0
    assert Status.BOTH_ZERO in (scores.status, *scores.flags)
    assert result.judgement.good


def test_nan_inside_a_network_is_flagged(tmp_path: Path) -> None:
    maker = GraphMaker()
    maker.input("x", 100)
    maker.node("MatMul", ["x", maker.weight("w", 100, 100)], "y")
    maker.node("Sqrt", ["y"], "root")
    result = compare(maker.build(tmp_path, "root"), samples(3, 100))
    row = result.layers[-1]
    scores = row.scores["both"]
    assert scores.status is Status.NONFINITE
    assert scores.nonfinite_reference > 0
    assert scores.nonfinite_test > 0
    assert scores.cosine is not None
    assert row.cause == "non-finite"
    assert not result.judgement.good


def test_other_shape_in_the_second_model(tmp_path: Path) -> None:
    def net(width: int) -> Model:
        maker = GraphMaker()
        maker.input("x", 10)
        maker.node("MatMul", ["x", maker.weight("w", 10, width)], "y")
        maker.node("ReduceSum", ["y"], "z")
        return maker.build(tmp_path, "z", name=f"net{width}.onnx")

    result = compare(net(70), samples(3, 10), net(80))
    row = next(row for row in result.layers if row.key == "y")
    assert row.status is Status.SHAPE_MISMATCH
    assert "1x80 against 1x70" in row.reason
    assert row.scores["both"].cosine is not None  # the first model alone is still measured
    assert row.verdict is Verdict.FLAGGED
    assert not result.judgement.good


def test_outputs_whose_length_depends_on_the_data(tmp_path: Path) -> None:
    """What detectors do: quantized lanes find more or fewer things than float ones."""
    maker = GraphMaker(batch=1)
    maker.input("x", 200)
    maker.node("MatMul", ["x", maker.weight("w", 200, 300)], "scores")
    maker.node("Greater", ["scores", maker.constant("limit", np.float32(0.5))], "chosen")
    maker.node("Flatten", ["chosen"], "row", axis=0)
    maker.constant("axes", np.array([0]))
    maker.node("Squeeze", ["row", "axes"], "mask")
    maker.node("Squeeze", ["scores", "axes"], "values")
    maker.node("Compress", ["values", "mask"], "found", axis=0)
    model = maker.build(tmp_path, "found")
    for second in (None, model):
        result = compare(model, samples(4, 200), second)
        row = next(row for row in result.layers if row.key == "found")
        name = result.judgement.comparison
        assert row.status is Status.OK
        assert row.scores[name].status is Status.SHAPE_MISMATCH
        assert row.verdict is Verdict.NOT_JUDGED
        assert "Cannot be scored: shape" in row.cause_reason
        assert result.judgement.good


def test_rows_without_a_partner_keep_their_own_scores(network: Model, tmp_path: Path) -> None:
    maker = small_network()
    maker.node("Sigmoid", ["prob"], "extra")
    result = compare(network, samples(3, 3, 8, 8), maker.build(tmp_path, "extra"), isolate=False)
    row = next(row for row in result.layers if row.key == "extra")
    assert row.side == "second"
    assert row.status is Status.UNMATCHED
    assert not row.understood
    assert set(row.scores) == {"tuned_data", "tuned_weight", "tuned"}
    assert row.inputs == ("prob",)
    assert result.coverage.compared == len(result.layers) - 1
    assert "1 without a counterpart (second model only)" in result.coverage.sentence


class Recorder:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.phases: list[tuple[str, int]] = []
        self.done: dict[str, int] = {}

    def note(self, text: str) -> None:
        self.notes.append(text)

    def phase(self, name: str, total: int) -> None:
        self.phases.append((name, total))

    def advance(self, count: int, current: str) -> None:
        assert current
        name = self.phases[-1][0]
        self.done[name] = self.done.get(name, 0) + count


def test_progress_reaches_its_totals(network: Model) -> None:
    progress = Recorder()
    compare(network, samples(7, 3, 8, 8), progress=progress)
    assert [name for name, _ in progress.phases][:2] == ["calibrating", "measuring"]
    assert {name: progress.done[name] for name, _ in progress.phases[:2]} == dict(progress.phases[:2])


class Interrupting:
    """Progress that interrupts the run, as a person does."""

    def __init__(self, after: str) -> None:
        self.after = after

    def note(self, text: str) -> None:
        pass

    def phase(self, name: str, total: int) -> None:
        if self.after == name and total:
            raise KeyboardInterrupt

    def advance(self, count: int, current: str) -> None:
        pass


def test_interrupted_before_measuring(network: Model) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(network, samples(7, 3, 8, 8), progress=Interrupting("measuring"))


class InterruptedSource(ArraySource):
    """A source that is interrupted after some samples of its last reading."""

    def __init__(self, arrays: Mapping[str, NDArray], readings: int, count: int) -> None:
        super().__init__(arrays)
        self.readings = readings
        self.left = count

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        self.readings -= 1
        for batch in super().batches(size, shapes):
            if self.readings < 0:
                self.left -= 1
                if self.left < 0:
                    raise KeyboardInterrupt
            yield batch


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_while_measuring(network: Model, workers: int) -> None:
    source = InterruptedSource({"x": samples(20, 3, 8, 8)}, readings=2, count=10)
    result = compare_networks(ComparisonRequest(first=network, source=source, batch=1, workers=workers))
    assert result.judgement.partial
    assert "not all samples were seen" in result.judgement.sentence
    seen = result.layers[0].scores["both"].count // 192
    assert 0 < seen <= 10
    assert result.run.inputs.sample_count == seen


def test_the_record(network: Model) -> None:
    result = compare(network, samples(3, 3, 8, 8), command="gfpq-inspect compare net.onnx", bits=16)
    assert result.run.command == "gfpq-inspect compare net.onnx"
    assert result.run.bits == 16
    assert result.run.models[0].structure_file == "net.onnx"
    assert "all 3 samples" in result.run.calibration
    assert result.timing is not None
    assert {"prepare", "calibrate", "measure", "judge"} <= set(result.timing.phases_s)
    assert compare(network, samples(1, 3, 8, 8), timing=False).timing is None
    own = compare(network, samples(1, 3, 8, 8), coefficients="sample")
    assert "every sample" in own.run.calibration
    assert {row.block for row in own.coefficients if row.role == "data"} == {None}


def test_bad_requests(network: Model) -> None:
    data = samples(1, 3, 8, 8)
    for options, message in (
        ({"bits": 4}, "8 and 16 bits, not 4"),
        ({"bits": None}, "a second model is needed"),
        ({"coefficients": "magic"}, "not from 'magic'"),
        ({"judge": "tuned"}, "no comparison 'tuned'"),
        ({"threshold": 98}, "no cosine"),
        ({"workers": 0}, "at least one worker"),
        ({"batch": 0}, "at least one sample"),
    ):
        with pytest.raises(UsageError, match=message):
            compare(network, data, **options)


def test_missing_input(network: Model) -> None:
    with pytest.raises(InputError, match="nothing is given for the input 'x'"):
        compare_networks(ComparisonRequest(first=network, source=ArraySource({"y": samples(1, 3, 8, 8)})))


def test_weights_that_are_not_finite(network: Model) -> None:
    def broken(name: str, array: NDArray) -> NDArray:
        if name == "branch_a_w":
            array = array.copy()
            array[0, 0] = np.nan
        return array

    with pytest.raises(QuantizationError, match=r"net.onnx: layer 'branch_a': 1 of the 64 weights in 'branch_a_w'"):
        compare(with_weights(network, broken), samples(1, 3, 8, 8))


def test_a_layer_that_does_not_run_is_named(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 10)
    maker.node("MatMul", ["x", maker.weight("w", 11, 4)], "product")
    with pytest.raises(ModelError, match=r"layer 'product': ONNX Runtime could not run this layer of type MatMul"):
        compare(maker.build(tmp_path, "product"), samples(1, 10))


def test_an_operator_that_nobody_knows_is_named(tmp_path: Path) -> None:
    maker = GraphMaker(batch=1)
    maker.input("x", 10)
    maker.node("Frobnicate", ["x"], "odd")
    with pytest.raises(ModelError, match=r"layer 'odd': ONNX Runtime does not run this layer of type Frobnicate"):
        compare(maker.build(tmp_path, "odd"), samples(1, 10))

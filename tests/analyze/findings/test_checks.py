"""Each further check: a network with its fault, and silence where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from gfpq_inspect.analyze.findings.case import Snapshot
from gfpq_inspect.analyze.findings.registry import CHECKS
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare, snapshot_files
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Finding, Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.fold import fold_model
from gfpq_inspect.models.model import Model
from tests.analyze.networks import ArraySource, GraphMaker, samples
from tests.planted import faults
from tests.planted.networks import DIGITS, ChangedSource, compare, request_of, told

Array = NDArray[Any]


@pytest.fixture(scope="module")
def digits(fixtures: Path) -> ComparisonRequest:
    return request_of(DIGITS, fixtures, samples=6)


def of(result: Result, name: str) -> Finding:
    return next(entry for entry in result.findings if entry.id == name)


def chain(folder: Path, change: Callable[[str, Array], Array] | None = None, *, size: int = 8) -> Model:
    """conv, ReLU, grouped conv, ReLU, pooling, inner product; `change` alters weights by name."""
    maker = GraphMaker(seed=3)
    x = maker.input("x", 3, size, size)
    maker.conv(x, "conv1", (3, 8))
    maker.node("Relu", ["conv1"], "relu1")
    maker.conv("relu1", "grouped", (8, 8), 1, group=4)
    maker.conv("relu1", "plain", (8, 8), 1)
    maker.node("Concat", ["grouped", "plain"], "joined", axis=1)
    maker.conv("joined", "conv2", (16, 8))
    maker.node("GlobalAveragePool", ["conv2"], "pool")
    maker.node("Flatten", ["pool"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", 6, 8), maker.weight("fc_b", 6)], "fc", transB=1)
    model = maker.build(folder, "fc")
    if change is None:
        return model
    altered = {
        tensor.name: (lambda array, name=tensor.name: change(name, array)) for tensor in model.graph.graph.initializer
    }
    return faults.with_weights(model, altered)


def request(model: Model, count: int = 4, scale: float = 1.0) -> ComparisonRequest:
    return ComparisonRequest(
        first=model, source=ArraySource({"x": samples(count, 3, 8, 8) * np.float32(scale)}), timing=False
    )


def test_every_check_says_what_it_does() -> None:
    names = [check.id for check in CHECKS]
    assert len(names) == len(set(names))
    assert [check.group for check in CHECKS] == sorted(check.group for check in CHECKS)
    for check in CHECKS:
        assert all([check.title, check.failure, check.why, check.remedy, check.how])
        assert check.title != check.failure


def test_all_checks_report(digits: ComparisonRequest) -> None:
    result = compare(digits, faults.fine_tuned(digits.first))
    assert {entry.id for entry in result.findings} == {check.id for check in CHECKS}
    for entry in result.findings:
        assert entry.measured
        if entry.severity == "not applicable":
            assert entry.measured.startswith("Not applicable: needs ")


def test_float_comparison_has_no_findings_of_the_format(digits: ComparisonRequest) -> None:
    result = compare(digits, digits.first, bits=None)
    assert told(result) == []


def test_healthy_chain(tmp_path: Path) -> None:
    model = chain(tmp_path)
    assert told(compare_networks(request(model))) == []
    assert told(compare(request(model), faults.fine_tuned(model))) == []


def test_unpaired_layers(tmp_path: Path, digits: ComparisonRequest) -> None:
    other = chain(tmp_path)
    source = ChangedSource(digits.source, lambda array: array)
    maker = GraphMaker(seed=1)
    x = maker.input("data", 1, 8, 8)
    maker.conv(x, "something", (1, 4))
    maker.node("Sigmoid", ["something"], "else")
    second = maker.build(tmp_path, "else", name="other.onnx")
    found = compare(replace(digits, source=source), second).findings[0]
    assert (found.id, found.severity) == ("names", "error")
    assert told(compare(request(other), other)) == []


def test_folded_against_unfolded_by_fit(digits: ComparisonRequest) -> None:
    """Folded weights in a layer of the same name, with BatchNorm layers gone: nothing pairs the two by itself."""
    folded = fold_model(digits.first)
    plain = replace(folded, layers=tuple(replace(layer, folded=()) for layer in folded.layers))
    result = compare(digits, plain)
    assert told(result) == []  # the pairing knows folding


def test_nan_in_the_float_network(tmp_path: Path) -> None:
    def broken(name: str, array: Array) -> Array:
        return np.where(np.arange(array.size).reshape(array.shape) == 0, np.nan, array) if name == "conv2_b" else array

    found = compare_networks(request(chain(tmp_path, broken))).findings[0]
    assert (found.id, found.severity) == ("float-reference", "error")
    assert found.layers[0] == "conv2"


def test_constant_output(tmp_path: Path) -> None:
    def dead(name: str, array: Array) -> Array:
        return array * 0 if name == "fc_w" else array

    found = compare_networks(request(chain(tmp_path, dead))).findings[0]
    assert (found.id, found.severity) == ("float-reference", "error")
    assert "fc" in found.layers


def test_ternary(tmp_path: Path) -> None:
    def collapsed(name: str, array: Array) -> Array:
        return np.sign(array) * (np.abs(array) > 0.1) * 0.25 if name == "conv2_w" else array

    found = of(compare_networks(request(chain(tmp_path, collapsed))), "ternary-binary")
    assert (found.severity, found.layers) == ("warning", ("conv2",))


def test_outlier_channel(tmp_path: Path) -> None:
    """A channel that nobody needs takes the range of all others."""

    def planted(name: str, array: Array) -> Array:
        if name in ("conv1_w", "conv1_b"):
            array[2] *= 2.0**8
        if name == "plain_w":
            array[:, 2] = 0
        if name == "grouped_w":
            array[2:4] = 0
        return array

    found = of(compare_networks(request(chain(tmp_path, planted))), "outlier-channel")
    assert found.severity in ("error", "warning")
    assert found.evidence_rows[0][:3] == ("relu1", "first", 2)


def test_unbalanced_concat(tmp_path: Path) -> None:
    def planted(name: str, array: Array) -> Array:
        return array * 2.0**-7 if name in ("grouped_w", "grouped_b") else array

    found = of(compare_networks(request(chain(tmp_path, planted))), "unbalanced-inputs")
    assert (found.severity, found.layers) == ("warning", ("joined",))
    assert found.evidence_rows[0][3] == "grouped"


def test_underflow(tmp_path: Path) -> None:
    """Rare peaks, 2^10 above the rest, in one spot of each image."""
    source = samples(4, 3, 8, 8)
    source[:, :, 0, 0] *= 2.0**11
    model = chain(tmp_path, lambda name, array: array * 0 if name == "conv1_b" else array)
    result = compare_networks(replace(request(model), source=ArraySource({"x": source})))
    found = of(result, "underflow")
    assert found.severity in ("passed", "warning", "error")
    assert float(found.measured.split(" %")[0].split()[-1]) > 30


def test_small_head(tmp_path: Path) -> None:
    def planted(name: str, array: Array) -> Array:
        return array * 1e-3 if name in ("fc_w", "fc_b") else array

    found = of(compare_networks(request(chain(tmp_path, planted))), "small-head")
    assert (found.severity, found.layers) == ("warning", ("fc",))


def test_gain(tmp_path: Path) -> None:
    model = chain(tmp_path)
    second = chain(tmp_path, lambda name, array: array * 4096 if name in ("fc_w", "fc_b") else array)
    found = of(compare(request(model), second), "gain-error")
    assert (found.severity, found.layers) == ("warning", ("fc",))
    assert found.evidence_rows[0][2] == pytest.approx(4096, rel=0.05)


def test_shrunk_top(digits: ComparisonRequest) -> None:
    def again(array: Array) -> Array:
        working = faults.on_grid(array)
        top = np.abs(working).max()
        return np.where(np.abs(working) == top, np.sign(working) * top * 2 ** (-1 / 16), working)

    names = [name for _, name in faults.weighted(digits.first)]
    found = of(compare(digits, faults.with_weights(digits.first, dict.fromkeys(names, again))), "shrunk-top")
    assert found.severity == "warning"
    assert len(found.layers) >= 6


def test_skipped_layers(digits: ComparisonRequest) -> None:
    names = [name for _, name in faults.weighted(digits.first)]
    tuned = faults.fine_tuned(digits.first)
    noisy = {names[-1]: lambda array: array * (1 + 0.01 * np.random.default_rng(0).standard_normal(array.shape))}
    found = of(compare(digits, faults.with_weights(tuned, noisy)), "skipped-layers")
    assert (found.severity, found.layers) == ("warning", ("fc",))
    assert "InnerProduct" in found.measured


def test_partly_off_grid(digits: ComparisonRequest) -> None:
    tuned = faults.fine_tuned(digits.first)

    def touched(array: Array) -> Array:
        array.reshape(-1)[:5] *= 1.01
        return array

    found = of(compare(digits, faults.with_weights(tuned, {"conv3/weight": touched})), "weights-off-grid")
    assert (found.severity, found.layers) == ("warning", ("conv3",))


def test_exported_master(fixtures: Path) -> None:
    """Quant layers in the prototxt, float weights in the file."""
    folder = fixtures / "digits"
    options = ComparisonOptions(
        first=folder / "float.caffemodel",
        second=folder / "master.caffemodel",
        second_structure=folder / "quant.prototxt",
        inputs=[str(folder / "test.npz")],
        preprocessing=InputOptions(samples=6),
        timing=False,
    )
    result = compare_networks(prepare(options))
    assert [entry[0] for entry in told(result)] == ["weights-off-grid"]


def test_mixed_widths(digits: ComparisonRequest) -> None:
    tuned = faults.fine_tuned(digits.first)
    sixteen = faults.fine_tuned(digits.first, bits=16)
    wide = {tensor.name: numpy_helper.to_array(tensor) for tensor in sixteen.graph.graph.initializer}
    second = faults.with_weights(tuned, {"conv3/weight": lambda _: wide["conv3/weight"]})
    found = compare(digits, second).findings[0]
    assert (found.id, found.severity, found.layers) == ("mixed-widths", "warning", ("conv3",))


def test_quantized_before_folding(digits: ComparisonRequest) -> None:
    first, second = fold_model(digits.first), fold_model(faults.fine_tuned(digits.first))
    result = compare(replace(digits, first=first, view="folded"), second)
    found = of(result, "quantized-before-folding")
    assert found.severity == "note"  # nothing is lost by it here
    assert len(found.layers) == 4
    assert told(result) == []


def test_learning_rate(digits: ComparisonRequest) -> None:
    tiny = faults.with_weights(
        digits.first, {name: (lambda array: array * np.float32(1 + 3e-6)) for _, name in faults.weighted(digits.first)}
    )
    result = compare(digits, faults.quantized(digits.first), master=tiny)
    assert of(result, "learning-rate").severity == "warning"
    moved = compare(digits, faults.fine_tuned(digits.first), master=faults.fine_tuned(digits.first, bits=16, size=0.05))
    assert of(moved, "learning-rate").severity == "passed"
    snapshots = (Snapshot("a", digits.first), Snapshot("b", tiny))
    result = compare(digits, faults.quantized(digits.first), snapshots=snapshots)
    assert of(result, "learning-rate").severity == "warning"
    assert of(compare(digits), "learning-rate").measured.startswith("Not applicable: needs --master or --snapshots")


def test_a_master_on_the_grid(digits: ComparisonRequest) -> None:
    tuned = faults.fine_tuned(digits.first)
    found = of(compare(digits, tuned, master=tuned), "float-master")
    assert (found.severity, found.title) == ("error", "Float master overwritten")


def test_grey_images(tmp_path: Path) -> None:
    grey = np.repeat(samples(4, 1, 8, 8), 3, axis=1)
    result = compare_networks(replace(request(chain(tmp_path)), source=ArraySource({"x": grey})))
    assert [entry[0] for entry in told(result)] == ["grey-images"]


def test_values_far_too_small_or_large(tmp_path: Path) -> None:
    model = chain(tmp_path)
    for scale, title in ((1e-3, "scaled twice"), (1e4, "never scaled")):
        found = compare_networks(request(model, scale=scale)).findings[0]
        assert (found.id, found.severity) == ("input-scale", "warning")
        assert title in found.title


def test_stated_preprocessing(fixtures: Path, tmp_path: Path) -> None:
    """The prototxt of the second model states another scale than the first's."""
    digits, text = fixtures / "digits", {}
    for name, scale in (("float", "0.0625"), ("quant", "0.00390625")):
        source = (digits / f"{name}.prototxt").read_text()
        layer = (
            'layer { name: "set" type: "Data" top: "set" include { phase: TRAIN } '
            f"transform_param {{ scale: {scale} }} "
            'data_param { source: "none" batch_size: 1 } }\n'
        )
        text[name] = tmp_path / f"{name}.prototxt"
        text[name].write_text(source + layer)
        shutil.copy(digits / f"{name}.caffemodel", tmp_path)
    options = ComparisonOptions(
        first=tmp_path / "float.caffemodel",
        second=tmp_path / "quant.caffemodel",
        inputs=[str(digits / "test.npz")],
        preprocessing=InputOptions(samples=4),
        timing=False,
    )
    found = compare_networks(prepare(options)).findings[0]
    assert (found.id, found.severity) == ("stated-preprocessing", "error")
    assert "0.0625" in found.measured
    assert "0.00390625" in found.measured


def test_preprocessing_silences_what_follows(digits: ComparisonRequest) -> None:
    scaled = ChangedSource(digits.source, lambda array: array / 256)
    result = compare(replace(digits, source=scaled), faults.overwritten_master(digits.first))
    assert [entry[0] for entry in told(result)] == ["input-scale"]
    silenced = of(result, "float-master")
    assert silenced.severity == "not applicable"
    assert silenced.measured.startswith("Not judged: ")


def test_snapshots_are_in_the_order_of_training(tmp_path: Path) -> None:
    for name in ("net_iter_900.caffemodel", "net_iter_1000.caffemodel", "net_iter_80.caffemodel.h5", "log.txt"):
        (tmp_path / name).touch()
    names = [path.name for path in snapshot_files(tmp_path)]
    assert names == ["net_iter_80.caffemodel.h5", "net_iter_900.caffemodel", "net_iter_1000.caffemodel"]
    with pytest.raises(InputError, match="no such folder"):
        snapshot_files(tmp_path / "none")


def test_findings_do_not_change_with_the_opset(tmp_path: Path) -> None:
    model = chain(tmp_path)
    assert isinstance(model.graph, onnx.ModelProto)
    assert compare_networks(request(model)).findings == compare_networks(request(model)).findings


def test_the_weight_script(digits: ComparisonRequest) -> None:
    """The guide's method 1: the float master with quantized data is fine, the exported weights are not."""
    master = faults.fine_tuned(digits.first, bits=16)

    def wrong(array: Array) -> Array:
        return faults.on_grid(np.where(np.abs(array) < np.abs(array).max() / 3, 0, array))

    exported = faults.with_weights(master, {name: wrong for _, name in faults.weighted(master)})
    found = of(compare(digits, exported, master=master), "weight-script")
    assert (found.severity, found.layers) == ("warning", ("prob",))
    assert of(compare(digits, faults.quantized(master), master=master), "weight-script").severity == "passed"

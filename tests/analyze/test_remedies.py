"""Remedies are measured, plans replay to the same figures, and what should not change the network does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.remedies.changes import equalized, in_float, neighbours_of, with_bits
from gfpq_inspect.analyze.remedies.plan import Plan, apply_plan, read_plan, with_hp_names
from gfpq_inspect.analyze.remedies.search import Search, candidates, percentile_steps
from gfpq_inspect.analyze.remedies.trial import Bench
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.cli.main import run
from gfpq_inspect.errors import InputError
from gfpq_inspect.models.run import run_model
from tests.planted import faults
from tests.planted.networks import DIGITS, SHARED, request_of


@pytest.fixture(scope="module")
def request_(fixtures: Path) -> ComparisonRequest:
    return request_of(DIGITS, fixtures, samples=6)


def test_a_trial_agrees_with_the_comparison(request_: ComparisonRequest) -> None:
    trial = Bench(request_.first, request_.source, 8).run(request_.first)
    result = compare_networks(replace(request_, isolate=False))
    for row in result.layers:
        assert trial.scores[row.key].cosine == row.scores["both"].cosine
        assert trial.scores[row.key].sqnr_db == row.scores["both"].sqnr_db


def test_all_in_float_is_exact(request_: ComparisonRequest) -> None:
    model = in_float(request_.first, {layer.key for layer in request_.first.layers})
    assert Bench(request_.first, request_.source, 8).run(model).worst_output == 1.0


def test_sixteen_bit_everywhere_gains(request_: ComparisonRequest) -> None:
    bench = Bench(request_.first, request_.source, 8)
    widths = {layer.key: 16 for layer in request_.first.layers if layer.quantization is not None}
    assert bench.run(with_bits(request_.first, widths)).output_db > bench.run(request_.first).output_db + 10


def test_equalization_keeps_the_float_network(request_: ComparisonRequest) -> None:
    model = request_.first
    images = next(iter(request_.source.batches(1, {"data": (1, 1, 8, 8)})))
    before = run_model(model, images)["prob"]
    pairs = [pair for layer in model.layers if (pair := neighbours_of(model, layer)) is not None]
    assert {(pair.producer.key, pair.consumer.key) for pair in pairs} >= {
        ("conv1", "conv2_dw"),
        ("conv2_dw", "conv2_pw"),
    }
    for pair in pairs:
        changed = equalized(model, pair)
        if changed is not None:
            assert np.allclose(run_model(changed, images)["prob"], before, atol=1e-5)


def test_equalization_cures_a_scaled_filter(request_: ComparisonRequest) -> None:
    planted = faults.scaled_filter(request_.first, "conv2_dw", 1, 7)
    pair = neighbours_of(planted, next(layer for layer in planted.layers if layer.key == "conv2_pw"))
    assert pair is not None
    bench = Bench(planted, request_.source, 8)
    changed = equalized(planted, pair)
    assert changed is not None
    assert bench.run(changed).sqnr_db("conv2_pw") > bench.run(planted).sqnr_db("conv2_pw")


def test_every_kind_is_tried(request_: ComparisonRequest) -> None:
    result = compare_networks(request_)
    bench = Bench(request_.first, request_.source, 8)
    search = Search.of(bench)
    by_row = {one.row: one for one in candidates(result, request_.first, 99)}
    kinds = {one.kind for one in search.all_of(by_row["conv2_pw"], result.details["layers"]["conv2_pw"])}
    assert {"16 bit", "float", "coefficient", "equalization"} <= kinds
    kinds = {one.kind for one in search.all_of(by_row["branch_a"], result.details["layers"]["branch_a"])}
    assert "bias correction" in kinds


def test_percentiles_come_from_codes() -> None:
    counts = [0] * 128
    counts[127], counts[100] = 1, 9999
    evidence = {"codes": {"binned_by": "code", "positive": counts, "negative": [0] * 128}}
    assert percentile_steps(evidence, 0.9999) == -27
    assert percentile_steps(evidence, 1.0) == 0
    assert percentile_steps({}, 0.999) == 0


def test_the_plan_reaches_its_target_with_the_fewest(request_: ComparisonRequest) -> None:
    result = compare_networks(request_)
    search = Search.of(Bench(request_.first, request_.source, 8))
    target = search.base.worst_output + 0.6 * (1 - search.base.worst_output)
    plan, chosen = search.plan(candidates(result, request_.first, 8), target)
    assert plan.reached >= target > plan.before
    assert 1 <= len(chosen) < 8
    for left_out in chosen:
        rest = {one.layer.key: 16 for one in chosen if one is not left_out}
        assert search.bench.run(with_bits(request_.first, rest)).worst_output < target


def test_a_plan_replays_to_its_figure(request_: ComparisonRequest, fixtures: Path, tmp_path: Path) -> None:
    folder = fixtures / "digits"
    path = tmp_path / "plan.json"
    plan = Plan(8, {"conv2_pw": 16, "fc": 16}, 0.99, 0.0, 0.0)
    path.write_text(plan.text())
    assert read_plan(path).layers == plan.layers
    trial = Bench(request_.first, request_.source, 8).run(apply_plan(request_.first, plan, path))
    options = ComparisonOptions(
        first=folder / "float.caffemodel",
        inputs=[str(folder / "test.npz")],
        preprocessing=DIGITS.preprocessing.__class__(samples=6),
        plan=path,
    )
    result = compare_networks(prepare(options))
    assert next(row for row in result.layers if row.key == "prob").scores["both"].cosine == trial.worst_output


@pytest.mark.parametrize(
    "content", ["", "{}", '{"format": "gfpq-inspect plan", "version": 1, "bits": 8, "layers": {"a": 9}}']
)
def test_what_is_no_plan(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(InputError, match="plan"):
        read_plan(path)


def test_a_plan_of_another_network(request_: ComparisonRequest, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="conv99"):
        apply_plan(request_.first, Plan(8, {"conv99": 16}, 0.99, 0, 0), tmp_path / "plan.json")


def test_hp_names(request_: ComparisonRequest, fixtures: Path) -> None:
    text = (fixtures / "digits" / "float.prototxt").read_text()
    layers = [layer for layer in request_.first.layers if layer.key in ("conv1", "conv2_pw")]
    renamed = with_hp_names(text, layers)
    assert renamed.count("_hp") == 2
    assert renamed.replace("_hp", "") == text
    assert 'name: "conv2_pw_hp"' in renamed


def test_the_command(fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fixtures / "digits"
    plan, prototxt = tmp_path / "plan.json", tmp_path / "hp.prototxt"
    words = ["remedy", str(folder / "float.caffemodel"), "--input", str(folder / "test.npz"), "--samples", "12", "-q"]
    words += ["--most", "1", "--candidates", "4", "--target", "0.999999"]
    code = run([*words, "--plan", str(plan), "--prototxt-out", str(prototxt)])
    shown = capsys.readouterr().out
    assert "16 bit (_hp)" in shown
    found = read_plan(plan)
    assert code == (0 if found.reached >= found.target else 1)
    assert prototxt.read_text().count("_hp") == len(found.layers) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ultraface", "ultraface_onnx"])
def test_promised_gains_hold_on_real_networks(name: str, shared: Path, tmp_path: Path) -> None:
    """What a plan promises is what the comparison with it finds, to the digit."""
    request = replace(request_of(SHARED[name], shared, samples=2), isolate=False)
    result = compare_networks(request)
    search = Search.of(Bench(request.first, request.source, 8))
    before = min(row.scores["both"].cosine for row in result.layers if row.is_output)
    assert search.base.worst_output == pytest.approx(before, abs=1e-9)
    plan, chosen = search.plan(candidates(result, request.first, 4), 0.9999)
    assert chosen
    path = tmp_path / "plan.json"
    path.write_text(plan.text())
    replayed = compare_networks(replace(request, first=apply_plan(request.first, read_plan(path), path)))
    after = min(row.scores["both"].cosine for row in replayed.layers if row.is_output)
    assert after == pytest.approx(plan.reached, abs=1e-9)
    assert plan.reached > plan.before

"""The committed baseline: its text, what it notices, what it forgives."""

from __future__ import annotations

import datetime
import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gfpq_inspect.analyze.result import Judgement, Result, Status
from gfpq_inspect.errors import InputError, OutputError
from gfpq_inspect.gate.baseline import baseline_of, read_baseline, render_baseline, update_baseline
from gfpq_inspect.gate.judge import judge
from gfpq_inspect.gate.outcome import GateReport
from tests.gate.results import result, row, scores, settings, task

TODAY = datetime.date(2026, 6, 1)


def held(now: Result, before: Result, **steps: Any) -> GateReport:
    wanted = settings(baseline={"file": "base.json"} | steps)
    return judge(now, wanted, today=TODAY, baseline=baseline_of(before, "both"))


def failed(report: GateReport) -> list[tuple[str, str]]:
    return [(check.rule, check.subject) for check in report.failures]


def test_text_is_the_same_for_the_same_result_and_has_a_line_a_layer(tmp_path: Path) -> None:
    text = render_baseline(baseline_of(result(task=task()), "both"))
    assert text == render_baseline(baseline_of(result(task=task()), "both"))
    assert text.isascii()
    json.loads(text)
    assert ' "conv2": {"cosine": 0.99, "sqnr_db": 20.0, "norm_ratio": 1.0},' in text.splitlines()
    (tmp_path / "base.json").write_text(text)
    assert read_baseline(tmp_path / "base.json") == baseline_of(result(task=task()), "both")


def test_hostile_names_come_back_as_they_were(tmp_path: Path) -> None:
    odd = result(row('x"\n</script>\u202e\ud800'))
    (tmp_path / "b").write_text(render_baseline(baseline_of(odd, "both")))
    assert read_baseline(tmp_path / "b") == baseline_of(odd, "both")


def test_the_same_result_passes() -> None:
    assert held(result(), result()).passed


@pytest.mark.parametrize(
    ("now", "steps", "passes"),
    [
        (scores(0.99, 19.5), {}, True),
        (scores(0.99, 19.4), {}, False),
        (scores(0.99, 60.0), {}, True),
        (scores(0.9885, 20.0), {"cosine": 0.001}, False),
        (scores(0.9891, 20.0), {"cosine": 0.001}, True),
        (scores(0.99, 1.0), {"cosine": 0.001}, True),
        (scores(0.99, 20.0, 1.02), {"norm_ratio": 0.01}, False),
        (scores(0.99, 20.0, 0.98), {"norm_ratio": 0.01}, False),
        (scores(0.99, 20.0, 1.005), {"norm_ratio": 0.01}, True),
    ],
)
def test_allowed_steps(now: Any, steps: dict[str, float], passes: bool) -> None:
    before = result(row("conv2", judged=scores(0.99, 20.0)))
    report = held(result(row("conv2", judged=now)), before, **steps)
    assert report.passed is passes
    if not passes:
        assert failed(report) == [("regression", "conv2")]


def test_what_was_exact_may_not_become_inexact() -> None:
    exact = replace(scores(1.0), status=Status.EXACT, sqnr_db=None, max_abs_error=0.0)
    before = result(row("a", judged=exact))
    assert held(before, before).passed
    assert failed(held(result(row("a", judged=scores(1.0, 140.0))), before)) == [("regression", "a")]
    assert held(before, result(row("a", judged=scores(1.0, 140.0)))).passed


def test_a_score_that_is_gone_is_worse() -> None:
    lost = replace(scores(0.5), status=Status.REF_ZERO, sqnr_db=None, norm_ratio=None)
    assert failed(held(result(row("a", judged=lost)), result(row("a")))) == [("regression", "a")]


def test_layers_that_came_and_went() -> None:
    report = held(result(row("a"), row("c")), result(row("a"), row("b")))
    assert failed(report) == [("layer-gone", "b")]
    assert report.notices == ("1 layer not in the baseline yet: 'c'.",)
    skipped = row("b", status=Status.UNMATCHED, reason="folded", scores={})
    report = held(result(row("a"), skipped), result(row("a"), row("b")))
    assert failed(report) == [("layer-gone", "b")]
    assert "folded" in report.failures[0].sentence


def changed(of: Result, *, weights: str | None = None, data: str | None = None, bits: int | None = None) -> Result:
    run = of.run
    if weights is not None:
        run = replace(run, models=(replace(run.models[0], sha256={"weights": weights}),))
    if data is not None:
        run = replace(run, inputs=replace(run.inputs, sha256=data))
    return replace(of, run=run if bits is None else replace(run, bits=bits))


def test_other_models_data_and_setup_fail_unless_allowed() -> None:
    other = changed(result(), weights="b" * 64, data="e" * 64, bits=16)
    expected = [("model-changed", "first network"), ("data-changed", "input"), ("setup-changed", "setup")]
    report = held(other, result())
    assert failed(report) == expected
    assert "weights bbbbbbbbbbbb, was aaaaaaaaaaaa" in report.failures[0].sentence
    assert "bits is '16', was '8'" in report.failures[2].sentence
    assert failed(held(other, result(), may_change=["first", "data"])) == expected[2:]
    allow = [{"what": ["model-changed", "data-changed"], "reason": "new set", "expires": "2030-01-01"}]
    wanted = settings(baseline={"file": "b", "may_change": "setup"}, allow=allow)
    assert judge(other, wanted, today=TODAY, baseline=baseline_of(result(), "both")).passed


def test_accuracy_is_part_of_it() -> None:
    report = held(result(task=task(0.9)), result(task=task(0.4)), accuracy_loss_points=0.3)
    assert failed(report) == [("regression", "fc")]
    assert held(result(task=task(0.6)), result(task=task(0.4)), accuracy_loss_points=0.3).passed
    assert failed(held(result(), result(task=task(0.4)))) == [("layer-gone", "fc")]


def test_noise_leaves_the_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    assert update_baseline(file, result(row("a", judged=scores(0.99, 20.0)), row("b")), "both")
    before = file.read_bytes()
    assert not update_baseline(file, result(row("a", judged=scores(0.990001, 20.011)), row("b")), "both")
    assert file.read_bytes() == before
    assert update_baseline(file, result(row("a", judged=scores(0.99, 20.3)), row("b")), "both")
    old, new = before.splitlines(), file.read_bytes().splitlines()
    assert sum(one != two for one, two in zip(old, new, strict=True)) == 1


def test_no_baseline_from_a_part_of_the_samples(tmp_path: Path) -> None:
    partial = result(judgement=Judgement(True, "both", 0.98, "", partial=True))
    with pytest.raises(OutputError, match="stopped early"):
        update_baseline(tmp_path / "base.json", partial, "both")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not JSON"),
        ("{", ":1:2: is not JSON"),
        ("[]", "no gfpq-inspect baseline"),
        ('{"format": "gfpq-inspect result", "version": 1}', "no gfpq-inspect baseline"),
        ('{"format": "gfpq-inspect baseline", "version": 99}', "install a newer one"),
        ('{"format": "gfpq-inspect baseline", "version": true}', "whole number"),
        ('{"format": "gfpq-inspect baseline", "version": 1}', "models: expected an object"),
        ('{"format": "gfpq-inspect baseline", "version": 1, "a": NaN}', "is not JSON"),
    ],
)
def test_a_damaged_baseline_is_named(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(content)
    with pytest.raises(InputError) as refused:
        read_baseline(tmp_path / "base.json")
    assert "base.json" in str(refused.value)
    assert told in str(refused.value)


def test_a_damaged_number_is_named_by_its_layer(tmp_path: Path) -> None:
    text = render_baseline(baseline_of(result(), "both")).replace("0.992", '"high"')
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(InputError, match=r"layers\.relu2\.cosine: expected a number"):
        read_baseline(tmp_path / "base.json")


def test_a_missing_baseline_says_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--update-baseline"):
        read_baseline(tmp_path / "base.json")


def update_many(file: Path, decibels: float) -> None:
    for _ in range(30):
        update_baseline(file, result(*(row(f"l{i}", judged=scores(0.99, decibels)) for i in range(200))), "both")


def test_concurrent_updates_leave_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=update_many, args=(file, decibels)) for decibels in (20.0, 30.0, 40.0)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        if file.exists():
            assert len({entry["sqnr_db"] for entry in read_baseline(file).layers.values()}) == 1
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["base.json"]

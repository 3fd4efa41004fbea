"""What passes and what fails, for every rule."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

from gfpq_inspect.analyze.result import Finding, Judgement, Result, Status
from gfpq_inspect.errors import UsageError
from gfpq_inspect.gate.judge import judge
from gfpq_inspect.gate.outcome import GateReport, Outcome
from tests.gate.results import result, row, scores, settings, task

TODAY = datetime.date(2026, 6, 1)


def judged(of: Result, **gate: Any) -> GateReport:
    return judge(of, settings(**gate), today=TODAY)


def failed(report: GateReport) -> list[tuple[str, str]]:
    return [(check.rule, check.subject) for check in report.failures]


def test_a_global_limit_holds_for_every_layer() -> None:
    assert judged(result(), cosine=0.98).passed
    assert failed(judged(result(), cosine=0.991)) == [("cosine", "conv2")]
    assert failed(judged(result(), sqnr_db=20.5)) == [("sqnr_db", "conv2")]


def test_a_report_is_true_where_it_passes() -> None:
    assert judged(result(), cosine=0.98)
    assert not judged(result(), cosine=0.9999)


def test_exactly_the_limit_passes() -> None:
    assert judged(result(), cosine=0.99).passed


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"layers": "conv*"}, ["conv1", "conv2"]),
        ({"layers": "conv[2-9]"}, ["conv2"]),
        ({"layers": ["fc", "relu2"]}, ["relu2", "fc"]),
        ({"types": "ReLU"}, ["relu2"]),
        ({"types": ["ReLU", "InnerProduct"]}, ["relu2", "fc"]),
        ({"outputs": True}, ["fc"]),
        ({"layers": "conv*", "types": "Convolution"}, ["conv1", "conv2"]),
    ],
)
def test_selectors(limit: dict[str, Any], expected: list[str]) -> None:
    report = judged(result(), limits=[limit | {"cosine": 0.99999}])
    assert [check.subject for check in report.failures] == expected


def test_a_more_specific_limit_takes_the_place_of_a_general_one() -> None:
    limits = [{"types": "Convolution", "cosine": 0.995}, {"layers": "conv2", "cosine": 0.985}]
    assert judged(result(), cosine=0.98, limits=limits).passed
    assert judged(result(), cosine=0.98, limits=limits[::-1]).passed
    assert failed(judged(result(), cosine=0.98, limits=limits[:1])) == [("cosine", "conv2")]


def test_limits_on_other_things_hold_beside_each_other() -> None:
    report = judged(result(), cosine=0.98, limits=[{"layers": "conv2", "cosine": 0.985, "over": "minimum"}])
    assert failed(report) == [("cosine", "conv2")]
    assert "lowest of samples, at 'worst.png'" in report.failures[0].sentence


@pytest.mark.parametrize(
    ("how", "passes", "fails"),
    [
        ({"over": "mean"}, 0.989, 0.9891),
        ({"over": "minimum"}, 0.98, 0.981),
        ({"percentile": 5}, 0.985, 0.986),
        # 0.989 - t(0.95, 15) 0.004 / 4 = 0.989 - 1.75305 * 0.001
        ({"over": "mean", "confidence": 0.95}, 0.98724, 0.98725),
    ],
)
def test_over_samples(how: dict[str, Any], passes: float, fails: float) -> None:
    assert judged(result(), limits=[{"layers": "conv2", "cosine": passes} | how]).passed
    assert failed(judged(result(), limits=[{"layers": "conv2", "cosine": fails} | how])) == [("cosine", "conv2")]


def test_both_ends_of_a_norm_ratio() -> None:
    assert judged(result(), norm_ratio=[0.9, 1.2], over="minimum").passed
    low = judged(result(), norm_ratio=[0.91, 1.3], over="minimum")
    assert "lowest of samples, at 'short.png') is below 0.91" in low.failures[0].sentence
    high = judged(result(), norm_ratio=[0.5, 1.19], over="minimum")
    assert "highest of samples, at 'long.png') is above 1.19" in high.failures[0].sentence
    assert not judged(result(), norm_ratio=[0.5, 1.14], percentile=5).passed
    assert judged(result(), norm_ratio=[0.5, 1.15], percentile=5).passed


def test_equal_tensors_pass_every_sqnr() -> None:
    exact = scores(1.0, 0.0, status=Status.EXACT, max_abs_error=0.0)
    report = judged(result(row("a", judged=replace(exact, sqnr_db=None))), sqnr_db=60)
    assert report.passed
    assert "exact" in report.checks[-1].sentence


def test_noise_without_a_signal_fails_every_limit() -> None:
    noise = replace(scores(0.0), status=Status.REF_ZERO, sqnr_db=None, norm_ratio=None, reason="the reference is zero")
    report = judged(result(row("a", judged=noise)), sqnr_db=-20, cosine=0.1, norm_ratio=[0.1, 10])
    assert {check.rule for check in report.failures} == {"sqnr_db", "cosine", "norm_ratio"}


def test_nan_fails_without_being_asked() -> None:
    damaged = replace(scores(), nonfinite_test=3, reason="3 in the lane", flags=(Status.NONFINITE,))
    report = judged(result(row("a", judged=damaged), row("b")), cosine=0.98)
    assert failed(report) == [("non-finite", "a")]


def test_nan_everywhere_fails_though_no_score_is_left() -> None:
    nothing = replace(
        scores(), status=Status.NONFINITE, cosine=None, sqnr_db=None, norm_ratio=None, nonfinite_test=9, count=0,
        reason="9 in the lane", cosine_spread=None,
    )  # fmt: skip
    report = judged(result(row("a", judged=nothing), row("b")), cosine=0.98)
    assert failed(report) == [("non-finite", "a"), ("cosine", "a")]


def test_an_unmatched_layer_fails_unless_understood() -> None:
    lost = row("lost", status=Status.UNMATCHED, reason="no counterpart", understood=False, scores={})
    report = judged(result(row("a"), lost), cosine=0.98)
    assert failed(report) == [("unmatched", "lost")]
    known = replace(lost, understood=True, reason="a quantization point")
    report = judged(result(row("a"), known), cosine=0.98)
    assert report.passed
    assert report.not_judged == (("lost", "a quantization point"),)
    other = row("other", status=Status.SHAPE_MISMATCH, reason="1x3 against 1x4", scores={})
    assert failed(judged(result(row("a"), other), cosine=0.98)) == [("unmatched", "other")]


def test_a_limit_on_a_layer_that_was_lost_fails_for_that() -> None:
    lost = row("lost", status=Status.UNMATCHED, reason="no counterpart", understood=False, scores={})
    report = judged(result(row("a"), lost), limits=[{"layers": "lost", "cosine": 0.9}])
    assert failed(report) == [("unmatched", "lost")]


def test_a_part_of_the_samples_is_no_pass() -> None:
    partial = result(judgement=Judgement(True, "both", 0.98, "Good.", partial=True))
    assert failed(judged(partial, cosine=0.5)) == [("partial", "run")]


def test_verdict_and_findings_count_where_asked() -> None:
    bad = Judgement(False, "both", 0.98, "Not good: conv2 is flagged.")
    findings = (Finding("float-master", "Float master overwritten", "error", "all equal"),
                Finding("underflow", "Underflow", "warning", "3 %"), Finding("x", "X", "note", "y"))  # fmt: skip
    of = result(judgement=bad, findings=findings)
    assert judged(of, cosine=0.5).passed
    assert failed(judged(of, verdict=True)) == [("verdict", "verdict")]
    assert failed(judged(of, findings="error")) == [("finding", "float-master")]
    assert failed(judged(of, findings="warning")) == [("finding", "float-master"), ("finding", "underflow")]
    assert judged(result(), findings="warning").passed


def test_accuracy() -> None:
    of = result(task=task(0.4, -0.1, 0.9))
    assert judged(of, accuracy_loss_points=0.5).passed
    assert failed(judged(of, accuracy_loss_points=0.3)) == [("accuracy_loss_points", "fc")]
    assert failed(judged(of, accuracy_loss_points=0.8, confidence=0.95)) == [("accuracy_loss_points", "fc")]
    assert judged(of, accuracy_loss_points=1.0, confidence=0.95).passed
    assert judged(of, agreement=0.97).passed
    assert failed(judged(of, agreement=0.96, confidence=0.95)) == [("agreement", "fc")]


@pytest.mark.parametrize(
    ("of", "gate", "told"),
    [
        (result(), {"limits": [{"layers": "cnov1", "cosine": 0.9}]}, "gate.limits[1].layers: 'cnov1' matches no layer"),
        (result(), {"limits": [{"layers": "cnov1", "cosine": 0.9}]}, "did you mean 'conv1'"),
        (result(), {"limits": [{"types": "Convolutoin", "cosine": 0.9}]}, "did you mean 'Convolution'"),
        (result(), {"limits": [{"types": "ReLU", "layers": "conv*", "cosine": 0.9}]}, "can never fail"),
        (result(row("a")), {"limits": [{"outputs": True, "cosine": 0.9}]}, "matches no layer"),
        (result(), {"cosine": 0.9, "limits": [{"layers": "*", "cosine": 0.8}]}, "gate.cosine can never fail"),
        (result(), {"sqnr_db": 10, "over": "minimum"}, "gate.sqnr_db can never fail"),
        (result(), {"accuracy_loss_points": 1.0}, "give labels"),
        (result(task=task(labels=None)), {"accuracy_loss_points": 1.0}, "have no labels"),
        (result(task=task()), {"top5_loss_points": 1.0}, "can never fail"),
        (result(task=task()), {"limits": [{"layers": "conv1", "agreement": 0.9}]}, "none of the outputs that decide"),
        (result(), {"cosine": 0.9, "comparison": "tuned"}, "gate.comparison is 'tuned', which was not measured"),
        (result(), {"limits": [{"cosine": 0.9, "comparison": "tuned"}]}, "gate.limits[1].comparison"),
        (
            result(),
            {"cosine": 0.9, "allow": [{"what": "cosine", "layers": "c9", "reason": "r", "expires": "2030-01-01"}]},
            "gate.allow[1].layers",
        ),
    ],
)  # fmt: skip
def test_what_can_never_fail_for_this_network_is_refused(of: Result, gate: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as refused:
        judged(of, **gate)
    assert str(refused.value).startswith("limits.toml: ")
    assert told in str(refused.value)


def test_tiny_layers_are_judged_where_they_are_named() -> None:
    tiny = row("tiny", judged=replace(scores(0.5), status=Status.TINY, count=10, reason="10 values"))
    assert judged(result(row("a"), tiny), cosine=0.98).not_judged == (("tiny", "10 values"),)
    assert failed(judged(result(row("a"), tiny), limits=[{"layers": "tiny", "cosine": 0.98}])) == [("cosine", "tiny")]
    assert failed(judged(result(row("a"), replace(tiny, is_output=True)), cosine=0.98)) == [("cosine", "tiny")]


def test_an_allowance_until_its_day() -> None:
    allow = {"what": "cosine", "layers": "conv2", "reason": "ticket 7", "expires": "2026-06-01"}
    report = judged(result(), cosine=0.991, allow=[allow])
    assert report.passed
    assert [(check.subject, check.outcome) for check in report.allowed] == [("conv2", Outcome.ALLOWED)]
    report = judge(result(), settings(cosine=0.991, allow=[allow]), today=TODAY + datetime.timedelta(days=1))
    assert failed(report) == [("allow-expired", "gate.allow[1]"), ("cosine", "conv2")]
    assert "it was allowed until 2026-06-01 (ticket 7)" in report.failures[1].sentence


def test_an_expired_allowance_fails_though_nothing_needs_it() -> None:
    allow = {"what": "cosine", "reason": "ticket 7", "expires": "2026-05-31"}
    report = judged(result(), cosine=0.9, allow=[allow])
    assert failed(report) == [("allow-expired", "gate.allow[1]")]
    assert "which has passed" in report.failures[0].sentence


def test_an_allowance_covers_nothing_else() -> None:
    allow = {"what": "sqnr_db", "layers": "conv2", "reason": "r", "expires": "2030-01-01"}
    report = judged(result(), cosine=0.991, allow=[allow])
    assert failed(report) == [("cosine", "conv2")]
    assert "remove it" in report.notices[0]


def test_an_idle_allowance_is_told() -> None:
    allow = {"what": "cosine", "reason": "ticket 7", "expires": "2030-01-01"}
    report = judged(result(), cosine=0.9, allow=[allow])
    assert report.passed
    assert report.notices == ("gate.allow[1] allows what does not fail any more (ticket 7): remove it.",)


def test_a_name_with_brackets_is_itself() -> None:
    odd = row("block[1]/conv", index=0, judged=scores(0.5))
    assert failed(judged(result(odd), limits=[{"layers": "block[1]/conv", "cosine": 0.9}])) == [("cosine", odd.key)]

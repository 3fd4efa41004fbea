"""Flags, causes, verdict and its sentence, from rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gfpq_inspect.analyze.lanes import comparisons_for
from gfpq_inspect.analyze.result import Isolation, Judgement, LayerRow, Scores, Status, Verdict
from gfpq_inspect.analyze.verdict import judge_rows, judgement_of, rules_for
from gfpq_inspect.errors import UsageError


def scored(cosine: float | None = 0.999, *, count: int = 1000, **changes: object) -> Scores:
    status = Status.TINY if count < 64 else Status.OK
    return replace(Scores(status, count=count, cosine=cosine, sqnr_db=20.0, norm_ratio=1.0), **changes)


def row(key: str, *, output: bool = False, status: Status = Status.OK, **scores: Scores) -> LayerRow:
    return LayerRow(
        key=key, layer=key, name=key, type="Convolution", index=0, side="both", partner=None, status=status, reason="",
        understood=True, shape=(1, 8), elements=8, quantized=True, quantization_reason="", is_output=output,
        scores=scores,
    )  # fmt: skip


def judge(
    *rows: LayerRow, second: bool = False, judge_by: str = "default", threshold: float = 0.98, quantized: bool = True
) -> tuple[list[LayerRow], Judgement]:
    comparisons = comparisons_for(second=second, quantized=quantized)
    rules = rules_for(judge_by, threshold, comparisons, second=second, quantized=quantized)
    judged = judge_rows(rows, rules)
    return judged, judgement_of(judged, rules, partial=False)


@pytest.mark.parametrize(
    ("cosine", "verdict"),
    [
        (1.0, Verdict.GOOD),
        (0.99, Verdict.GOOD),
        (0.9899, Verdict.WATCH),
        (0.98, Verdict.WATCH),
        (0.9799, Verdict.FLAGGED),
        (-1.0, Verdict.FLAGGED),
    ],
)
def test_bands(cosine: float, verdict: Verdict) -> None:
    rows, judgement = judge(row("a", both=scored(cosine)))
    assert rows[0].verdict is verdict
    assert judgement.good is (verdict is not Verdict.FLAGGED)
    assert judgement.comparison == "both"


@pytest.mark.parametrize(("threshold", "verdict"), [(0.9, Verdict.WATCH), (0.97, Verdict.FLAGGED)])
def test_threshold(threshold: float, verdict: Verdict) -> None:
    rows, _ = judge(row("a", both=scored(0.95)), threshold=threshold)
    assert rows[0].verdict is verdict


def test_a_strict_threshold_leaves_no_watch_band() -> None:
    rows, _ = judge(row("a", both=scored(0.996)), threshold=0.995)
    assert rows[0].verdict is Verdict.GOOD


@pytest.mark.parametrize(("ratio", "flagged"), [(0.89, True), (0.9, False), (1.1, False), (1.11, True), (None, False)])
def test_norm_ratio_flags_whatever_the_cosine(ratio: float | None, flagged: bool) -> None:
    rows, judgement = judge(row("a", both=scored(1.0, norm_ratio=ratio)))
    assert (rows[0].verdict is Verdict.FLAGGED) is flagged
    assert judgement.good is not flagged


def test_nonfinite_flags_whatever_the_cosine() -> None:
    scores = scored(1.0, nonfinite_test=1, flags=(Status.NONFINITE,), reason="one NaN")
    rows, judgement = judge(row("a", both=scores))
    assert rows[0].cause == "non-finite"
    assert rows[0].cause_reason == "One NaN."
    assert not judgement.good


def test_nonfinite_in_a_tiny_layer_still_flags() -> None:
    rows, _ = judge(row("a", both=scored(1.0, count=3, nonfinite_reference=1)))
    assert rows[0].verdict is Verdict.FLAGGED


def test_tiny_layers_are_never_flagged_but_tiny_outputs_are_judged() -> None:
    rows, judgement = judge(row("a", both=scored(0.1, count=10)))
    assert rows[0].verdict is Verdict.NOT_JUDGED
    assert judgement.good
    rows, judgement = judge(row("out", output=True, both=scored(0.1, count=10)))
    assert rows[0].verdict is Verdict.FLAGGED
    assert judgement.failed_outputs == ("out",)
    assert judgement.few_values == ("out",)
    assert "The output 'out' was judged on 10 values only." in judgement.sentence


def test_unmatched() -> None:
    understood = replace(row("q", status=Status.UNMATCHED), reason="a quantization point")
    foreign = replace(row("x", status=Status.UNMATCHED), understood=False, reason="no layer of this name")
    rows, judgement = judge(understood, foreign, row("a", total=scored(), tuned=scored()), second=True)
    assert [entry.verdict for entry in rows] == [Verdict.NOT_JUDGED, Verdict.FLAGGED, Verdict.GOOD]
    assert rows[1].cause == "unmatched"
    assert judgement.flagged == ("x",)


def test_shape_mismatch_flags() -> None:
    rows, judgement = judge(replace(row("a", status=Status.SHAPE_MISMATCH), reason="2x3 against 2x4"), second=True)
    assert rows[0].cause == "unmatched"
    assert not judgement.good


def test_index_tensors_are_not_judged() -> None:
    rows, judgement = judge(row("i", both=Scores(Status.NOT_FLOAT, count=100, equal_share=0.5)))
    assert rows[0].verdict is Verdict.NOT_JUDGED
    assert judgement.good


@pytest.mark.parametrize(
    ("shares", "cause"),
    [
        ((0.8, 0.1), "data"),
        ((0.2, 0.9), "weights"),
        ((0.4, 0.45), "mixed"),
        ((0.5, 0.5), "mixed"),
        ((-0.2, 1.3), "weights"),
    ],
)
def test_cause_with_one_model(shares: tuple[float, float], cause: str) -> None:
    isolation = Isolation(*shares, 1 - sum(shares))
    rows, _ = judge(replace(row("a", both=scored(0.9)), isolation=isolation))
    assert rows[0].cause == cause
    assert f"{100 * shares[0]:.0f} %" in rows[0].cause_reason


def test_drift_is_shown_and_does_not_fail() -> None:
    drifted = row("a", total=scored(0.9), tuned=scored(0.999))
    rows, judgement = judge(drifted, row("out", output=True, total=scored(0.99), tuned=scored(0.999)), second=True)
    assert rows[0].cause == "drift"
    assert judgement.good
    assert judgement.drifted == ("a",)
    assert judgement.flagged == ()
    assert "1 layer drifted in training" in judgement.sentence


def test_judge_total_makes_drift_count() -> None:
    drifted = row("a", total=scored(0.9), tuned=scored(0.999))
    _, judgement = judge(drifted, second=True, judge_by="total")
    assert not judgement.good
    assert judgement.flagged == ("a",)
    assert judgement.drifted == ()


def test_an_output_that_drifted_away_fails() -> None:
    _, judgement = judge(row("out", output=True, total=scored(0.9), tuned=scored(0.999)), second=True)
    assert not judgement.good
    assert judgement.flagged == ("out",)
    assert judgement.failed_outputs == ("out",)
    assert judgement.drifted == ()


def test_quantization_of_the_second_model_counts() -> None:
    lost = replace(row("a", total=scored(0.9), tuned=scored(0.91)), tuned_isolation=Isolation(0.1, 0.8, 0.1))
    rows, judgement = judge(lost, second=True)
    assert rows[0].cause == "weights"
    assert judgement.flagged == ("a",)


@pytest.mark.parametrize(
    "name", ["data", "weight", "both", "drift", "tuned_data", "tuned_weight", "tuned", "tuned_float"]
)
def test_judge_a_lane(name: str) -> None:
    comparison = "drift" if name == "tuned_float" else name
    scores = {entry.name: scored(0.999) for entry in comparisons_for(second=True, quantized=True)}
    scores[comparison] = scored(0.5)
    _, judgement = judge(row("a", **scores), second=True, judge_by=name)
    assert judgement.comparison == comparison
    assert not judgement.good


@pytest.mark.parametrize("name", ["tuned", "drift", "nonsense"])
def test_a_lane_that_the_run_does_not_have(name: str) -> None:
    with pytest.raises(UsageError, match="choose one of: default, total, data, weight, both"):
        judge(row("a", both=scored()), judge_by=name)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, 98.0])
def test_a_threshold_that_is_no_cosine(threshold: float) -> None:
    with pytest.raises(UsageError, match="is no cosine"):
        judge(row("a", both=scored()), threshold=threshold)


def test_float_only_differences_count() -> None:
    rows, judgement = judge(row("a", total=scored(0.9)), second=True, quantized=False)
    assert rows[0].cause == "drift"
    assert not judgement.good


def test_sentences() -> None:
    _, judgement = judge(row("a", both=scored(0.9931)), row("b", both=scored(0.9999)))
    assert judgement.sentence == (
        "Good: no layer is lost to quantization (both against float); the lowest cosine is 0.9931 at 'a'."
    )
    bad = replace(row("a", both=scored(0.9)), isolation=Isolation(0.9, 0.1, 0.0))
    _, judgement = judge(bad, row("b", output=True, both=scored(0.5)))
    assert judgement.sentence == (
        "Not good: 2 of 2 layers flagged (1 by data, 1 by both; both against float); the worst is 'b' with a cosine of "
        "0.5000; 1 network output below 0.98."
    )
    _, judgement = judge(row("a", both=scored(1.0, status=Status.EXACT)))
    assert judgement.sentence == "Good: exactly equal in 1 layer (both against float)."

"""A configuration that says something without meaning, or that could never fail, is refused by file and key."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.gate.configuration import find_configuration, open_settings, parse_configuration, read_configuration
from tests.gate.results import settings

NAN, INF = float("nan"), float("inf")
GOOD_ALLOWANCE = {"what": "cosine", "reason": "ticket 7", "expires": datetime.date(2030, 1, 1)}


@pytest.mark.parametrize(
    ("gate", "key", "told"),
    [
        ({"cosin": 0.98}, "gate.cosin", "did you mean 'cosine'"),
        ({"sqnr": 20}, "gate.sqnr", "did you mean 'sqnr_db'"),
        ({"norm-ratio": [0.9, 1.1]}, "gate.norm-ratio", "did you mean 'norm_ratio'"),
        ({"accuracy_loss": 1}, "gate.accuracy_loss", "did you mean 'accuracy_loss_points'"),
        ({"limits": [{"layer": "conv1", "cosine": 0.9}]}, "gate.limits[1].layer", "did you mean 'layers'"),
        ({"cosine": NAN}, "gate.cosine", "is NaN"),
        ({"sqnr_db": INF}, "gate.sqnr_db", "finite"),
        ({"sqnr_db": -INF}, "gate.sqnr_db", "finite"),
        ({"cosine": "0.98"}, "gate.cosine", "write a number"),
        ({"cosine": True}, "gate.cosine", "write a number"),
        ({"cosine": -1}, "gate.cosine", "can never fail"),
        ({"cosine": -1.5}, "gate.cosine", "can never fail"),
        ({"cosine": 1.01}, "gate.cosine", "nothing can meet"),
        ({"sqnr_db": -500}, "gate.sqnr_db", "can never fail"),
        ({"agreement": 0}, "gate.agreement", "can never fail"),
        ({"agreement": 99}, "gate.agreement", "nothing can meet"),
        ({"accuracy_loss_points": 100}, "gate.accuracy_loss_points", "can never fail"),
        ({"norm_ratio": 0.95}, "gate.norm_ratio", "[0.95, 1.05]"),
        ({"norm_ratio": [0, INF]}, "gate.norm_ratio", "can never fail"),
        ({"norm_ratio": [-1, INF]}, "gate.norm_ratio", "can never fail"),
        ({"norm_ratio": [1.1, 1.2]}, "gate.norm_ratio", "equal to its reference"),
        ({"norm_ratio": [1.05, 0.95]}, "gate.norm_ratio", "equal to its reference"),
        ({"norm_ratio": [NAN, 1.1]}, "gate.norm_ratio", "is NaN"),
        ({"norm_ratio": [0.9, 1.0, 1.1]}, "gate.norm_ratio", "another length"),
        ({"cosine": 0.9, "over": "average"}, "gate.over", "choose pooled, mean, minimum, percentile"),
        ({"cosine": 0.9, "over": "minimun"}, "gate.over", "did you mean 'minimum'"),
        ({"cosine": 0.9, "percentile": 101}, "gate.percentile", "no percentile"),
        ({"cosine": 0.9, "percentile": 0}, "gate.percentile", "no percentile"),
        ({"cosine": 0.9, "percentile": 7}, "gate.percentile", "1, 5, 10, 25, 50"),
        ({"cosine": 0.9, "over": "percentile"}, "gate.percentile", "is missing"),
        ({"cosine": 0.9, "over": "mean", "percentile": 5}, "gate.percentile", "no meaning"),
        ({"cosine": 0.9, "confidence": 0.95}, "gate.confidence", "over = 'mean'"),
        ({"cosine": 0.9, "over": "mean", "confidence": 95}, "gate.confidence", "from 0.5 to below 1"),
        ({"accuracy_loss_points": 1, "confidence": 0.99}, "gate.confidence", "0.95"),
        ({"accuracy_loss_points": 1, "over": "mean"}, "gate.over", "one figure over all samples"),
        ({"verdict": True, "over": "mean"}, "gate.over", "without a limit"),
        ({"limits": [{"layers": "conv*"}]}, "gate.limits[1]", "can never fail"),
        ({"limits": [{"layers": [], "cosine": 0.9}]}, "gate.limits[1].layers", "empty"),
        ({"limits": [{"layers": "", "cosine": 0.9}]}, "gate.limits[1].layers", "empty"),
        ({"limits": [{"layers": 7, "cosine": 0.9}]}, "gate.limits[1].layers", "a text or a list"),
        ({"limits": [{"outputs": False, "cosine": 0.9}]}, "gate.limits[1].outputs", "selects nothing"),
        ({"limits": [{"outputs": "fc", "cosine": 0.9}]}, "gate.limits[1].outputs", "true or false"),
        ({"limits": {"cosine": 0.9}}, "gate.limits", "[[gate.limits]]"),
        (
            {"limits": [{"layers": "a", "cosine": 0.9}, {"layers": "a", "cosine": 0.8}]},
            "gate.limits[1].cosine",
            "gate.limits[2].cosine replaces it",
        ),
        ({"cosine": 0.9, "limits": [{"cosine": 0.8}]}, "gate.cosine", "can never fail"),
        ({}, "gate", "nothing that could fail"),
        ({"verdict": "yes"}, "gate.verdict", "true or false"),
        ({"findings": "fatal"}, "gate.findings", "choose error, warning"),
        ({"allow": [{"what": "cosine", "reason": "x"}], "cosine": 0.9}, "gate.allow[1].expires", "is missing"),
        ({"allow": [GOOD_ALLOWANCE | {"reason": " "}], "cosine": 0.9}, "gate.allow[1].reason", "empty"),
        ({"allow": [GOOD_ALLOWANCE | {"expires": "soon"}], "cosine": 0.9}, "gate.allow[1].expires", "write a date"),
        ({"allow": [GOOD_ALLOWANCE | {"what": "cosin"}], "cosine": 0.9}, "gate.allow[1].what", "did you mean 'cosine'"),
        ({"allow": [GOOD_ALLOWANCE | {"until": 1}], "cosine": 0.9}, "gate.allow[1].until", "known are"),
        ({"baseline": {}}, "gate.baseline.file", "is missing"),
        ({"baseline": {"file": "b", "sqnr_db": -1}}, "gate.baseline.sqnr_db", "0 or more"),
        ({"baseline": {"file": "b", "sqnr_db": NAN}}, "gate.baseline.sqnr_db", "is NaN"),
        ({"baseline": {"file": "b", "cosine": 2}}, "gate.baseline.cosine", "can never fail"),
        ({"baseline": {"file": "b", "may_change": ["date"]}}, "gate.baseline.may_change", "did you mean 'data'"),
    ],
)
def test_what_has_no_meaning_is_refused_by_file_and_key(gate: dict[str, Any], key: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        settings(**gate)
    assert str(refused.value).startswith(f"limits.toml: {key} ")
    assert told in str(refused.value)


def test_everything_that_may_be_said() -> None:
    read = settings(
        cosine=0.98,
        comparison="both",
        verdict=True,
        findings="warning",
        limits=[
            {"layers": ["conv*", "fc"], "types": "Convolution", "sqnr_db": 20, "norm_ratio": [0.9, INF]},
            {"outputs": True, "cosine": 0.99, "percentile": 5},
            {"accuracy_loss_points": 1.0, "confidence": 0.95},
        ],
        allow=[GOOD_ALLOWANCE, GOOD_ALLOWANCE | {"layers": "fc", "expires": "2031-05-05"}],
        baseline={"file": "base.json", "cosine": 0.001, "may_change": ["second", "data"]},
    )
    places = [limit.place for limit in read.limits]
    assert places == [
        "gate.cosine",
        "gate.limits[1].sqnr_db",
        "gate.limits[1].norm_ratio",
        "gate.limits[2].cosine",
        "gate.limits[3].accuracy_loss_points",
    ]
    assert (read.limits[2].low, read.limits[2].high) == (0.9, None)
    assert (read.limits[3].over, read.limits[3].percentile) == ("percentile", 5)
    assert read.allow[1].expires == datetime.date(2031, 5, 5)
    assert read.baseline is not None
    assert read.baseline.allowed == {"cosine": 0.001}


def test_a_baseline_alone_allows_half_a_decibel() -> None:
    read = settings(baseline={"file": "base.json"})
    assert read.baseline is not None
    assert read.baseline.allowed == {"sqnr_db": 0.5}


def test_found_upwards_the_nearest_first(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text("[tool.gfpq-inspect.gate]\ncosine = 0.9\n")
    (tmp_path / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert find_configuration(inner) == tmp_path / "pyproject.toml"
    (tmp_path / "a" / "gfpq-inspect.toml").write_text("[gate]\ncosine = 0.8\n")
    assert find_configuration(inner) == tmp_path / "a" / "gfpq-inspect.toml"
    assert read_configuration(tmp_path / "a" / "gfpq-inspect.toml").limits[0].low == 0.8
    assert read_configuration(tmp_path / "pyproject.toml").limits[0].low == 0.9


def test_keys_of_a_pyproject_are_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text("[tool.gfpq-inspect.gate]\ncosine = nan\n")
    with pytest.raises(UsageError, match=r"^pyproject\.toml: tool\.gfpq-inspect\.gate\.cosine is NaN"):
        open_settings(None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[gate\ncosine = 1", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"gate = 3\n", "limits.toml: gate is 3; write a table"),
        (b"[gates]\ncosine = 0.9\n", "did you mean 'gate'"),
        (b"", "nothing that could fail"),
    ],
)
def test_a_damaged_file_is_named(content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("limits.toml").write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_configuration(Path("limits.toml"))
    assert "limits.toml" in str(refused.value)
    assert told in str(refused.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path / "none.toml")


def test_no_limits_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gfpq_inspect.gate.configuration.find_configuration", lambda _: None)
    with pytest.raises(UsageError, match="there are no limits"):
        open_settings(None)


def test_a_section_that_is_no_table() -> None:
    with pytest.raises(UsageError, match="write a table"):
        parse_configuration([], "x.toml", folder=Path())

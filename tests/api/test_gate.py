"""`Comparison.gate()`: the gate of CI from Python."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from gfpq_inspect import Comparison
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.gate.baseline import update_baseline
from tests.gate.results import result

COMPARISON = Comparison(result())


def test_limits_from_a_mapping() -> None:
    assert COMPARISON.gate({"cosine": 0.98})
    report = COMPARISON.gate({"cosine": 0.991})
    assert not report
    assert [check.subject for check in report.failures] == ["conv2"]
    with pytest.raises(UsageError, match=r"^the limits: gate\.cosin is no key"):
        COMPARISON.gate({"cosin": 0.98})


def test_limits_from_a_file_with_a_baseline_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text('[gate.baseline]\nfile = "base.json"\n')
    with pytest.raises(InputError, match="--update-baseline"):
        COMPARISON.gate(file)
    update_baseline(tmp_path / "base.json", COMPARISON.result, "both")
    assert COMPARISON.gate(file)
    assert COMPARISON.gate(str(file))


def test_limits_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gfpq-inspect.toml").write_text("[gate]\ncosine = 0.9999\n")
    assert not COMPARISON.gate()


def test_the_day_can_be_told() -> None:
    limits = {"cosine": 0.991, "allow": [{"what": "cosine", "reason": "r", "expires": "2026-01-31"}]}
    assert COMPARISON.gate(limits, today=datetime.date(2026, 1, 31))
    assert not COMPARISON.gate(limits, today=datetime.date(2026, 2, 1))

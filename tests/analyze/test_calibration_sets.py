"""A calibration set of its own; coefficients saved, loaded, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gfpq_inspect
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.coefficients import read_coefficients
from gfpq_inspect.report.coefficientfile import render_coefficients, render_param_dict

from .networks import samples, small_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    small_network().build(folder, "prob", name="net.onnx")
    return folder / "net.onnx"


DATA = samples(12, 3, 8, 8)


def run(network: Path, data: Any = DATA, **options: Any) -> Result:
    return gfpq_inspect.compare(network, inputs=data, **options).result


def data_rows(result: Result) -> dict[str, int | None]:
    return {f"{row.layer}.{row.index}": row.delta for row in result.coefficients if row.role == "data"}


def finding(result: Result) -> Any:
    return next(entry for entry in result.findings if entry.id == "beyond-calibration")


def test_coefficients_come_from_the_calibration_set(network: Path) -> None:
    small = DATA * np.float32(0.25)
    apart = run(network, calibration=small)
    assert data_rows(apart) == data_rows(run(network, small))
    assert data_rows(apart) != data_rows(run(network))
    assert "a set of its own: 12 samples" in apart.run.calibration
    assert apart.run.calibration_inputs is not None
    assert apart.run.calibration_inputs.sample_count == 12
    assert run(network).run.calibration_inputs is None


def test_values_beyond_the_calibration_are_counted(network: Path) -> None:
    result = run(network, calibration=DATA * np.float32(0.25))
    told = finding(result)
    assert told.severity == "warning"
    rows = {row.layer: row for row in result.coefficients if row.role == "data"}
    first = next(row for row in told.evidence_rows if "conv1" in row[1])
    count = int(np.count_nonzero(np.abs(DATA) >= rows["conv1"].grid_top * 2 ** (1 / 16)))
    assert first[3] == count
    assert first[4] == DATA.size
    assert finding(run(network, calibration=DATA)).severity in ("passed", "warning")
    assert finding(run(network)).severity == "not applicable"


def test_our_form_goes_round(network: Path, tmp_path: Path) -> None:
    result = run(network)
    path = tmp_path / "c.json"
    path.write_text(render_coefficients(result))
    stored = read_coefficients(path)
    assert all(len(bytes.fromhex(entry["block"])) == 16 for entry in json.loads(path.read_text())["coefficients"])
    assert {entry.role for entry in stored.entries} == {"data", "weight"}
    loaded = run(network, DATA[:5], load_coefficients=path)
    assert data_rows(loaded) == data_rows(result)
    assert loaded.run.calibration == "data coefficients from the file c.json"
    assert loaded.run.notes == ("Local errors were not asked for.",) or not any("c.json" in n for n in loaded.run.notes)


def test_the_mappers_form_goes_round(network: Path, tmp_path: Path) -> None:
    result = run(network)
    path = tmp_path / "p.json"
    path.write_text(render_param_dict(result))
    tops = json.loads(path.read_text())["nnie"]["gfpq_param_dict"]
    assert set(tops) == {row.layer for row in result.coefficients if row.role == "data"}
    loaded = run(network, DATA[:5], load_coefficients=path)
    assert data_rows(loaded) == data_rows(result)
    assert any("taken as 8 bit" in note for note in loaded.run.notes)


def test_two_models_have_entries_of_their_own(network: Path, tmp_path: Path) -> None:
    result = gfpq_inspect.compare(network, network, inputs=DATA).result
    path = tmp_path / "c.json"
    path.write_text(render_coefficients(result))
    assert {entry.facts["model"] for entry in read_coefficients(path).entries} == {"first", "second"}
    loaded = gfpq_inspect.compare(network, network, inputs=DATA[:5], load_coefficients=path).result
    assert data_rows(loaded) == data_rows(result)


def changed(result: Result, path: Path, change: Any) -> Path:
    document = json.loads(render_coefficients(result))
    change(document["coefficients"])
    path.write_text(json.dumps(document))
    return path


def test_a_file_that_does_not_fit_says_where(network: Path, tmp_path: Path) -> None:
    result = run(network)

    def without_conv(rows: list[dict[str, Any]]) -> None:
        rows[:] = [row for row in rows if row["layer"] != "conv1"]

    with pytest.raises(InputError, match=r"c\.json: has no coefficient for the data of 1 of .* \(read by 'conv1'\)"):
        run(network, load_coefficients=changed(result, tmp_path / "c.json", without_conv))

    def wide(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["layer"] == "fc":
                row["bits"] = 16

    with pytest.raises(InputError, match="layer 'fc': its coefficient is of 16 bit"):
        run(network, load_coefficients=changed(result, tmp_path / "c.json", wide))

    def disagreeing(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["layer"] == "branch_b" and row["role"] == "data":
                row["delta"] += 1
                del row["block"]

    with pytest.raises(InputError, match="'branch_a' and 'branch_b' read the same tensor"):
        run(network, load_coefficients=changed(result, tmp_path / "c.json", disagreeing))


def test_what_is_of_no_use_is_listed(network: Path, tmp_path: Path) -> None:
    result = run(network)

    def more(rows: list[dict[str, Any]]) -> None:
        rows.append({"layer": "gone", "role": "data", "index": 0, "bits": 8, "delta": 3})
        for row in rows:
            if row["layer"] == "conv1" and row["role"] == "weight":
                row["delta"] -= 2
                del row["block"]

    notes = run(network, load_coefficients=changed(result, tmp_path / "c.json", more)).run.notes
    assert any("1 entries belong to nothing" in note and "'gone'" in note for note in notes)
    assert any("1 weights have another coefficient" in note and "'conv1'" in note for note in notes)


def test_options_that_exclude_each_other(network: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(render_coefficients(run(network)))
    with pytest.raises(UsageError, match="takes the place of a calibration"):
        run(network, calibration=DATA, load_coefficients=path)
    with pytest.raises(UsageError, match="each sample has its own"):
        run(network, calibration=DATA, coefficients="sample")
    with pytest.raises(UsageError, match="GFPQ"):
        run(network, load_coefficients=path, format="int8")
    with pytest.raises(UsageError, match="--calibration-samples"):
        prepare(ComparisonOptions(first=network, calibration_samples=3))
    with pytest.raises(UsageError, match="each sample has its own coefficients"):
        render_coefficients(run(network, coefficients="sample"))


def test_calibration_samples_are_counted_apart(network: Path) -> None:
    options = ComparisonOptions(first=network, inputs=DATA, calibration=DATA, calibration_samples=3, timing=False)
    result = compare_networks(prepare(options))
    assert result.run.inputs.sample_count == 12
    assert result.run.calibration_inputs is not None
    assert result.run.calibration_inputs.sample_count == 3
    assert data_rows(result) == data_rows(run(network, DATA[:3]))

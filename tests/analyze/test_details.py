"""Evidence of layers: histograms on common edges, channels, codes, tables; folded against unfolded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.channels import channel_table, column
from gfpq_inspect.analyze.details import channel_evidence
from gfpq_inspect.analyze.histograms import BINS, count, cropped, histograms
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.fold import fold_model
from gfpq_inspect.quantize.formats import format_named
from gfpq_inspect.report.jsonfile import parse_result, render_json
from tests.planted.networks import DIGITS, compare, request_of, told


@pytest.fixture(scope="module")
def result(fixtures: Path) -> Result:
    return compare_networks(replace(request_of(DIGITS, fixtures, samples=6), isolate=False))


def test_every_value_is_counted_once() -> None:
    values = np.array([0.0, 1e-30, -1.0, 1.0, 1.1, 2.0, -1e9, np.nan, np.inf], dtype=np.float32)
    counts = count(values)
    assert counts.sum() == 7
    assert counts[BINS] == 2
    edges, (shown,) = cropped(counts[None])
    assert len(shown) == len(edges) - 1
    assert sum(shown) == 7
    assert edges == sorted(edges)


def test_counts_fall_between_their_edges() -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal(5000).astype(np.float32)
    edges, (shown,) = cropped(count(values)[None])
    expected, _ = np.histogram(values, edges)
    assert shown == expected.tolist()


def test_worst_elements() -> None:
    reference = np.zeros((1, 2, 3, 4), dtype=np.float32)
    other = reference.copy()
    other[0, 1, 2, 3], other[0, 0, 1, 1] = 5.0, -7.0
    worst = histograms(reference, other, 3).worst
    assert [(one.place, one.other, one.sample) for one in worst] == [((0, 1, 1), -7.0, 3), ((1, 2, 3), 5.0, 3)]


def test_channel_sums_against_their_definition() -> None:
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 3, 4, 5)).astype(np.float32)
    y = x + np.float32(0.1) * random.standard_normal(x.shape).astype(np.float32)
    x[0, 1, 2, 3] = np.nan
    table = channel_table(x, y)
    keep = np.isfinite(x)
    for channel in range(3):
        one, other = x[:, channel][keep[:, channel]].astype(float), y[:, channel][keep[:, channel]].astype(float)
        assert column(table, "count")[channel] == one.size
        assert column(table, "dd")[channel] == pytest.approx(((other - one) ** 2).sum())
        assert column(table, "xy")[channel] == pytest.approx((one * other).sum())
        assert column(table, "max_x")[channel] == np.abs(one).max()


def test_dead_and_outlier_channels() -> None:
    x = np.ones((1, 5, 2, 2), dtype=np.float32)
    x[:, 1], x[:, 3] = 0, 40
    shown = channel_evidence(channel_table(x, x))
    assert shown["dead"] == [1]
    assert shown["outlier"] == [3]
    assert shown["headroom_octaves"][3] == 0


def test_every_computed_layer_has_evidence(result: Result) -> None:
    layers = result.details["layers"]
    for row in result.layers:
        entry = layers[row.key]
        assert len(entry["channels"]["sqnr_db"]) == row.shape[1]
        for part in entry["values"]:
            assert all(len(counts) == len(part["edges"]) - 1 for counts in part["counts"].values())
            assert sum(part["counts"]["float"]) == sum(part["counts"]["both"]) == 6 * row.elements


def test_quantized_layers_tell_codes_floor_and_excess(result: Result) -> None:
    entry = result.details["layers"]["conv3"]
    assert entry["codes"]["codes_total"] == 255
    assert 0 < entry["codes"]["codes_used"] <= 255
    (table,) = entry["tables"]
    rows = {row[1]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    assert set(rows) == {"data", "weight"}
    for row in rows.values():
        assert row["floor dB"] > 33.1
        assert row["below the floor dB"] == pytest.approx(row["floor dB"] - row["SQNR dB"], abs=0.02)


def test_evidence_survives_the_file(result: Result) -> None:
    again = parse_result(render_json(result), "result.json")
    assert again.details["layers"]["conv1"]["codes"] == result.details["layers"]["conv1"]["codes"]


def test_evidence_does_not_depend_on_workers(fixtures: Path) -> None:
    request = replace(request_of(DIGITS, fixtures, samples=5), isolate=False)
    results = [compare_networks(replace(request, workers=workers, batch=batch)) for workers, batch in ((1, 1), (3, 2))]
    assert results[0].details == results[1].details
    assert results[0].findings == results[1].findings


def test_folded_convolutions_meet_the_last_affine_layer(fixtures: Path) -> None:
    """The folded convolution is compared with the output of the other model's Scale, and the table says so."""
    request = request_of(DIGITS, fixtures, samples=6)
    result = compare(request, fold_model(request.first))
    rows = {row.key: row for row in result.layers}
    row = rows["scale1"]
    assert row.partner == "conv1"
    assert "folded in" in row.reason
    assert row.scores["drift"].cosine == pytest.approx(1.0, abs=1e-6)
    assert rows["conv1"].folded_into == "scale1"
    assert rows["bn1"].folded_into == "scale1"
    assert told(result) == []


@pytest.mark.parametrize(
    ("name", "codes"), [("int8", 255), ("int8-per-channel", 255), ("uint8", None), ("fp8-e4m3", None)]
)
def test_evidence_of_other_formats(name: str, codes: int | None, fixtures: Path) -> None:
    """Codes where there is one scale a tensor; ranges, shares and SQNR always."""
    request = replace(request_of(DIGITS, fixtures, samples=4), number_format=format_named(name), bits=8, isolate=False)
    result = compare_networks(request)
    entry = result.details["layers"]["conv3"]
    (table,) = entry["tables"]
    rows = {row[1]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    assert {row["format"] for row in rows.values()} == {name}
    for row in rows.values():
        assert 15 < row["SQNR dB"] < 60
        assert row["floor dB"] is None
        assert 0 <= row["flushed %"] < 30
        assert row["beyond %"] < 0.01
    if name == "fp8-e4m3":
        assert "codes" not in entry
        assert rows["data"]["codes used"] is None
        return
    shown = entry["codes"]
    data = next(one for one in result.coefficients if one.layer == "conv3" and one.role == "data")
    assert shown["codes_total"] == (codes or 2 * len(shown["positive"]) - 1)
    assert shown["codes_used"] == int(rows["data"]["codes used"].split()[0]) > 20
    assert sum(shown["positive"]) + sum(shown["negative"]) == 4 * entry_size(result, data.tensor)
    kept = parse_result(render_json(result), "result.json").details["layers"]["conv3"]
    assert (kept["codes"], kept["tables"]) == (shown, entry["tables"])


def entry_size(result: Result, tensor: str) -> int:
    """Values of a tensor in one sample."""
    return sum(result.details["layers"][tensor]["values"][0]["counts"]["float"]) // 4

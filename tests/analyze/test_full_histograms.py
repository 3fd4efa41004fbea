"""The side file with every code and every bin."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfpq_inspect.analyze.full_histograms import full_histograms
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.quantize import gfpq_of, quantize

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))


def archive(content: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(io.BytesIO(content)) as members:
        index = json.loads(members["index.json"])
        return index, {name: members[name] for name in members.files if name != "index.json"}


@pytest.fixture
def options(fixtures: Path, tmp_path: Path) -> ComparisonOptions:
    digits = fixtures / "digits"
    np.savez(tmp_path / "images.npz", data=np.load(digits / "test.npz")["data"][:4])
    return ComparisonOptions(
        first=digits / "float.caffemodel",
        second=digits / "quant.caffemodel",
        inputs=(str(tmp_path / "images.npz"),),
        bits=16,
        timing=False,
    )


def test_codes_of_the_input_are_those_of_the_library(options: ComparisonOptions) -> None:
    kept: list[bytes] = []
    compare_networks(prepare(options), None, lambda case: kept.append(full_histograms(case)))
    index, arrays = archive(kept[0])
    assert index["samples"] == 4
    data = next(
        entry
        for entry in index["arrays"]
        if entry["kind"] == "codes" and entry["role"] == "data" and entry["tensor"] == "data"
    )
    values = np.load(options.inputs[0])["data"].astype(np.float32)  # type: ignore[index]  # a tuple, as given above
    quantized = quantize(values, bits=16)
    assert quantized.param.delta == data["coefficient"]
    codes = quantized.codes
    expected = np.zeros_like(arrays[data["array"]])
    zero = 1 << 15
    live = codes[codes != zero].astype(np.int64)
    np.add.at(expected, ((live >> 15) & 1, live & (zero - 1)), 1)
    np.testing.assert_array_equal(arrays[data["array"]], expected)
    assert arrays[data["array"]].shape == (2, gfpq_of(16).highest_code + 1)


def test_bins_hold_every_value(options: ComparisonOptions) -> None:
    kept: list[bytes] = []
    result = compare_networks(prepare(options), None, lambda case: kept.append(full_histograms(case)))
    index, arrays = archive(kept[0])
    rows = {row.key: row for row in result.layers}
    found = [entry for entry in index["arrays"] if entry["kind"] == "values"]
    assert {entry["layer"] for entry in found} == {key for key, row in rows.items() if row.scores}
    for entry in found:
        counts = arrays[entry["array"]]
        assert counts.shape == (3, arrays["edges"].size - 1)
        assert counts.sum(1).tolist() == [4 * rows[entry["layer"]].elements] * 3


def test_the_command_writes_it_and_equal_runs_give_equal_bytes(fixtures: Path, tmp_path: Path) -> None:
    digits = fixtures / "digits"
    words = [PROGRAM, "compare", str(digits / "float.caffemodel"), "--input", str(digits / "test.npz")]
    words += ["--samples", "4", "-q", "--full-histograms"]
    for name in ("one.npz", "other.npz"):
        subprocess.run([*words, str(tmp_path / name)], check=True)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    again = subprocess.run([*words, str(tmp_path / "one.npz")], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr

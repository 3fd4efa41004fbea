"""Coefficient files: both forms, there and back, and what is wrong with a bad one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.coefficients import (
    StoredCoefficient,
    coefficients_json,
    param_dict_json,
    read_coefficients,
)
from gfpq_inspect.quantize import gfpq_of

ENTRIES = (
    StoredCoefficient("conv1", "data", 0, 8, -77, "data", {"maximum": 9.0}),
    StoredCoefficient("sum", "data", 0, 16, -1300),
    StoredCoefficient("sum", "data", 1, 16, -1200),
    StoredCoefficient("conv1", "weight", 0, 8, -140, "conv1/weight"),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "coefficients.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_our_form_there_and_back(tmp_path: Path) -> None:
    found = read_coefficients(write(tmp_path, coefficients_json(ENTRIES, {"network": "n\u00e4t"})))
    assert found.entries == ENTRIES
    assert found.facts == {"network": "n\u00e4t"}
    assert found.find("sum", index=1) == ENTRIES[2]
    assert found.find("conv1", "weight") == ENTRIES[3]
    assert found.find("nobody") is None
    assert ENTRIES[0].block == "60 62 82 69 b3 ff ff ff c5 c7 27 cc 3a 38 d8 33"


@pytest.mark.parametrize("bits", [8, 16])
def test_the_mappers_form_there_and_back(tmp_path: Path, bits: int) -> None:
    grid = gfpq_of(bits)
    deltas = range(grid.lowest_coefficient, grid.highest_coefficient + 1, 7)
    entries = tuple(StoredCoefficient(f"layer{delta}", "data", 0, bits, delta) for delta in deltas)
    found = read_coefficients(write(tmp_path, param_dict_json(entries)), bits=bits)
    assert found.entries == entries
    assert found.notes == (f"taken as {bits} bit, which the file does not say",)


def test_order_of_inputs(tmp_path: Path) -> None:
    text = param_dict_json([ENTRIES[2], ENTRIES[1]])
    assert [one.delta for one in read_coefficients(write(tmp_path, text), bits=16).entries] == [-1300, -1200]


def test_measured_maxima_instead_of_grid_tops(tmp_path: Path) -> None:
    found = read_coefficients(write(tmp_path, '{"nnie": {"gfpq_param_dict": {"conv1": [9.0], "pool": 2.0}}}'))
    assert [one.delta for one in found.entries] == [-77, 16 - 127]
    assert "1 values are measured maxima" in found.notes[1]


def test_data_and_weights_do_not_mix_in_the_mappers_form() -> None:
    with pytest.raises(InputError, match="'conv1': gfpq_param_dict holds data or weights"):
        param_dict_json(ENTRIES)


def broken(**changes: object) -> str:
    document = json.loads(coefficients_json(ENTRIES[:1]))
    document["coefficients"][0].update(changes)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no coefficient file"),
        ('{"format": "gfpq-inspect coefficients", "version": 9}', "version 9"),
        ('{"format": "gfpq-inspect coefficients", "version": 1}', "no list"),
        ('{"nnie": {}}', "gfpq_param_dict is missing"),
        ('{"nnie": {"gfpq_param_dict": {"c": ["x"]}}}', "layer 'c': the grid top 'x'"),
        ('{"nnie": {"gfpq_param_dict": {"c": [-1]}}}', "layer 'c': the grid top -1"),
        ('{"nnie": {"gfpq_param_dict": {"c": [1e300]}}}', "layer 'c': no tensor gives"),
        (broken(layer=3), "coefficient 1: names no layer"),
        (broken(role="bias"), r"layer 'conv1'\): its role is 'bias'"),
        (broken(delta="x"), "'delta' is 'x'"),
        (broken(bits=7), "layer 'conv1'"),
        (broken(delta=-78), "its block holds the coefficient -77, delta says -78"),
        (broken(block="00 01"), "16 bytes"),
        (broken(block="zz"), "layer 'conv1'"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        read_coefficients(write(tmp_path, text))


def test_twice_the_same_tensor(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two coefficients for data 0"):
        read_coefficients(write(tmp_path, coefficients_json([ENTRIES[0], ENTRIES[0]])))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_coefficients(tmp_path / "nothing.json")

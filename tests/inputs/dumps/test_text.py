"""Values written as text, and what is said of text that holds none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.dumps.text import read_codes, read_fixed_point, read_floats
from gfpq_inspect.quantize import GfpqParam, dequantize
from tests.inputs.dumps import writers


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.hex"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_fixed_point(tmp_path: Path) -> None:
    lines = "00000000\n00001000\nfffff000\n0x00000800\nFFFFFFFF\n7fffffff\n80000000\r\n3e8\n"
    values = read_fixed_point(write(tmp_path, lines))
    wanted = np.array([0, 1, -1, 0.5, -1 / 4096, (2**31 - 1) / 4096, -(2**19), 1000 / 4096], np.float32)
    np.testing.assert_array_equal(values, wanted)
    assert values.dtype == np.float32


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50))
def test_every_number_comes_back(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    path = tmp_path_factory.getbasetemp() / "numbers.hex"
    path.write_text(writers.fixed_point_lines(np.array(numbers) / 4096))
    np.testing.assert_array_equal(read_fixed_point(path), (np.array(numbers) / 4096).astype(np.float32))


@pytest.mark.parametrize("bits", [8, 16])
def test_codes_are_those_of_the_library(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(2).standard_normal((1, 3, 5, 7)).astype(np.float32)
    writers.write_mapper_input(tmp_path, "conv", values, bits=bits)
    codes = read_codes(next(tmp_path.glob("*.nonlinear.hex")))
    assert codes.dtype == (np.uint8 if bits == 8 else np.uint16)
    steps, top = (16, 127) if bits == 8 else (128, 1407)
    delta = int(np.floor(steps * np.log2(float(np.abs(values).max())))) - top
    anti = read_floats(next(tmp_path.glob("*anti*")))
    np.testing.assert_allclose(dequantize(codes, GfpqParam(delta=delta)), anti, atol=1e-7, rtol=1e-6)


def test_floats(tmp_path: Path) -> None:
    text = "1.5\n-2e-3\n nan\ninf\n-1.#IND00\n1.#INF\n-1.#INF00\n-nan(ind)\n3,\n"
    values = read_floats(write(tmp_path, text))
    wanted = np.array([1.5, -2e-3, np.nan, np.inf, np.nan, np.inf, -np.inf, np.nan, 3], np.float32)
    np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (read_floats, "1\n2\nabc\n", r"t\.hex:3: 'abc' is not a number"),
        (read_floats, "", r"is empty; dump the layer again"),
        (read_floats, "\n \n", r"is empty"),
        (read_floats, b"1\n\x002", r"\(byte 2\): is binary"),
        (read_fixed_point, "00000000\n123456789\n", r"t\.hex:2: '123456789' is not a hexadecimal number of up to 8"),
        (read_fixed_point, "00000000\n0000000g\n", r"t\.hex:2: '0000000g' is not a hexadecimal number"),
        (read_fixed_point, "1.5\n", r"t\.hex:1: '1\.5' is not"),
        (read_codes, "7f\n00\n7ff\n", r"t\.hex:3: '7ff' is not a code of 2 hexadecimal digits"),
        (read_codes, "7\n", r"t\.hex:1: '7' is not a code of 2 \(8 bit\) or 4 \(16 bit\)"),
        (read_codes, "zz\n", r"t\.hex:1: 'zz'"),
    ],
)
def test_damage_is_placed(tmp_path: Path, reader: object, text: str | bytes, words: str) -> None:
    assert callable(reader)
    with pytest.raises(InputError, match=words):
        reader(write(tmp_path, text))

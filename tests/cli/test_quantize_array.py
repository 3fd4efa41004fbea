"""`gfpq-inspect quantize-array`: the guide's numbers, the codes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.cli.main import run

GUIDE = np.array([0, 1, 2, 2.9536524, 4, 4.967431, 5.907305, 7.0250087, 8, 8.724062], np.float32)
BLOCK = "60 62 82 69 b3 ff ff ff c5 c7 27 cc 3a 38 d8 33"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "in.npy", np.arange(10, dtype=np.float32))
    return tmp_path / "in.npy"


def test_the_guides_sample(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), GUIDE)
    assert BLOCK in capsys.readouterr().out


def test_a_given_block_is_applied(source: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.array([1000.0, -9.0, 0.0], np.float32))
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--block", BLOCK]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.array([GUIDE[9], -GUIDE[9], 0], np.float32))


def test_codes(source: Path, tmp_path: Path) -> None:
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--codes"]) == 0
    codes = np.load(tmp_path / "out.npy")
    assert codes.dtype == np.uint8
    assert codes[0] == 0x80
    assert codes[9] == 127


def test_not_finite_is_refused_or_counted(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(source, np.array([1.0, np.nan, np.inf], np.float32))
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy")]) == 2
    assert not (tmp_path / "out.npy").exists()
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--allow-nonfinite"]) == 0
    assert "2 values were not finite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(b"", "in.npy"), (b"not an array", "in.npy"), (None, "in.npy")],
    ids=["empty", "foreign", "missing"],
)
def test_bad_files(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, fragment: str
) -> None:
    source.unlink()
    if content is not None:
        source.write_bytes(content)
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy")]) == 2
    assert fragment in capsys.readouterr().err


def test_refusals(source: Path, tmp_path: Path) -> None:
    assert run(["quantize-array", str(source), str(source)]) == 2
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--bits", "9"]) == 2
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--block", "zz"]) == 2
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy"), "--block", "00" * 16]) == 2
    np.save(source, np.arange(3))
    assert run(["quantize-array", str(source), str(tmp_path / "out.npy")]) == 2
    assert not (tmp_path / "out.npy").exists()

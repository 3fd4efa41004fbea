"""Everything a user can get wrong with files: one sentence that names file, layer and remedy, never a traceback."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError, ModelError
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.models.open import open_network

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures"))
from make_broken import BROKEN, BrokenNetwork, make


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.case)
def test_broken_networks(tmp_path: Path, broken: BrokenNetwork) -> None:
    path = make(tmp_path, broken)
    with pytest.raises(ModelError) as caught:
        open_network(path).build()
    sentences = str(caught.value).splitlines()
    assert len(sentences) == len(caught.value.problems)
    pattern = rf".*/{broken.case}\.{broken.message}"
    assert any(re.fullmatch(pattern, sentence) for sentence in sentences), "\n".join(sentences)
    assert len(sentences) <= 3, "one fault must not be told as many"


def test_all_problems_of_a_network_are_told_at_once(tmp_path: Path, fixtures: Path) -> None:
    text = (fixtures / "digits/float.prototxt").read_text()
    text = text.replace('type: "Eltwise"', 'type: "Eltwize"').replace('type: "Concat"', 'type: "Conkat"')
    (tmp_path / "float.prototxt").write_text(text)
    (tmp_path / "float.caffemodel").write_bytes((fixtures / "digits/float.caffemodel").read_bytes())
    with pytest.raises(ModelError) as caught:
        open_network(tmp_path / "float.caffemodel").build()
    assert {problem.layer for problem in caught.value.problems} >= {"sum3", "concat"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.npy", r".*missing\.npy: there is no such file; .*"),
        ("missing-folder/*.png", r".*missing-folder/\*\.png: no file fits this pattern; .*"),
        ("empty.npz", r".*empty\.npz: is empty; .*"),
        ("cut.npz", r".*cut\.npz: is no readable NumPy archive \(.*\); .*"),
        ("shape.npy", r".*shape\.npy: an array of shape \[2, 1, 9, 9\] does not fit input 'data' .*; .*"),
        ("nan.npy", r".*nan\.npy: sample 'nan\.npy\[1\]' holds 3 values that are NaN or infinite .*; .*"),
        ("noise.png", r".*noise\.png: is not an image in a known format; .*"),
        ("empty-folder", r".*empty-folder: holds no image and no \.npy or \.npz file; .*"),
    ],
)
def test_bad_data_for_a_good_network(tmp_path: Path, fixtures: Path, name: str, message: str) -> None:
    nan = np.zeros((2, 1, 8, 8), np.float32)
    nan[1, 0, 0, :3] = np.nan
    np.save(tmp_path / "nan.npy", nan)
    np.save(tmp_path / "shape.npy", np.zeros((2, 1, 9, 9), np.float32))
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes((fixtures / "digits/test.npz").read_bytes()[:5000])
    (tmp_path / "noise.png").write_bytes(bytes(range(200)))
    (tmp_path / "empty-folder").mkdir()
    model = open_network(fixtures / "digits/float.caffemodel").build()

    def read() -> None:
        source = open_inputs([str(tmp_path / name)], model.inputs, batchable=model.batchable)
        list(source.batches(2, {"data": (1, 1, 8, 8)}))

    with pytest.raises(InputError) as caught:
        read()
    assert re.fullmatch(message, str(caught.value))

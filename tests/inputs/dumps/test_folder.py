"""Folders of dumps: samples, formats beside one another, what is refused and what is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.dumps.folder import natural, open_dump
from gfpq_inspect.inputs.dumps.names import Encoding
from gfpq_inspect.inputs.dumps.store import ValueStore
from tests.inputs.dumps import writers


def array(*shape: int, seed: int = 0) -> writers.Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_mapper_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mapper_quant"
    folder.mkdir()
    writers.write_mapper_output(folder, "a/b", array(1, 2, 3, 4))
    writers.write_mapper_input(folder, "a/b", array(1, 2, 3, 4))
    (folder / "a_b_weight.hex").write_text("7f\n")
    (folder / "mapper_debug.log").write_text("x")
    for path in (tmp_path, folder):
        dump = open_dump(path)
        assert [tensor.name for tensor in dump.tensors][:2] == ["a_b_output0", "a_b_input0"]
        assert dump.tensors[1].encoding is Encoding.FLOAT_TEXT  # dequantized values before codes
        assert dump.tensors[1].code_bits == 8
        assert dump.other_files == ("mapper_debug.log",)
        assert dump.tools[0] == "mapper"
        assert set(dump.sha256) == {path.name for path in folder.iterdir()} - {"mapper_debug.log"}


def test_samples_are_folders_or_archives(tmp_path: Path) -> None:
    for index in (10, 9, 2):
        folder = tmp_path / "folders" / f"image{index}"
        folder.mkdir(parents=True)
        writers.write_caffe(folder, "conv", array(1, 2, 3, 4, seed=index))
    dump = open_dump(tmp_path / "folders")
    assert dump.samples == ("image2", "image9", "image10")
    assert len(dump.tensors) == 1
    assert dump.tensors[0].problem == ""
    writers.write_caffe(tmp_path / "folders" / "image9", "fc", array(1, 5))
    broken = {tensor.layer: tensor.problem for tensor in open_dump(tmp_path / "folders").tensors}
    assert broken == {"conv": "", "fc": "only 1 of 3 samples have it"}


def test_layers_in_folders_of_their_own_are_no_samples(tmp_path: Path) -> None:
    for name in ("conv", "fc"):
        (tmp_path / name).mkdir()
        writers.write_caffe(tmp_path / name, name, array(1, 2, 3, 4))
    with pytest.raises(InputError, match="share no tensors, so they are no samples"):
        open_dump(tmp_path)


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        open_dump(tmp_path / "missing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"empty: holds no tensors .*, it is empty; name the folder"):
        open_dump(empty)
    (empty / "net.caffemodel").write_bytes(b"x")
    with pytest.raises(InputError, match=r"it holds net\.caffemodel: name that file"):
        open_dump(empty)
    (empty / "conv_weight.hex").write_text("7f\n")
    with pytest.raises(InputError, match="parameters of layers only"):
        open_dump(empty)
    twice = tmp_path / "twice"
    twice.mkdir()
    writers.write_caffe(twice, "conv", array(1, 2, 3, 4))
    np.save(twice / "conv.npy", array(1, 2, 3, 4))
    with pytest.raises(InputError, match=r"hold the same tensor \('conv', output 0\)"):
        open_dump(twice)
    bad = tmp_path / "bad"
    bad.mkdir()
    np.save(bad / "conv.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"conv\.npy"):
        open_dump(bad)


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array(1, 2, 3, 4))
    np.save(tmp_path / "b.npy", array(1, 2, 3, 4))
    data = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(data[:-8])
    np.save(tmp_path / "c.npy", np.zeros((0, 3)))
    (tmp_path / "d.npy").write_bytes(b"")
    problems = {tensor.layer: tensor.problem for tensor in open_dump(tmp_path).tensors}
    assert problems["a"] == ""
    assert "b.npy: is no readable NumPy array file" in problems["b"]
    assert "c.npy: holds no value" in problems["c"]
    assert "d.npy: is empty" in problems["d"]


def test_text_beyond_the_budget_goes_to_the_disk(tmp_path: Path) -> None:
    values = array(1, 8, 16, 16)
    writers.write_caffe(tmp_path, "conv", values)
    dump = open_dump(tmp_path, ValueStore(budget_bytes=16))
    stored = dump.tensors[0].stored[0]
    assert stored is not None
    assert isinstance(stored.values, np.memmap)
    np.testing.assert_allclose(stored.values, values.ravel(), atol=1e-7)


def test_natural_order() -> None:
    assert sorted(["b10", "b9", "a", "b1x"], key=natural) == ["a", "b1x", "b9", "b10"]

"""Values from Python: arrays, memory maps, functions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.callables import open_values
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

from .helpers import GRAY, collect

VALUES = np.random.default_rng(0).normal(size=(5, 1, 4, 6)).astype(np.float32)
TWO = (ModelInput("data", "data", (1, 1, 4, 6)), ModelInput("info", "info", (1, 3)))


def test_arrays_and_memory_maps(tmp_path: Path) -> None:
    assert np.array_equal(collect(open_values(VALUES, GRAY))["data"], VALUES)
    mapped = np.memmap(tmp_path / "raw", np.uint8, "w+", shape=(5, 4, 6))
    mapped[:] = np.arange(24).reshape(4, 6)
    source = open_values(mapped, GRAY, InputOptions(scale=0.5, samples=2), name="frames")
    assert np.array_equal(collect(source)["data"][1, 0], np.arange(24).reshape(4, 6) / 2)
    assert source.identities == ("frames[0]", "frames[1]")


def test_arrays_by_name() -> None:
    info = np.arange(15).reshape(5, 3)
    values = collect(open_values({"data": VALUES, "info": info}, TWO), TWO)
    assert np.array_equal(values["info"], info)
    with pytest.raises(InputError, match="one array for the inputs 'data' and 'info'; give a mapping"):
        open_values(VALUES, TWO)
    with pytest.raises(InputError, match="has arrays for 'data' and 'x', the network's inputs are 'data' and 'info'"):
        open_values({"data": VALUES, "x": info}, TWO)
    with pytest.raises(InputError, match="samples: holds Python objects"):
        open_values(np.array([None]), GRAY)


def test_functions() -> None:
    def make() -> Iterator[Any]:
        yield VALUES[0]
        yield VALUES[1:4]
        yield VALUES[4, 0]

    source = open_values(make, GRAY)
    assert source.count == 5
    assert np.array_equal(collect(source)["data"], VALUES)
    assert np.array_equal(collect(source)["data"], VALUES)
    pairs = [{"data": VALUES[0], "info": np.ones(3)}, {"data": VALUES[1], "info": np.zeros(3)}]
    values = collect(open_values(lambda: pairs, TWO), TWO)
    assert values["info"].tolist() == [[1, 1, 1], [0, 0, 0]]


def test_functions_that_fail() -> None:
    def broken() -> Iterator[Any]:
        yield VALUES[0]
        raise RuntimeError("camera unplugged")

    with pytest.raises(InputError, match="samples: raised RuntimeError: camera unplugged; correct the function"):
        open_values(broken, GRAY)
    with pytest.raises(InputError, match="samples: made no sample"):
        open_values(list, GRAY)
    with pytest.raises(InputError, match="a sample has no array for input 'info'; it has 'data'"):
        open_values(lambda: [{"data": VALUES[0]}], TWO)
    once = iter(VALUES)
    with pytest.raises(InputError, match="made 0 samples, 5 before; it must give the same each time"):
        collect(open_values(lambda: once, GRAY))


def test_functions_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_samples.py").write_text("import numpy\ndef make():\n    return [numpy.ones((1, 4, 6))] * 3\n")
    monkeypatch.chdir(tmp_path)
    source = open_inputs(["python:my_samples:make"], GRAY)
    assert collect(source)["data"].shape == (3, 1, 4, 6)
    with pytest.raises(InputError, match="python:my_samples:none: module my_samples has no function none"):
        open_inputs(["python:my_samples:none"], GRAY)
    with pytest.raises(InputError, match=r"cannot be imported \(ModuleNotFoundError: .*\); correct it"):
        open_inputs(["python:no_such_module_here:make"], GRAY)
    with pytest.raises(InputError, match=r"is not of the form python:package.module:function"):
        open_inputs(["python:my_samples"], GRAY)
    with pytest.raises(UsageError, match="feeds all inputs; give it alone"):
        open_inputs(["python:my_samples:make", "a.npy"], GRAY)

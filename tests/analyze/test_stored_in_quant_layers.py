"""Coefficients that training left in Quant layers are the ones that a comparison uses, and it says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gfpq_inspect.analyze.result import Result
from gfpq_inspect.report.jsonfile import from_document

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.torch_quant import quantize_data  # noqa: E402  (needs PyTorch)

from .findings import trained  # noqa: E402 (after the skip)

BLOBS = {"conv1": "data", "conv2": "conv1", "conv3": "conv2", "pool": "conv3", "fc": "pool"}


def compared(folder: Path, *options: str) -> Result:
    command = [str(Path(sys.executable).with_name("gfpq-inspect")), "compare", "float.caffemodel", "quant.caffemodel"]
    command += ["--input", "data.npy", "--json", "result.json", "-q", "--force", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return from_document(json.loads((folder / "result.json").read_text()))


@pytest.mark.parametrize("python_layer", [False, True])
def test_they_are_used(tmp_path: Path, python_layer: bool) -> None:
    torch.manual_seed(1)
    model = trained.Small()
    data, _ = trained.images()
    points = quantize_data(model.train())
    model(8 * data[:64])  # a training that saw far larger values than the samples below
    model.eval()
    stored = {f"{BLOBS[name]}_quant": point.observer.seen.delta for name, point in points.items()}
    np.save(tmp_path / "data.npy", data[:4].numpy())
    trained.save(tmp_path / "float.caffemodel", model.state_dict(), quant_layers=False)
    some = {name: delta for name, delta in stored.items() if name != "pool_quant"}
    for held, text in (
        (stored, "The second model is quantized at its own Quant layers; all 5 of them use the coefficient stored"),
        (some, "The second model is quantized at its own Quant layers; 4 of 5 of them use the coefficient stored"),
        ({}, "The second model is quantized at its own Quant layers."),
    ):
        trained.save(tmp_path / "new.caffemodel", model.state_dict(), coefficients=held, python_layer=python_layer)
        for suffix in (".caffemodel", ".prototxt"):
            (tmp_path / f"new{suffix}").replace(tmp_path / f"quant{suffix}")
        result = compared(tmp_path)
        assert any(note.startswith(text) for note in result.run.notes), result.run.notes
        used = {one.layer: one.delta for one in result.coefficients if one.model == "second" and one.role == "data"}
        assert {name: used[name] for name in held} == held
        assert all((used[name] or 0) < stored[name] for name in stored if name not in held)
    note = compared(tmp_path, "--coefficients", "sample").run.notes
    assert any("Quant layers" in one for one in note)

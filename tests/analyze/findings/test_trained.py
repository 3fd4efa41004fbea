"""The five failures of fine-tuning (spec: decision tree, G7 a to e), by training that way: each is found first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gfpq_inspect.tune.torch_quant import QuantizedWeights  # noqa: E402  (needs PyTorch)

from . import trained  # noqa: E402 (after the skip)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def start() -> Any:
    model = trained.trained_float()
    assert trained.accuracy(model) > 0.9
    return model


@pytest.fixture
def folder(tmp_path: Path, start: Any) -> Path:
    trained.save(tmp_path / "float.caffemodel", start.state_dict(), quant_layers=False)
    data, _ = trained.images()
    np.save(tmp_path / "data.npy", data[1280:1328].numpy())
    return tmp_path


def findings(folder: Path, *options: str) -> list[dict[str, Any]]:
    """All findings of a comparison, those that are wrong first."""
    command = [str(Path(sys.executable).with_name("gfpq-inspect")), "compare", "float.caffemodel", "quant.caffemodel"]
    command += ["--input", "data.npy", "--json", "result.json", "-q", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads((folder / "result.json").read_text())
    return [entry for entry in result["findings"] if entry["severity"] in ("error", "warning", "note")]


def test_the_guides_way(start: Any, folder: Path) -> None:
    model, weights = trained.fine_tuned(start)
    assert trained.accuracy(model) > 0.9
    trained.save(folder / "quant.caffemodel", weights.state_dict())
    trained.save(folder / "master.caffemodel", model.state_dict(), quant_layers=False)
    for options in ((), ("--master", "master.caffemodel")):
        assert [entry["id"] for entry in findings(folder, *options) if entry["severity"] != "note"] == []
        (folder / "result.json").unlink()


def test_a_weights_saved_without_quantizing(start: Any, folder: Path) -> None:
    model, _ = trained.fine_tuned(start)
    trained.save(folder / "quant.caffemodel", model.state_dict())
    first = findings(folder)[0]
    assert (first["id"], first["severity"]) == ("weights-off-grid", "warning")
    assert first["layers"] == ["conv1", "conv2", "conv3", "fc"]


@pytest.mark.slow
def test_a_weights_quantized_before_averaging(start: Any, folder: Path) -> None:
    model, weights = trained.fine_tuned(start, epochs=1)
    average = weights.state_dict()
    trained.train(
        model, 1, 2e-3, around=weights.quantized, after=lambda: trained.average_into(average, weights.state_dict())
    )
    trained.save(folder / "quant.caffemodel", average)
    first = findings(folder)[0]
    assert (first["id"], first["severity"]) == ("weights-off-grid", "warning")


SLOW = pytest.mark.slow


@pytest.mark.parametrize("rate", [pytest.param(1e-6, marks=SLOW), 1e-5, pytest.param(1e-4, marks=SLOW)])
def test_b_each_step_rewrites_the_weights(start: Any, folder: Path, rate: float) -> None:
    model = trained.prepared(start)
    weights = QuantizedWeights(model)
    trained.overwrite(weights)
    trained.train(model, 3, rate, after=lambda: trained.overwrite(weights))
    trained.save(folder / "quant.caffemodel", model.state_dict())
    first = findings(folder)[0]
    assert (first["id"], first["severity"]) == ("float-master", "error")
    assert first["title"] == "Float master overwritten"


@pytest.mark.slow
def test_b_seen_in_the_file_that_is_called_the_master(start: Any, folder: Path) -> None:
    model = trained.prepared(start)
    weights = QuantizedWeights(model)
    trained.train(model, 2, 2e-2, around=weights.quantized, after=lambda: trained.overwrite(weights))
    for name in ("quant", "master"):
        trained.save(folder / f"{name}.caffemodel", model.state_dict())
    first = findings(folder, "--master", "master.caffemodel")[0]
    assert (first["id"], first["severity"]) == ("float-master", "error")


@pytest.mark.parametrize("rate", [1e-7, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_c_a_rate_that_moves_no_code(start: Any, folder: Path, rate: float) -> None:
    model, weights = trained.fine_tuned(start, epochs=1, rate=rate)
    trained.save(folder / "quant.caffemodel", weights.state_dict())
    trained.save(folder / "master.caffemodel", model.state_dict(), quant_layers=False)
    first = findings(folder, "--master", "master.caffemodel")[0]
    assert (first["id"], first["severity"]) == ("learning-rate", "warning")


@pytest.mark.slow
def test_c_seen_in_the_snapshots(start: Any, folder: Path) -> None:
    (folder / "snapshots").mkdir()
    model = trained.prepared(start)
    weights = QuantizedWeights(model)
    for step in range(3):
        trained.train(model, 1, 1e-7, around=weights.quantized)
        trained.save(folder / f"snapshots/iter_{step}.caffemodel", model.state_dict())
    trained.save(folder / "quant.caffemodel", weights.state_dict())
    first = findings(folder, "--snapshots", "snapshots")[0]
    assert (first["id"], first["severity"]) == ("learning-rate", "warning")


def test_d_statistics_that_went_on(start: Any, folder: Path) -> None:
    _, weights = trained.fine_tuned(start, norms=False)
    trained.save(folder / "quant.caffemodel", weights.state_dict())
    first = findings(folder)[0]
    assert first["id"] == "batch-norm-statistics"
    assert first["severity"] in ("warning", "error")
    assert set(first["layers"]) == {"bn1", "bn2"}


def test_e_quantized_before_folding(start: Any, folder: Path) -> None:
    _, weights = trained.fine_tuned(start)
    trained.save(folder / "quant.caffemodel", weights.state_dict())
    first = findings(folder, "--fold")[0]
    assert first["id"] == "quantized-before-folding"
    assert first["severity"] in ("warning", "note")
    assert first["layers"] == ["conv1", "conv2"]

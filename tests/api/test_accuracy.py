"""Accuracy, coefficients and long runs from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gfpq_inspect
from gfpq_inspect.errors import UsageError
from tests.analyze.networks import samples, small_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    small_network().build(folder, "prob", name="net.onnx")
    return folder / "net.onnx"


DATA = samples(20, 3, 8, 8)


def test_accuracy_as_a_table(network: Path) -> None:
    comparison = gfpq_inspect.compare(network, inputs=DATA, labels=np.zeros(20, np.int64))
    table = comparison.accuracy.set_index("lane")
    assert comparison.task is not None
    assert list(table.index) == ["float", "data", "weight", "both"]
    assert table.loc["both", "loss_points"] == 100 * (table.loc["float", "top1"] - table.loc["both", "top1"])
    assert table.loc["both", "loss_interval_low"] < table.loc["both", "loss_interval_high"]
    assert len(comparison.task_figure().data) == 1
    assert gfpq_inspect.compare(network, inputs=DATA, labels="none").accuracy["top1"].isna().all()


def test_coefficients_go_round(network: Path, tmp_path: Path) -> None:
    comparison = gfpq_inspect.compare(network, inputs=DATA)
    expected = comparison.coefficients.query("role == 'data'")["delta"].tolist()
    for number, param_dict in enumerate((False, True)):
        path = comparison.save_coefficients(tmp_path / f"{number}.json", param_dict=param_dict)
        loaded = gfpq_inspect.compare(network, inputs=DATA[:3], load_coefficients=path)
        assert loaded.coefficients.query("role == 'data'")["delta"].tolist() == expected


def test_long_runs(network: Path, tmp_path: Path) -> None:
    options = {"inputs": DATA, "cache": tmp_path / "cache", "max_memory": "4G"}
    first = gfpq_inspect.compare(network, checkpoint=tmp_path / "c", **options)
    again = gfpq_inspect.compare(network, checkpoint=tmp_path / "c", resume=True, inputs=DATA)
    assert first.layers.equals(again.layers)
    assert first.layers.equals(gfpq_inspect.compare(network, **options).layers)
    with pytest.raises(UsageError, match="resume goes on from a checkpoint"):
        gfpq_inspect.compare(network, inputs=DATA, resume=True)

"""Task metrics of the caller's own: functions, objects, installed plug-ins, and their failures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gfpq_inspect
from gfpq_inspect.analyze.task_metrics import Outputs, TaskSample, find_metrics
from gfpq_inspect.errors import UsageError

from .networks import samples, small_network

PLUGIN = """
import numpy as np


def confidence(outputs, sample):
    return float(next(iter(outputs.values())).max())


class Worst:
    better = "lower"
    unit = "nats"

    class Score:
        def __init__(self):
            self.worst = 0.0

        def add(self, outputs, sample):
            self.worst = max(self.worst, -float(np.log(outputs["prob"].reshape(-1)[sample.label])))

        def result(self):
            return self.worst

    def start(self):
        return self.Score()
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with entry points, as pip would have installed it."""
    (tmp_path / "task_plugin.py").write_text(PLUGIN)
    info = tmp_path / "task_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: task-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gfpq_inspect.task_metrics]\nconfidence = task_plugin:confidence\nworst = task_plugin:Worst\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "task_plugin"
    sys.modules.pop("task_plugin", None)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    small_network().build(folder, "prob", name="net.onnx")
    return folder / "net.onnx"


def compared(network: Path, **options: Any) -> gfpq_inspect.Comparison:
    return gfpq_inspect.compare(network, inputs=samples(9, 3, 8, 8), labels=[1] * 9, **options)


def test_installed_metrics_are_found_by_name(network: Path, plugin: str) -> None:
    result = compared(network, task_metrics=["confidence", "worst"]).result
    assert result.task is not None
    confidence, worst = result.task.scores
    assert (confidence.name, confidence.better) == ("confidence", "higher")
    assert set(confidence.values) == {"float", "data", "weight", "both"}
    assert confidence.losses["both"] == pytest.approx(confidence.values["float"] - confidence.values["both"])
    assert confidence.loss_intervals["both"].low <= confidence.losses["both"] <= confidence.loss_intervals["both"].high
    assert (worst.better, worst.unit) == ("lower", "nats")
    assert worst.losses["both"] == pytest.approx(worst.values["both"] - worst.values["float"])
    assert worst.loss_intervals == {}
    assert any(line.startswith("worst: float") for line in result.judgement.lines)


def test_a_metric_of_a_module(plugin: str) -> None:
    assert set(find_metrics([f"python:{plugin}:confidence"])) == {f"python:{plugin}:confidence"}


def test_what_is_no_metric_is_refused(plugin: str) -> None:
    with pytest.raises(UsageError, match=r"no task metric 'mean' \(confidence, worst\)"):
        find_metrics(["mean"])
    with pytest.raises(UsageError, match="python:module:attribute"):
        find_metrics(["python:nothing"])
    with pytest.raises(UsageError, match="raised ModuleNotFoundError when it was imported"):
        find_metrics(["python:no_such_module:thing"])
    with pytest.raises(UsageError, match="is a str"):
        find_metrics([f"python:{plugin}:__name__"])


def test_samples_come_one_by_one_with_identity_and_label(network: Path) -> None:
    seen: list[tuple[int, str, int | None]] = []

    def metric(outputs: Outputs, sample: TaskSample) -> float:
        assert outputs["prob"].shape == (1, 10)
        seen.append((sample.index, sample.identity, sample.label))
        return float(sample.index) if sample.index else float("nan")

    result = compared(network, task_metrics={"index": metric}).result
    assert seen[:2] == [(0, "inputs[0]", 1), (1, "inputs[1]", 1)] or len({entry[0] for entry in seen}) == 9
    assert result.task is not None
    assert result.task.scores[0].values["float"] == np.mean(range(1, 9))


def test_a_metric_that_fails_is_named_with_the_sample(network: Path) -> None:
    def metric(outputs: Outputs, sample: TaskSample) -> float:
        raise ValueError("no box")

    with pytest.raises(UsageError, match=r"'boxes' raised ValueError at the sample 'inputs\[0\]', lane float: no box"):
        compared(network, task_metrics={"boxes": metric})

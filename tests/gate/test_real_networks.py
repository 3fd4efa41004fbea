"""Gates on networks that others trained: one that must pass, and the same with one thing wrong that must fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))
LENET = """
[compare]
float = "{models}/lenet_mnist_v2/lenet_iter_10000.caffemodel"
float-prototxt = "{models}/lenet_mnist_v2/mnist_deploy.prototxt"
input = "{models}/images/mnist/t10k-images-idx3-ubyte.gz"
labels = "{models}/images/mnist/t10k-labels-idx1-ubyte.gz"
scale = 0.00390625
samples = {samples}

[gate]
cosine = 0.98
accuracy_loss_points = 0.5
agreement = 0.98

[[gate.limits]]
types = "Convolution"
cosine = 0.98
percentile = 1

[gate.baseline]
file = "base.json"
sqnr_db = 0.5
accuracy_loss_points = 0.3
"""
FACES = """
[compare]
float = "{models}/ultraface_slim_320/slim-320.caffemodel"
input = "{models}/ultraface_slim_320/imgs"
mean = {mean}
scale = 0.0078125
channel-order = "{order}"
samples = 2

[gate]
norm_ratio = [0.5, 1.5]

[gate.baseline]
file = "faces.json"
"""


def gate(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "gfpq-inspect.toml").write_text(text)
    return subprocess.run([PROGRAM, "gate", *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.shared
def test_digits_of_mnist_pass_until_the_limit_says_otherwise(shared: Path, tmp_path: Path) -> None:
    text = LENET.format(models=shared / "models", samples=400)
    first = gate(tmp_path, text, "--update-baseline", "--json", "r.json")
    assert first.returncode == 0, first.stdout + first.stderr
    assert gate(tmp_path, text).returncode == 0
    strict = gate(tmp_path, text.replace("agreement = 0.98", "agreement = 1.0\nsqnr_db = 60"), "r.json")
    assert strict.returncode == 1, strict.stdout
    assert "[gate.sqnr_db]" in strict.stdout
    other = gate(tmp_path, LENET.format(models=shared / "models", samples=399))
    assert other.returncode == 1
    assert "input: is not that of the baseline" in other.stdout
    may = gate(tmp_path, LENET.format(models=shared / "models", samples=399) + 'may_change = ["data"]\n')
    assert may.returncode == 0, may.stdout
    task = json.loads((tmp_path / "base.json").read_text())["task"]
    assert task
    assert all(abs(entry["accuracy_loss_points"]) <= 0.5 for entry in task.values())


@pytest.mark.shared
@pytest.mark.parametrize(
    ("mean", "order", "told"),
    [("[100, 127, 127]", "rgb", "setup: "), ("127", "bgr", "preprocessing.channel order is 'bgr', was 'rgb'")],
)
def test_preprocessing_that_changed_is_noticed(mean: str, order: str, told: str, shared: Path, tmp_path: Path) -> None:
    models = shared / "models"
    good = FACES.format(models=models, mean="127", order="rgb")
    assert gate(tmp_path, good, "--update-baseline").returncode == 0
    assert gate(tmp_path, good).returncode == 0
    wrong = gate(tmp_path, FACES.format(models=models, mean=mean, order=order))
    assert wrong.returncode == 1
    assert told in wrong.stdout
    assert "input: is not that of the baseline" in wrong.stdout

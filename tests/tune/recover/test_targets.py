"""What tuning has to reach, measured on samples that neither training nor the early stop ever saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from gfpq_inspect.cli.main import run
from gfpq_inspect.report.jsonfile import read_result
from gfpq_inspect.tune.recover.explain import error_share, left_over
from gfpq_inspect.tune.recover.objective import TOLERATED_DB


@pytest.mark.slow
def test_digits_decide_as_well_as_in_float(fixtures: Path, tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    found = sklearn.load_digits()
    folder = fixtures / "digits"
    held_out = np.load(folder / "test.npz")
    indices = np.setdiff1d(np.arange(len(found.images)), held_out["index"])
    data = (found.images[indices] / 16.0).astype(np.float32)[:, None]
    np.savez(tmp_path / "train.npz", data=data, label=found.target[indices])
    network = [str(folder / "float.prototxt"), str(folder / "float.caffemodel")]
    words = [*network, str(tmp_path / "net"), "--input", str(tmp_path / "train.npz"), "--labels", "beside"]
    assert run(["tune", *words, "--judged", "0", "--steps", "40", "-q"]) in (0, 1)
    result_file = tmp_path / "judged.json"
    compared = [network[1], str(tmp_path / "net.caffemodel"), "--input", str(folder / "test.npz")]
    run(["compare", *compared, "--labels", "beside", "--json", str(result_file), "-q"])
    task = read_result(result_file).task
    assert task is not None
    assert task.samples >= 360
    lanes = [lane for output in task.outputs for lane in output.lanes if lane.lane == "tuned"]
    assert lanes
    for lane in lanes:
        assert lane.loss_points is not None
        assert lane.loss_points <= 0.5
        assert lane.loss_interval is not None
        assert lane.loss_interval.low <= lane.loss_points <= lane.loss_interval.high


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("folder", "name", "preprocessing"),
    [
        ("ultraface_slim_320", "slim-320", ("--mean", "127", "--scale", "0.0078125")),
        ("yoloface_500k", "yoloface-500k-v2", ("--scale", "0.00390625")),
        ("retinaface_mnet25", "mnet", ()),
    ],
)
def test_half_of_the_error_of_a_face_detector_is_removed_without_labels(
    shared: Path, tmp_path: Path, folder: str, name: str, preprocessing: tuple[str, ...]
) -> None:
    models = shared / "models"
    files = [models / folder / f"{name}{suffix}" for suffix in (".prototxt", ".caffemodel")]
    words = [*map(str, files), str(tmp_path / "net")]
    for photographs in (models / "images" / "voc", models / "images" / "misc", models / "ultraface_slim_320" / "imgs"):
        words += ["--input", str(photographs)]
    assert run(["tune", *words, *preprocessing, "--channel-order", "rgb", "--steps", "0", "-q"]) == 0
    result = read_result(tmp_path / "net.json")
    assert left_over(result) <= 0.5
    for row in result.layers:
        before, after = (error_share(row.scores.get(lane)) for lane in ("both", "total"))
        if row.is_output and before:
            assert after is not None
            assert 10 * np.log10(after / before) <= TOLERATED_DB, row.key

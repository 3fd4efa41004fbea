"""`gfpq-inspect tune` from the outside: files, exit codes, what is confirmed and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from gfpq_inspect.cli.main import run
from gfpq_inspect.models.caffe.caffemodel import read_caffemodel
from gfpq_inspect.models.caffe.network import read_network
from gfpq_inspect.models.caffe.write import bytes_field
from gfpq_inspect.models.run import run_model
from gfpq_inspect.quantize import kernels
from gfpq_inspect.report.jsonfile import read_result
from gfpq_inspect.tune.recover import training
from gfpq_inspect.tune.recover.objective import Objective
from tests.tune.test_quantize_files import FORWARD

QUICK = ("--steps", "10", "--seed", "3", "--no-timing", "-q")
PROGRAM = str(Path(sys.executable).with_name("gfpq-inspect"))


def tune(*words: object) -> int:
    return run(["tune", *map(str, words)])


def values(path: Path) -> dict[str, list[np.ndarray[Any, Any]]]:
    stored = read_caffemodel(path)
    return {layer.name: [layer.blobs[index].values for index in sorted(layer.blobs)] for layer in stored.layers}


@pytest.fixture(scope="module")
def tuned(fixtures: Path, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of a run."""
    prefix = tmp_path_factory.mktemp("tuned") / "net"
    folder = fixtures / "digits"
    words = [folder / "float.prototxt", folder / "float.caffemodel", prefix, "--input", f"data={digits}:data"]
    assert tune(*words, *QUICK) == 0
    return prefix


@pytest.fixture
def plain(network: list[str], digits: Path, tmp_path: Path) -> list[str]:
    """Words of a run in a fresh folder."""
    return [*network, str(tmp_path / "net"), "--input", f"data={digits}:data"]


def with_suffix(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def test_error_is_removed_and_the_comparison_says_so(tuned: Path) -> None:
    result = read_result(with_suffix(tuned, ".json"))
    before, after = (
        sum((row.scores[name].rel_l2 or 0.0) ** 2 for row in result.layers if row.is_output)
        for name in ("both", "total")
    )
    assert after < before
    tuning = result.details["tuning"]
    assert tuning["improved"] is True
    assert tuning["samples"] == {"train": 96, "holdout": 32, "judged": 32}
    assert [line["stage"] for line in tuning["log"]][:2] == ["as given", "constants moved"]
    assert tuning["log"][0]["figure"] == 1
    assert "Tuning: kept is what" in with_suffix(tuned, ".html").read_text("utf-8")
    assert 'id="tuning-chart"' in with_suffix(tuned, ".html").read_text("utf-8")


def test_the_quantized_network_is_the_master_on_the_grid(tuned: Path) -> None:
    master, quantized = values(with_suffix(tuned, "_master.caffemodel")), values(with_suffix(tuned, ".caffemodel"))
    assert master.keys() == quantized.keys()
    for name, blobs in master.items():
        for index, blob in enumerate(blobs):
            if index == 0:
                delta = kernels.coefficient_of(kernels.largest_magnitude(blob)[0], 8)
                assert np.array_equal(kernels.apply(blob, 8, delta), quantized[name][0]), name
                assert kernels.on_grid(quantized[name][0], 8)
            else:
                assert np.array_equal(blob, quantized[name][index])


def test_coefficients_of_data_stand_beside_those_of_weights(tuned: Path) -> None:
    entries = json.loads(with_suffix(tuned, ".qparams.json").read_text("utf-8"))["coefficients"]
    assert {one["role"] for one in entries} == {"data", "weight"}
    tops = json.loads(with_suffix(tuned, ".gfpq_param.json").read_text("utf-8"))["nnie"]["gfpq_param_dict"]
    assert {"conv1", "pool1", "fc"} <= tops.keys()


def test_the_same_run_gives_the_same_bytes(tuned: Path, network: list[str], digits: Path, tmp_path: Path) -> None:
    assert tune(*network, tmp_path / "net", "--input", f"data={digits}:data", *QUICK) == 0
    for suffix in (".caffemodel", "_master.caffemodel", ".prototxt", ".qparams.json"):
        assert with_suffix(tmp_path / "net", suffix).read_bytes() == with_suffix(tuned, suffix).read_bytes(), suffix


def test_a_killed_run_goes_on_to_the_same_result(tuned: Path, network: list[str], digits: Path, tmp_path: Path) -> None:
    words = ["tune", *network, str(tmp_path / "net"), "--input", f"data={digits}:data", *QUICK]
    process = subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "net.checkpoint"
    limit = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not checkpoint.exists():
        pytest.skip("the run was over before it could be killed")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["net.checkpoint"]
    assert run(words) == 2  # a stopped run is not thrown away unasked
    assert run([*words, "--resume"]) == 0
    for suffix in (".caffemodel", "_master.caffemodel"):
        assert with_suffix(tmp_path / "net", suffix).read_bytes() == with_suffix(tuned, suffix).read_bytes(), suffix
    assert not checkpoint.exists()


def test_unknown_fields_are_carried_over(network: list[str], digits: Path, tmp_path: Path) -> None:
    unknown = bytes_field(1999, b"of a fork")
    changed = tmp_path / "fork.caffemodel"
    changed.write_bytes(Path(network[1]).read_bytes() + unknown)
    words = [network[0], changed, tmp_path / "net", "--input", f"data={digits}:data", "--no-fold", *QUICK]
    assert tune(*words, "--steps", 0) in (0, 1)
    for suffix in (".caffemodel", "_master.caffemodel"):
        assert with_suffix(tmp_path / "net", suffix).read_bytes().endswith(unknown)
    before, after = values(changed), values(with_suffix(tmp_path / "net", "_master.caffemodel"))
    for name in ("bn1", "scale1", "bn3"):
        assert all(np.array_equal(one, other) for one, other in zip(before[name], after[name], strict=True)), name


def test_labels_are_learned_from(network: list[str], digits: Path, tmp_path: Path) -> None:
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", "--labels", "beside", *QUICK]
    assert tune(*words) in (0, 1)
    tuning = read_result(tmp_path / "net.json").details["tuning"]
    assert tuning["labels"] is True
    assert all("accuracy" in line and "entropy" in line for line in tuning["log"])
    assert tuning["after"]["accuracy"] >= min(tuning["before"]["accuracy"], 0.98)


def test_nothing_better_gives_the_given_weights_quantized(
    network: list[str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", "--no-closed-form", *QUICK]
    assert tune(*words, "--steps", 0) == 1
    assert "Nothing better was found" in capsys.readouterr().out
    assert run(["quantize-weights", *network, str(tmp_path / "plain")]) == 0
    assert (tmp_path / "net.caffemodel").read_bytes() == (tmp_path / "plain.caffemodel").read_bytes()


def test_training_alone_lowers_the_loss(network: list[str], digits: Path, tmp_path: Path) -> None:
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", "--no-closed-form", "--rate", "3e-6", *QUICK]
    tune(*words, "--steps", 60, "--batch", 32)
    losses = [line["loss"] for line in read_result(tmp_path / "net.json").details["tuning"]["log"] if "loss" in line]
    assert len(losses) >= 2
    assert losses[-1] < losses[0]


def test_onnx_gives_onnx(network: list[str], digits: Path, tmp_path: Path) -> None:
    assert run(["convert", *network, str(tmp_path / "float.onnx")]) == 0
    words = [tmp_path / "float.onnx", tmp_path / "net", "--input", f"data={digits}:data", *QUICK]
    assert tune(*words, "--steps", 0) == 0
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    kernels_there = [numpy_helper.to_array(one) for one in model.graph.initializer if len(one.dims) == 4]
    assert kernels_there
    assert all(kernels.on_grid(np.ascontiguousarray(one), 8) for one in kernels_there)
    assert (tmp_path / "net_master.onnx").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--samples", "2"), "2 samples are too few"),
        (("--holdout", "1.5"), "shares lie between 0 and 1"),
        (("--rate", "7"), "--rate 7: a learning rate lies above 0"),
        (("--bits", "4"), "8 and 16 bits, not 4"),
        (("--momentum", "1"), "--momentum 1"),
        (("--time-limit", "0"), "--time-limit 0: give seconds"),
        (("--resume",), "no checkpoint to go on from"),
    ],
)
def test_senseless_options_are_refused_before_anything_is_written(
    plain: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert tune(*plain, "-q", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_not_replaced_unasked(
    tuned: Path, network: list[str], digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = with_suffix(tuned, ".caffemodel").read_bytes()
    assert tune(*network, tuned, "--input", f"data={digits}:data", *QUICK) == 2
    assert "exists already" in capsys.readouterr().err
    assert with_suffix(tuned, ".caffemodel").read_bytes() == before


def test_a_damaged_or_foreign_checkpoint_is_refused(
    network: list[str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.checkpoint").write_bytes(b"no checkpoint")
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", *QUICK, "--resume"]
    assert tune(*words) == 2
    assert "damaged" in capsys.readouterr().err


def test_without_pytorch_the_extra_is_named(
    network: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    assert tune(*network, tmp_path / "net") == 2
    assert "gfpq-inspect[torch]" in capsys.readouterr().err


def test_training_that_diverges_is_told(
    plain: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.Trainer, "gradients", lambda *_, **__: (float("nan"), {}))
    assert tune(*plain, "--rate", "0.5", "--no-closed-form", *QUICK) == 2
    assert "diverged" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["", "_master"])
def test_real_caffe_gives_the_same_outputs(
    tuned: Path, fixtures: Path, tmp_path: Path, run_caffe: Callable[..., str], part: str
) -> None:
    data = np.load(fixtures / "digits" / "test.npz")["data"][:16]
    np.save(tmp_path / "data.npy", data)
    files = [with_suffix(tuned, f"{part}{suffix}") for suffix in (".prototxt", ".caffemodel")]
    run_caffe(FORWARD, *files, tmp_path / "data.npy", tmp_path / "out.npz")
    model = read_network(files[1], files[0]).build({"data": data.shape})
    ours = run_model(model, {"data": data})
    np.testing.assert_allclose(ours[model.outputs[0]], np.load(tmp_path / "out.npz")["prob"], atol=1e-5)


def test_a_time_limit_keeps_the_best_so_far_and_the_run_goes_on(
    tuned: Path, network: list[str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", *QUICK]
    assert tune(*words, "--time-limit", "0.000001") == 1  # nothing was begun
    assert "stopped by the time limit" in capsys.readouterr().out
    assert (tmp_path / "net.checkpoint").exists()
    assert (tmp_path / "net.caffemodel").exists()
    assert tune(*words, "--resume", "--force") == 0
    for suffix in (".caffemodel", "_master.caffemodel"):
        assert with_suffix(tmp_path / "net", suffix).read_bytes() == with_suffix(tuned, suffix).read_bytes(), suffix
    assert not (tmp_path / "net.checkpoint").exists()


def test_a_relative_prefix_stays_where_it_was_meant(
    network: list[str], digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    score = Objective.score

    def moved(*given: Any, **named: Any) -> Any:
        os.chdir(tmp_path / "elsewhere")
        return score(*given, **named)

    monkeypatch.setattr(Objective, "score", moved)
    words = [*(Path(one).absolute() for one in network), "net", "--input", f"data={digits}:data", *QUICK]
    assert tune(*words, "--steps", 0) in (0, 1)
    assert (tmp_path / "net.caffemodel").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_16_bit_would_cure_is_measured_where_half_was_not_reached(
    network: list[str], digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*network, tmp_path / "net", "--input", f"data={digits}:data", "--no-closed-form", *QUICK]
    assert tune(*words, "--steps", 0) == 1
    cure = read_result(tmp_path / "net.json").details["tuning"]["cure"]
    assert cure["layers"]
    assert len(cure["layers"]) == len(cure["shares"])
    assert 0 < cure["removed"] <= 1
    for known in cure["outputs"].values():
        assert known["with_16_bit_db"] > known["tuned_db"]
        assert known["data_alone_db"] > known["tuned_db"]
    told = capsys.readouterr().out
    assert "measured with these layers at 16 bit" in told
    assert cure["layers"][0] in told

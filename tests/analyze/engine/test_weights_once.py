"""Weights are read, laid out and held once: what keeps memory and start-up small, without looking at a clock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from gfpq_inspect.analyze.engine.merged import base as bases
from gfpq_inspect.analyze.engine.merged import external, graph
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.tensors import stays

from ..networks import GraphMaker
from .agreement import experiment_of, noise

WIDTH = 512


def heavy_network(layers: int) -> GraphMaker:
    """Convolutions with much weight and few multiply-adds: 9.4 MB a layer."""
    maker = GraphMaker(batch=1)
    source, channels = maker.input("x", 32, 4, 4), 32
    for index in range(layers):
        name = maker.conv(source, f"conv{index}", (channels, WIDTH))
        source, channels = maker.node("Relu", [name], f"relu{index}"), WIDTH
    maker.node("GlobalAveragePool", [source], "out")
    return maker


def file_of(folder: Path, layers: int) -> Path:
    path = folder / "heavy.onnx"
    onnx.save(heavy_network(layers).model("out"), path)
    return path


def test_sessions_compute_with_the_arrays_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heavy_network(2).build(tmp_path, "out")
    experiment = experiment_of(heavy_network(2).build(tmp_path, "out"))
    engine = MergedEngine(experiment)
    made: list[list[Any]] = []
    hand_over = external.hand_over

    def watched(*given: Any, **options: Any) -> tuple[bytes, list[Any]]:
        data, kept = hand_over(*given, **options)
        assert len(data) < 100_000, "the weights are part of the graph's text"
        made.append(kept)
        return data, kept

    monkeypatch.setattr(graph, "hand_over", watched)
    feeds = noise(experiment)
    engine.trial(feeds, 1)
    engine.calibrate(feeds, 1)
    engine.measure(feeds, 1, [0] * len(experiment.points))
    assert engine.is_merged
    assert not engine.is_plain
    (base,) = engine._shared.bases.values()
    stored = {id(array) for array in base.initializers.values()}
    quantized = {id(entry.quantized) for found in engine._shared.placed.values() for entry in found.values()}
    calibration, measurement = (
        [array for array in kept if isinstance(array, np.ndarray) and array.nbytes > 1 << 20] for kept in made
    )
    assert len(calibration) == 1, "calibration stops where nothing behind it is quantized"
    assert {id(array) for array in calibration} <= stored
    assert len(measurement) == 2
    assert {id(array) for array in measurement} <= stored | quantized
    assert len({id(array) for array in measurement} & quantized) == 1


def test_one_run_of_the_optimiser_and_nothing_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    options_of = external.optimiser_options
    bases.block_length()

    def counted(file: Path) -> onnxruntime.SessionOptions:
        runs.append(file)
        return options_of(file)

    monkeypatch.setattr(bases, "optimiser_options", counted)
    request = prepare(ComparisonOptions(first=file_of(tmp_path, 2)))
    large = [tensor for tensor in request.first.graph.graph.initializer if np.prod(tensor.dims) > 1 << 16]
    assert len(large) == 2
    assert all(stays(tensor) for tensor in large)
    result = compare_networks(request)
    assert result.run.engine.startswith("merged")
    assert len(runs) == 1


_MEASURED = """
import json, resource, sys
from gfpq_inspect.cli.main import main
sys.argv = ["gfpq-inspect", "compare", sys.argv[1], "--samples", sys.argv[2], "--quiet"]
try:
    main()
except SystemExit:
    pass
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def peak_mb(path: Path, samples: int) -> float:
    """Largest memory of the whole command, in units of 2^20 bytes."""
    command = [sys.executable, "-c", _MEASURED, str(path), str(samples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: int = json.loads(done.stdout.splitlines()[-1])
    return found / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is the system's own")
def test_no_more_copies_of_the_weights_than_the_optimiser_makes(tmp_path: Path) -> None:
    (tmp_path / "light").mkdir()
    weights = [
        file_of(folder, layers).stat().st_size / 2**20 for folder, layers in ((tmp_path, 9), (tmp_path / "light", 1))
    ]
    heavy, light = peak_mb(tmp_path / "heavy.onnx", 24), peak_mb(tmp_path / "light" / "heavy.onnx", 24)
    # At the peak, while the optimiser runs: as read, quantized, and what it holds itself. A graph with the weights
    # inside is one more, and sessions that copy them are three more.
    assert heavy - light < 6 * (weights[0] - weights[1])

"""Random networks: the engine against a plain executor, whatever the batches; memory that stays flat."""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.steps import Step
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Status
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model

from .networks import ArraySource, GraphMaker, samples
from .test_engine import delta_of, plain_lane, plain_lanes, pooled

OPERATORS = ("conv", "depthwise", "relu", "pool", "average", "add", "concat", "mul", "sigmoid", "log", "pad", "norm")


def random_network(choices: list[tuple[str, int]], seed: int) -> GraphMaker:
    """Each choice is an operator and which of the earlier tensors it reads."""
    maker = GraphMaker(seed=seed)
    tensors: list[tuple[str, int]] = [(maker.input("x", 3, 6, 5), 3)]
    for index, (operator, place) in enumerate(choices):
        name = f"{operator}{index}"
        source, channels = tensors[place % len(tensors)]
        other, width = tensors[(place // 7) % len(tensors)]
        if operator == "conv":
            maker.conv(source, name, (channels, 4))
            channels = 4
        elif operator == "depthwise":
            maker.conv(source, name, (channels, channels), group=channels)
        elif operator in ("pool", "average"):
            kind = "MaxPool" if operator == "pool" else "AveragePool"
            maker.node(kind, [source], name, kernel_shape=[3, 3], pads=[1] * 4)
        elif operator == "concat":
            maker.node("Concat", [source, other], name, axis=1)
            channels += width
        elif operator in ("add", "mul"):
            partner = other if width == channels else source
            maker.node(operator.capitalize(), [source, partner], name)
        elif operator == "log":
            maker.node("Softplus", [source], name)
        elif operator == "norm":
            maker.node("LRN", [source], name, size=3)
        elif operator == "pad":
            maker.node("Neg", [source], name)
        else:
            maker.node(operator.capitalize(), [source], name)
        tensors.append((name, channels))
    source, channels = tensors[-1]
    maker.node("GlobalAveragePool", [source], "gap")
    maker.node("Flatten", ["gap"], "flat")
    maker.node("Gemm", ["flat", maker.weight("fc_w", channels, 5)], "fc")
    return maker


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    choices=st.lists(st.tuples(st.sampled_from(OPERATORS), st.integers(0, 48)), min_size=1, max_size=9),
    seed=st.integers(0, 1000),
    bits=st.sampled_from([8, 16]),
    batch=st.integers(2, 5),
)
def test_lanes_of_random_networks(choices: list[tuple[str, int]], seed: int, bits: int, batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = random_network(choices, seed).build(Path(folder), "fc")
    data = samples(5, 3, 6, 5, seed=seed)
    source = ArraySource({"x": data})
    result = compare_networks(ComparisonRequest(model, source, bits=bits, timing=False, isolate=False))
    again = compare_networks(
        ComparisonRequest(model, source, bits=bits, timing=False, isolate=False, batch=batch, workers=1)
    )
    assert result.layers == again.layers
    each = [{"x": data[i : i + 1]} for i in range(5)]
    floats = [plain_lane(model, feeds, data=False, weights=False) for feeds in each]
    points = {name for layer in model.layers if layer.quantization for name in layer.quantization.inputs}
    deltas = {name: max(delta_of(values[name], bits) for values in floats) for name in points}
    lanes = plain_lanes(model, each, bits=bits, deltas=deltas)
    for row in result.layers:
        for name in ("data", "weight", "both"):
            cosine, decibel = pooled([v[row.key] for v in floats], [v[row.key] for v in lanes[name]])
            scores = row.scores[name]
            if np.isnan(cosine):
                continue
            assert scores.cosine == pytest.approx(cosine, abs=1e-11), (row.key, name)
            if np.isfinite(decibel):
                assert scores.sqnr_db == pytest.approx(decibel, abs=1e-6), (row.key, name)
            else:
                assert scores.status is Status.EXACT


class LiveTensors:
    """Counts the bytes of layer outputs that are alive, by watching them come and go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.peak = 0
        original = Step.run

        def run(step: Step, *arguments: Any) -> list[NDArray[Any]]:
            arrays = original(step, *arguments)
            for array in arrays:
                self.now += array.nbytes
                weakref.finalize(array, self.gone, array.nbytes)
            self.peak = max(self.peak, self.now)
            return arrays

        monkeypatch.setattr(Step, "run", run)

    def gone(self, size: int) -> None:
        self.now -= size

    def peak_of(self, model: Model, count: int) -> int:
        self.peak = 0
        source = ArraySource({"x": samples(count, 4, 32, 32)})
        compare_networks(ComparisonRequest(model, source, workers=1, batch=1, isolate=True, engine="layered"))
        assert self.now == 0
        return self.peak


def chain(folder: Path, depth: int) -> Model:
    maker = GraphMaker()
    source = maker.input("x", 4, 32, 32)
    for index in range(depth):
        maker.conv(source, f"conv{index}", (4 if not index else 32, 32), 1)
        source = maker.node("Relu", [f"conv{index}"], f"relu{index}")
    return maker.build(folder, source)


def test_tensors_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveTensors(monkeypatch)
    shallow, deep = chain(tmp_path, 4), chain(tmp_path, 24)
    few = live.peak_of(shallow, 2)
    assert few <= 20 * 32 * 32 * 32 * 4  # two layers in ten lanes
    assert live.peak_of(shallow, 20) == few
    assert live.peak_of(deep, 2) == few

"""Small results for the tests of the gate: every number is chosen, nothing is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gfpq_inspect.analyze.result import (
    Comparison,
    Coverage,
    InputFacts,
    Judgement,
    LayerRow,
    ModelFacts,
    Result,
    Run,
    Scores,
    Spread,
    Status,
)
from gfpq_inspect.analyze.task_result import Interval, LaneDecisions, Task, TaskOutput
from gfpq_inspect.gate.configuration import parse_configuration
from gfpq_inspect.gate.settings import GateSettings


def scores(cosine: float = 0.999, sqnr_db: float = 30.0, norm_ratio: float = 1.0, **more: Any) -> Scores:
    spread = {
        "cosine_spread": Spread(
            cosine - 0.001, cosine - 0.01, "worst.png", cosine - 0.005, samples=16, deviation=0.004,
        ),
        "norm_ratio_spread": Spread(
            norm_ratio, norm_ratio - 0.1, "short.png", norm_ratio - 0.05, samples=16, deviation=0.01,
            percentile_95=norm_ratio + 0.15, maximum=norm_ratio + 0.2, maximum_sample="long.png",
        ),
    }  # fmt: skip
    return Scores(**{"status": Status.OK, "count": 4096, "cosine": cosine, "sqnr_db": sqnr_db,
                     "norm_ratio": norm_ratio, "max_abs_error": 0.1} | spread | more)  # fmt: skip


def row(key: str, kind: str = "Convolution", index: int = 0, judged: Scores | None = None, **more: Any) -> LayerRow:
    base = LayerRow(
        key=key, layer=key, name=key, type=kind, index=index, side="both", partner=key, status=Status.OK, reason="",
        understood=True, shape=(1, 4, 8, 8), elements=256, quantized=True, quantization_reason="", is_output=False,
        scores={"both": judged if judged is not None else scores()}, source_line=10 + index,
    )  # fmt: skip
    return replace(base, **more)


def result(*rows: LayerRow, task: Task | None = None, **more: Any) -> Result:
    rows = rows or (
        row("conv1", index=0),
        row("conv2", index=1, judged=scores(0.99, 20.0)),
        row("relu2", "ReLU", index=2, judged=scores(0.992, 21.0)),
        row("fc", "InnerProduct", index=3, judged=scores(0.995, 25.0), is_output=True),
    )
    base = Result(
        run=Run(
            tool_version="1", command="", bits=8, coefficients="set", calibration="", view="as stored", engine="",
            versions={},
            models=(ModelFacts("first", "caffe", "n", "net.prototxt", "net.caffemodel", "", {"weights": "a" * 64}),),
            inputs=InputFacts(False, "16 images", 16, ("a.png",), {"scale": "none"}, None, "d" * 64),
        ),
        comparisons=(Comparison("both", "both", "float", "quantization", "both"),
                     Comparison("data", "data", "float", "quantization", "data")),
        coverage=Coverage(len(rows), len(rows), 0, 0, "all compared."),
        judgement=Judgement(True, "both", 0.98, "Good."),
        layers=rows,
        coefficients=(),
        findings=(),
        task=task,
    )  # fmt: skip
    return replace(base, **more)


def task(loss: float = 0.4, low: float = -0.1, high: float = 0.9, labels: str | None = "labels.txt") -> Task:
    lane = LaneDecisions(
        "both", "float", 3, 0.97, Interval(0.95, 0.99), top1=0.9, loss_points=loss, loss_interval=Interval(low, high)
    )
    if labels is None:
        lane = LaneDecisions("both", "float", 3, 0.97, Interval(0.95, 0.99))
    return Task(100, labels, "both", (), (TaskOutput("fc", 10, "", (lane,), (), "", ""),))


def settings(**gate: Any) -> GateSettings:
    return parse_configuration({"gate": gate}, "limits.toml", folder=Path())

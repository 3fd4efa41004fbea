"""What the lanes cost against plain passes: `python -m tests.bench.engine [NETWORK...] [--json FILE] [--rounds N]`.

A round runs plain, optimised ONNX Runtime passes (two threads a pass, and two workers with one thread each) and the
engine in turn, on the same samples; the ratio is of the medians, to as many plain passes of the faster kind as there
are lanes. A NETWORK is one of the shapes with random weights, or an ONNX file. Start-up is measured apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from gfpq_inspect.analyze.engine.choose import engine_for
from gfpq_inspect.analyze.engine.interface import Experiment, Feeds
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for
from gfpq_inspect.analyze.points import points_of
from gfpq_inspect.analyze.rows import table_rows
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.analyze.workers import one_thread_a_worker
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.quantize import gfpq_of, kernels

from .shapes import SHAPES, write

WORKERS = 2
SAMPLES = 4
REACH = {"lanes": 1.25, "lanes_norm": 1.45, "isolated": 1.35}


def experiment_of(path: Path, *, isolate: bool) -> Experiment:
    model = read_onnx(path).build()
    models = {Side.FIRST: model}
    table = table_rows(models, None)
    return Experiment(
        models=models,
        lanes=lanes_for(second=False, quantized=True, isolate=isolate),
        comparisons=comparisons_for(second=False, quantized=True, isolate=isolate),
        rows=tuple(row.row for row in table),
        points=tuple(points_of(Side.FIRST, model, gfpq_of(8))),
        weights=WeightTable(models, gfpq_of(8)),
        bits=8,
        per_sample=False,
    )


def on_workers(work: Callable[[int], object]) -> Callable[[], None]:
    """All samples, spread over the workers."""

    def run() -> None:
        def part(first: int) -> None:
            for index in range(first, SAMPLES, WORKERS):
                work(index)

        threads = [threading.Thread(target=part, args=(first,)) for first in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def on_all_processors(session: onnxruntime.InferenceSession, name: str, arrays: list[Any]) -> Callable[[], None]:
    """All samples, one after the other."""

    def run() -> None:
        for array in arrays:
            session.run(None, {name: array})

    return run


def plain_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def measure(name: str, path: Path, rounds: int, *, isolate: bool) -> dict[str, Any]:
    """All figures of one network."""
    started = time.perf_counter()
    experiment = experiment_of(path, isolate=isolate)
    engine = engine_for(experiment)
    random = np.random.default_rng(1)
    (entry,) = experiment.models[Side.FIRST].inputs
    arrays = [random.standard_normal(entry.shape).astype(np.float32) for _ in range(SAMPLES)]
    feeds: list[Feeds] = [{Side.FIRST: {entry.value: array}} for array in arrays]
    engine.trial(feeds[0], 1)
    magnitudes = np.max([engine.calibrate(one, 1)[0] for one in feeds], axis=0)
    points = zip(magnitudes, experiment.points, strict=True)
    deltas = [kernels.coefficient_of(float(value), point.bits) for value, point in points]
    engine.measure(feeds[0], 1, deltas)
    start_s = time.perf_counter() - started
    together, alone = plain_session(path, WORKERS), plain_session(path, 1)
    runs: dict[str, Callable[[], None]] = {
        "two threads": on_all_processors(together, entry.name, arrays),
        "two workers": on_workers(lambda index: alone.run(None, {entry.name: arrays[index]})),
        "calibration": on_workers(lambda index: engine.calibrate(feeds[index], 1)),
        "lanes": on_workers(lambda index: engine.measure(feeds[index], 1, deltas)),
    }
    times: dict[str, list[float]] = {key: [] for key in runs}
    processor: dict[str, list[float]] = {key: [] for key in runs}
    with one_thread_a_worker(WORKERS):
        for _ in range(rounds + 1):
            for key, run in runs.items():
                begun, used = time.perf_counter(), time.process_time()
                run()
                times[key].append((time.perf_counter() - begun) / SAMPLES)
                processor[key].append((time.process_time() - used) / SAMPLES)
    median = {key: statistics.median(values[1:]) for key, values in times.items()}
    best = min(median["two threads"], median["two workers"])
    lanes = len(experiment.lanes)
    return {
        "network": name,
        "engine": engine.name,
        "lanes": lanes,
        "rows": len(experiment.rows),
        "plain_ms": round(1e3 * best, 2),
        "lanes_ms": round(1e3 * median["lanes"], 2),
        "ratio": round(median["lanes"] / (lanes * best), 2),
        # Of processor time, with one thread a pass: what other work on the machine hardly changes.
        "processor_ratio": round(
            statistics.median(processor["lanes"][1:]) / (lanes * statistics.median(processor["two workers"][1:])), 2
        ),
        "calibration_passes": round(median["calibration"] / best, 2),
        "start_s": round(start_s, 2),
        "reach": REACH["isolated" if isolate else "lanes_norm" if name.endswith("_norm") else "lanes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isolate", action="store_true", help="with local probes and the fresh/inherited split")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for network in given.networks:
            path = write(network, Path(folder)) if network in SHAPES else Path(network)
            figures = measure(network, path, given.rounds, isolate=given.isolate)
            found.append(figures)
            print(
                f"{path.stem:18} {figures['ratio']:5.2f} (reach {figures['reach']}; processor time "
                f"{figures['processor_ratio']:.2f}) times {figures['lanes']} plain passes of "
                f"{figures['plain_ms']:.2f} ms; calibration {figures['calibration_passes']:.2f} passes; "
                f"start {figures['start_s']:.1f} s; {figures['rows']} rows; {figures['engine']}",
                flush=True,
            )
            if network in SHAPES:
                path.unlink()
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the lanes cost against plain passes: `python -m tests.bench.engine [NETWORK...] [--real] [--json FILE]`.

A round runs plain, optimised ONNX Runtime passes (two threads a pass, and two workers with one thread each) and the
engine in turn, on the same samples; the ratio is of the medians, to as many plain passes of the faster kind as there
are lanes. A NETWORK is one of the shapes with random weights, or an ONNX file; `--real` measures the networks of
100 million multiply-adds or more in the folder of real networks. Start-up is measured apart.
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
from gfpq_inspect.analyze.engine.layered import LayeredEngine
from gfpq_inspect.analyze.engine.merged.engine import MergedEngine
from gfpq_inspect.analyze.engine.merged.looks import EvidenceSums
from gfpq_inspect.analyze.lanes import Side, comparisons_for, lanes_for
from gfpq_inspect.analyze.points import points_of
from gfpq_inspect.analyze.rows import table_rows
from gfpq_inspect.analyze.tiles import STRIDE
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.analyze.workers import one_thread_a_worker
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx
from gfpq_inspect.quantize import gfpq_of, kernels

from .networks import models_folder, multiply_adds, real_networks
from .shapes import SHAPES, write

WORKERS = 2
PAUSE_S = 0.2
"""Before every timed run: threads of the run before would else wait for work busily, beside those of this one."""
SAMPLES = 32
REACH = {"lanes": 1.25, "lanes_norm": 1.45, "isolated": 1.35, "histograms": 1.5, "real": 1.6}
REAL_MULTIPLY_ADDS = 100_000_000
"""Real networks of less are no part of the goal."""


def experiment_of(model: Model, *, isolate: bool) -> Experiment:
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


def on_all_processors(session: onnxruntime.InferenceSession, feeds: list[dict[str, Any]]) -> Callable[[], None]:
    """All samples, one after the other."""

    def run() -> None:
        for feed in feeds:
            session.run(None, feed)

    return run


def plain_session(model: str | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure(
    name: str,
    network: Model | Path,
    rounds: int,
    *,
    isolate: bool,
    histograms: bool = False,
    reach: float | None = None,
) -> dict[str, Any]:
    """All figures of one network.

    Args:
        name: For the table.
        network: The network, or an ONNX file, whose reading then counts as start-up.
        rounds: How often it is measured.
        isolate: With local probes.
        histograms: With histograms of sampled tiles and sums by channel of every sample.
        reach: The goal; by default that of shapes.
    """
    started = time.perf_counter()
    model = read_onnx(network, weights_stay=True).build() if isinstance(network, Path) else network
    experiment = experiment_of(model, isolate=isolate)
    engine = engine_for(experiment)
    if isinstance(engine, MergedEngine) and histograms:
        engine.look_at(STRIDE)
    random = np.random.default_rng(1)
    inputs = [made_input(model, random)]
    facts = engine.trial(feeds_of(model, inputs[0]), 1)
    sums = EvidenceSums(experiment, facts.shapes)
    magnitudes = engine.calibrate(feeds_of(model, inputs[0]), 1)[0]
    points = zip(magnitudes, experiment.points, strict=True)
    deltas = [kernels.coefficient_of(float(value), point.bits) for value, point in points]
    engine.measure(feeds_of(model, inputs[0]), 1, deltas)
    start_s = time.perf_counter() - started
    inputs += [made_input(model, random) for _ in range(SAMPLES - 1)]
    feeds = [feeds_of(model, arrays) for arrays in inputs]
    plain = str(network) if isinstance(network, Path) else model.graph.SerializeToString()
    names = {entry.name: entry.name if isinstance(network, Path) else entry.value for entry in model.inputs}
    given = [{names[name]: array for name, array in arrays.items()} for arrays in inputs]
    together, alone = plain_session(plain, WORKERS), plain_session(plain, 1)
    runs: dict[str, Callable[[], None]] = {
        "two threads": on_all_processors(together, given),
        "two workers": on_workers(lambda index: alone.run(None, given[index])),
        "calibration": on_workers(lambda index: engine.calibrate(feeds[index], 1)),
        "lanes": on_workers(lambda index: engine.measure(feeds[index], 1, deltas)),
    }
    if histograms:
        runs["histograms"] = on_workers(lambda index: with_histograms(engine, feeds[index], deltas, sums))
    times: dict[str, list[float]] = {key: [] for key in runs}
    processor: dict[str, list[float]] = {key: [] for key in runs}
    with one_thread_a_worker(WORKERS):
        for _ in range(rounds + 1):
            for key, run in runs.items():
                time.sleep(PAUSE_S)
                begun, used = time.perf_counter(), time.process_time()
                run()
                times[key].append((time.perf_counter() - begun) / SAMPLES)
                processor[key].append((time.process_time() - used) / SAMPLES)
    median = {key: statistics.median(values[1:]) for key, values in times.items()}
    best = min(median["two threads"], median["two workers"])
    lanes = len(experiment.lanes)
    judged = "histograms" if histograms else "lanes"
    usual = "isolated" if isolate else "lanes_norm" if name.endswith("_norm") else "lanes"
    return {
        "network": name,
        "engine": engine.name,
        "lanes": lanes,
        "rows": len(experiment.rows),
        "plain_ms": round(1e3 * best, 2),
        "lanes_ms": round(1e3 * median["lanes"], 2),
        "ratio": round(median[judged] / (lanes * best), 2),
        "ratio_without": round(median["lanes"] / (lanes * best), 2),
        # Of processor time, with one thread a pass: what other work on the machine hardly changes.
        "processor_ratio": round(
            statistics.median(processor[judged][1:]) / (lanes * statistics.median(processor["two workers"][1:])), 2
        ),
        "calibration_passes": round(median["calibration"] / best, 2),
        "start_s": round(start_s, 2),
        "reach": REACH["histograms"] if histograms else reach or REACH[usual],
    }


def made_input(model: Model, random: np.random.Generator) -> dict[str, Any]:
    """One sample of noise."""
    return {entry.name: random.standard_normal(entry.shape).astype(entry.dtype) for entry in model.inputs}


def feeds_of(model: Model, arrays: dict[str, Any]) -> Feeds:
    """A sample as engines take it."""
    return {Side.FIRST: {entry.value: arrays[entry.name] for entry in model.inputs}}


def with_histograms(engine: LayeredEngine, feeds: Feeds, deltas: list[int], sums: EvidenceSums) -> None:
    """Measure one sample and add up its evidence, as a comparison does."""
    if not isinstance(engine, MergedEngine):
        raise SystemExit("the network is too small for a graph of all lanes: its evidence takes a pass of its own")
    for _, looks in engine.measure_and_look(feeds, 1, deltas, looked_at=(0,)).looks:
        with _ADDING:
            sums.add(0, looks)


_ADDING = threading.Lock()
"""Evidence is added by one thread, as in a comparison."""


def show(figures: dict[str, Any]) -> None:
    """Print the line of a network."""
    print(
        f"{figures['network']:18} {figures['ratio']:5.2f} (reach {figures['reach']}; processor time "
        f"{figures['processor_ratio']:.2f}) times {figures['lanes']} plain passes of "
        f"{figures['plain_ms']:.2f} ms; calibration {figures['calibration_passes']:.2f} passes; "
        f"start {figures['start_s']:.1f} s; {figures['rows']} rows; {figures['engine']}",
        flush=True,
    )


def measured_real(rounds: int, *, isolate: bool, histograms: bool, least: int) -> list[dict[str, Any]]:
    """The real networks that are there, and a line for each that cannot be measured."""
    folder = models_folder()
    if folder is None:
        print("no real networks: set GFPQ_INSPECT_SHARED to the folder that holds them", flush=True)
        return []
    rows = []
    for found in real_networks(folder, least):
        if found.model is None:
            print(f"{found.name}: not measured: {found.reason}", flush=True)
            continue
        try:
            figures = measure(
                found.name, found.model, rounds, isolate=isolate, histograms=histograms, reach=REACH["real"]
            )
        except Exception as error:  # whatever ONNX Runtime says of a network that it does not run by itself
            print(f"{found.name}: not measured: {' '.join(str(error).split())[:200]}", flush=True)
            continue
        rows.append({**figures, "multiply_adds": multiply_adds(found.model)})
        show(figures)
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isolate", action="store_true", help="with local probes and the fresh/inherited split")
    parser.add_argument(
        "--histograms", action="store_true", help="with histograms of sampled tiles and sums by channel"
    )
    parser.add_argument("--real", action="store_true", help="real networks instead of shapes")
    parser.add_argument("--least-multiply-adds", type=int, default=REAL_MULTIPLY_ADDS, help="of real networks")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found = []
    if given.real:
        found += measured_real(
            given.rounds, isolate=given.isolate, histograms=given.histograms, least=given.least_multiply_adds
        )
    with tempfile.TemporaryDirectory() as folder:
        for network in given.networks or ([] if given.real else list(SHAPES)):
            path = write(network, Path(folder)) if network in SHAPES else Path(network)
            figures = measure(network, path, given.rounds, isolate=given.isolate, histograms=given.histograms)
            found.append(figures)
            show(figures)
            if network in SHAPES:
                path.unlink()
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Small networks on many samples: `python -m tests.bench.small [--samples N] [--rounds N] [--json FILE] [FILE...]`.

All lanes and scores, as `compare` runs them by default for such networks, against as many plain passes of ONNX Runtime
over the same samples in batches, of the batch size and kind of threads that is fastest. LeNet and MTCNN's det1 are
those of the folder of real networks where it is there, else shapes like them with random weights. A FILE is an ONNX
network, or a prototxt and a caffemodel joined by a colon.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import gfpq_inspect
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model

from .networks import small_networks

REACH = 2.0
WORKERS = 2
BATCHES = (8, 32, 128, 512)
SEARCHED = 2048
"""Samples on which the batch size of plain passes is chosen."""


def batched(model: Model) -> onnx.ModelProto:
    """The network as ONNX Runtime runs it, any number of samples at a time."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.graph)
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "samples"
    del proto.graph.value_info[:]
    return proto


def plain_passes(proto: onnx.ModelProto, samples: Any, batch: int, threads: int) -> Callable[[], None]:
    """All samples in batches: one after the other on all threads, or two workers with one thread each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [samples[first : first + batch] for first in range(0, len(samples), batch)]

    def some(first: int, step: int) -> None:
        for part in parts[first::step]:
            session.run(None, {name: part})

    def run() -> None:
        if threads > 1:
            some(0, 1)
            return
        workers = [threading.Thread(target=some, args=(first, WORKERS)) for first in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return run


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time in seconds."""
    begun, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun, time.process_time() - used


def fastest(proto: onnx.ModelProto, samples: Any) -> tuple[int, int]:
    """Batch size and threads a pass that are fastest on some of the samples."""
    some = samples[:SEARCHED]
    found = {}
    for batch in BATCHES:
        for threads in (1, WORKERS):
            run = plain_passes(proto, some, batch, threads)
            found[batch, threads] = min(timed(run)[0] for _ in range(4))
    return min(found, key=lambda kind: found[kind])


def measure(name: str, model: Model, count: int, rounds: int) -> list[dict[str, Any]]:
    """A row without local probes, and one with."""
    (entry,) = model.inputs
    samples = np.random.default_rng(1).standard_normal((count, *entry.shape[1:])).astype(np.float32)
    proto = batched(model)
    batch, threads = fastest(proto, samples)
    plain = plain_passes(proto, samples, batch, threads)
    request = prepare(ComparisonOptions(first=model, inputs=samples, bits=8))
    plain()
    rows: list[dict[str, Any]] = []
    for isolate in (False, True):
        times: dict[str, list[float]] = {key: [] for key in ("plain", "plain processor", "measure", "calibrate", "run")}
        processor: list[float] = []
        for _ in range(rounds):
            wall, used = timed(plain)
            times["plain"].append(wall)
            times["plain processor"].append(used)
            asked = replace(request, isolate=isolate)
            begun, used = time.perf_counter(), time.process_time()
            result = compare_networks(asked)
            processor.append(time.process_time() - used)
            times["run"].append(time.perf_counter() - begun)
            assert result.timing is not None
            for phase in ("measure", "calibrate"):
                times[phase].append(result.timing.phases_s[phase])
        lanes = {name for entry in result.comparisons for name in (entry.lane, entry.reference)}
        median = {key: statistics.median(values) for key, values in times.items()}
        rows.append(
            {
                "network": name,
                "samples": count,
                "lanes": len(lanes),
                "engine": result.run.engine,
                "plain_us": round(1e6 * median["plain"] / count, 2),
                "plain_batch": batch,
                "plain_threads": threads,
                "measure_us": round(1e6 * median["measure"] / count, 2),
                "ratio": round(median["measure"] / (len(lanes) * median["plain"]), 2),
                "calibration_passes": round(median["calibrate"] / median["plain"], 2),
                "run_s": round(median["run"], 2),
                "run_processor_ratio": round(
                    statistics.median(processor) / (len(lanes) * median["plain processor"]), 2
                ),
                "reach": REACH,
            }
        )
    return rows


def show(row: dict[str, Any]) -> None:
    """Print the line of a network."""
    print(
        f"{row['network']:16} {row['ratio']:5.2f} (reach {REACH}) times {row['lanes']} plain passes of "
        f"{row['plain_us']:.1f} us a sample (batches of {row['plain_batch']}, {row['plain_threads']} threads a pass); "
        f"calibration {row['calibration_passes']:.2f} passes; whole run {row['run_s']:.1f} s, "
        f"{row['run_processor_ratio']:.2f} by processor time; {row['engine']}",
        flush=True,
    )


def opened(file: str) -> Model:
    """A network of the command line."""
    structure, _, weights = file.rpartition(":")
    return gfpq_inspect.load(weights, structure or None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        networks = {file: opened(file) for file in given.files} or small_networks(Path(folder))
        for name, model in networks.items():
            for row in measure(name, model, given.samples, given.rounds):
                rows.append(row)
                show(row)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a comparison costs against samples, layers and lanes: `python -m tests.bench.linearity [--json FILE]`.

Chains of equal convolutions with random weights. For samples and layers the whole comparison is timed, from a loaded
network to the result; for lanes the measuring pass, with 1 lane up to all eight that local probes need. Processor time,
the least of several runs, since other work on the machine hardly changes it; the wall times are in the JSON file.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gfpq_inspect.analyze.engine.choose import engine_for
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.prepare import ComparisonOptions, prepare
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.onnx.network import read_onnx

from .engine import experiment_of
from .fits import Fit, fitted, picture
from .shapes import Builder, chain

SAMPLES = (8, 16, 32, 64, 128, 256)
LAYERS = (20, 40, 80, 160, 320)
LAYERS_OF_SAMPLES, SAMPLES_OF_LAYERS, LAYERS_OF_LANES = 20, 16, 40
SIDE = 32


def network(layers: int, folder: Path) -> Model:
    """A chain."""
    path = folder / f"chain{layers}.onnx"
    builder = Builder()
    onnx.save(builder.model(chain(builder, layers), (3, SIDE, SIDE)), path)
    return read_onnx(path).build()


def least(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Processor and wall time in seconds, each the least of several runs; one more goes before."""
    found = []
    for _ in range(rounds + 1):
        begun, used = time.perf_counter(), time.process_time()
        run()
        found.append((time.process_time() - used, time.perf_counter() - begun))
    return min(entry[0] for entry in found[1:]), min(entry[1] for entry in found[1:])


def whole(model: Model, samples: int, rounds: int) -> tuple[float, float]:
    """A comparison with local probes."""
    arrays = np.random.default_rng(1).standard_normal((samples, 3, SIDE, SIDE)).astype(np.float32)
    request = replace(prepare(ComparisonOptions(first=model, inputs=arrays, bits=8)), isolate=True)
    return least(lambda: compare_networks(request), rounds)


def of_lanes(model: Model, rounds: int) -> list[tuple[int, float, float]]:
    """The measuring pass over one sample with more and more lanes."""
    full = experiment_of(model, isolate=True)
    (entry,) = model.inputs
    array = np.random.default_rng(1).standard_normal(entry.shape).astype(np.float32)
    feeds = {Side.FIRST: {entry.value: array}}
    found = []
    for count in range(1, len(full.lanes) + 1):
        lanes = full.lanes[:count]
        names = {lane.name for lane in lanes}
        kept = tuple(item for item in full.comparisons if {item.lane, item.reference} <= names)
        experiment = replace(full, lanes=lanes, comparisons=kept)
        engine = engine_for(experiment)
        engine.trial(feeds, 1)
        deltas = [0] * len(experiment.points)

        def run(engine: Any = engine, deltas: list[int] = deltas) -> None:
            for _ in range(8):
                engine.measure(feeds, 1, deltas)

        processor_s, wall_s = least(run, rounds)
        found.append((count, processor_s / 8, wall_s / 8))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a line a fit, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES)
    parser.add_argument("--layers", type=int, nargs="+", default=LAYERS)
    parser.add_argument("--lane-layers", type=int, default=LAYERS_OF_LANES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--picture", type=Path, default=Path("build/linearity.svg"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = network(LAYERS_OF_SAMPLES, folder)
        runs: dict[str, list[tuple[int, float, float]]] = {
            "samples": [(count, *whole(model, count, given.rounds)) for count in given.samples],
            "layers": [
                (count, *whole(network(count, folder), SAMPLES_OF_LAYERS, given.rounds)) for count in given.layers
            ],
            "lanes": of_lanes(network(given.lane_layers, folder), given.rounds),
        }
    fits: list[Fit] = []
    for title, points in runs.items():
        fits.append(fitted(title, title.removesuffix("s"), [(count, used) for count, used, _ in points]))
        print(fits[-1].text, flush=True)
    given.picture.parent.mkdir(parents=True, exist_ok=True)
    given.picture.write_text(picture(fits, "Processor time of a comparison; lines of least squares"), encoding="utf-8")
    print(f"wrote {given.picture}")
    if given.json is not None:
        told = {"fits": [asdict(fit) for fit in fits], "runs": runs}
        given.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

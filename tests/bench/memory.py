"""Peak memory of the whole command: `python -m tests.bench.memory [NETWORK...] [--samples FEW MANY] [--json FILE]`.

`gfpq-inspect compare` on shapes with random weights, with few and with many samples from a file that is read as it is
needed. The goals: twice the weights, the live tensors of all lanes and 300 MB, which is under 1 GB for ResNet-50 and
2.2 GB for VGG-16; and the same within 5 % for few and many samples. 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .processes import comparison_cost
from .shapes import SHAPES, write

REACH_MB = {"resnet50": 1000.0, "resnet50_norm": 1000.0, "vgg16": 2200.0}
REACH_GROWTH = 0.05


def noise(path: Path, samples: int) -> Path:
    """Seeded noise, written a sample at a time."""
    random = np.random.default_rng(1)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(samples, 3, 224, 224))
    for index in range(samples):
        file[index] = random.standard_normal(file.shape[1:], np.float32)
    file.flush()
    return path


def measure(network: str, folder: Path, counts: list[int], options: list[str]) -> dict[str, Any]:
    """Peaks of one network."""
    model = write(network, folder)
    weights_mb = model.stat().st_size / 2**20
    peaks: dict[int, float] = {}
    times: dict[int, float] = {}
    for count in counts:
        samples = noise(folder / "samples.npy", count)
        cost = comparison_cost([model, "--input", samples, "--quiet", *options])
        peaks[count], times[count] = cost.peak_memory_mb, cost.wall_s
        samples.unlink()
    model.unlink()
    growth = max(peaks.values()) / peaks[counts[0]] - 1
    return {
        "network": network,
        "weights_mb": round(weights_mb, 1),
        "peak_mb": peaks,
        "wall_s": times,
        "growth": round(growth, 4),
        "reach_mb": REACH_MB.get(network),
        "missed": growth > REACH_GROWTH or max(peaks.values()) > REACH_MB.get(network, np.inf),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a line a network; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["resnet50"], metavar="NETWORK")
    parser.add_argument("--samples", type=int, nargs=2, default=[16, 1024])
    parser.add_argument("--option", action="append", default=[], help="of gfpq-inspect compare: --option=--no-isolate")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    unknown = [name for name in given.networks if name not in SHAPES]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(SHAPES)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for network in given.networks:
            rows.append(measure(network, Path(folder), given.samples, given.option))
            row = rows[-1]
            peaks = ", ".join(f"{peak:.0f} MB with {count} samples" for count, peak in row["peak_mb"].items())
            reach = "" if row["reach_mb"] is None else f" (reach {row['reach_mb']:.0f} MB)"
            print(
                f"{network:16} {peaks}{reach}: {row['growth']:+.1%} (reach {REACH_GROWTH:.0%}); "
                f"weights {row['weights_mb']:.0f} MB{'; MISSED' if row['missed'] else ''}",
                flush=True,
            )
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return int(any(row["missed"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

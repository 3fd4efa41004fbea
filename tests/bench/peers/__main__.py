"""Whole process against whole process: `python -m tests.bench.peers [NETWORK...] [--peer NAME] [--json FILE]`.

`gfpq-inspect compare` and each peer run on the same networks and inputs, in turn: imports, reading, quantization and
calibration count on both sides. A peer that takes longer than `--again-below` seconds is run once. What cannot be
installed or does not run is named with the reason. 1 when the whole command loses to a peer in wall time, or a figure
against `qdq_loss_debug` is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.processes import PROGRAM, Cost, comparison_cost, cost_of
from tests.bench.shapes import SHAPES, write

from .catalogue import PEERS, Peer
from .environments import CannotInstallError, python_of

OURS = {
    "gfpq-inspect": [],
    "gfpq-inspect, page and JSON": ["--html", "report.html", "--json", "result.json"],
    "gfpq-inspect, no probes": ["--no-isolate"],
}
"""What users type, and what is written."""
COMMAND = "gfpq-inspect"
RIVAL = "qdq_loss_debug"
FASTER, SMALLER = 20.0, 5.0
"""Reach against `qdq_loss_debug`: time a lane and image without start-up; peak memory of the whole process."""
MORE = 4
"""Time an image is the slope from the given number of images to this many times as many."""


def inputs(path: Path, images: int) -> Path:
    """Seeded noise, as both sides read it."""
    random = np.random.default_rng(1)
    np.savez(path, input=random.standard_normal((images, 3, 224, 224), np.float32))
    return path


def row_of(name: str, cost: Cost, facts: dict[str, Any]) -> dict[str, Any]:
    """One measured process."""
    return {
        "name": name,
        "wall_s": cost.wall_s,
        "processor_s": cost.processor_s,
        "peak_memory_mb": cost.peak_memory_mb,
        **facts,
    }


def ours(name: str, model: Path, images: Path, folder: Path) -> dict[str, Any]:
    """Run our command once as `OURS` says."""
    options = [str(folder / word) if "." in word else word for word in OURS[name]]
    cost = comparison_cost([model, "--input", images, "--force", *options])
    return row_of(name, cost, {})


def our_result(model: Path, images: Path, folder: Path, *options: str) -> dict[str, Any]:
    """A result of ours, for what the table says of it."""
    path = folder / "facts.json"
    comparison_cost([model, "--input", images, "--force", "--json", path, *options])
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def lanes_of(result: dict[str, Any]) -> set[str]:
    """Everything that ran, the float network with it."""
    return {entry[key] for entry in result["comparisons"] for key in ("lane", "reference")}


def theirs(peer: Peer, python: Path, model: Path, images: Path, limit_s: float) -> dict[str, Any]:
    """Run a peer once, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").symlink_to(model)
        out = folder / "out.json"
        command: list[str | Path] = [python, "-m", f"peers.{peer.script}", folder / "model.onnx", images, out]
        cost = cost_of(command, limit_s=limit_s, folder=Path(__file__).parent.parent)
        if cost.timed_out:
            return row_of(peer.name, cost, {"reason": f"ended after {limit_s:.0f} s"})
        if cost.exit_code or not out.is_file():
            return row_of(
                peer.name, cost, {"failed": True, "reason": f"exit code {cost.exit_code}: {cost.said[-600:]}"}
            )
        return row_of(peer.name, cost, json.loads(out.read_text("utf-8")))


def slope_ms(model: Path, folder: Path, images: int) -> dict[str, float]:
    """What one lane of ours takes for one image, in ms: start-up, and what does not grow, cancel."""
    found = {}
    for name, options in (("with probes", ()), ("no probes", ("--no-isolate",))):
        times = []
        for count in (images, MORE * images):
            path = inputs(folder / f"{count}.npz", count)
            result = our_result(model, path, folder, *options)
            times.append(result["timing"]["phases_s"]["measure"])
            path.unlink()
        found[name] = 1e3 * (times[1] - times[0]) / ((MORE - 1) * images * len(lanes_of(result)))
    return found


def median_rows(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The last row of each name with medians of its times and the largest of its peaks."""
    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row["name"] for rows_of_round in rounds for row in rows_of_round):
        found = [row for rows_of_round in rounds for row in rows_of_round if row["name"] == name]
        rows[name] = {
            **found[-1],
            "wall_s": round(statistics.median(row["wall_s"] for row in found), 2),
            "processor_s": round(statistics.median(row["processor_s"] for row in found), 2),
            "peak_memory_mb": round(max(row["peak_memory_mb"] for row in found)),
            "runs_s": [row["wall_s"] for row in found],
        }
    return list(rows.values())


def measure(network: str, folder: Path, peers: dict[Peer, Path], given: argparse.Namespace) -> dict[str, Any]:
    """All figures of one network."""
    model = write(network, folder)
    images = inputs(folder / "inputs.npz", given.images)
    rounds: list[list[dict[str, Any]]] = []
    for index in range(given.rounds):
        rows = [ours(name, model, images, folder) for name in OURS]
        for peer, python in peers.items():
            before = [row["wall_s"] for rows_of_round in rounds for row in rows_of_round if row["name"] == peer.name]
            if index == 0 or (before and before[0] <= given.again_below):
                rows.append(theirs(peer, python, model, images, given.limit))
                print(f"  {network}: {peer.name} {rows[-1]['wall_s']:.1f} s", flush=True)
        rounds.append(rows)
    rows = median_rows(rounds)
    for row in rows:
        if row["name"] in OURS:
            options = [word for word in OURS[row["name"]] if word == "--no-isolate"]
            result = our_result(model, images, folder, *options)
            row.update(
                compared=result["coverage"]["compared"],
                variants=len(lanes_of(result)) - 1,
                phases_s=result["timing"]["phases_s"],
            )
    found = {"network": network, "images": given.images, "rows": rows, "against": {}}
    rival = next((row for row in rows if row["name"] == RIVAL and "phases_s" in row), None)
    if rival is not None:
        found["against"] = against(rival, rows[0], slope_ms(model, folder, given.images), given.images)
    for path in (model, images):
        path.unlink()
    return found


def against(rival: dict[str, Any], own: dict[str, Any], slopes: dict[str, float], images: int) -> dict[str, float]:
    """How many times faster and smaller ours is."""
    analysis_s = rival["phases_s"]["collect"] + rival["phases_s"]["score"]
    theirs_ms = 1e3 * analysis_s / (images * rival["lanes"])
    return {
        "theirs_ms": round(theirs_ms, 2),
        "ours_ms": round(slopes["no probes"], 2),
        "ours_with_probes_ms": round(slopes["with probes"], 2),
        "times_faster": round(theirs_ms / slopes["no probes"], 1),
        "times_faster_with_probes": round(theirs_ms / slopes["with probes"], 1),
        "times_smaller": round(rival["peak_memory_mb"] / own["peak_memory_mb"], 1),
    }


def show(found: dict[str, Any]) -> int:
    """Print one network's table; returns how many figures are missed."""
    missed = 0
    own = next(row for row in found["rows"] if row["name"] == COMMAND)
    print(f"{found['network']}, {found['images']} images: whole processes, medians")
    print(f"  {'':30}{'wall s':>8}{'proc. s':>9}{'peak MB':>9}{'scored':>8}{'variants':>9}")
    for row in found["rows"]:
        told = f"{row.get('compared', '-'):>8}{row.get('variants', '-'):>9}"
        note = "" if "reason" not in row else f"  {row['reason']}"
        lost = row["name"] not in OURS and not row.get("failed") and own["wall_s"] >= row["wall_s"]
        missed += lost
        print(
            f"  {row['name']:30}{row['wall_s']:8.2f}{row['processor_s']:9.2f}{row['peak_memory_mb']:9.0f}{told}"
            f"{'  faster than ours' if lost else ''}{note}"
        )
    figures = found["against"]
    if figures:
        print(
            f"  a lane and image without start-up: {RIVAL} {figures['theirs_ms']} ms, ours {figures['ours_ms']} ms: "
            f"{figures['times_faster']} times faster (reach {FASTER:.0f}); "
            f"with probes {figures['ours_with_probes_ms']} ms: {figures['times_faster_with_probes']}; "
            f"memory {figures['times_smaller']} times less (reach {SMALLER:.0f})"
        )
        missed += (figures["times_faster"] < FASTER) + (figures["times_smaller"] < SMALLER)
    return missed


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 when something is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["mobilenetv2", "resnet50"], metavar="NETWORK")
    parser.add_argument("--peer", action="append", choices=[peer.name for peer in PEERS] + ["none"], help="only these")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again-below", type=float, default=60.0, help="seconds; slower peers run once")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which a peer is ended")
    parser.add_argument("--environments", type=Path, default=Path("build/peers"))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    unknown = [name for name in given.networks if name not in SHAPES]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(SHAPES)}")
    if not PROGRAM.exists():
        parser.error(f"{PROGRAM} is absent: install the project into this environment")
    chosen: dict[Peer, Path] = {}
    absent = {}
    for peer in PEERS:
        if given.peer is None or peer.name in given.peer:
            try:
                chosen[peer] = python_of(peer, given.environments).absolute()
            except CannotInstallError as error:
                absent[peer.name] = str(error)
    found = []
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for network in given.networks:
            found.append(measure(network, Path(folder), chosen, given))
            missed += show(found[-1])
    for name, reason in absent.items():
        print(f"{name}: not measured, it cannot be installed here: {reason}")
    if given.json is not None:
        told = {"networks": found, "not_installed": absent}
        given.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

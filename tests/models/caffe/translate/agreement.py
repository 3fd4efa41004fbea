"""Comparing what a translated network computes with what real Caffe recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_layers

LARGEST = 1e-6
"""Allowed error relative to a top's largest magnitude, when a layer gets the recorded bottoms."""
OWN = 1e-7
"""Allowed further error relative to each value itself."""


@dataclass
class Agreement:
    """How well tops agree.

    Attributes:
        network: Name for the line that is printed.
        tops: How many were compared.
        exact: How many are equal bit for bit (NaN equal to NaN).
        worst: Largest error relative to its top's largest finite magnitude.
        where: The top it occurs in.
        faults: Tops beyond the tolerance or of another shape.
    """

    network: str
    tops: int = 0
    exact: int = 0
    worst: float = 0.0
    where: str = "-"
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        return (
            f"{self.network:24s} {self.tops:4d} tops, {self.exact:4d} exact, worst {self.worst:.1e} of the largest "
            f"value, in {self.where}"
        )

    def add(self, name: str, actual: np.ndarray, expected: np.ndarray) -> None:
        """Compare one top."""
        self.tops += 1
        if actual.shape != expected.shape:
            self.faults += (f"{name}: shape {actual.shape}, recorded {expected.shape}",)
            return
        if np.array_equal(actual, expected, equal_nan=True):
            self.exact += 1
            return
        error, largest = differences(actual, expected)
        relative = float(error.max() / largest)
        if relative > self.worst:
            self.worst, self.where = relative, name
        if (error > LARGEST * largest + OWN * np.abs(np.nan_to_num(expected, posinf=0, neginf=0))).any():
            self.faults += (f"{name}: {relative:.2e} of its largest value",)


def differences(actual: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, float]:
    """Return magnitudes of differences (infinite where one side alone is finite), and the largest finite value."""
    with np.errstate(all="ignore"):
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        error = np.where(same, 0.0, np.abs(actual.astype(np.float64) - expected.astype(np.float64)))
    error = np.where(np.isnan(error), np.inf, error)
    finite = expected[np.isfinite(expected)]
    return error, float(max(np.abs(finite).max(initial=0.0), np.finfo(np.float32).tiny))


def recorded_tops(folder: Path) -> tuple[dict[str, np.ndarray], set[str]]:
    """Return all tops that Caffe recorded by name, and the names of those that automatic Split layers made."""
    archive = np.load(folder / "out.npz")
    index = json.loads(str(archive["__index__"]))
    splits = {key for record in index if record["auto_split"] for key in record["keys"]}
    return {key: archive[key] for record in index for key in record["keys"]}, splits


def read(folder: Path, weights: str = "net.caffemodel") -> Model:
    """Read a recorded network, losses and accuracies kept."""
    options = CaffeOptions(keep_losses=True)
    return read_network(folder / weights, folder / "net.prototxt", options=options).build()


def compare_layer_by_layer(name: str, model: Model, tops: dict[str, np.ndarray]) -> Agreement:
    """Run every layer on the bottoms that Caffe recorded."""
    agreement = Agreement(name)
    for layer in model.layers:
        if layer.nodes:
            made = run_layers(model, [layer], {value: tops[value] for value in layer.inputs})
            for value in layer.outputs:
                agreement.add(value, made[value], tops[value])
    return agreement


@dataclass(frozen=True)
class RecordedTop:
    """What is recorded of a top of a real network: enough to tell it, not all of it."""

    key: str
    type: str
    shape: tuple[int, ...]
    step: int
    norm: float
    total: float
    largest: float
    sample: np.ndarray


def real_tops(archive: np.lib.npyio.NpzFile) -> Iterator[RecordedTop]:
    """Yield the recorded tops of a real network, automatic splits and inputs left out."""
    for record in json.loads(bytes(archive["index"])):
        if record["type"] in ("Split", "Input"):
            continue
        yield RecordedTop(
            record["key"],
            record["type"],
            tuple(record["shape"]),
            record["step"],
            record["l2"],
            record["sum"],
            record["absmax"],
            archive[f"sample/{record['key']}"],
        )

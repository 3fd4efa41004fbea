"""The networks that benches run: real ones where their folder is there, shapes with random weights else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

import gfpq_inspect
from gfpq_inspect.errors import UserError
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.open import open_network

from .shapes import Builder, det1, lenet

OPEN_SIDE = 320
"""What stands for lengths that a file leaves open."""


@dataclass(frozen=True)
class Found:
    """A real network, or why it is none for a bench.

    Attributes:
        name: Folder and file.
        model: It, or None.
        reason: Why not.
    """

    name: str
    model: Model | None
    reason: str = ""


def models_folder() -> Path | None:
    """The folder of real networks, if there is one."""
    root = Path(__file__).resolve().parent.parent.parent
    folder = Path(os.environ.get("GFPQ_INSPECT_SHARED", root.parent / "shared")) / "models"
    return folder.resolve() if folder.is_dir() else None


def multiply_adds(model: Model) -> int:
    """Of one sample."""
    return sum(layer.multiply_adds or 0 for layer in model.layers)


def real_networks(folder: Path, least_multiply_adds: int) -> Iterator[Found]:
    """Every float network of the folder that is large enough, and every one that is not measured, with the reason.

    Args:
        folder: A folder a network or family of networks.
        least_multiply_adds: Smaller ones are passed over in silence.
    """
    for weights in sorted([*folder.glob("*/*.caffemodel"), *folder.glob("*/*.onnx")]):
        name = str(weights.relative_to(folder))
        try:
            model = opened(weights)
        except UserError as error:
            yield Found(name, None, " ".join(str(error).split()))
            continue
        if multiply_adds(model) < least_multiply_adds:
            continue
        if model.quantizes_itself:
            yield Found(name, None, "it quantizes itself")
        else:
            yield Found(name, model)


def opened(weights: Path) -> Model:
    """A network, with the first prototxt beside it that belongs to it.

    Raises:
        UserError: None of them does.
    """
    structures: list[Path | None] = [None]
    if weights.suffix == ".caffemodel":
        beside = sorted(weights.parent.glob("*.prototxt"))
        own = [path for path in beside if path.stem == weights.stem]
        deploy = [path for path in beside if "deploy" in path.stem]
        structures = list(dict.fromkeys([*own, *deploy, *beside])) or [None]
    error: UserError | None = None
    for structure in structures:
        try:
            network = open_network(weights, structure)
            shapes = {
                entry.name: (1, *(length if length > 0 else OPEN_SIDE for length in entry.shape[1:]))
                for entry in network.declared_inputs
                if len(entry.shape) > 1
            }
            return network.build(shapes)
        except UserError as failure:
            error = error or failure
    assert error is not None
    raise error


def small_networks(folder: Path) -> dict[str, Model]:
    """LeNet and MTCNN's det1: the real ones, or shapes like them.

    Args:
        folder: Where the files of shapes are written.
    """
    real = models_folder()
    if real is not None:
        return {
            "LeNet (MNIST)": opened(real / "lenet_mnist_v1" / "lenet_iter_10000.caffemodel"),
            "MTCNN det1": opened(real / "mtcnn" / "det1.caffemodel"),
        }
    made = {}
    for name, make, shape in (("LeNet shape", lenet, (1, 28, 28)), ("det1 shape", det1, (3, 12, 12))):
        builder = Builder()
        path = folder / f"{make.__name__}.onnx"
        onnx.save(builder.model(make(builder), shape), path)
        made[name] = gfpq_inspect.load(path)
    return made

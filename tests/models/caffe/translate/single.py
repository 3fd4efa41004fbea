"""Building small networks from text, for tests of single layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfpq_inspect.models.caffe.network import CaffeOptions, read_network
from gfpq_inspect.models.caffe.write import write_caffemodel
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.run import run_model

Blobs = Mapping[str, Sequence[np.ndarray]]


def inputs_text(shapes: Mapping[str, Sequence[int]]) -> str:
    """Write an Input layer with one top a shape."""
    tops = " ".join(f'top: "{name}"' for name in shapes)
    sizes = " ".join(f"shape {{ {' '.join(f'dim: {size}' for size in shape)} }}" for shape in shapes.values())
    return f'layer {{ name: "input" type: "Input" {tops} input_param {{ {sizes} }} }}\n'


def layer_text(kind: str, bottoms: str, rest: str = "", *, tops: str = "y", name: str = "layer") -> str:
    """Write a layer; bottoms and tops are names divided by spaces."""
    read = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    made = " ".join(f'top: "{blob}"' for blob in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}" {read} {made} {rest} }}\n'


def build(
    folder: Path,
    text: str,
    blobs: Blobs | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **options: Any,
) -> Model:
    """Read a network from text, and weights by layer name; without weights every layer has its fillers' values."""
    structure, weights = folder / "net.prototxt", folder / "net.caffemodel"
    structure.write_text(text)
    if blobs is not None:
        write_caffemodel(weights, "net", [(name, "", (), (), arrays) for name, arrays in blobs.items()], overwrite=True)
    options.setdefault("allow_missing", blobs is None)
    found = read_network(weights if blobs is not None else None, structure, options=CaffeOptions(**options))
    return found.build(shapes)


def run_layer(
    folder: Path,
    kind: str,
    inputs: Mapping[str, np.ndarray],
    rest: str = "",
    *,
    blobs: Sequence[np.ndarray] | None = None,
    tops: str = "y",
) -> list[np.ndarray]:
    """Run one layer on arrays, its bottoms in order; return its tops."""
    text = inputs_text({name: array.shape for name, array in inputs.items()})
    text += layer_text(kind, " ".join(inputs), rest, tops=tops)
    model = build(folder, text, None if blobs is None else {"layer": blobs})
    made = run_model(model, {name: array.astype(np.float32) for name, array in inputs.items()})
    return [made[value] for value in model.layers[-1].outputs]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Return seeded normal float32 numbers."""
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)

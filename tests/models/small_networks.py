"""Small Caffe networks with seeded weights, for tests of folding, quantization and Quant layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.write import WrittenLayer, write_caffemodel

Blobs = Mapping[str, Sequence[NDArray[np.floating]]]


def draw(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> NDArray[np.float32]:
    """Seeded uniform values."""
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)


def batch_norm(channels: int, seed: int = 0, factor: float = 1.0) -> list[NDArray[np.float32]]:
    """Mean, variance and factor of a BatchNorm layer."""
    return [
        draw(channels, seed=seed),
        draw(channels, seed=seed + 1, low=0.1, high=3.0),
        np.array([factor], np.float32),
    ]


def write_network(folder: Path, prototxt: str, blobs: Blobs, stem: str = "net") -> tuple[Path, Path]:
    """Write a prototxt and its weights; returns both paths."""
    structure, weights = folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel"
    structure.write_text(prototxt)
    layers = [WrittenLayer(name, "", (), (), list(arrays)) for name, arrays in blobs.items()]
    write_caffemodel(weights, stem, layers, overwrite=True)
    return structure, weights


def conv(name: str, bottom: str, top: str, outputs: int, *, extra: str = "", kind: str = "Convolution") -> str:
    """A 3 x 3 convolution with padding 1."""
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}"\n'
        f"  convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 {extra} }} }}\n"
    )


def simple(name: str, kind: str, bottom: str, top: str, extra: str = "") -> str:
    """A layer of one bottom and one top."""
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {extra} }}\n'


def data(*shape: int, name: str = "data") -> str:
    """An Input layer."""
    dims = " ".join(f"dim: {size}" for size in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'

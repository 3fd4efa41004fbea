"""Small helpers: networks written as text in a test, read through the real reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe.net import NetLayer
from gfpq_inspect.models.caffe.network import CaffeNetwork, CaffeOptions, read_network
from gfpq_inspect.models.caffe.write import write_caffemodel

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def read(
    folder: Path,
    text: str,
    weights: Mapping[str, Sequence[NDArray[np.floating]]] | None = None,
    options: CaffeOptions | None = None,
) -> CaffeNetwork:
    """Write a prototxt (and a caffemodel of these layers), then read them."""
    (folder / "net.prototxt").write_text(text)
    if weights is None:
        return read_network(None, folder / "net.prototxt", options=options)
    layers = [(name, "Any", (), (), blobs) for name, blobs in weights.items()]
    write_caffemodel(folder / "net.caffemodel", "net", layers, overwrite=True)
    return read_network(folder / "net.caffemodel", folder / "net.prototxt", options=options)


def layer(network: CaffeNetwork, key: str) -> NetLayer:
    """Return the layer of a key."""
    return next(layer for layer in network.net.layers if layer.key == key)


def messages(network: CaffeNetwork) -> str:
    """Return all problems of a network as text, one a line."""
    return "\n".join(map(str, network.problems))

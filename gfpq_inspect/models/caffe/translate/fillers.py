"""What Caffe's fillers put into a weight blob that the weight file lacks.

`constant` and `bilinear` are reproduced exactly. The random ones are drawn from the same distribution with a seed made
of the layer's name, so that a run can be repeated; Caffe itself draws other numbers every time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import ceil, prod, sqrt

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import ModelError
from gfpq_inspect.models.caffe.schema import Parameters


def fill(
    filler: Parameters | None, shape: tuple[int, ...], unset: float, seed_text: str
) -> tuple[NDArray[np.float32], str]:
    """Return a filled blob and a clause that says how it was filled.

    Args:
        filler: FillerParameter, or None for a blob that no filler governs.
        shape: Shape of the blob.
        unset: Value where the file does not set the filler.
        seed_text: Seeds the random fillers.

    Raises:
        ModelError: A random filler's numbers are impossible.
    """
    if filler is None or not filler.present:
        return np.full(shape, unset, np.float32), f"constant {unset:g}"
    kind = filler.string("type")
    if kind == "constant":
        value = filler.number("value")
        return np.full(shape, value, np.float32), f"constant {value:g}"
    if kind == "bilinear" and len(shape) == 4 and shape[2] == shape[3]:
        return bilinear(shape), "bilinear"
    draw = _RANDOM.get(kind)
    if draw is None:
        return np.full(shape, unset, np.float32), f"constant {unset:g} (filler '{kind}' is not known)"
    seed = int.from_bytes(hashlib.sha256(seed_text.encode()).digest()[:8], "little")
    try:
        array = draw(np.random.default_rng(seed), filler, shape).astype(np.float32)
    except (ValueError, OverflowError) as error:
        raise ModelError(filler.problem(f"filler '{kind}' cannot draw ({error})", "correct its numbers")) from error
    return array, f"random, filler '{kind}' (Caffe would draw other numbers)"


def bilinear(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return Caffe's bilinear upsampling kernel, the same for every pair of channels.

    weight[y, x] = (1 - |x/f - c|) (1 - |y/f - c|), f = ceil(k/2), c = (2f - 1 - f%2) / (2f).
    """
    size = shape[-1]
    factor = ceil(size / 2)
    centre = np.float32((2 * factor - 1 - factor % 2) / (2.0 * factor))
    one_axis = np.float32(1) - np.abs(np.arange(size, dtype=np.float32) / np.float32(factor) - centre)
    return np.broadcast_to(np.outer(one_axis, one_axis).astype(np.float32), shape).copy()


def _spread(filler: Parameters, shape: tuple[int, ...]) -> float:
    fan_in, fan_out = prod(shape) / shape[0], prod(shape) / (shape[1] if len(shape) > 1 else 1)
    norm = filler.string("variance_norm")
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out}.get(norm, (fan_in + fan_out) / 2)


def _uniform(random: np.random.Generator, filler: Parameters, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.uniform(filler.number("min"), filler.number("max"), shape)


def _gaussian(random: np.random.Generator, filler: Parameters, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.normal(filler.number("mean"), filler.number("std"), shape)


def _xavier(random: np.random.Generator, filler: Parameters, shape: tuple[int, ...]) -> NDArray[np.float64]:
    bound = sqrt(3.0 / _spread(filler, shape))
    return random.uniform(-bound, bound, shape)


def _msra(random: np.random.Generator, filler: Parameters, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return random.normal(0.0, sqrt(2.0 / _spread(filler, shape)), shape)


def _unit_ball(random: np.random.Generator, filler: Parameters, shape: tuple[int, ...]) -> NDArray[np.float64]:
    del filler
    rows = random.uniform(0.0, 1.0, (shape[0], prod(shape[1:])))
    scaled: NDArray[np.float64] = rows / rows.sum(axis=1, keepdims=True)
    return scaled.reshape(shape)


_RANDOM: dict[str, Callable[[np.random.Generator, Parameters, tuple[int, ...]], NDArray[np.float64]]] = {
    "uniform": _uniform,
    "gaussian": _gaussian,
    "xavier": _xavier,
    "msra": _msra,
    "positive_unitball": _unit_ball,
}

"""Small builders for tests of the input room."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gfpq_inspect.inputs.feed_source import FeedSource
from gfpq_inspect.inputs.opening import open_inputs
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.model import ModelInput

GRAY = (ModelInput("data", "data", (1, 1, 4, 6)),)
COLOUR = (ModelInput("data", "data", (1, 3, 4, 6)),)


def read(
    specification: str | Path | list[str],
    inputs: tuple[ModelInput, ...] = GRAY,
    options: InputOptions | None = None,
    *,
    batchable: bool = True,
    size: int = 3,
) -> dict[str, NDArray[Any]]:
    """All samples of a specification, one array an input."""
    specifications = specification if isinstance(specification, list) else [str(specification)]
    source = open_inputs(specifications, inputs, options, batchable=batchable)
    return collect(source, inputs, batchable=batchable, size=size)


def collect(
    source: FeedSource, inputs: tuple[ModelInput, ...] = GRAY, *, batchable: bool = True, size: int = 3
) -> dict[str, NDArray[Any]]:
    """All samples of a source, one array an input."""
    shapes = {item.name: (1, *item.shape[1:]) if batchable and item.shape else item.shape for item in inputs}
    batches = list(source.batches(size, shapes))
    return {item.name: np.concatenate([batch[item.name] for batch in batches]) for item in inputs}


def save_image(path: Path, pixels: NDArray[Any], mode: str | None = None, **options: Any) -> Path:
    """Write pixels with Pillow."""
    image = Image.fromarray(pixels)
    if mode is not None:
        image = image.convert(mode)
    image.save(path, **options)
    return path


def png_bytes(pixels: NDArray[Any]) -> bytes:
    """Pixels as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def colours(height: int = 4, width: int = 6) -> NDArray[np.uint8]:
    """Random RGB pixels."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)

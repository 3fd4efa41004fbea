"""A contact sheet: the pictures that a network really sees, drawn from the tensors it is fed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gfpq_inspect.inputs.preprocess import Preprocessing

MAXIMUM_PICTURES = 64
_COLUMNS = 8
_EDGE = 128
_CAPTION = 14
_GAP = 6


@dataclass
class ContactSheet:
    """Pictures of one input's samples, the first `MAXIMUM_PICTURES` of them.

    Values are mapped linearly, the smallest and the largest of all pictures to black and white, the same for all; of
    three channels the order is what `Preprocessing.channel_order` says, so a picture in wrong colours is fed in a wrong
    order.

    Attributes:
        preprocessing: Of the input.
    """

    preprocessing: Preprocessing
    _pictures: list[NDArray[np.float32]] = field(default_factory=list)
    _captions: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """No further picture will be taken."""
        return len(self._pictures) >= MAXIMUM_PICTURES

    def add(self, sample: NDArray[Any], identity: str) -> None:
        """Take the picture of one sample, small enough to be kept."""
        if self.full:
            return
        plan = self.preprocessing
        pixels = np.asarray(sample, np.float32)[0]
        if pixels.ndim == 3 and plan.layout == "nchw":
            pixels = pixels.transpose(1, 2, 0)
        if pixels.ndim == 3:
            pixels = (
                pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, :: -1 if plan.channel_order == "bgr" else 1]
            )
        step = max(1, min(pixels.shape[:2]) // (4 * _EDGE))
        self._pictures.append(np.array(pixels[::step, ::step]))
        self._captions.append(identity)

    def png(self) -> bytes:
        """Draw the sheet.

        Returns:
            A PNG file.
        """
        low = min(float(picture.min()) for picture in self._pictures)
        high = max(float(picture.max()) for picture in self._pictures)
        columns = min(_COLUMNS, len(self._pictures))
        rows = -(-len(self._pictures) // columns)
        cell_width, cell_height = _EDGE + _GAP, _EDGE + _CAPTION + _GAP
        sheet = Image.new("RGB", (columns * cell_width + _GAP, rows * cell_height + _GAP), "white")
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default()
        for index, (picture, caption) in enumerate(zip(self._pictures, self._captions, strict=True)):
            left, top = _GAP + index % columns * cell_width, _GAP + index // columns * cell_height
            thumbnail = _thumbnail(picture, low, high)
            sheet.paste(thumbnail, (left + (_EDGE - thumbnail.width) // 2, top + (_EDGE - thumbnail.height) // 2))
            draw.text((left, top + _EDGE + 1), _short(caption), fill="black", font=font)
        stream = io.BytesIO()
        sheet.save(stream, "png")
        return stream.getvalue()

    @property
    def captions(self) -> Sequence[str]:
        """Identities of the pictures."""
        return tuple(self._captions)


def is_picture(preprocessing: Preprocessing) -> bool:
    """Whether an input's samples can be drawn: one sample of 1 or 3 channels and two axes."""
    shape = preprocessing.sample_shape
    return len(shape) in (3, 4) and shape[0] == 1 and preprocessing.image_channels in (1, 3) and min(shape) > 0


def _thumbnail(picture: NDArray[np.float32], low: float, high: float) -> Image.Image:
    span = high - low if high > low else 1.0
    image = Image.fromarray(np.clip(np.round((picture - low) * (255 / span)), 0, 255).astype(np.uint8)).convert("RGB")
    scale = _EDGE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR)


def _short(caption: str) -> str:
    printable = "".join(c if 31 < ord(c) < 127 else "?" for c in caption)
    return printable if len(printable) <= 21 else f"{printable[:9]}..{printable[-10:]}"

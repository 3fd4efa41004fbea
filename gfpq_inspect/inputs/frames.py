"""Raw frames as the chip's tools use them: planar BGR, and semi-planar YUV 4:2:0 and 4:2:2.

A file holds one frame or several, without a header; the frame's size is the network's unless it is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import check_file

FRAME_FORMATS = {
    ".bgr": "bgr", ".rgb": "rgb", ".gray": "gray", ".u8": "gray",
    ".yuv": "yvu420sp", ".nv21": "yvu420sp", ".yuv420sp": "yvu420sp", ".yvu420sp": "yvu420sp", ".nv12": "yuv420sp",
    ".yuv422sp": "yvu422sp", ".yvu422sp": "yvu422sp", ".nv61": "yvu422sp", ".nv16": "yuv422sp",
}  # fmt: skip
"""File name ending to pixel format. The chip's YUV420SP and YUV422SP keep V before U."""

_BYTES_A_PIXEL = {
    "bgr": 3.0,
    "rgb": 3.0,
    "gray": 1.0,
    "yvu420sp": 1.5,
    "yuv420sp": 1.5,
    "yvu422sp": 2.0,
    "yuv422sp": 2.0,
}
_SGI_MAGIC = b"\x01\xda"  # images of Silicon Graphics also end in .rgb and .bw


@dataclass(frozen=True)
class FrameFile:
    """Frames of one format and size.

    Attributes:
        path: The file as the user gave it.
        format: A value of `FRAME_FORMATS`.
        height: Of a frame.
        width: Of a frame.
        count: Frames in the file.
    """

    path: Path
    format: str
    height: int
    width: int
    count: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return int(self.height * self.width * _BYTES_A_PIXEL[self.format])

    def frames(self) -> Iterator[Image.Image]:
        """Decode the frames in order, to RGB or L.

        Raises:
            InputError: The file cannot be read or has become shorter.
        """
        try:
            with self.path.open("rb") as stream:
                for _ in range(self.count):
                    data = stream.read(self.frame_bytes)
                    if len(data) < self.frame_bytes:
                        raise EOFError("it ends within a frame")
                    yield decode_frame(np.frombuffer(data, np.uint8), self.format, self.height, self.width)
        except (OSError, EOFError) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); make the file again") from error


def is_frames(path: Path) -> bool:
    """Whether a file's name says that it holds raw frames, and its content is no image of another kind."""
    if path.suffix.lower() not in FRAME_FORMATS:
        return False
    try:
        with path.open("rb") as stream:
            return path.suffix.lower() != ".rgb" or stream.read(2) != _SGI_MAGIC
    except OSError:
        return True


def frame_file(path: Path, height: int, width: int) -> FrameFile:
    """Count the frames of a file.

    Args:
        path: The file.
        height: Of a frame.
        width: Of a frame.

    Raises:
        InputError: Its size is no whole number of such frames, or odd sizes for a format with halved chroma.
    """
    check_file(path)
    form = FRAME_FORMATS[path.suffix.lower()]
    if ("420" in form and height % 2) or ("sp" in form and width % 2):
        raise InputError(f"{path}: {form} frames have even sizes, not {height} x {width}; give --frame-size HxW")
    size = path.stat().st_size
    single = FrameFile(path, form, height, width, 1)
    if size % single.frame_bytes:
        raise InputError(
            f"{path}: holds {size} bytes, but a {form} frame of {height} x {width} takes {single.frame_bytes}; "
            "give the frames' size: --frame-size HxW"
        )
    return FrameFile(path, form, height, width, size // single.frame_bytes)


def decode_frame(data: NDArray[np.uint8], form: str, height: int, width: int) -> Image.Image:
    """Decode one frame; YUV by ITU-R BT.601 from studio range (16 ... 235) to 0 ... 255.

    Args:
        data: The bytes of the frame.
        form: A value of `FRAME_FORMATS`.
        height: Of the frame.
        width: Of the frame.

    Returns:
        An L image for 'gray', else RGB.
    """
    if form == "gray":
        return Image.fromarray(data.reshape(height, width))
    if form in ("bgr", "rgb"):
        planes = data.reshape(3, height, width)
        return Image.fromarray(np.ascontiguousarray((planes[::-1] if form == "bgr" else planes).transpose(1, 2, 0)))
    luma = data[: height * width].reshape(height, width).astype(np.float32)
    chroma = data[height * width :].reshape(-1, width // 2, 2).astype(np.float32) - np.float32(128)
    chroma = chroma.repeat(2, axis=1)
    if "420" in form:
        chroma = chroma.repeat(2, axis=0)
    first, second = chroma[:, :, 0], chroma[:, :, 1]
    v, u = (first, second) if form.startswith("yvu") else (second, first)
    return Image.fromarray(_to_rgb(luma, u, v))


def _to_rgb(luma: NDArray[Any], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.uint8]:
    # Kr = 0.299, Kb = 0.114; luma spans 219 steps, chroma 224.
    y = (luma - 16) * (255 / 219)
    red = y + v * (255 / 224 * 2 * (1 - 0.299))
    blue = y + u * (255 / 224 * 2 * (1 - 0.114))
    green = (y - 0.299 * red - 0.114 * blue) / (1 - 0.299 - 0.114)
    return np.clip(np.round(np.stack([red, green, blue], axis=2)), 0, 255).astype(np.uint8)

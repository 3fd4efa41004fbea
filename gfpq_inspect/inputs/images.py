"""Images as arrays: every format that Pillow reads, upright, in the channel order of the network."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import check_file


def image_suffixes() -> frozenset[str]:
    """File name endings, in lower case with the dot, of the formats that Pillow reads."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def check_image(path: Path) -> None:
    """Read an image's header only.

    Raises:
        InputError: Missing, empty, no image, or too large.
    """
    check_file(path)
    _open(path, str(path)).close()


@dataclass(frozen=True)
class Target:
    """What a network wants of an image.

    Attributes:
        channels: 1 or 3.
        order: 'bgr', 'rgb' or 'gray' (three equal channels where the network has three).
        size: Height and width.
        resize: See `options.parse_resize`.
    """

    channels: int
    order: str
    size: tuple[int, int]
    resize: tuple[int, int] | int | None


def read_image(source: Path | BinaryIO, where: str, target: Target) -> NDArray[np.float32]:
    """Decode an image to the network's channels and size.

    EXIF orientation is applied, transparency dropped, palettes resolved, of animations the first frame taken; of 16-bit
    colour Pillow reads the high byte; 16-bit
    grey is brought to 0 ... 255 without rounding; colour becomes grey by Rec. 601 luma.

    Args:
        source: The file.
        where: Its name for messages.
        target: Channels, order and size.

    Returns:
        [height, width, channels], values 0 ... 255.

    Raises:
        InputError: Cannot be decoded, or is smaller than the network's input and may not be resized.
    """
    image = _open(source, where)
    with warnings.catch_warnings():
        # Pillow warns of odd metadata; the pixels are what counts, and damage to them raises.
        warnings.simplefilter("ignore")
        try:
            with image:
                image.load()
                return fit_image(ImageOps.exif_transpose(image), where, target)
        except InputError:
            raise
        except Exception as error:  # damaged files make Pillow's plugins raise nearly anything
            raise InputError(
                f"{where}: the image is damaged or cut short ({_reason(error)}); replace the file"
            ) from error


def fit_image(image: Image.Image, where: str, target: Target) -> NDArray[np.float32]:
    """Bring a decoded image to the network's channels, size and order; see `read_image`."""
    pixels = _as_pixels(image, gray=target.channels == 1 or target.order == "gray")
    values = np.asarray(_fitted(pixels, target.size, target.resize, where), dtype=np.float32)
    if values.ndim == 2:
        return np.repeat(values[:, :, None], target.channels, axis=2)
    return np.ascontiguousarray(values[:, :, ::-1] if target.order == "bgr" else values)


def _open(source: Path | BinaryIO, where: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(source)
        except UnidentifiedImageError as error:
            raise InputError(f"{where}: is not an image in a known format; give images, .npy or .npz files") from error
        except Image.DecompressionBombError as error:
            raise InputError(f"{where}: is too large to be read safely ({error}); shrink the image first") from error
        except Exception as error:  # damaged headers make Pillow's plugins raise nearly anything
            raise InputError(f"{where}: cannot be read as an image ({_reason(error)}); replace the file") from error


def _as_pixels(image: Image.Image, *, gray: bool) -> Image.Image:
    """Bring any mode to L, RGB or (for 16 and 32 bit grey, in the scale of 8 bit) F."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if image.mode != "F":
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("32-bit values outside 0 ... 65535")
            values = values / 257.0
        return Image.fromarray(values.astype(np.float32))
    if "transparency" in image.info or image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    return image.convert("L") if gray else image.convert("RGB")


def _fitted(image: Image.Image, size: tuple[int, int], resize: tuple[int, int] | int | None, where: str) -> Image.Image:
    height, width = size
    if resize is None:
        target = size
    elif isinstance(resize, tuple):
        target = resize
    elif resize == 0:
        target = (image.height, image.width)
    else:
        shorter = min(image.width, image.height)
        target = (round(image.height * resize / shorter), round(image.width * resize / shorter))
    if target != (image.height, image.width):
        image = image.resize((target[1], target[0]), Image.Resampling.BILINEAR)
    if target == size:
        return image
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    if top < 0 or left < 0:
        raise InputError(
            f"{where}: is {target[0]} x {target[1]} (height x width) before the cut, smaller than the network's "
            f"{height} x {width}; leave --resize out, or give a larger size"
        )
    return image.crop((left, top, left + width, top + height))


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).split("\n", maxsplit=1)[0]

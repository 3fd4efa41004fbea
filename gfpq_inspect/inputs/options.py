"""What the user says of the input, as text or values, before any file is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.models.model import ModelInput

CHANNEL_ORDERS = ("bgr", "rgb", "gray")
LAYOUTS = ("nchw", "nhwc")
DEFAULT_CHANNEL_ORDER = "bgr"
DEFAULT_SYNTHETIC_SAMPLES = 8

Numbers = str | float | Sequence[float]
MeanLike = str | Path | float | Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True)
class InputOptions:
    """How data become what the network reads: first resize, then (value - mean) * scale, in float32.

    Attributes:
        mean: Subtracted before scaling. One number, or one a channel in the order that the network reads them, as
            numbers or as text ('104,117,123'); or a file: .npy ([C] or [C, H, W]) or .binaryproto. A mapping gives
            each named input its own.
        scale: Multiplied after the subtraction: one number or one a channel. A mapping gives each named input its own.
        channel_order: How the network reads colour images: 'bgr' (the default: Caffe's and NNIE's), 'rgb' or 'gray'.
            Images are brought to it; arrays are taken to be in it already.
        layout: 'nchw' or 'nhwc', or None to tell it from the network's input shape (channels are the axis of 1 or 3;
            nchw when both are). Arrays in the other layout are transposed when it is said.
        resize: Before images are fed: None stretches them to the network's size; 'HxW' resizes to that size, a number
            makes it the shorter side, 'none' keeps them. What is then larger than the network's input is cut from its
            centre. Bilinear, as Pillow does it (an image that shrinks is averaged over the area).
        frame_size: 'HxW' of raw frames (.bgr, .yuv, ...), or None for the network's size.
        samples: Use the first so many samples; how many to make of synthetic input (8 by default).
        seed: Of synthetic input.
        defaults_from: Where mean and scale come from when the user gave none ('' when they are the user's). They are
            what a data layer did to pixels, so floating-point arrays, which have seen it already, are left alone.
        notes: What a report should say of the options, each a sentence without a full stop.
    """

    mean: MeanLike | Mapping[str, MeanLike] | None = None
    scale: Numbers | Mapping[str, Numbers] | None = None
    channel_order: str | None = None
    layout: str | None = None
    resize: str | None = None
    frame_size: str | None = None
    samples: int | None = None
    seed: int = 0
    defaults_from: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values without a meaning.

        Raises:
            UsageError: An unknown channel order or layout, fewer than one sample, a negative seed.
        """
        if self.channel_order not in (None, *CHANNEL_ORDERS):
            raise UsageError(f"channel order '{self.channel_order}' is unknown; choose bgr, rgb or gray")
        if self.layout not in (None, *LAYOUTS):
            raise UsageError(f"layout '{self.layout}' is unknown; choose nchw or nhwc")
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"{self.samples} samples were asked for; at least one is needed")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} is negative; choose 0 or more")
        parse_resize(self.resize)
        parse_frame_size(self.frame_size)


def parse_frame_size(text: str | None) -> tuple[int, int] | None:
    """Read 'HxW'.

    Raises:
        UsageError: Anything else.
    """
    size = parse_resize(text)
    if size is None or isinstance(size, tuple):
        return size
    raise UsageError(f"frame size '{text}' is not understood; give HEIGHTxWIDTH")


def parse_resize(text: str | None) -> tuple[int, int] | int | None:
    """Read a resize rule: 'none' as 0, 'HxW' as a pair, 'N' as an int, None as None (stretch to the network's size).

    Raises:
        UsageError: Anything else.
    """
    if text is None:
        return None
    if text == "none":
        return 0
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise UsageError(f"resize '{text}' is not understood; give HEIGHTxWIDTH, the shorter side, or none")
    return int(match[1]) if match[2] is None else (int(match[1]), int(match[2]))


def parse_numbers(value: Numbers, option: str) -> tuple[float, ...]:
    """Read one or more finite numbers, from text separated by commas or from values.

    Args:
        value: As the user gave it.
        option: For the message.

    Raises:
        UsageError: No number, or one that is not finite.
    """
    parts: Sequence[str | float] = (
        value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else value
    )
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        raise UsageError(f"{option} '{value}' is not a list of numbers; separate them by commas: 104,117,123") from None
    if not numbers or not all(np.isfinite(numbers)):
        raise UsageError(f"{option} '{value}' must hold finite numbers only")
    return numbers


def parse_input_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Read `--input-shape` values: `1,3,224,224`, or `NAME:1,3,224,224` once an input.

    Args:
        texts: As given; names may themselves hold colons.

    Returns:
        Input name to shape; the shape without a name stands under ''.

    Raises:
        UsageError: Not a list of positive whole numbers, or an input named twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, dimensions = text.rpartition(":")
        if not re.fullmatch(r"\s*\d+\s*([,x]\s*\d+\s*)*", dimensions):
            raise UsageError(
                f"input shape '{text}' is not understood; give 1,3,224,224 or NAME:1,3,224,224, the batch axis first"
            )
        shape = tuple(int(part) for part in re.split("[,x]", dimensions))
        if min(shape) < 1 or max(shape) >= 2**31:
            raise UsageError(f"input shape '{text}' has a dimension that is not between 1 and 2 147 483 647")
        if name in shapes:
            which = f"input '{name}'" if name else "the unnamed input"
            raise UsageError(f"input shape of {which} is given twice; give it once")
        shapes[name] = shape
    return shapes


def resolve_input_shapes(
    shapes: Mapping[str, tuple[int, ...]], declared: Sequence[ModelInput]
) -> dict[str, tuple[int, ...]]:
    """Give the shape without a name to the network's only input, and check the names.

    Args:
        shapes: From `parse_input_shapes`.
        declared: The network's inputs.

    Raises:
        UsageError: A name that the network has not, or an unnamed shape for a network of several inputs.
    """
    names = [declared_input.name for declared_input in declared]
    resolved: dict[str, tuple[int, ...]] = {}
    for given, shape in shapes.items():
        name = given
        if not given:
            open_names = [name for name in names if name not in shapes]
            if len(open_names) != 1:
                raise UsageError(
                    f"--input-shape {','.join(map(str, shape))} names no input, and the network has "
                    f"{listed(names)}; write NAME:{','.join(map(str, shape))}"
                )
            name = open_names[0]
        elif given not in names:
            raise UsageError(f"--input-shape names input '{given}', but the network has {listed(names)}")
        resolved[name] = shape
    return resolved


def split_name(specification: str, names: Sequence[str]) -> tuple[str | None, str]:
    """Split `NAME=path`; a path that holds '=' stays whole when no input has the name before it.

    Raises:
        InputError: Looks like `NAME=path`, but no input has that name and no such file exists.
    """
    for name in sorted(names, key=len, reverse=True):
        if specification.startswith(f"{name}="):
            return name, specification[len(name) + 1 :]
    if "=" in specification and not Path(specification).exists():
        name, _, path = specification.partition("=")
        if Path(path).exists():
            raise InputError(f"--input {specification}: the network has no input '{name}'; it has {listed(names)}")
    return None, specification


def listed(names: Sequence[str]) -> str:
    """Name a few things in a sentence: 'a', 'b' and 'c'."""
    quoted = [f"'{name}'" for name in names]
    if not quoted:
        return "none"
    if len(quoted) > 12:
        quoted = [*quoted[:12], f"{len(quoted) - 12} more"]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"

"""Preprocessing that a training prototxt states for its data layers (spec: caffe, sections 4 and 5.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.models.caffe.message import Message
from gfpq_inspect.models.caffe.text import read_text

_DATA_TYPES = {
    "Data": "data_param", "DATA": "data_param", "5": "data_param", "AnnotatedData": "data_param",
    "ImageData": "image_data_param", "IMAGE_DATA": "image_data_param", "12": "image_data_param",
    "WindowData": "window_data_param", "WINDOW_DATA": "window_data_param", "24": "window_data_param",
    "MemoryData": "memory_data_param", "MEMORY_DATA": "memory_data_param", "29": "memory_data_param",
}  # fmt: skip
"""Type of a layer that transforms what it reads, to the message that held these fields before transform_param."""


@dataclass(frozen=True)
class Transform:
    """What a data layer does to its images.

    Attributes:
        layer: Its name.
        line: Of its transform_param, or None.
        mean: One value or one a channel, or a mean file that exists; None for nothing.
        scale: Factor after the subtraction.
        crop_size: Edge of the square cut from the centre; 0 for none.
        resize: 'HxW' to which ImageData resizes before the cut, or None.
        gray: force_gray, or is_color: false.
        notes: What cannot be reproduced, or is left out on purpose.
    """

    layer: str
    line: int | None
    mean: tuple[float, ...] | Path | None
    scale: float
    crop_size: int
    resize: str | None
    gray: bool
    notes: tuple[str, ...] = ()


def read_transform(path: Path, *, want_mean: bool = True) -> Transform | None:
    """Find the data layer of the test phase in a prototxt, and what it does.

    Args:
        path: A prototxt.
        want_mean: Whether a missing mean file matters.

    Returns:
        Its transform, or None where no data layer states one. Without a layer of the TEST phase that of the TRAIN
        phase is taken, with a note.

    Raises:
        ModelError: The prototxt cannot be read.
        InputError: Its mean file is missing.
    """
    root = read_text(path)
    found = [
        layer
        for layer in [*root.messages("layer"), *root.messages("layers")]
        if layer.text("type") in _DATA_TYPES and _states_something(layer)
    ]
    if not found:
        return None
    ranked = sorted(found, key=lambda layer: {"TEST": 0, "": 1, "TRAIN": 2}.get(_phase(layer), 1))
    notes = []
    if _phase(ranked[0]) == "TRAIN":
        notes.append(f"preprocessing is that of the TRAIN layer '{ranked[0].text('name')}'; there is no TEST one")
    return _transform(ranked[0], path, notes, want_mean=want_mean)


def with_prototxt_defaults(options: InputOptions, prototxt: Path | None) -> InputOptions:
    """Fill what the user left open with what the data layer of a prototxt states, if it has one that does.

    Args:
        options: As the user gave them; whatever is set stays.
        prototxt: The network's structure, or None.

    Raises:
        ModelError: The prototxt cannot be read.
        InputError: Its mean file is missing though no other mean was given.
    """
    transform = None if prototxt is None else read_transform(prototxt, want_mean=options.mean is None)
    if transform is None or prototxt is None:
        return options
    filled = replace(with_transform_defaults(options, transform), notes=(*options.notes, *transform.notes))
    if options.mean is None and options.scale is None:
        filled = replace(filled, defaults_from=f"transform_param of layer '{transform.layer}' in {prototxt.name}")
    return filled


def with_transform_defaults(options: InputOptions, transform: Transform) -> InputOptions:
    """Fill what the user left open with what the data layer states.

    A user who says a mean or a scale says both: what is left out of the two is nothing then.

    Args:
        options: As the user gave them; whatever is set stays.
        transform: From `read_transform`.
    """
    if options.mean is not None or options.scale is not None:
        transform = replace(transform, mean=None, scale=1.0)
    return replace(
        options,
        mean=transform.mean if options.mean is None else options.mean,
        scale=transform.scale if options.scale is None and transform.scale != 1 else options.scale,
        channel_order="gray" if options.channel_order is None and transform.gray else options.channel_order,
        resize=transform.resize if options.resize is None else options.resize,
    )


def _parameters(layer: Message) -> tuple[Message, Message]:
    """The transform_param, and the older message that may hold the same fields."""
    old = layer.messages(_DATA_TYPES[layer.text("type")])
    new = layer.messages("transform_param")
    return (new[0] if new else Message()), (old[0] if old else Message())


def _states_something(layer: Message) -> bool:
    new, old = _parameters(layer)
    keys = ("scale", "mean_file", "mean_value", "crop_size", "force_gray")
    return any(key in new or key in old for key in keys) or "new_height" in old or "is_color" in old


def _phase(layer: Message) -> str:
    phases = [rule.text("phase") for rule in layer.messages("include")]
    return {"0": "TRAIN", "1": "TEST"}.get(phases[0], phases[0]) if phases else ""


def _transform(layer: Message, path: Path, notes: list[str], *, want_mean: bool) -> Transform:
    new, old = _parameters(layer)

    def text(key: str) -> str:
        return new.text(key) or old.text(key)

    name = layer.text("name")
    line = next((scalar.line for key in ("mean_value", "scale", "mean_file") for scalar in new.scalars(key)), None)
    mean: tuple[float, ...] | Path | None = None
    if new.texts("mean_value"):
        mean = tuple(_number(value, path, name, "mean_value") for value in new.texts("mean_value"))
    elif text("mean_file") and want_mean:
        mean = _mean_file(text("mean_file"), path, name)
    height, width = old.text("new_height", "0"), old.text("new_width", "0")
    crop_size = int(_number(text("crop_size") or "0", path, name, "crop_size"))
    resize = f"{height}x{width}" if height != "0" and width != "0" else None
    if crop_size and resize is None:
        notes.append(
            f"data layer '{name}' cuts {crop_size} x {crop_size} from the images of its data set; image files here are "
            "stretched to the network's size unless --resize says to which size the data set's were brought"
        )
    if text("mirror") == "true":
        notes.append(f"data layer '{name}' mirrors at random; left out")
    return Transform(
        name,
        line,
        mean,
        _number(text("scale") or "1", path, name, "scale"),
        crop_size,
        resize,
        new.text("force_gray") == "true" or old.text("is_color") == "false",
        tuple(notes),
    )


def _number(text: str, path: Path, layer: str, key: str) -> float:
    try:
        return float(text.rstrip("fF"))
    except ValueError:
        raise InputError(f"{path}: layer '{layer}': {key} '{text}' is not a number; correct the prototxt") from None


def _mean_file(text: str, path: Path, layer: str) -> Path:
    """Caffe's own path counts from where training ran; beside the prototxt is where it usually lies now."""
    for candidate in (Path(text), path.parent / text, path.parent / Path(text).name):
        if candidate.is_file():
            return candidate
    raise InputError(
        f"{path}: layer '{layer}': mean_file {text}: there is no such file; put it beside the prototxt, or give --mean"
    )

"""The preprocessing of one input from the options for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.options import DEFAULT_CHANNEL_ORDER, InputOptions, parse_frame_size, parse_resize
from gfpq_inspect.inputs.preprocess import Preprocessing, make_preprocessing
from gfpq_inspect.models.model import ModelInput


def plan_for(
    model_input: ModelInput, options: InputOptions, *, batchable: bool = True, alone: bool = True
) -> Preprocessing:
    """Resolve the options for one input.

    Args:
        model_input: The input, with its final shape.
        options: As the user gave them.
        batchable: See `open_inputs`.
        alone: The network has no other input. Else a mean and a scale for all go to the images (four axes) only.

    Raises:
        InputError: The input has an open shape, or a mean file cannot serve.
        UsageError: Options that do not fit the input.
    """
    shape = model_input.shape
    if any(size < 1 for size in shape):
        raise InputError(
            f"input '{model_input.name}' of the network has no fixed shape; "
            f"give --input-shape {model_input.name}:N,C,H,W with its dimensions"
        )
    applies = alone or len(shape) == 4
    return make_preprocessing(
        model_input.name,
        (1, *shape[1:]) if batchable and shape else shape,
        model_input.dtype,
        layout=options.layout,
        channel_order=options.channel_order or DEFAULT_CHANNEL_ORDER,
        resize=parse_resize(options.resize),
        mean=_option_for(options.mean, model_input.name, applies),
        scale=_option_for(options.scale, model_input.name, applies),
        frame_size=parse_frame_size(options.frame_size),
        defaults_from=options.defaults_from,
    )


def _option_for(value: Any, name: str, applies: bool) -> Any:
    """The value for one input: by name, or the one for all; several inputs share it only where they are images."""
    if isinstance(value, Mapping):
        return value.get(name)
    return value if applies else None

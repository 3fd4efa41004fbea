"""Quantization points before the modules that NNIE quantizes: the data that they read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from gfpq_inspect.tune.torch_quant.layers import quantized_layers
from gfpq_inspect.tune.torch_quant.observers import Observer, UpdateObserver
from gfpq_inspect.tune.torch_quant.point import FakeQuantize
from gfpq_inspect.tune.torch_quant.tensors import FLOATING, Tensor

CHILD = "gfpq_data"
"""Name of the quantization point in a module; part of the keys of a state dictionary."""

_HANDLE = "_gfpq_data_handle"


def quantize_data(
    model: nn.Module,
    bits: int = 8,
    layers: Collection[str] | None = None,
    *,
    observer: Callable[[int], Observer] = UpdateObserver,
    nonfinite: str = "error",
) -> dict[str, FakeQuantize]:
    """Quantize what convolutions, inner products and pooling read, from the next call on.

    Each module gets a `FakeQuantize` of its own as the child `gfpq_data`, whose state is saved and loaded with the
    model. Functional calls (`F.max_pool2d`) cannot be seen; only modules are quantized. Called again, it changes
    nothing.

    Args:
        model: Any model, wrapped or not.
        bits: 8 or 16; modules named *_hp get 16, modules named *_cpu stay float.
        layers: Names of the modules; by default all that NNIE quantizes.
        observer: Makes an observer of a bit width.
        nonfinite: See `FakeQuantize`.

    Returns:
        The quantization points by module name.

    Raises:
        QuantizationError: Bad bits, or a name that is none of such a module.
    """
    points: dict[str, FakeQuantize] = {}
    for layer in list(quantized_layers(model, bits, layers)):
        point = getattr(layer.module, CHILD, None)
        if not isinstance(point, FakeQuantize):
            point = FakeQuantize(observer=observer(layer.bits), nonfinite=nonfinite, name=layer.name)
            point.train(layer.module.training)
            layer.module.add_module(CHILD, point)
            layer.module.__dict__[_HANDLE] = layer.module.register_forward_pre_hook(_quantize, with_kwargs=True)
        points[layer.name] = point
    return points


def remove_data_points(model: nn.Module) -> None:
    """Take out what `quantize_data` put in."""
    for module in list(model.modules()):
        handle = module.__dict__.pop(_HANDLE, None)
        if handle is not None:
            handle.remove()
            delattr(module, CHILD)


def _quantize(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return with_data(getattr(module, CHILD), arguments, named)


def with_data(
    point: Callable[[Tensor], Tensor], arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a module with the data quantized: the first one, or the one called `input`."""
    if arguments:
        first = arguments[0]
        return ((point(first), *arguments[1:]), named) if _is_data(first) else (arguments, named)
    if _is_data(named.get("input")):
        return arguments, {**named, "input": point(named["input"])}
    return arguments, named


def _is_data(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype in FLOATING

"""Modules that quantize their data and weights, and `convert_layers`: the interface of nnieqat's first release.

A model is converted in place: each module stays the object that it is, with its parameters, and prints with
"Quantized" before its name.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from gfpq_inspect.tune.nnieqat.hooks import register_quantization_hook
from gfpq_inspect.tune.torch_quant.layers import POOLING, WEIGHTED

__path__: list[
    str
] = []  # nnieqat had its modules in files: `nnieqat.modules.conv` and others are this one, see `alias`

_KINDS: tuple[type[nn.Module], ...] = (*WEIGHTED, *POOLING)


class _Quantized(nn.Module):
    """What the quantized modules have in common."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        register_quantization_hook(self)

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"


def _quantized(kind: type[nn.Module]) -> type[nn.Module]:
    made = type(kind.__name__, (_Quantized, kind), {"__module__": __name__, "__doc__": f"A quantized {kind.__name__}."})
    globals()[kind.__name__] = made
    return made


_OF = {kind: _quantized(kind) for kind in _KINDS}


def convert_layers(model: nn.Module) -> nn.Module:
    """Make each convolution, inner product and pooling of a model a quantized one.

    Args:
        model: Any model.

    Returns:
        The model.
    """
    register_quantization_hook(model)
    for module in model.modules():
        if type(module) in _OF:
            module.__class__ = _OF[type(module)]
    return model


def __getattr__(name: str) -> Any:
    """Say what there is, for the modules that NNIE has no counterpart for."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}: NNIE quantizes {', '.join(sorted(_names()))}")


def _names() -> set[str]:
    return {kind.__name__ for kind in _KINDS}

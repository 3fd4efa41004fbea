"""Finds where, why and how much a network loses when it is quantized to GFPQ, layer by layer.

`compare` is the whole tool in a call, `load` reads a network to be compared several times; everything else is reached
from what they return. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfpq_inspect.api import Comparison as Comparison
    from gfpq_inspect.api import compare as compare
    from gfpq_inspect.api import load as load
    from gfpq_inspect.api import open_result as open_result

__version__ = "0.1.0"

__all__ = ["Comparison", "__version__", "compare", "load", "open_result"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("gfpq_inspect.api"), name)
    raise AttributeError(f"module 'gfpq_inspect' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)

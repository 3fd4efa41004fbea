"""Which layer types can be translated, and by which function.

A translator is a function of one `LayerContext` that emits the nodes of one layer:

    @layer("AbsVal")
    def absolute_value(context: LayerContext) -> None:
        context.output(context.emit("Abs", context.bottom()))

Further types come from installed packages: an entry point of group `gfpq_inspect.caffe_layers`, named after the layer
type, that loads to such a function (undecorated). It takes precedence over a type known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gfpq_inspect.models.caffe.translate.context import LayerContext

ENTRY_POINT_GROUP = "gfpq_inspect.caffe_layers"
_FAMILIES = (
    "combine",
    "convolution",
    "data",
    "dense",
    "detection",
    "losses",
    "neurons",
    "normalisation",
    "pooling",
    "quant",
    "recurrent",
    "reduction",
    "resize",
    "shape",
)

Translate: TypeAlias = "Callable[[LayerContext], None]"


@dataclass(frozen=True)
class Translator:
    """How one layer type is translated.

    Attributes:
        function: Emits the nodes.
        needs_weights: A layer of this type without stored weights cannot be right, whatever its shapes are; lets
            missing weights be reported even where the shapes before the layer are unknown.
        plugin: True when it came from an entry point.
    """

    function: Translate
    needs_weights: bool = False
    plugin: bool = False


_BUILT_IN: dict[str, Translator] = {}


def layer(*types: str, needs_weights: bool = False) -> Callable[[Translate], Translate]:
    """Register a function as the translator of these Caffe layer types.

    Args:
        types: Type strings as prototxts spell them.
        needs_weights: See `Translator`.
    """

    def register(function: Translate) -> Translate:
        for name in types:
            _BUILT_IN[name] = Translator(function, needs_weights)
        return function

    return register


@cache
def _translators() -> dict[str, Translator]:
    for family in _FAMILIES:
        import_module(f"gfpq_inspect.models.caffe.translate.{family}")
    found = dict(_BUILT_IN)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        found[point.name] = Translator(point.load(), plugin=True)
    return found


def translator(layer_type: str) -> Translator | None:
    """Return the translator of a layer type, or None if nobody knows it."""
    return _translators().get(layer_type)


def has_plugin(layer_type: str) -> bool:
    """Return whether an installed package translates this layer type."""
    found = _translators().get(layer_type)
    return found is not None and found.plugin


def known_types() -> tuple[str, ...]:
    """Return all layer types that can be translated, sorted."""
    return tuple(sorted(_translators()))

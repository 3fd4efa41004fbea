"""Pairing of a model that quantizes itself with the float model that it was made from."""

from __future__ import annotations

from gfpq_inspect.models.model import Model
from gfpq_inspect.models.pair import Pairing, pair_layers


def pair_models(first: Model, second: Model) -> tuple[Pairing, Model]:
    """Pair the layers of two models; the second may come back completed by what only the first knows."""
    return pair_layers(first, second), second

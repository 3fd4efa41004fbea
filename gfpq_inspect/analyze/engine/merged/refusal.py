"""Why a network, a layer or a row does not run in one graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gfpq_inspect.analyze.lanes import Side

LayerKey = tuple[Side, str]


class NotMerged(Exception):  # noqa: N818 - no error: the layered engine takes what this one does not
    """Raised where something cannot run in one graph; says why in one clause.

    Attributes:
        layer: The layer that is to blame, or None.
        look: Index of the row, or the value, that cannot be looked at there, or None.
    """

    def __init__(self, reason: str, *, layer: LayerKey | None = None, look: int | LayerKey | None = None) -> None:
        super().__init__(reason)
        self.layer = layer
        self.look = look


@contextmanager
def blamed(*, layer: LayerKey | None = None, look: int | LayerKey | None = None) -> Iterator[None]:
    """Say what is to blame for a refusal that does not say so itself."""
    try:
        yield
    except NotMerged as error:
        if error.layer is None and error.look is None:
            raise NotMerged(str(error), layer=layer, look=look) from error
        raise

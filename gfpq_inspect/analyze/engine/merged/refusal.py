"""Why a network does not run in one graph."""

from __future__ import annotations


class NotMerged(Exception):  # noqa: N818 - no error: the layered engine takes what this one does not
    """Raised where a network cannot run in one graph; says why in one clause."""

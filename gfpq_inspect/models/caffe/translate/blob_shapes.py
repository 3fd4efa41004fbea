"""How large a blob may be, and how a shape is written for people."""

from __future__ import annotations

from collections.abc import Sequence

MAX_ELEMENTS = 2**31 - 1
"""Largest number of elements of one blob, as in Caffe."""
MAX_CONSTANT_ELEMENTS = 2**27
"""Largest blob that is computed while translating (PriorBox, DummyData, fillers): 512 MiB."""


def text_of(shape: Sequence[int]) -> str:
    """Write a shape for people: `1x3x224x224`, or `scalar`."""
    return "x".join(str(size) for size in shape) if len(shape) else "scalar"

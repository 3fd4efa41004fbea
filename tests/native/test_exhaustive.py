"""Whole blocks of float32 bit patterns come out as the original library gave them (recorded as digests).

A sample by default; every block with GFPQ_EXHAUSTIVE=1 (`make exhaustive`).
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from typing import Any

import numpy as np
import pytest

from gfpq_inspect import _native

from .recorded import FIXTURES

EVERYTHING = os.environ.get("GFPQ_EXHAUSTIVE", "") == "1"
MANTISSAS = np.uint32(1 << 23)


def recorded_blocks() -> list[tuple[int, int, int, int, str]]:
    """Bits, coefficient, sign, exponent and digest of every recorded block."""
    sets = json.loads((FIXTURES / "gfpq_exhaustive.json").read_text(encoding="utf-8"))["sets"]
    return [(one["bits"], one["delta"], b["s"], b["e"], b["sha256"]) for one in sets for b in one["blocks"]]


@cache
def mantissas() -> np.ndarray[Any, np.dtype[np.uint32]]:
    """0 ... 2^23 - 1."""
    return np.arange(MANTISSAS, dtype=np.uint32)


def test_there_are_as_many_blocks_as_were_recorded() -> None:
    assert len(recorded_blocks()) == 230


@pytest.mark.parametrize(
    ("bits", "delta", "sign", "exponent", "digest"),
    recorded_blocks() if EVERYTHING else recorded_blocks()[5::19],
)
def test_a_block_of_bit_patterns(bits: int, delta: int, sign: int, exponent: int, digest: str) -> None:
    patterns = (mantissas() | np.uint32(sign << 31 | exponent << 23)).view(np.float32)
    output = np.empty_like(patterns)
    for name in _native.instruction_sets() if EVERYTHING else [_native.instruction_set()]:
        if name == "reference":
            continue
        before = _native.instruction_set()
        assert _native.set_instruction_set(name)
        try:
            _native.apply(patterns, output, bits, delta)
        finally:
            _native.set_instruction_set(before)
        assert hashlib.sha256(output).hexdigest() == digest, name

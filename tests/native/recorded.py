"""The recorded calls of the original library, as objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures" / "gfpq"


@dataclass(frozen=True)
class RecordedCall:
    """One call: what went in, and what the original library gave back."""

    number: int
    name: str
    bits: int
    mode: int
    block_in: bytes | None
    block_out: bytes | None
    code: int
    data_in: NDArray[np.floating]
    data_out: NDArray[np.floating]

    def __str__(self) -> str:
        return f"{self.number}-{self.name}-{self.data_in.dtype}-{self.bits}-mode{self.mode}".replace(" ", "_")


@cache
def recorded_calls() -> tuple[RecordedCall, ...]:
    """All recorded calls, in order."""
    with np.load(FIXTURES / "gfpq_cases.npz") as archive:
        described = json.loads(bytes(archive["cases"]))
        return tuple(
            RecordedCall(
                number=case["id"],
                name=case["name"],
                bits=case["bits"],
                mode=case["mode"],
                block_in=None if case["null_param"] else bytes.fromhex(case["param_in"]),
                block_out=None if case["null_param"] else bytes.fromhex(case["param_out"]),
                code=case["ret"],
                data_in=archive[f"in_{case['id']}"],
                data_out=archive[f"out_{case['id']}"],
            )
            for case in described
        )

"""A run that was stopped, to be gone on with: a file that is always whole."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gfpq_inspect.errors import InputError
from gfpq_inspect.files import write_atomically
from gfpq_inspect.tune.recover.graph import Tensor

_FORMAT = "gfpq-inspect tune 1"


@dataclass
class State:
    """Where a run is.

    Attributes:
        stage: Name of the last stage that is done.
        step: Steps of training done.
        patience: Evaluations without progress so far.
        rate: Learning rate that was chosen.
        figure: Of the best weights.
        weights: Float weights now.
        best: Best float weights so far.
        reference: Float weights whose features are matched.
        history: The solver's.
        multipliers: The solver's.
        clip: The solver's.
        coefficients: Of data: value, bits, coefficient.
        best_coefficients: The same, when `best` was found.
        log: See `Outcome.log`.
    """

    stage: str = ""
    step: int = 0
    patience: int = 0
    rate: float = 0.0
    figure: float = 1.0
    weights: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    reference: dict[str, Tensor] = field(default_factory=dict)
    history: dict[str, Tensor] = field(default_factory=dict)
    multipliers: dict[str, float] = field(default_factory=dict)
    clip: float = 0.0
    coefficients: list[tuple[str, int, int]] = field(default_factory=list)
    best_coefficients: list[tuple[str, int, int]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Tell runs apart: network, samples and options."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def save_state(path: Path, state: State, identity: str) -> None:
    """Write a state whole, in place of an earlier one.

    Raises:
        OutputError: The file cannot be written.
    """
    content = {"format": _FORMAT, "identity": identity, **{name: getattr(state, name) for name in state_fields()}}
    stream = io.BytesIO()
    torch.save(content, stream)
    write_atomically(path, stream.getvalue(), overwrite=True)


def state_fields() -> list[str]:
    """Fields of a state."""
    return list(State.__dataclass_fields__)


def load_state(path: Path, identity: str) -> State:
    """Read a state.

    Raises:
        InputError: There is none, it is damaged, or it belongs to another run.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no checkpoint to go on from; leave --resume out")
    try:
        content = torch.load(path, weights_only=True)
        if content["format"] != _FORMAT:
            raise ValueError
        found = State(**{name: content[name] for name in state_fields()})
    except Exception as error:  # damage shows in many ways
        raise InputError(f"{path}: is no checkpoint of this command, or damaged; leave --resume out") from error
    if content["identity"] != identity:
        raise InputError(
            f"{path}: belongs to a run with another network, other samples or other options; give the same ones, or "
            "leave --resume out"
        )
    return found

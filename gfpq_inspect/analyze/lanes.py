"""Lanes: the variants of a network that run side by side, and which of them are measured against which.

A lane is a value, not a flag: adding one means adding one here (`design: lanes`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gfpq_inspect.analyze.result import Comparison


class Side(StrEnum):
    """Which of the two models."""

    FIRST = "first"
    SECOND = "second"


class Weights(StrEnum):
    """Which weights a lane computes with; biases, BatchNorm and Scale are always float."""

    STORED = "stored"
    QUANTIZED = "quantized"  # per tensor, coefficient from the tensor itself
    DEPLOYED = "deployed"  # as stored where they lie on the grid already, else QUANTIZED


@dataclass(frozen=True)
class Lane:
    """A variant of one model.

    Attributes:
        name: As in the reports.
        side: Model that it runs.
        weights: Weights that it computes with.
        quantizes_data: Whether data are quantized where the network quantizes them.
    """

    name: str
    side: Side
    weights: Weights
    quantizes_data: bool


FLOAT = Lane("float", Side.FIRST, Weights.STORED, quantizes_data=False)
DATA = Lane("data", Side.FIRST, Weights.STORED, quantizes_data=True)
WEIGHT = Lane("weight", Side.FIRST, Weights.QUANTIZED, quantizes_data=False)
BOTH = Lane("both", Side.FIRST, Weights.QUANTIZED, quantizes_data=True)
TUNED_FLOAT = Lane("tuned_float", Side.SECOND, Weights.STORED, quantizes_data=False)
TUNED_DATA = Lane("tuned_data", Side.SECOND, Weights.STORED, quantizes_data=True)
TUNED_WEIGHT = Lane("tuned_weight", Side.SECOND, Weights.DEPLOYED, quantizes_data=False)
TUNED = Lane("tuned", Side.SECOND, Weights.DEPLOYED, quantizes_data=True)


def lanes_for(*, second: bool, quantized: bool) -> tuple[Lane, ...]:
    """The lanes of a run; the reference lane of each model comes first.

    Args:
        second: Whether a second model is given.
        quantized: Whether anything is quantized; without, only the float lanes run.
    """
    first_lanes = (FLOAT, DATA, WEIGHT, BOTH) if quantized else (FLOAT,)
    second_lanes = (TUNED_FLOAT, TUNED_DATA, TUNED_WEIGHT, TUNED) if quantized else (TUNED_FLOAT,)
    return first_lanes + (second_lanes if second else ())


def reference_lane(side: Side) -> Lane:
    """The float lane of a model."""
    return FLOAT if side is Side.FIRST else TUNED_FLOAT


def deployed_lane(side: Side) -> Lane:
    """The lane that simulates a model on the chip."""
    return BOTH if side is Side.FIRST else TUNED


_QUANTIZATION = (
    Comparison("data", "data", "float", "quantization", "data quantized"),
    Comparison("weight", "weight", "float", "quantization", "weights quantized"),
    Comparison("both", "both", "float", "quantization", "data and weights quantized"),
)
_TUNED = (
    Comparison("drift", "tuned_float", "float", "drift", "what training changed"),
    Comparison("total", "tuned", "float", "total", "second model as deployed, against the first in float"),
    Comparison("tuned_data", "tuned_data", "tuned_float", "quantization", "second model, data quantized"),
    Comparison("tuned_weight", "tuned_weight", "tuned_float", "quantization", "second model, weights quantized"),
    Comparison("tuned", "tuned", "tuned_float", "quantization", "second model, what quantization costs it"),
)
_FLOAT_ONLY = (Comparison("total", "tuned_float", "float", "total", "second model against the first, both in float"),)


def comparisons_for(*, second: bool, quantized: bool) -> tuple[Comparison, ...]:
    """What is measured against what, in the order of the reports (spec: metrics, section 4)."""
    if not quantized:
        return _FLOAT_ONLY if second else ()
    return _QUANTIZATION + (_TUNED if second else ())


def judged_by_default(*, second: bool) -> str:
    """The comparison that flags stand on: `total` with two models, else `both` (spec: metrics, section 6)."""
    return "total" if second else "both"

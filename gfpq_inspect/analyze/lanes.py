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
        fed_by: A probe runs each layer by itself on the tensors of the lane that this names; None for a lane that
            runs on its own tensors from the input to the end.
    """

    name: str
    side: Side
    weights: Weights
    quantizes_data: bool
    fed_by: str | None = None


FLOAT = Lane("float", Side.FIRST, Weights.STORED, quantizes_data=False)
DATA = Lane("data", Side.FIRST, Weights.STORED, quantizes_data=True)
WEIGHT = Lane("weight", Side.FIRST, Weights.QUANTIZED, quantizes_data=False)
BOTH = Lane("both", Side.FIRST, Weights.QUANTIZED, quantizes_data=True)
TUNED_FLOAT = Lane("tuned_float", Side.SECOND, Weights.STORED, quantizes_data=False)
TUNED_DATA = Lane("tuned_data", Side.SECOND, Weights.STORED, quantizes_data=True)
TUNED_WEIGHT = Lane("tuned_weight", Side.SECOND, Weights.DEPLOYED, quantizes_data=False)
TUNED = Lane("tuned", Side.SECOND, Weights.DEPLOYED, quantizes_data=True)

LOCAL_DATA = Lane("local_data", Side.FIRST, Weights.STORED, quantizes_data=True, fed_by="float")
LOCAL_WEIGHT = Lane("local_weight", Side.FIRST, Weights.QUANTIZED, quantizes_data=False, fed_by="float")
LOCAL_BOTH = Lane("local_both", Side.FIRST, Weights.QUANTIZED, quantizes_data=True, fed_by="float")
INHERITED_BOTH = Lane("inherited_both", Side.FIRST, Weights.STORED, quantizes_data=False, fed_by="both")
LOCAL_TUNED = Lane("local_tuned", Side.SECOND, Weights.DEPLOYED, quantizes_data=True, fed_by="tuned_float")
INHERITED_TUNED = Lane("inherited_tuned", Side.SECOND, Weights.STORED, quantizes_data=False, fed_by="tuned")


def lanes_for(*, second: bool, quantized: bool, isolate: bool = False) -> tuple[Lane, ...]:
    """The lanes of a run; the reference lane of each model comes first, probes come last.

    Args:
        second: Whether a second model is given.
        quantized: Whether anything is quantized; without, only the float lanes run.
        isolate: Whether each layer's own error is told apart from what arrived from before.
    """
    if not quantized:
        return (FLOAT, TUNED_FLOAT) if second else (FLOAT,)
    lanes = (FLOAT, DATA, WEIGHT, BOTH) + ((TUNED_FLOAT, TUNED_DATA, TUNED_WEIGHT, TUNED) if second else ())
    if isolate:
        lanes += (LOCAL_DATA, LOCAL_WEIGHT, LOCAL_BOTH, INHERITED_BOTH)
        lanes += (LOCAL_TUNED, INHERITED_TUNED) if second else ()
    return lanes


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
_ISOLATED = (
    Comparison("local_data", "local_data", "float", "local", "this layer alone, data quantized"),
    Comparison("local_weight", "local_weight", "float", "local", "this layer alone, weights quantized"),
    Comparison("local_both", "local_both", "float", "local", "this layer alone, data and weights quantized"),
    Comparison("inherited_both", "inherited_both", "float", "inherited", "what arrived from before"),
    Comparison("fresh_both", "both", "inherited_both", "fresh", "what this layer added"),
)
_ISOLATED_TUNED = (
    Comparison("local_tuned", "local_tuned", "tuned_float", "local", "second model, this layer alone"),
    Comparison("inherited_tuned", "inherited_tuned", "tuned_float", "inherited", "second model, what arrived"),
    Comparison("fresh_tuned", "tuned", "inherited_tuned", "fresh", "second model, what this layer added"),
)
_FLOAT_ONLY = (Comparison("total", "tuned_float", "float", "total", "second model against the first, both in float"),)


def comparisons_for(*, second: bool, quantized: bool, isolate: bool = False) -> tuple[Comparison, ...]:
    """What is measured against what, in the order of the reports (spec: metrics, section 4)."""
    if not quantized:
        return _FLOAT_ONLY if second else ()
    comparisons = _QUANTIZATION + (_TUNED if second else ())
    if isolate:
        comparisons += _ISOLATED + (_ISOLATED_TUNED if second else ())
    return comparisons


def judged_by_default(*, second: bool) -> str:
    """The comparison that flags stand on: `total` with two models, else `both` (spec: metrics, section 6)."""
    return "total" if second else "both"


def second_alone(
    lanes: tuple[Lane, ...], comparisons: tuple[Comparison, ...]
) -> tuple[tuple[Lane, ...], tuple[Comparison, ...]]:
    """Only the first model's float lane, and all of the second's: it quantizes itself and nothing else is simulated."""
    kept = tuple(lane for lane in lanes if lane.side is Side.SECOND or lane is FLOAT)
    names = {lane.name for lane in kept}
    return kept, tuple(entry for entry in comparisons if entry.lane in names and entry.reference in names)


def second_as_it_is(
    lanes: tuple[Lane, ...], comparisons: tuple[Comparison, ...]
) -> tuple[tuple[Lane, ...], tuple[Comparison, ...]]:
    """Without what needs the second model's quantization taken apart: it runs as it is, and only `total` is measured.

    Its float lane stays, as the reference lane that every model has; it is the same run.
    """
    kept = tuple(lane for lane in lanes if lane.side is Side.FIRST or lane in (TUNED, TUNED_FLOAT))
    first = {lane.name for lane in kept if lane.side is Side.FIRST}
    return kept, tuple(entry for entry in comparisons if entry.lane in first or entry.name == "total")

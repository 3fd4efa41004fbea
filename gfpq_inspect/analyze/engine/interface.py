"""What an engine is: it runs all lanes of one batch of samples and gives sums a sample, nothing pooled, nothing judged.

Everything above (batches, workers, pooling in sample order, scores, verdict) is the same whatever engine runs below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.lanes import Lane, Side
from gfpq_inspect.analyze.result import Comparison
from gfpq_inspect.analyze.weights import WeightTable
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.quantize import NumberFormat, gfpq_of

Array = NDArray[Any]
Feeds = Mapping[Side, Mapping[str, Array]]
"""For each model, graph input to its array: a batch of samples along axis 0, or one sample."""


EACH_SAMPLE = "each sample"
"""Stands for a coefficient that every sample makes of its own tensor."""


@dataclass(frozen=True)
class Point:
    """A tensor that is quantized on the way into a layer; several layers may share it.

    Attributes:
        side: Model.
        value: Graph value that is quantized.
        bits: Bits of a code.
        layers: Keys of the layers that read the quantized tensor; of the one that makes it where `at_output`.
        own_format: Format of the point, None for GFPQ with `bits`.
        at_output: The layer hands the tensor on quantized, instead of its readers quantizing it.
        coefficient: Coefficient that the model brings from its training, or None to calibrate.
    """

    side: Side
    value: str
    bits: int
    layers: tuple[str, ...]
    own_format: NumberFormat | None = None
    at_output: bool = False
    coefficient: int | None = None

    @property
    def format(self) -> NumberFormat:
        """The format of the point."""
        return self.own_format if self.own_format is not None else gfpq_of(self.bits)


@dataclass(frozen=True)
class Row:
    """One line of the table: a value of the first model, of the second, or a pair of them.

    Attributes:
        key: Row key.
        values: Graph value in each model that has it.
    """

    key: str
    values: Mapping[Side, str]


@dataclass(frozen=True)
class Experiment:
    """All that an engine needs to know before it sees data.

    Attributes:
        models: The first model, and the second where there is one.
        lanes: Lanes to run.
        comparisons: Lanes to measure, and against which.
        rows: Tensors to measure.
        points: Data quantization points, those of the first model first, in order of execution.
        weights: Weights of every lane.
        bits: Bit width of the run, None where nothing is quantized to GFPQ.
        per_sample: Coefficients of data come from each sample's own tensor instead of a calibration.
        captured: Row keys of outputs whose tensors are handed out with each measurement (task accuracy).
    """

    models: Mapping[Side, Model]
    lanes: tuple[Lane, ...]
    comparisons: tuple[Comparison, ...]
    rows: tuple[Row, ...]
    points: tuple[Point, ...]
    weights: WeightTable
    bits: int | None
    per_sample: bool
    captured: tuple[str, ...] = ()

    @property
    def quantizes(self) -> bool:
        """Whether any lane quantizes anything."""
        return any(lane.quantizes_data for lane in self.lanes)

    def lane(self, name: str) -> Lane:
        """The lane of that name."""
        return next(lane for lane in self.lanes if lane.name == name)


class RowState(IntEnum):
    """Whether the two tensors of a row and comparison can be scored at all; the larger wins over a run."""

    SCORED = 0
    NOT_FLOAT = 1  # `count` and `unequal_bits` are all that the sums hold
    SHAPE_MISMATCH = 2
    NOT_TENSOR = 3  # a sequence, a map, text


@dataclass(frozen=True)
class RowProblem:
    """Why a row's comparison could not be scored: its state and one clause."""

    state: RowState
    reason: str


@dataclass
class PointEvidence:
    """What quantizing did at one point, in the lane that simulates the deployment.

    Attributes:
        finite: Finite elements; the counts below are among these.
        nonzero: Those that are not zero.
        snapped: Above the top of the grid, but less than one step: lowered by `floor`.
        beyond: A step or more above the top: only a calibration on other data does that.
        flushed: Not zero, but zero once quantized.
        magnitude: The largest.
        delta_low: Smallest coefficient that was used.
        delta_high: Largest coefficient that was used.
        signal: sum x^2, and
        error: sum of squared errors; both only of formats other than GFPQ.
    """

    finite: int = 0
    nonzero: int = 0
    snapped: int = 0
    beyond: int = 0
    flushed: int = 0
    magnitude: float = 0.0
    delta_low: int = 1 << 30
    delta_high: int = -(1 << 30)
    signal: float = 0.0
    error: float = 0.0

    def add(self, other: PointEvidence) -> None:
        """Add what was seen elsewhere; the order is nothing."""
        self.finite += other.finite
        self.nonzero += other.nonzero
        self.snapped += other.snapped
        self.beyond += other.beyond
        self.flushed += other.flushed
        self.magnitude = max(self.magnitude, other.magnitude)
        self.delta_low = min(self.delta_low, other.delta_low)
        self.delta_high = max(self.delta_high, other.delta_high)
        self.signal += other.signal
        self.error += other.error


@dataclass
class Measurement:
    """Sums of one batch.

    Attributes:
        samples: Number of samples N.
        sums: float64 [N, rows, comparisons, SUM_FIELDS].
        isolation: float64 [N, rows, 2, 3]: for the first and the second model sum(d_both d_data),
            sum(d_both d_weight), sum(d_both^2).
        evidence: What was seen at every point, over the whole batch.
        problems: (row, comparison) to why it was not scored.
        captured: (row key, lane name) to the lane's tensor of the whole batch.
        custom: (metric of the caller's own, row, comparison) to its value for each sample.
        looks: Place of a sample in the batch and what was taken of its whole tensors, where an engine does that.
    """

    samples: int
    sums: NDArray[np.float64]
    isolation: NDArray[np.float64]
    evidence: list[PointEvidence]
    problems: dict[tuple[int, int], RowProblem] = field(default_factory=dict)
    captured: dict[tuple[str, str], Array] = field(default_factory=dict)
    custom: dict[tuple[str, int, int], list[float]] = field(default_factory=dict)
    looks: list[tuple[int, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """What a trial run of one sample showed.

    Attributes:
        shapes: (model, graph value) to the shape of one sample's tensor.
        floating: Values that hold floating-point numbers, so that a score has a meaning.
        bytes_per_sample: Live tensors of all lanes at their peak.
        largest_step_bytes: What the busiest layer reads and writes in all lanes.
        digests: (model, graph value) to a digest of each sample's tensor of the float lanes; a single one for values
            that no sample reaches. Empty where they were not asked for.
        room_bytes: What the live tensors of a batch may take where the engine has memory of its own and no cache to
            mind; None on the processors.
    """

    shapes: Mapping[tuple[Side, str], tuple[int, ...]]
    floating: frozenset[tuple[Side, str]]
    bytes_per_sample: int
    largest_step_bytes: int
    digests: Mapping[tuple[Side, str], tuple[bytes, ...]]
    room_bytes: int | None = None


LayerDone = Callable[[Layer], None]
"""Told which layer was just run."""


class Engine(Protocol):
    """Runs the lanes of an experiment. All methods may be called from several threads at once."""

    @property
    def name(self) -> str:
        """For the report."""
        ...

    def trial(self, feeds: Feeds, samples: int, *, digests: bool = False) -> Facts:
        """Run the float lanes on a few samples; find shapes and sizes, and digests where they are asked for."""
        ...

    def calibrate(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """Run the float lanes as far as needed; largest magnitude of every point, float64 [samples, points]."""
        ...

    def ranges(self, feeds: Feeds, samples: int) -> NDArray[np.float64]:
        """As `calibrate`: smallest and largest finite value of every point, float64 [samples, points, 2]."""
        ...

    def measure(
        self, feeds: Feeds, samples: int, deltas: Sequence[Any] | None, layer_done: LayerDone | None = None
    ) -> Measurement:
        """Run all lanes and measure them.

        Args:
            feeds: The batch.
            samples: Samples in it.
            deltas: Coefficient of every point (or `EACH_SAMPLE`), or None for coefficients from each sample.
            layer_done: Called with the layer that was just run.
        """
        ...

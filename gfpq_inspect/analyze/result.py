"""The result: one versioned object that every report, gate and diff is a pure function of.

Plain frozen data, no NaN (None with a status instead), no absolute paths, no host facts outside `timing`.
Names in it come from model files and are untrusted text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from gfpq_inspect.analyze.task_result import Task as Task  # noqa: PLC0414 - it is part of the result
from gfpq_inspect.inputs.source import InputFacts as InputFacts  # noqa: PLC0414 - likewise

SCHEMA_VERSION = 1


class Status(StrEnum):
    """What a score stands on (spec: metrics, section 3)."""

    OK = "OK"
    EXACT = "EXACT"
    BOTH_ZERO = "BOTH_ZERO"
    REF_ZERO = "REF_ZERO"
    TEST_ZERO = "TEST_ZERO"
    NONFINITE = "NONFINITE"
    CONSTANT = "CONSTANT"
    TINY = "TINY"
    NOT_FLOAT = "NOT_FLOAT"
    SHAPE_MISMATCH = "SHAPE_MISMATCH"
    UNMATCHED = "UNMATCHED"
    SKIPPED = "SKIPPED"
    EXACT_AFFINE = "EXACT_AFFINE"  # only ever in `flags`: a gain and an offset explain the whole error


class Verdict(StrEnum):
    """Judgement of a row; NOT_JUDGED for rows that are only listed."""

    GOOD = "good"
    WATCH = "watch"
    FLAGGED = "flagged"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Spread:
    """One score over samples.

    Percentiles are nearest-rank: `percentile_P` is the smallest value that at least P % of the samples do not exceed.
    The upper half is measured of scores that can be too large as well (the norm ratio).

    Attributes:
        mean: Over the samples in which the score is defined.
        minimum: Smallest value.
        minimum_sample: The first sample that has it.
        percentile_5: Likewise the others.
        samples: Samples in which the score is defined.
        deviation: Sample standard deviation (divisor n - 1); None of fewer than two samples.
        maximum: Largest value.
        maximum_sample: The first sample that has it.
    """

    mean: float | None
    minimum: float | None
    minimum_sample: str | None
    percentile_5: float | None
    samples: int | None = None
    deviation: float | None = None
    percentile_1: float | None = None
    percentile_10: float | None = None
    percentile_25: float | None = None
    percentile_50: float | None = None
    percentile_75: float | None = None
    percentile_90: float | None = None
    percentile_95: float | None = None
    percentile_99: float | None = None
    maximum: float | None = None
    maximum_sample: str | None = None


@dataclass(frozen=True)
class Scores:
    """A lane's tensor against its reference, pooled over all samples (spec: metrics, section 1).

    `status` is the first that applies of the list; `reason` explains any status but OK and EXACT.
    `flags` holds further statuses that apply too (NONFINITE and TINY may stand beside another).
    """

    status: Status
    reason: str = ""
    flags: tuple[Status, ...] = ()
    count: int = 0
    cosine: float | None = None
    sqnr_db: float | None = None
    rel_l2: float | None = None
    norm_ratio: float | None = None
    max_abs_error: float | None = None
    mae: float | None = None
    rmse: float | None = None
    mean_error: float | None = None
    gain: float | None = None
    offset: float | None = None
    residual_db: float | None = None
    equal_share: float | None = None
    nonfinite_reference: int = 0
    nonfinite_test: int = 0
    first_nonfinite: int | None = None
    cosine_spread: Spread | None = None
    sqnr_db_spread: Spread | None = None
    norm_ratio_spread: Spread | None = None


@dataclass(frozen=True)
class Isolation:
    """What data, weights and their interaction contribute; adds to 1 (spec: metrics, section 4)."""

    share_data: float
    share_weight: float
    interaction: float

    @property
    def dominant(self) -> str:
        """'data' or 'weights' when above one half, else 'mixed'."""
        if max(self.share_data, self.share_weight) <= 0.5:
            return "mixed"
        return "data" if self.share_data >= self.share_weight else "weights"


@dataclass(frozen=True)
class Coefficient:
    """The quantization of one tensor: data read by a layer, or a weight (spec: metrics, section 5).

    `block` is the 16-byte parameter block in hex. `delta` is None with per-sample coefficients, whose range then is
    `delta_low` to `delta_high`. Shares are of finite elements, `flushed_share` of the non-zero ones.
    Formats other than GFPQ have no `delta` (its range is 0 to 0) but, per tensor, `scale` and `zero_point`, and the
    `sqnr_db` of the tensor against its quantized copy. `index` numbers the tensors that a layer quantizes in one role.
    """

    layer: str
    tensor: str
    role: str  # 'data' or 'weight'
    model: str  # 'first' or 'second'
    bits: int
    delta: int | None
    delta_low: int
    delta_high: int
    block: str | None
    maximum: float
    grid_top: float
    grid_bottom: float
    snapped_share: float | None = None
    beyond_share: float | None = None
    flushed_share: float | None = None
    on_grid: bool | None = None
    number_format: str | None = None
    scale: float | None = None
    zero_point: int | None = None
    sqnr_db: float | None = None
    index: int = 0


@dataclass(frozen=True)
class Comparison:
    """A lane measured against another.

    Attributes:
        name: Key in `LayerRow.scores` ('data', 'weight', 'both', 'tuned', 'tuned_data', 'tuned_weight', 'drift',
            'total').
        lane: Lane that is measured.
        reference: Lane that it is measured against.
        kind: 'quantization', 'drift' or 'total'; with a dump 'simulation' (against our simulation) and 'reference' (in
            float against the dump); for lanes that are not fed from the start also 'local', 'inherited' or 'fresh'
            (spec: metrics, section 4), with names such as 'local_both', 'inherited_both', 'fresh_both'.
        title: For people, a few words.
    """

    name: str
    lane: str
    reference: str
    kind: str
    title: str


@dataclass(frozen=True)
class LayerRow:
    """One output of one layer, compared; or a layer that was not, with the reason in `reason`.

    Attributes:
        key: Unique row key: the output's name for people ('conv1', 'slice:1').
        layer: Layer key in its model.
        name: Layer name, untrusted text.
        type: Layer type.
        index: Position along the network, from 0.
        side: 'both', 'first' or 'second': which models have it.
        partner: Layer key in the second model, where there is one.
        status: OK when compared, else UNMATCHED, SHAPE_MISMATCH or SKIPPED.
        reason: Why it was not compared, or how it was paired when not by equal names.
        understood: False for an UNMATCHED row whose reason is not understood (it then counts as a flag).
        shape: Shape of one sample's tensor as computed (batch axis 1), or ().
        elements: Elements a sample.
        quantized: Whether NNIE quantizes what the layer reads.
        is_output: A network output.
        scores: Comparison name to scores.
        verdict: Judged on the comparison named in `Judgement.comparison`.
        cause: For a flagged row: 'data', 'weights', 'mixed', 'drift', 'dump', 'non-finite', 'unmatched'.
        cause_reason: One sentence.
        isolation: First model's, from data / weight / both.
        tuned_isolation: Second model's, from tuned_data / tuned_weight / tuned.
        inputs: Row keys of the layers it reads.
        folded_into: Row key of the layer that this one is folded into, where the view is folded.
    """

    key: str
    layer: str
    name: str
    type: str
    index: int
    side: str
    partner: str | None
    status: Status
    reason: str
    understood: bool
    shape: tuple[int, ...]
    elements: int
    quantized: bool
    quantization_reason: str
    is_output: bool
    scores: Mapping[str, Scores] = field(default_factory=dict)
    verdict: Verdict = Verdict.NOT_JUDGED
    cause: str | None = None
    cause_reason: str = ""
    isolation: Isolation | None = None
    tuned_isolation: Isolation | None = None
    multiply_adds: int | None = None
    source_line: int | None = None
    inputs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    folded_into: str | None = None


@dataclass(frozen=True)
class Coverage:
    """What was compared and what was not; `sentence` is what every report prints."""

    total: int
    compared: int
    skipped: int
    unmatched: int
    sentence: str


@dataclass(frozen=True)
class Judgement:
    """The verdict and what it stands on.

    Attributes:
        good: Decides the exit code.
        comparison: Name of the comparison that was judged.
        threshold: Cosine below which a layer is flagged.
        sentence: The verdict in a sentence.
        flagged: Row keys that count against the verdict.
        drifted: Row keys flagged for drift only, which do not count.
        failed_outputs: Row keys of network outputs below the threshold.
        few_values: Row keys of outputs that were judged on fewer than 64 values.
        partial: The run was stopped before all samples were seen.
        failed_tasks: Row keys of outputs whose top-1 loses more than 1 point, and not by chance.
        lines: Further lines of the verdict, a sentence each: accuracy or agreement of decisions, with where the loss
            lies among the guide's two figures.
    """

    good: bool
    comparison: str
    threshold: float
    sentence: str
    flagged: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    failed_outputs: tuple[str, ...] = ()
    few_values: tuple[str, ...] = ()
    partial: bool = False
    failed_tasks: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One check's outcome.

    Attributes:
        id: Stable, in kebab case.
        title: What is the matter, or what was checked when nothing is.
        severity: 'error', 'warning', 'note', 'passed' or 'not applicable'.
        measured: What was measured, one sentence with numbers.
        why: Why it matters.
        remedy: What to do.
        how: How it is computed.
        layers: Row keys, worst first.
        evidence: Small table: column names and rows of plain values.
    """

    id: str
    title: str
    severity: str
    measured: str
    why: str = ""
    remedy: str = ""
    how: str = ""
    layers: tuple[str, ...] = ()
    evidence_columns: tuple[str, ...] = ()
    evidence_rows: tuple[tuple[str | float | int | None, ...], ...] = ()


@dataclass(frozen=True)
class ModelFacts:
    """What is recorded of one model; files are base names."""

    role: str  # 'first' or 'second'
    framework: str
    name: str
    structure_file: str | None
    weights_file: str | None
    structure_source: str
    sha256: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """What was run, on what, how."""

    tool_version: str
    command: str
    models: tuple[ModelFacts, ...]
    inputs: InputFacts
    bits: int | None  # None: nothing was quantized
    coefficients: str  # 'set' or 'sample'
    calibration: str  # one clause: where the data coefficients come from
    view: str  # 'as stored' or 'folded'
    engine: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    calibration_inputs: InputFacts | None = None  # where the data coefficients come from samples of their own
    number_format: str | None = None  # 'gfpq8', 'int8', ...; of what is simulated, not of a model that quantizes itself


@dataclass(frozen=True)
class Timing:
    """Everything that differs between two runs on the same input; left out by --no-timing."""

    started: str
    elapsed_s: float
    phases_s: Mapping[str, float]
    peak_memory_mb: float | None
    host: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """The whole analysis.

    `task` is what the network's decisions and the caller's own metrics say; None where the outputs hold no decisions.
    `details` holds evidence a layer, plain JSON values: {'layers': {row key: {...}}}; its keys are described in
    reports/README.md. Every part of it is optional.
    """

    run: Run
    comparisons: tuple[Comparison, ...]
    coverage: Coverage
    judgement: Judgement
    layers: tuple[LayerRow, ...]
    coefficients: tuple[Coefficient, ...]
    findings: tuple[Finding, ...]
    timing: Timing | None = None
    task: Task | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

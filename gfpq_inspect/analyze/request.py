"""What a comparison is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gfpq_inspect.analyze.custom_metrics import MetricFunction
from gfpq_inspect.analyze.dumps.comparison import DumpComparison
from gfpq_inspect.analyze.engine.choose import check_device, check_engine
from gfpq_inspect.analyze.findings.case import Snapshot
from gfpq_inspect.analyze.stored_coefficients import StoredSet
from gfpq_inspect.analyze.task_metrics import MetricLike
from gfpq_inspect.analyze.verdict import DEFAULT_THRESHOLD
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.quantize import Gfpq, NumberFormat, gfpq_of


@dataclass(frozen=True)
class ComparisonRequest:
    """What to compare and how.

    Attributes:
        first: The float model.
        source: Samples for its inputs (and, by name or place, for those of the second).
        second: The second model (fine-tuned, or another export), or None.
        number_format: Format that is simulated, instead of GFPQ with `bits`; one of GFPQ's own counts as its bits.
        bits: 8 or 16, or None to compare in float only.
        isolate: Whether each layer's own error is told apart from what arrived from before; None: where the cost is
            small (`AFFORDABLE_MULTIPLY_ADDS`).
        coefficients: 'set' for a calibration over all samples, 'sample' for a coefficient from each sample.
        threshold: Cosine below which a layer is flagged.
        judge: See `verdict.rules_for`.
        workers: Batches in flight, one thread each.
        batch: Samples a batch, or None to choose; no figure depends on it.
        view: 'as stored' or 'folded', for the record.
        device: Where layers run; see `engine_for`.
        engine: 'auto', 'merged' or 'layered'; see `engine_for`.
        labels: True classes, for the accuracy of every lane, or None.
        master: The float master that the second model's fine-tuning kept, or None.
        snapshots: Earlier steps of that fine-tuning, oldest first.
        calibration: Samples that the coefficients of data come from, or None for those of `source`.
        stored_coefficients: Coefficients from a file, instead of a calibration, or None.
        task_outputs: Row keys of the outputs whose largest value is the decision; empty to tell them from their values.
        task_metrics: Task metrics of the caller's own by name, see `task_metrics`.
        metrics: Metrics of the caller's own by name, see `custom_metrics`.
        checkpoint: File that keeps what is known so far, so that the run can be resumed; None to keep nothing.
        resume: Go on from the checkpoint, where there is one.
        max_memory: Bytes that the process should not exceed, or None; picks batch size and workers.
        cache: Folder that keeps what runs learn of the float network, or None.
        warn: Told what went wrong without harm to the result; None to tell the progress.
        dump: Where a dump takes the place of a model; `second` (and `first`, of two dumps) then stands for it.
        command: As it was typed, for the record.
        timing: Whether the result carries durations and host facts.
    """

    first: Model
    source: SampleSource
    second: Model | None = None
    number_format: NumberFormat | None = None
    bits: int | None = 8
    isolate: bool | None = None
    coefficients: str = "set"
    threshold: float = DEFAULT_THRESHOLD
    judge: str = "default"
    workers: int = 2
    batch: int | None = None
    view: str = "as stored"
    device: str = "cpu"
    engine: str = "auto"
    labels: Labels | None = None
    master: Model | None = None
    snapshots: tuple[Snapshot, ...] = ()
    calibration: SampleSource | None = None
    stored_coefficients: StoredSet | None = None
    task_outputs: tuple[str, ...] = ()
    task_metrics: Mapping[str, MetricLike] = field(default_factory=dict)
    metrics: Mapping[str, MetricFunction] = field(default_factory=dict)
    checkpoint: Path | None = None
    resume: bool = False
    max_memory: int | None = None
    cache: Path | None = None
    warn: Callable[[str], None] | None = None
    dump: DumpComparison | None = None
    command: str = ""
    timing: bool = True


def format_of(request: ComparisonRequest) -> NumberFormat | None:
    """The format that is simulated, or None."""
    if request.number_format is not None:
        return request.number_format
    return None if request.bits is None else gfpq_of(request.bits)


def check_request(request: ComparisonRequest) -> None:
    """Refuse what makes no sense together, before anything is opened or run.

    Raises:
        UsageError: Options that make no sense together.
        InputError: Fewer labels than samples.
    """
    if request.bits not in (None, 8, 16):
        raise UsageError(f"GFPQ has 8 and 16 bits, not {request.bits}; give 8 or 16.")
    if format_of(request) is None and request.second is None:
        raise UsageError("nothing to compare: without quantization a second model is needed.")
    if request.coefficients not in ("set", "sample"):
        raise UsageError(f"coefficients come from 'set' or from each 'sample', not from '{request.coefficients}'.")
    own = request.calibration is not None or request.stored_coefficients is not None
    if own and (request.coefficients == "sample" or format_of(request) is None):
        what = "each sample has its own coefficients" if request.coefficients == "sample" else "nothing is quantized"
        raise UsageError(f"{what}; a calibration has no part in it, leave --calibration and --load-coefficients out.")
    if request.stored_coefficients is not None and not isinstance(format_of(request), Gfpq):
        raise UsageError("coefficient files hold those of GFPQ; leave --format out, or --load-coefficients.")
    check_device(request.device)
    check_engine(request.engine)
    if request.workers < 1:
        raise UsageError(f"at least one worker is needed, not {request.workers}.")
    if request.batch is not None and request.batch < 1:
        raise UsageError(f"a batch holds at least one sample, not {request.batch}.")
    labels, count = request.labels, request.source.count
    if labels is not None and len(labels.classes) < count:
        found = f"there are {len(labels.classes)} labels ({labels.origin}) for {count} samples"
        raise InputError(f"{found}; give a label for each sample.")

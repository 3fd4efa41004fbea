"""From a network's files and samples to tuned files and the comparison that confirms them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.analyze.request import ComparisonRequest
from gfpq_inspect.analyze.result import Result
from gfpq_inspect.analyze.session import compare_networks
from gfpq_inspect.errors import InputError, UsageError
from gfpq_inspect.inputs.coefficients import StoredCoefficient
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.tune.fold import fold_files
from gfpq_inspect.tune.networks import CaffeFiles, OnnxFile, reopen, single_samples
from gfpq_inspect.tune.parameters import parameter_files
from gfpq_inspect.tune.quantize import QuantizedFiles, quantize_files
from gfpq_inspect.tune.recover.cure import measure_cure
from gfpq_inspect.tune.recover.explain import left_over
from gfpq_inspect.tune.recover.files import unwritable, with_weights
from gfpq_inspect.tune.recover.samples import SampleStore, Split, split_samples
from gfpq_inspect.tune.recover.session import Outcome, Recovery
from gfpq_inspect.tune.recover.training import TuneSettings

_LEFT_UNEXPLAINED = 0.5
"""Where tuning leaves a larger share of the error, what 16 bit would cure is measured."""


@dataclass(frozen=True)
class TuneRequest:
    """What to tune and how.

    Attributes:
        opened: The float network.
        source: Samples.
        labels: Their true classes, or None.
        settings: How.
        input_shapes: Input shapes by name, where the files leave them open.
        fold: Fold BatchNorm, Scale and Bias first, as the chip does.
        holdout: Share of the samples that training is watched by.
        judged: Share that only the comparison at the end sees; 0 lets it have those of `holdout`.
        checkpoint: Where to save what was reached, or None.
        resume: Go on from the checkpoint.
        time_limit_s: Seconds after which no further step of the recovery begins, or None.
        allow_unknown_fields: As the network was opened.
        workers: Of the comparison.
        command: As it was typed, for the record.
        timing: Whether the result carries durations and host facts.
    """

    opened: CaffeFiles | OnnxFile
    source: SampleSource
    labels: Labels | None
    settings: TuneSettings
    input_shapes: Mapping[str, tuple[int, ...]]
    fold: bool = True
    holdout: float = 0.2
    judged: float = 0.2
    checkpoint: Path | None = None
    resume: bool = False
    time_limit_s: float | None = None
    allow_unknown_fields: bool = False
    workers: int = 1
    command: str = ""
    timing: bool = True


@dataclass(frozen=True)
class TunedFiles:
    """A tuned network, not yet written.

    Attributes:
        master: The float master, by suffix.
        quantized: The same with weights on the grid.
        outcome: What training came to.
        split: Which sample did what.
        result: The comparison on samples that neither trained nor were watched (where there are such): the network as
            it was given, quantized ('both'), and the tuned one ('total'), against the float network.
    """

    master: Mapping[str, bytes]
    quantized: QuantizedFiles
    outcome: Outcome
    split: Split
    result: Result
    stopped: bool = False

    def parameters(self, stem: str) -> dict[str, str]:
        """What goes beside the quantized network; see `parameter_files`."""
        return parameter_files(self.quantized, stem)


def tune_network(request: TuneRequest, progress: Progress) -> TunedFiles:
    """Recover the precision of a network.

    Args:
        request: What and how.
        progress: Told how far it is.

    Raises:
        UsageError: Options that make no sense together, or a network that quantizes itself.
        ModelError: A network that cannot be translated, edited or trained.
        InputError: Samples, labels or a checkpoint that cannot serve.
        QuantizationError: Weights or data that are not finite, or training that diverged.
    """
    _check_shares(request)
    opened = _folded(request)
    model, shapes = single_samples(opened.network, request.input_shapes)
    model = replace(model, origin=request.opened.network.origin)
    with_weights(opened, model, {})  # what cannot be written is told before hours of work
    split = split_samples(request.source.count, request.holdout, request.judged, request.settings.seed)
    store = SampleStore(request.source, {one.name: one.shape for one in model.inputs})
    _check_labels(request.labels, len(store))
    frozen = unwritable(opened, model)
    recovery = Recovery(
        model,
        store,
        split,
        request.labels,
        request.settings,
        progress,
        frozen,
        checkpoint=request.checkpoint,
        time_limit_s=request.time_limit_s,
    )
    outcome = recovery.run(resume=request.resume)
    arrays = {name: _array(outcome, name) for name in recovery.trained} if outcome.improved else {}
    master = with_weights(opened, model, arrays)
    quantized = quantize_files(
        reopen(master, allow_unknown_fields=request.allow_unknown_fields),
        shapes,
        bits=request.settings.bits,
        fold=False,
        allow_unknown_fields=request.allow_unknown_fields,
    )
    quantized = replace(quantized, name=request.opened.network.origin.name, sha256=request.opened.network.origin.sha256)
    result = _compared(request, (model, master, quantized), store, split, progress)
    details = tuning_details(request, outcome, split)
    if left_over(result) > _LEFT_UNEXPLAINED:
        tuned = _reread(request, model, master, "tuned_master")
        judged = store.part(split.judged, "that judge")
        cure = measure_cure(
            (model, tuned), judged, recovery.costs(outcome.weights), request.settings.bits, request.workers
        )
        details |= {"cure": cure.plain()} if cure is not None else {}
    result = replace(result, details={**result.details, "tuning": details})
    return TunedFiles(
        master, replace(quantized, data=_data(model, outcome)), outcome, split, result, stopped=recovery.stopped
    )


def _check_shares(request: TuneRequest) -> None:
    if not (0 < request.holdout < 1 and 0 <= request.judged < 1 and request.holdout + request.judged < 1):
        raise UsageError(
            f"--holdout {request.holdout:g} and --judged {request.judged:g}: shares lie between 0 and 1 and leave "
            "something to train on; 0.2 each is usual."
        )


def _check_labels(labels: Labels | None, samples: int) -> None:
    if labels is not None and len(labels.classes) != samples:
        raise InputError(
            f"there are {len(labels.classes)} labels ({labels.origin}) for {samples} samples; give one a sample"
        )


def _folded(request: TuneRequest) -> CaffeFiles | OnnxFile:
    opened = request.opened
    if not request.fold:
        return opened
    if isinstance(opened, CaffeFiles) and opened.source is None:
        raise UsageError(f"{opened.paths[0]}: folding changes the structure; give the prototxt too, or --no-fold")
    done = fold_files(opened, request.input_shapes, allow_unknown_fields=request.allow_unknown_fields)
    return reopen(done.files, allow_unknown_fields=request.allow_unknown_fields) if done.folds else opened


def _array(outcome: Outcome, name: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(outcome.weights[name].detach().numpy(), np.float32)


def _data(model: Model, outcome: Outcome) -> tuple[StoredCoefficient, ...]:
    """The observed coefficients of data, a row for each layer that reads the tensor."""
    found = {(value, bits): delta for value, bits, delta in outcome.coefficients}
    rows = []
    for layer in model.layers:
        if layer.quantization is None:
            continue
        for index, value in enumerate(layer.quantization.inputs):
            for (name, bits), delta in found.items():
                if name == value and layer.quantization.bits in (None, bits):
                    rows.append(StoredCoefficient(layer.name, "data", index, bits, delta, value))
                    break
    return tuple(rows)


def _compared(
    request: TuneRequest,
    networks: tuple[Model, Mapping[str, bytes], QuantizedFiles],
    store: SampleStore,
    split: Split,
    progress: Progress,
) -> Result:
    before, master, quantized = networks
    trained = store.part(split.train, "that trained")
    judged = store.part(split.judged, "that did not train" if request.judged else "that watched the training")
    labels = request.labels
    if labels is not None:
        labels = replace(labels, classes=tuple(labels.classes[index] for index in split.judged))
    return compare_networks(
        ComparisonRequest(
            first=before,
            second=_reread(request, before, quantized.files, "tuned"),
            master=_reread(request, before, master, "tuned_master"),
            source=judged,
            calibration=trained,
            bits=request.settings.bits,
            labels=labels,
            view="folded" if request.fold else "as stored",
            workers=request.workers,
            command=request.command,
            timing=request.timing,
        ),
        progress,
    )


def _reread(request: TuneRequest, before: Model, files: Mapping[str, bytes], name: str) -> Model:
    """The network as it will be written, named without the folder that it was read back from."""
    opened = reopen(files, allow_unknown_fields=request.allow_unknown_fields)
    model, _ = single_samples(opened.network, {one.name: one.shape for one in before.inputs})
    hashes = {f"{name}{suffix}": hashlib.sha256(content).hexdigest() for suffix, content in files.items()}
    weights = f"{name}.caffemodel" if ".caffemodel" in files else None
    structure = f"{name}{'.onnx' if '.onnx' in files else '.prototxt'}" if len(files) > 1 or not weights else None
    origin = replace(model.origin, structure_file=structure, weights_file=weights, sha256=hashes)
    return replace(model, origin=origin)


def tuning_details(request: TuneRequest, outcome: Outcome, split: Split) -> dict[str, Any]:
    """What a report shows of the training: plain values, described in reports/README.md."""
    return {
        "improved": outcome.improved,
        "stage": outcome.stage,
        "samples": {"train": len(split.train), "holdout": len(split.holdout), "judged": len(split.judged)},
        "judged_apart": bool(request.judged),
        "labels": request.labels is not None,
        "settings": asdict(request.settings),
        "before": _score(outcome, "before"),
        "after": _score(outcome, "after"),
        "log": [dict(line) for line in outcome.log],
        "notes": list(outcome.notes),
    }


def _score(outcome: Outcome, which: str) -> dict[str, Any]:
    score = outcome.before if which == "before" else outcome.after
    known = {"errors": dict(score.errors), "cosines": dict(score.cosines)}
    if score.accuracy is not None:
        return {**known, "accuracy": score.accuracy, "entropy": score.entropy}
    return known

"""Tries the remedies of a network's flagged layers and finds the fewest 16-bit layers that reach a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.progress import Progress, Silence
from gfpq_inspect.analyze.remedies.changes import bias_of, equalized, in_float, neighbours_of, with_bits, with_weights
from gfpq_inspect.analyze.remedies.plan import Plan
from gfpq_inspect.analyze.remedies.trial import Bench, Trial
from gfpq_inspect.analyze.result import Result, Verdict
from gfpq_inspect.models.model import Layer, Model

STEPS = (-3, -2, -1, 1, 2, 3)
PERCENTILES = (0.9999, 0.999)


@dataclass(frozen=True)
class Remedy:
    """One remedy that was tried.

    Attributes:
        kind: '16 bit', 'float', 'coefficient', 'percentile', 'equalization' or 'bias correction'.
        layer: Row key of the layer.
        text: What was done, a few words.
        layer_gain_db: Gain of SQNR at the layer.
        output_gain_db: Gain of the lowest SQNR of the network outputs.
        output_cosine: Lowest cosine of a network output with it.
    """

    kind: str
    layer: str
    text: str
    layer_gain_db: float
    output_gain_db: float
    output_cosine: float


@dataclass(frozen=True)
class Candidate:
    """A layer that remedies are tried on: its row, and the layer of the model."""

    row: str
    layer: Layer


def candidates(result: Result, model: Model, most: int) -> list[Candidate]:
    """Quantized layers that may be worth it: those that add most error by themselves, flagged ones first.

    Args:
        result: A comparison of the network with its quantized form.
        model: The network.
        most: How many.
    """
    by_key = {layer.key: layer for layer in model.layers}
    found: list[tuple[bool, float, Candidate]] = []
    seen = set()
    for row in result.layers:
        layer = by_key.get(row.layer)
        if layer is None or layer.quantization is None or layer.key in seen:
            continue
        seen.add(layer.key)
        scores = next((row.scores[name] for name in ("local_both", "both") if name in row.scores), None)
        sqnr = 200.0 if scores is None or scores.sqnr_db is None else scores.sqnr_db
        found.append((row.verdict is not Verdict.FLAGGED, sqnr, Candidate(row.key, layer)))
    found.sort(key=lambda entry: entry[:2])
    return [entry[2] for entry in found[:most]]


@dataclass(frozen=True)
class Search:
    """Tries remedies on one network.

    Attributes:
        bench: Runs the trials.
        base: Without a remedy.
        progress: Told of each trial.
    """

    bench: Bench
    base: Trial
    progress: Progress

    @classmethod
    def of(cls, bench: Bench, progress: Progress | None = None) -> Search:
        """Measure the network without a remedy first."""
        return cls(bench, bench.run(bench.first), progress or Silence())

    def remedy(self, kind: str, candidate: Candidate, text: str, trial: Trial) -> Remedy:
        """What a trial gained."""
        return Remedy(
            kind,
            candidate.row,
            text,
            trial.sqnr_db(candidate.row) - self.base.sqnr_db(candidate.row),
            trial.output_db - self.base.output_db,
            trial.worst_output,
        )

    def all_of(self, candidate: Candidate, evidence: Mapping[str, Any]) -> Iterator[Remedy]:
        """Try everything on one layer.

        Args:
            candidate: The layer.
            evidence: Its entry in `Result.details['layers']`.
        """
        model, run = self.bench.first, self.bench.run
        key = candidate.layer.key
        if self.bench.bits == 8:
            yield self.remedy("16 bit", candidate, "16 bit (_hp)", run(with_bits(model, {key: 16})))
        yield self.remedy("float", candidate, "left in float", run(in_float(model, {key})))
        assert candidate.layer.quantization is not None
        values = candidate.layer.quantization.inputs
        if values:
            moved = [(run(model, steps=dict.fromkeys(values, step)), step) for step in STEPS]
            trial, step = max(moved, key=lambda item: (item[0].output_db, -abs(item[1])))
            yield self.remedy("coefficient", candidate, f"coefficient of its data {step:+d} steps", trial)
            cuts = {steps: share for share in PERCENTILES if (steps := percentile_steps(evidence, share)) < STEPS[0]}
            cut = [(run(model, steps=dict.fromkeys(values, steps)), share) for steps, share in cuts.items()]
            if cut:
                trial, share = max(cut, key=lambda item: item[0].output_db)
                text = f"range of its data up to their {100 * share:g}th percentile"
                yield self.remedy("percentile", candidate, text, trial)
        pair = neighbours_of(model, candidate.layer)
        changed = equalized(model, pair) if pair is not None else None
        if changed is not None and pair is not None:
            text = f"equalized with '{pair.producer.name}'"
            yield self.remedy("equalization", candidate, text, run(changed))
        bias, shift = bias_of(model, candidate.layer), mean_errors(evidence)
        if bias is not None and shift is not None:
            corrected = with_weights(model, {bias: lambda array: array - shift.reshape(array.shape)})
            yield self.remedy(
                "bias correction", candidate, "mean error of each channel taken back by the bias", run(corrected)
            )

    def plan(
        self, ranked: Sequence[Candidate], target: float, *, by_cost: bool = False
    ) -> tuple[Plan, list[Candidate]]:
        """The fewest 16-bit layers that bring every network output to a cosine.

        Layers are added one by one, the one with the largest gain at the outputs first (or the largest gain for its
        multiply-adds), each step measured and kept where it helps; where that does not reach the target, all of them
        together may. Then each that is not needed any more is taken out again.

        Args:
            ranked: Layers to choose from.
            target: Cosine of every network output.
            by_cost: Spare multiply-adds in 16 bit rather than layers.
        """
        model, run = self.bench.first, self.bench.run
        gains = []
        for place, candidate in enumerate(ranked):
            self.progress.advance(1, candidate.layer.name)
            gain = run(with_bits(model, {candidate.layer.key: 16})).output_db - self.base.output_db
            cost = float(candidate.layer.multiply_adds or 1) if by_cost else 1.0
            gains.append((-gain / cost, place, candidate))
        chosen: list[Candidate] = []
        best = self.base
        order = [candidate for _, _, candidate in sorted(gains, key=lambda entry: entry[:2])]
        for candidate in order:
            if best.worst_output >= target:
                break
            trial = run(with_bits(model, {one.layer.key: 16 for one in [*chosen, candidate]}))
            if trial.output_db > best.output_db:
                chosen, best = [*chosen, candidate], trial
        if best.worst_output < target and len(chosen) < len(order):
            together = run(with_bits(model, {one.layer.key: 16 for one in order}))
            if together.worst_output > best.worst_output:
                chosen, best = order, together
        reached = best.worst_output
        for candidate in list(reversed(chosen)):
            rest = [one for one in chosen if one is not candidate]
            lowest = run(with_bits(model, {one.layer.key: 16 for one in rest})).worst_output
            if reached >= target and lowest >= target:
                chosen, reached = rest, lowest
        layers = {one.layer.key: 16 for one in chosen}
        return Plan(self.bench.bits, layers, target, reached, self.base.worst_output), chosen


def percentile_steps(evidence: Mapping[str, Any], share: float) -> int:
    """Steps by which the coefficient falls when the grid ends at a percentile of the magnitudes."""
    codes = evidence.get("codes") or {}
    if codes.get("binned_by") != "code":
        return 0
    counts = np.asarray(codes["positive"], dtype=np.int64) + np.asarray(codes["negative"], dtype=np.int64)
    total = int(counts.sum())
    if not total:
        return 0
    covered = np.cumsum(counts) >= share * total
    return int(np.argmax(covered)) - (len(counts) - 1)


def mean_errors(evidence: Mapping[str, Any]) -> NDArray[np.float64] | None:
    """Mean error of every channel, or None where it is not known of all."""
    values = (evidence.get("channels") or {}).get("mean_error")
    if not values or any(value is None for value in values):
        return None
    return np.asarray(values, dtype=np.float64)

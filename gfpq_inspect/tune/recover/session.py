"""One recovery from a float network to weights that lose less when they are quantized."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.errors import InputError, ModelError, Problem, UsageError
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.models.model import Model
from gfpq_inspect.tune.recover.checkpoint import State, fingerprint, load_state, save_state
from gfpq_inspect.tune.recover.graph import Place, Tensor, TrainableGraph, Values
from gfpq_inspect.tune.recover.lane import QuantizedLane, Weights
from gfpq_inspect.tune.recover.moves import LOOKED_AT, Moves
from gfpq_inspect.tune.recover.objective import (
    Goals,
    Objective,
    Score,
    find_decision,
    find_features,
    find_outputs,
)
from gfpq_inspect.tune.recover.reconstruct import Settings, reconstruct
from gfpq_inspect.tune.recover.samples import SampleStore, Split
from gfpq_inspect.tune.recover.solver import CaffeSolver
from gfpq_inspect.tune.recover.training import Trainer, TuneSettings

_RIDGES = (0.3, 1.0, 3.0)
_LIVE_BYTES = 1 << 30
"""What the tensors of a reconstruction may take."""
_MOST_RECONSTRUCTED = 1024
_MOST_OBSERVED = 1024
_FEATURES = 4


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        weights: Float master: kernel or bias to tensor; the weights as they were where nothing better was found.
        improved: Whether they are better than what was given.
        before: Score of the given weights on the held-out samples.
        after: Score of `weights` on them.
        stage: What gave them.
        log: One entry an evaluation: stage, step, epoch, loss, rate, figure, remaining, cosine (and accuracy).
        coefficients: Of data: value, bits, coefficient, as observed.
        notes: What a reader should know.
    """

    weights: Mapping[str, Tensor]
    improved: bool
    before: Score
    after: Score
    stage: str
    log: Sequence[Mapping[str, Any]]
    coefficients: Sequence[tuple[str, int, int]]
    notes: Sequence[str]


@dataclass
class Recovery:
    """A recovery.

    Attributes:
        model: The float network, folded or not.
        store: Its samples.
        split: Who trains and who is watched.
        labels: True classes of all samples, or None.
        settings: How.
        frozen: Initializers that cannot be written back.
        checkpoint: Where to save what was reached, or None.
        progress: Told how far it is.
        time_limit_s: Seconds after which no further step begins; None for no limit.
    """

    model: Model
    store: SampleStore
    split: Split
    labels: Labels | None
    settings: TuneSettings
    progress: Progress
    frozen: frozenset[str] = frozenset()
    checkpoint: Path | None = None
    time_limit_s: float | None = None
    stopped: bool = field(default=False, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)
    _state: State = field(default_factory=State, init=False)

    def run(self, *, resume: bool = False) -> Outcome:
        """Recover.

        Args:
            resume: Go on from the checkpoint.

        Raises:
            UsageError: A model that quantizes itself.
            ModelError: Nothing in it can be trained.
            InputError: No checkpoint to go on from; labels that fit no output.
            QuantizationError: Weights or data that are not finite.
        """
        torch.set_num_threads(1)
        self._prepare()
        self._state = load_state(self._resumed_from(), self._identity()) if resume else State()
        if not self._state.stage:
            self._begin()
        else:
            self.objective.reference = self._state.reference or self.graph.initial
        if self.settings.closed_form:
            self._closed_form()
        if self.settings.steps and self.settings.epochs and not self._out_of_time():
            self._train()
        return self._outcome()

    def _out_of_time(self) -> bool:
        """Whether the time is over; once it was, the outcome says so, and the checkpoint is there to go on from."""
        if self.time_limit_s is not None and time.monotonic() - self._began >= self.time_limit_s:
            self.stopped = True
        return self.stopped

    def _prepare(self) -> None:
        settings = self.settings
        if self.model.quantizes_itself:
            raise UsageError("this model quantizes itself; tune takes the float network that it was made from.")
        self.graph = TrainableGraph(self.model, settings.bits, self.frozen)
        self.trained = [one.name for one in self.graph.parameters if one.trained]
        self.lane = QuantizedLane(self.graph, self.store)
        file = self.model.origin.structure_file or self.model.origin.weights_file
        if not self.trained:
            what = "has no layer with weights that NNIE quantizes and that can be trained"
            raise ModelError(Problem(what, file, remedy="tune networks of convolutions and inner products"))
        outputs = find_outputs(self.lane, self.split.train[0])
        if not outputs:
            what = "no finite output of the network depends on a weight in a way that has a gradient"
            raise ModelError(Problem(what, file, remedy="cut the network before the layer that decides or sorts"))
        self.lane.calibrate(self._observed(), self.graph.initial)
        features = find_features(self.lane, self.graph.initial, self.split.train[:LOOKED_AT], _FEATURES)
        decision, shares = self._decision(outputs)
        goals = Goals(outputs, tuple(name for name in features if name not in outputs), decision, shares)
        self.objective = Objective(self.lane, goals, self.labels)
        self.before = self._score(self.graph.initial)
        given = self.objective.score(self.split.holdout, self.graph.initial, settings.batch, data=False, kernels=False)
        self.wanted_accuracy = given.accuracy
        self.objective.set_scales(self.split.train[:256], self.graph.initial, settings.batch)

    def _decision(self, outputs: Sequence[str]) -> tuple[str | None, bool]:
        if self.labels is None:
            return None, False
        _, feeds = next(self.lane.batches(self.split.train[:1], 1))
        with torch.no_grad():
            values = self.graph.run(feeds, {}, None, outputs)
        name, shares = find_decision(self.graph, outputs, values, self.labels)
        if not name:
            raise InputError(
                f"the labels ({self.labels.origin}) name class {max(self.labels.classes)}, but no output of the "
                "network has a value for each class; leave the labels out, or check that they belong to this network"
            )
        return name, shares

    def _identity(self) -> str:
        settings = {name: getattr(self.settings, name) for name in TuneSettings.__dataclass_fields__}
        digest = hashlib.sha256()
        for name, tensor in self.graph.initial.items():
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        labels = None if self.labels is None else self.labels.classes
        return fingerprint(
            {
                "settings": settings,
                "weights": digest.hexdigest(),
                "samples": self.store.sha256,
                "split": [self.split.train, self.split.holdout],
                "labels": labels,
            }
        )

    def _resumed_from(self) -> Path:
        assert self.checkpoint is not None
        return self.checkpoint

    # ------------------------------------------------------------------------------------------------------ evaluation

    def _score(self, weights: Weights) -> Score:
        return self.objective.score(self.split.holdout, weights, self.settings.batch)

    def _figure(self, weights: Weights) -> float:
        return self._score(weights).figure(self.before)

    def _evaluate(self, stage: str, weights: Weights, **facts: Any) -> bool:
        """Score weights, write the log, keep them where they are the best; returns whether they are."""
        score = self._score(weights)
        figure, state = score.figure(self.before), self._state
        state.log.append(
            {
                "stage": stage,
                "step": state.step,
                **facts,
                "figure": figure,
                "remaining": score.total(self.before),
                "lowest_cosine": score.lowest_cosine,
                **({} if score.accuracy is None else {"accuracy": score.accuracy, "entropy": score.entropy}),
            }
        )
        better = figure < state.figure and not score.is_worse(self.before, self.wanted_accuracy)
        if better:
            state.figure = figure
            state.best = {name: tensor.detach().clone() for name, tensor in weights.items()}
            state.best_coefficients = self.lane.coefficients()
        return better

    def _text(self) -> str:
        line = self._state.log[-1]
        accuracy = f", {line['accuracy']:.2%} right" if "accuracy" in line else ""
        return f"error {line['remaining']:.0%}, cosine {line['lowest_cosine']:.5f}{accuracy}"

    def _save(self) -> None:
        if self.checkpoint is not None:
            self._state.coefficients = self.lane.coefficients()
            save_state(self.checkpoint, self._state, self._identity())

    # ----------------------------------------------------------------------------------------------------- closed form

    def _begin(self) -> None:
        state = self._state
        state.weights = {name: tensor.clone() for name, tensor in self.graph.initial.items()}
        state.best, state.reference = dict(state.weights), {}
        self._evaluate("as given", state.weights)
        state.best_coefficients = self.lane.coefficients()
        state.stage = "as given"
        self._save()

    def _closed_form(self) -> None:
        state = self._state
        if state.stage == "as given" and not self._out_of_time():
            moved = self._moves().run(state.weights, self._observed())
            self.lane.calibrate(self._observed(), moved)
            self._evaluate("constants moved", moved)
            state.reference, state.stage = moved, "constants moved"
            self.objective.reference = moved
            self.progress.note(f"Constants moved: {self._text()}")
            self._save()
        if state.stage == "constants moved":
            start = state.reference or state.weights
            feeds = self._reconstruction_feeds()
            for ridge in _RIDGES:
                if self._out_of_time():
                    return
                self.progress.phase("rounding", len(self.graph.layers))
                self.lane.calibrate(self._observed(), start)
                found = reconstruct(
                    self.graph,
                    feeds,
                    start,
                    quantize=self.lane.quantize,
                    quantize_weight=self.lane.quantize_weight,
                    settings=Settings(ridge, self.settings.seed),
                    layer_done=lambda layer: self.progress.advance(1, layer.name),
                )
                self.lane.calibrate(self._observed(), self.lane.quantized(found))
                self._evaluate("layers reconstructed", found, ridge=ridge)
                self.progress.note(f"Layers reconstructed (ridge {ridge:g}): {self._text()}")
            state.weights, state.stage = dict(state.best), "layers reconstructed"
            self._save()

    def _moves(self) -> Moves:
        return Moves(self.lane, self.objective, self.split, self.settings.seed, self.settings.batch, self.progress)

    def _mirrors(self) -> bool:
        """Whether photographs may be mirrored: colour images without labels, which then might not hold any more."""
        return self.labels is None and self.lane.reads_colour_images

    def _observed(self) -> tuple[int, ...]:
        """Training samples that coefficients of data begin with; training widens them by UPDATE."""
        train = self.split.train
        return train[:: -(-len(train) // _MOST_OBSERVED)]

    def _reconstruction_feeds(self) -> list[Values]:
        """As many training samples as may be alive at once."""
        _, feeds = next(self.lane.batches(self.split.train[:1], 1))
        size = self.graph.peak_bytes(feeds)
        count = max(
            1,
            min(
                _MOST_RECONSTRUCTED, _LIVE_BYTES // max(1, (4 if self._mirrors() else 2) * size), len(self.split.train)
            ),
        )
        chosen = np.linspace(0, len(self.split.train) - 1, count).round().astype(int)
        indices = [self.split.train[index] for index in chosen]
        plain = [feeds for _, feeds in self.lane.batches(indices, 32)]
        return plain + ([self.lane.mirrored(feeds) for feeds in plain] if self._mirrors() else [])

    # -------------------------------------------------------------------------------------------------------- training

    def _train(self) -> None:
        state, settings = self._state, self.settings
        per_epoch = -(-len(self.split.train) // settings.batch)
        steps = min(settings.steps, settings.epochs * per_epoch)
        trainer = Trainer(
            self.lane, self.objective, settings, state, self.trained, self.split.train, mirrors=self._mirrors()
        )
        if state.stage != "training":
            state.weights = {name: tensor.clone() for name, tensor in state.best.items()}
            self.lane.restore(state.best_coefficients)
            trainer.measure_gradients()
            state.rate = settings.rate or trainer.search_rate(min(10, steps), self._figure, self.progress)
            state.stage = "training"
            self._save()
        self.lane.restore(state.coefficients)
        solver = CaffeSolver(
            state.rate, settings.momentum, steps, state.multipliers, state.clip, state.history, state.step
        )
        every = max(per_epoch, 10) if per_epoch < 50 else 50
        self.progress.phase("training", steps)
        self.progress.advance(state.step, self._text())
        total = seen = 0.0
        while state.step < steps and state.patience < settings.patience and not self._out_of_time():
            loss = trainer.step(solver, state.weights, state.step)
            total, seen = total + loss, seen + 1
            state.step = solver.step
            if state.step % every == 0 or state.step == steps:
                facts = {"epoch": state.step / per_epoch, "loss": total / seen, "rate": solver.rate_now}
                better = self._evaluate("training", state.weights, **facts)
                state.patience = 0 if better else state.patience + 1
                total = seen = 0.0
                self._save()
            self.progress.advance(1, self._text())

        if self.stopped:
            self._save()

    # --------------------------------------------------------------------------------------------------------- outcome

    def costs(self, weights: Weights) -> dict[Place, float]:
        """What rounding of data costs at the outputs with some float weights, place by place."""
        return {place: float(one.cost.sum()) for place, one in self._moves().sensitivities(weights).items()}

    def _outcome(self) -> Outcome:
        state = self._state
        self.lane.restore(state.best_coefficients)
        after = self._score(state.best)
        improved = state.figure < 1 and not after.is_worse(self.before, self.wanted_accuracy)
        weights = state.best if improved else self.graph.initial
        if not improved:
            self.lane.calibrate(self._observed(), self.graph.initial)
            after = self.before
        stage = min(state.log, key=lambda line: float(line["figure"]))["stage"] if improved else "as given"
        notes = [f"layer '{key}' runs on the host, and no gradient passes it: {why}" for key, why in self._host_notes()]
        kept = [one.layer for one in self.graph.parameters if not one.trained and one.bits is not None]
        if kept:
            shown = ", ".join(kept[:5]) + (", ..." if len(kept) > 5 else "")
            notes.append(f"{len(kept)} kernels are shared or cannot be written back, and stay as they are ({shown})")
        if self.stopped:
            notes.append(f"stopped by the time limit after {len(state.log)} evaluations; --resume --force goes on")
        return Outcome(weights, improved, self.before, after, stage, state.log, self.lane.coefficients(), tuple(notes))

    def _host_notes(self) -> list[tuple[str, str]]:
        names = {layer.key: layer.name for layer in self.graph.layers}
        return [(names[key], reason) for key, reason in self.graph.on_host.items()]

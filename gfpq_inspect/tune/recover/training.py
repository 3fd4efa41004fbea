"""Steps of training: which samples, which gradients, how fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.errors import QuantizationError, UsageError
from gfpq_inspect.tune.recover.checkpoint import State
from gfpq_inspect.tune.recover.graph import Tensor
from gfpq_inspect.tune.recover.lane import QuantizedLane, Weights
from gfpq_inspect.tune.recover.objective import Objective
from gfpq_inspect.tune.recover.solver import CaffeSolver

_RATES = (1e-6, 3e-6, 1e-5)


@dataclass(frozen=True)
class TuneSettings:
    """How to recover.

    Attributes:
        bits: 8 or 16, of layers that ask for none.
        epochs: Passes over the training samples at most.
        steps: Steps at most.
        rate: Learning rate, or None to try a few; relative to each tensor's size, see `Recovery`.
        momentum: Of the solver.
        batch: Samples a step.
        patience: Evaluations without progress after which training ends.
        seed: Of every draw.
        closed_form: Do the closed-form steps before training.
    """

    bits: int = 8
    epochs: int = 20
    steps: int = 300
    rate: float | None = None
    momentum: float = 0.9
    batch: int = 8
    patience: int = 5
    seed: int = 0
    closed_form: bool = True

    def __post_init__(self) -> None:
        """Refuse values without a meaning.

        Raises:
            UsageError: One of them.
        """
        if self.bits not in (8, 16):
            raise UsageError(f"GFPQ has 8 and 16 bits, not {self.bits}; give 8 or 16.")
        if self.rate is not None and not 0 < self.rate < 1:
            raise UsageError(f"--rate {self.rate:g}: a learning rate lies above 0 and below 1; 1e-6 to 1e-4 is usual.")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"--momentum {self.momentum:g}: lies from 0 to below 1; 0.9 is usual.")


@dataclass(frozen=True)
class Trainer:
    """Trains the weights of a state.

    Learning rates are relative: each tensor's `lr_mult` is the ratio of its size to that of its gradient at the start,
    both as root mean squares, so that a rate means the same in every layer and network.

    Attributes:
        lane: The network.
        objective: What is lowered.
        settings: How.
        state: Where the run is.
        trained: Initializers that are trained.
        train: Samples that are trained on.
        mirrors: Whether half of the batches are mirrored.
    """

    lane: QuantizedLane
    objective: Objective
    settings: TuneSettings
    state: State
    trained: Sequence[str]
    train: Sequence[int]
    mirrors: bool

    def step(self, solver: CaffeSolver, weights: dict[str, Tensor], step: int) -> float:
        """Do one step on weights, in place; returns the loss before it.

        Raises:
            QuantizationError: The loss is not finite.
        """
        chosen = self._batch_at(step)
        mirrored = self.mirrors and bool(np.random.default_rng([self.settings.seed, step, 1]).integers(2))
        loss, gradients = self.gradients(weights, chosen, mirrored=mirrored)
        if not np.isfinite(loss):
            raise QuantizationError(f"training diverged at step {step}: the loss is {loss}; give a lower --rate.")
        solver.update(weights, gradients)
        return loss

    def _batch_at(self, step: int) -> list[int]:
        """The samples of a step: a new order each epoch, drawn by seed, so that a resumed run draws the same."""
        train, batch = self.train, self.settings.batch
        per_epoch = -(-len(train) // batch)
        epoch, place = divmod(step, per_epoch)
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(len(train))
        return [train[index] for index in order[place * batch : (place + 1) * batch]]

    def gradients(
        self, weights: Mapping[str, Tensor], chosen: Sequence[int], *, mirrored: bool = False
    ) -> tuple[float, dict[str, Tensor]]:
        """Mean loss of some samples, and its gradients."""
        leaves = {name: tensor.detach() for name, tensor in weights.items()}
        for name in self.trained:
            leaves[name] = leaves[name].clone().requires_grad_()
        total = 0.0
        for part, feeds in self.lane.batches(chosen, len(chosen)):
            seen = self.lane.mirrored(feeds) if mirrored else feeds
            loss = self.objective.loss(part, seen, leaves) / len(chosen)
            loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
            total += float(loss.detach())
        found = {name: leaves[name].grad for name in self.trained}
        return total, {name: gradient for name, gradient in found.items() if gradient is not None}

    def measure_gradients(self) -> None:
        """Set what each tensor's step is measured by, and how long a gradient may be."""
        state = self.state
        squares: dict[str, float] = {}
        lengths = []
        parts = [self._batch_at(step) for step in range(min(8, -(-len(self.train) // self.settings.batch)))]
        means: dict[str, Tensor] = {}
        for chosen in parts:
            _, gradients = self.gradients(state.weights, chosen)
            lengths.append(gradients)
            for name, gradient in gradients.items():
                means[name] = means.get(name, torch.zeros_like(gradient)) + gradient / len(parts)
                squares[name] = squares.get(name, 0.0) + float((gradient.double() ** 2).mean()) / len(parts)
        for name, square in squares.items():
            size = float((state.weights[name].double() ** 2).mean()) ** 0.5
            state.multipliers[name] = size / square**0.5 if square else 0.0
        scaled = [
            sum(float((state.multipliers[name] * one.double()).pow(2).sum()) for name, one in gradients.items()) ** 0.5
            for gradients in lengths
        ]
        state.clip = 2 * float(np.mean(scaled)) if scaled else 0.0

    def search_rate(self, steps: int, figure_of: Callable[[Weights], float], progress: Progress) -> float:
        """The rate with which a few steps come to the lowest figure."""
        found: list[tuple[float, float]] = []
        coefficients = self.lane.coefficients()
        progress.phase("rates", len(_RATES) * steps)
        for rate in _RATES:
            state = self.state
            self.lane.restore(coefficients)
            weights = {name: tensor.clone() for name, tensor in state.weights.items()}
            solver = CaffeSolver(rate, self.settings.momentum, 10 * steps, state.multipliers, state.clip)
            for step in range(steps):
                self.step(solver, weights, step)
                progress.advance(1, f"{rate:g}")
            found.append((figure_of(weights), rate))
        self.lane.restore(coefficients)
        return min(found)[1]

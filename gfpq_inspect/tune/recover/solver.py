"""Stochastic gradient descent as Caffe's solver does it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from gfpq_inspect.tune.recover.graph import Tensor


@dataclass
class CaffeSolver:
    """Momentum as Caffe has it: history = momentum * history + rate * gradient; weight = weight - history.

    (The guide's chapter 3.2.1 prints it without the minus sign.)

    Attributes:
        rate: Learning rate of the first step; it falls to zero along half a cosine.
        momentum: Share of the history that is kept.
        steps: Steps in all.
        multipliers: Caffe's `lr_mult` of each tensor.
        clip: Caffe's `clip_gradients`: longest gradient (with multipliers), None for no limit.
        history: One tensor a weight.
        step: Steps done.
    """

    rate: float
    momentum: float
    steps: int
    multipliers: Mapping[str, float]
    clip: float | None = None
    history: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0

    @property
    def rate_now(self) -> float:
        """Learning rate of the next step."""
        return self.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / max(1, self.steps))))

    def update(self, weights: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Change weights in place."""
        scaled = {name: self.multipliers[name] * gradient for name, gradient in gradients.items()}
        rate = self.rate_now * self._shortened(scaled)
        with torch.no_grad():
            for name, gradient in scaled.items():
                history = self.history.get(name)
                pushed = rate * gradient
                self.history[name] = pushed if history is None else self.momentum * history + pushed
                weights[name] -= self.history[name]
        self.step += 1

    def _shortened(self, gradients: Mapping[str, Tensor]) -> float:
        if self.clip is None:
            return 1.0
        length = math.sqrt(sum(float((one.double() ** 2).sum()) for one in gradients.values()))
        return min(1.0, self.clip / length) if length else 1.0

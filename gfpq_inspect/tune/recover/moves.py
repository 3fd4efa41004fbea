"""Closed-form steps that leave the float network as it is and save error of data: copies first, then constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gfpq_inspect.analyze.progress import Progress
from gfpq_inspect.tune.recover.copies import Chain, spread_copies
from gfpq_inspect.tune.recover.graph import Place, Tensor, Values
from gfpq_inspect.tune.recover.lane import QuantizedLane, Weights
from gfpq_inspect.tune.recover.objective import Objective
from gfpq_inspect.tune.recover.samples import Split
from gfpq_inspect.tune.recover.sensitivity import Sensitivity, sensitivities
from gfpq_inspect.tune.recover.shift import Site, absorb

LOOKED_AT = 6
"""Samples that steps are tried on that need one run of the network each."""


@dataclass(frozen=True)
class Moves:
    """Tries them on a few training samples.

    Attributes:
        lane: The network; its coefficients are observed anew by every trial.
        objective: What is lowered.
        split: Who trains and who is watched.
        seed: Of every draw.
        batch: Samples that are run together.
        progress: Told how far it is.
    """

    lane: QuantizedLane
    objective: Objective
    split: Split
    seed: int
    batch: int
    progress: Progress

    def run(self, given: Weights, observed: tuple[int, ...]) -> dict[str, Tensor]:
        """Do all steps that lower the error of data.

        Args:
            given: Float weights.
            observed: Samples that coefficients are taken from for the last word, which the watched samples have.

        Returns:
            New float weights; those given where the watched samples lose by the new ones.
        """
        graph, feeds, error_of = self.lane.graph, self._feeds(), self._error(given)
        self.progress.phase("copying", 1)
        moved = spread_copies(graph, feeds, given, self.sensitivities(given), error_of=error_of, chain_done=self._told)
        self.progress.phase("shifting", 1)
        moved = absorb(graph, feeds, moved, self.sensitivities(moved), error_of=error_of, site_done=self._told)
        scores = []
        for weights in (given, moved):
            self.lane.calibrate(observed, weights)
            scores.append(self.objective.score(self.split.holdout, weights, self.batch, kernels=False))
        return dict(given) if scores[1].figure(scores[0]) > 1 else moved

    def sensitivities(self, weights: Weights) -> dict[Place, Sensitivity]:
        """What rounding of data costs at the outputs, place by place."""
        self.lane.calibrate(self._few(), weights)
        return sensitivities(
            self.lane.graph,
            self._feeds(),
            weights,
            quantize=self.lane.quantize,
            outputs=self.objective.goals.outputs,
            seed=self.seed,
        )

    def _few(self) -> list[int]:
        train = self.split.train
        return list(train[:: max(1, len(train) // LOOKED_AT)][:LOOKED_AT])

    def _feeds(self) -> list[Values]:
        return [feeds for index in self._few() for _, feeds in self.lane.batches([index], 1)]

    def _error(self, given: Weights) -> Callable[[Weights], float]:
        """What rounding of data costs; kernels stay in float, since their codes are chosen later."""
        few = self._few()
        self.lane.calibrate(few, given)
        before = self.objective.score(few, given, 1, kernels=False)

        def error_of(weights: Weights) -> float:
            self.lane.calibrate(few, weights)
            return self.objective.score(few, weights, 1, kernels=False).figure(before)

        return error_of

    def _told(self, site: Site | Chain, kept: bool) -> None:
        name = site.value if isinstance(site, Site) else site.places[0].value
        self.progress.advance(0, f"{name}{' kept' if kept else ''}")

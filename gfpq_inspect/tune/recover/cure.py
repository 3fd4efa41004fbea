"""What 16 bit would cure of the error that tuning left: named layers, measured, not promised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gfpq_inspect.analyze.lanes import TUNED_DATA
from gfpq_inspect.analyze.remedies.changes import with_bits
from gfpq_inspect.analyze.remedies.trial import Bench, Trial
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model
from gfpq_inspect.tune.recover.graph import Place

_MOST_LAYERS = 6
_ENOUGH = 0.9
"""Layers are named until they hold this share of what rounding of data costs."""


@dataclass(frozen=True)
class Cure:
    """A trial with some layers at 16 bit.

    Attributes:
        layers: Keys of the layers, those first that cost most.
        shares: Of what rounding of data costs at the outputs, a share for each of them, as estimated.
        outputs: Row key of an output to its SQNR in dB: tuned, with data alone rounded, and with these layers at
            16 bit.
        removed: Share of the error that the tuned network has left, all outputs together, that the 16 bit remove.
    """

    layers: tuple[str, ...]
    shares: tuple[float, ...]
    outputs: Mapping[str, Mapping[str, float | None]]
    removed: float

    def plain(self) -> dict[str, Any]:
        """As a report holds it."""
        return {
            "layers": list(self.layers),
            "shares": list(self.shares),
            "outputs": {key: dict(value) for key, value in self.outputs.items()},
            "removed": self.removed,
        }


def measure_cure(
    networks: tuple[Model, Model], source: SampleSource, costs: Mapping[Place, float], bits: int, workers: int
) -> Cure | None:
    """Give the layers that cost most 16 bit and measure what remains.

    Args:
        networks: The float network and the float master of the tuned one; its weights are rounded by the trials.
        source: Samples that judge.
        costs: Place to the error energy that rounding its data costs at the outputs.
        bits: Bit width of the run.
        workers: Of the trials.

    Returns:
        None where the run has 16 bit already, or nothing costs anything.
    """
    first, tuned = networks
    named = layers_that_cost(tuned, costs)
    if bits != 8 or not named:
        return None
    bench = Bench(first, source, bits, workers)
    changed = with_bits(tuned, dict.fromkeys((key for key, _ in named), 16))
    trials = {
        "tuned_db": bench.run(tuned),
        "data_alone_db": bench.run(tuned, lane=TUNED_DATA),
        "with_16_bit_db": bench.run(changed),
    }
    before, after = (_energy(trials[name]) for name in ("tuned_db", "with_16_bit_db"))
    outputs = {
        key: {name: trial.scores[key].sqnr_db for name, trial in trials.items()} for key in trials["tuned_db"].outputs
    }
    keys, shares = zip(*named, strict=True)
    return Cure(tuple(keys), tuple(shares), outputs, 1 - after / before if before else 0.0)


def layers_that_cost(model: Model, costs: Mapping[Place, float]) -> list[tuple[str, float]]:
    """Layers at 8 bit whose data cost most, and what share each costs; the one that costs most comes first."""
    whole = sum(costs.values())
    named: list[tuple[str, float]] = []
    reached = 0.0
    for place, cost in sorted(costs.items(), key=lambda one: -one[1]):
        readers = [
            layer.key
            for layer in model.layers
            if layer.quantization is not None
            and place.value in layer.quantization.inputs
            and layer.quantization.bits != 16
        ]
        if cost <= 0 or reached >= _ENOUGH * whole or len(named) + len(readers) > _MOST_LAYERS:
            break
        named += [(key, cost / whole) for key in readers if key not in {other for other, _ in named}]
        reached += cost
    return named


def _energy(trial: Trial) -> float:
    found = (trial.scores[key].rel_l2 for key in trial.outputs)
    return sum(one**2 for one in found if one is not None)

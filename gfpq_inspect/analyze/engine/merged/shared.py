"""What both engines compute with: the same graph of every model and the same weights, found before either is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.blocked_layers import BlockedLayers
from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.merged.base import Base, check_model, optimised_base, plain_base
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.analyze.engine.merged.weights import Placed, placed_weights
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.models.model import LayerKind, Model
from gfpq_inspect.quantize import Gfpq


@dataclass(frozen=True)
class Shared:
    """Graphs and weights.

    Attributes:
        bases: The graph of each model; empty where none can be merged.
        placed: Quantized weights in them.
        refusal: Why no lanes can be merged, or None.
        plain: Why the channels are not in blocks, or None.
    """

    bases: Mapping[Side, Base]
    placed: Placed
    refusal: str | None = None
    plain: str | None = None

    def blocked(self) -> dict[Side, BlockedLayers]:
        """For the layered engine: the layers that are computed otherwise than by the model's own nodes."""
        if self.refusal is not None or self.plain is not None:
            return {}
        return {
            side: BlockedLayers(base, {key: found for (owner, key), found in self.placed.items() if owner is side})
            for side, base in self.bases.items()
        }


def shared_of(experiment: Experiment, *, blocked: bool = True) -> Shared:
    """Find what both engines compute with.

    Args:
        experiment: Models and weights.
        blocked: Whether channels may be kept in blocks.
    """
    try:
        _check(experiment)
    except NotMerged as error:
        return Shared({}, {}, refusal=str(error))
    reason = "the network is too small for that to pay"
    if blocked:
        try:
            bases = {
                side: optimised_base(
                    model,
                    {entry.value: entry.shape for entry in model.inputs},
                    constants_of(model),
                    _known(experiment, side),
                )
                for side, model in experiment.models.items()
            }
            return Shared(bases, placed_weights(experiment, bases))
        except NotMerged as error:
            reason = str(error)
    try:
        bases = {side: plain_base(model, _known(experiment, side)) for side, model in experiment.models.items()}
        return Shared(bases, placed_weights(experiment, bases), plain=reason)
    except NotMerged as error:
        return Shared({}, {}, refusal=str(error))


def _known(experiment: Experiment, side: Side) -> dict[str, NDArray[Any]]:
    """Weights that the table of weights holds as arrays already."""
    return {entry.initializer: entry.stored for entry in experiment.weights.of(side)}


def _check(experiment: Experiment) -> None:
    for point in experiment.points:
        if not isinstance(point.format, Gfpq) or point.at_output:
            raise NotMerged("data are quantized in another format than GFPQ")
    for model in experiment.models.values():
        check_model(model)


def constants_of(model: Model) -> set[str]:
    """Values that no sample reaches."""
    constants: set[str] = set()
    for layer in model.layers:
        if layer.nodes and (layer.kind is LayerKind.CONSTANT or all(name in constants for name in layer.inputs)):
            constants.update(layer.outputs)
    return constants

"""What both engines compute with: the same graph of every model and the same weights, found before either is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.blocked_layers import BlockedLayers
from gfpq_inspect.analyze.engine.interface import Experiment
from gfpq_inspect.analyze.engine.merged.base import Base, optimised_base, plain_base
from gfpq_inspect.analyze.engine.merged.refusal import LayerKey, NotMerged
from gfpq_inspect.analyze.engine.merged.refused import refused_layers
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
        refused: Layers that run by themselves, and why.
    """

    bases: Mapping[Side, Base]
    placed: Placed
    refusal: str | None = None
    plain: str | None = None
    refused: Mapping[LayerKey, str] = field(default_factory=dict)

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
        refused = _refused(experiment)
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
                    {key for owner, key in refused if owner is side},
                )
                for side, model in experiment.models.items()
            }
            return Shared(bases, placed_weights(experiment, bases, refused), refused=refused)
        except NotMerged as error:
            reason = str(error)
    try:
        bases = {side: plain_base(model, _known(experiment, side)) for side, model in experiment.models.items()}
        return Shared(bases, placed_weights(experiment, bases, refused), plain=reason, refused=refused)
    except NotMerged as error:
        return Shared({}, {}, refusal=str(error))


def _known(experiment: Experiment, side: Side) -> dict[str, NDArray[Any]]:
    """Weights that the table of weights holds as arrays already."""
    return {entry.initializer: entry.stored for entry in experiment.weights.of(side)}


def _refused(experiment: Experiment) -> dict[LayerKey, str]:
    """Layers that run by themselves, and why.

    Raises:
        NotMerged: Nothing is left to merge.
    """
    for point in experiment.points:
        if not isinstance(point.format, Gfpq) or point.at_output:
            raise NotMerged("data are quantized in another format than GFPQ")
    refused: dict[LayerKey, str] = {}
    count = 0
    for side, model in experiment.models.items():
        count += sum(bool(layer.nodes) for layer in model.layers)
        refused.update(((side, key), reason) for key, reason in refused_layers(model).items())
        for layer in model.layers:
            weights = experiment.weights.of_layer(side, layer).values()
            if any(entry.own_format is not None or entry.stored.dtype != np.float32 for entry in weights):
                refused.setdefault((side, layer.key), "its weights are not float32 in GFPQ")
    if count and len(refused) == count:
        raise NotMerged(next(iter(refused.values())))
    return refused


def constants_of(model: Model) -> set[str]:
    """Values that no sample reaches."""
    constants: set[str] = set()
    for layer in model.layers:
        if layer.nodes and (layer.kind is LayerKind.CONSTANT or all(name in constants for name in layer.inputs)):
            constants.update(layer.outputs)
    return constants

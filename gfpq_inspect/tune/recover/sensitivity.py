"""What rounding costs at the outputs: for each place where data are quantized, and for each channel of it.

One backward pass answers for all places at once. With weights v drawn at random at the outputs, the square of the
gradient of v * output with respect to a datum is, on average, the energy that a disturbance of one at that datum causes
at the outputs; times the square of what rounding really does to the datum, and summed, that is the error energy that
the place causes (the trace of a Jacobian's Gram matrix, estimated as in Hutchinson, 1990). Errors of different data are
taken to be independent of one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from gfpq_inspect.tune.recover.graph import Place, Tensor, TrainableGraph, Values

_DRAWS = 2
"""Random weights a sample."""


@dataclass(frozen=True)
class Sensitivity:
    """Of the outputs to one place.

    Attributes:
        cost: Error energy that rounding there causes at the outputs, each output's relative to its signal, added up and
            averaged over samples; float64 [channels], or [1] where the data have no channels.
        slope: Mean square of the gradient a datum: what a disturbance of energy 1 causes; float64 as `cost`.
    """

    cost: Tensor
    slope: Tensor


def sensitivities(
    graph: TrainableGraph,
    samples: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    *,
    quantize: Callable[[Tensor, Place], Tensor],
    outputs: Sequence[str],
    seed: int = 0,
) -> dict[Place, Sensitivity]:
    """Measure all places.

    Args:
        graph: The network.
        samples: Feeds of one sample each.
        weights: Float weights.
        quantize: Quantizes data.
        outputs: Values whose error counts.
        seed: Of the weights drawn.

    Returns:
        Places that no gradient reaches are left out.
    """
    generator = torch.Generator().manual_seed(seed)
    found: dict[Place, list[Sensitivity]] = {}
    fixed = {name: tensor.detach() for name, tensor in weights.items()}
    for feeds in samples:
        probe = _Probe()
        with torch.enable_grad():
            made = graph.run(feeds, fixed, probe, outputs)
            loose = [value for value in made.values() if value.requires_grad]
            for draw in range(_DRAWS):
                weighted = [_weighted(value, generator) for value in loose]
                if weighted:
                    torch.stack(weighted).sum().backward(retain_graph=draw + 1 < _DRAWS)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
                probe.take()
        for place, one in probe.sensitivities(quantize):
            found.setdefault(place, []).append(one)
    return {
        place: Sensitivity(
            torch.stack([one.cost for one in several]).mean(0), torch.stack([one.slope for one in several]).mean(0)
        )
        for place, several in found.items()
    }


def _weighted(value: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, value.shape, generator=generator).to(value.dtype) * 2 - 1
    size = float((value.detach().double() ** 2).sum()) ** 0.5
    return (value * signs).sum() / size if size else (value * 0).sum()


class _Probe:
    """Stands where data are quantized: lets them pass and keeps what the gradient says of them."""

    def __init__(self) -> None:
        self._leaves: dict[Place, Tensor] = {}
        self._values: Values = {}
        self._squares: dict[Place, Tensor] = {}

    def __call__(self, tensor: Tensor, place: Place) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        if place not in self._leaves:
            self._leaves[place] = torch.zeros_like(tensor, requires_grad=True)
            self._values[place.value] = tensor.detach()
        return tensor + self._leaves[place]

    def take(self) -> None:
        """Add the gradients of one draw up."""
        for place, leaf in self._leaves.items():
            if leaf.grad is not None:
                square = leaf.grad**2 / _DRAWS
                held = self._squares.get(place)
                self._squares[place] = square if held is None else held + square
                leaf.grad = None

    def sensitivities(self, quantize: Callable[[Tensor, Place], Tensor]) -> list[tuple[Place, Sensitivity]]:
        """What was found, place by place."""
        found = []
        for place, square in self._squares.items():
            value = self._values[place.value]
            with torch.no_grad():
                off = quantize(value, place) - value
                cost = by_channel(square * off**2)
                found.append((place, Sensitivity(cost.sum(1), by_channel(square).mean(1))))
        return found


def by_channel(tensor: Tensor) -> Tensor:
    """Data as float64 [channels, the rest]; [1, all] where they have no channels."""
    if tensor.dim() < 2:
        return tensor.reshape(1, -1).double()
    return tensor.transpose(0, 1).flatten(1).double()

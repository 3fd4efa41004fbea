"""Codes chosen layer by layer in closed form, so that a layer's rounding errors cancel in what it computes.

Each layer in turn: least squares fit the kernel to what the float layer computes, but from the inputs that the
quantized layers before really deliver; then its weights are rounded one after the other, and what a rounding costs is
made up for by the weights that are still to be rounded (optimal brain compression: Frantar & Alistarh, 2022,
arXiv:2208.11580; the order is that of GPTQ, arXiv:2210.17323). The bias, which is never rounded, comes last and takes
what remains of the mean error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from gfpq_inspect.models.model import Layer
from gfpq_inspect.tune.recover.affine import Affine, affine_of
from gfpq_inspect.tune.recover.graph import Quantize, Tensor, TrainableGraph, Values

_LARGEST_COLUMNS = 4608
"""Inputs of one output that are solved for at most: the matrix has the square of that."""
_ROWS_A_COLUMN, _MOST_ROWS, _MOST_VALUES = 12, 131072, 40_000_000


@dataclass(frozen=True)
class Settings:
    """How to reconstruct.

    Attributes:
        ridge: Pulls towards the weights as they are, as a share of the mean square of the inputs.
        seed: Of the choice of places.
    """

    ridge: float = 0.01
    seed: int = 0


@dataclass
class _Equations:
    """Sums of one group of a layer's outputs: inputs by inputs, inputs by what is missing; the last input is 1."""

    products: Tensor
    missing: Tensor


def reconstruct(
    graph: TrainableGraph,
    samples: Sequence[Mapping[str, Tensor]],
    weights: Mapping[str, Tensor],
    *,
    quantize: Quantize,
    quantize_weight: Callable[[Tensor, int], Tensor],
    settings: Settings,
    layer_done: Callable[[Layer], None] = lambda _: None,
) -> dict[str, Tensor]:
    """Choose weights whose nearest codes compute what the float network computes.

    Args:
        graph: The network.
        samples: Feeds; all of their tensors are alive at once, twice.
        weights: Float weights.
        quantize: Quantizes data.
        quantize_weight: Quantizes a weight tensor with its own coefficient, given its bits.
        settings: How.
        layer_done: Told which layer was just done.

    Returns:
        New float weights.
    """
    chosen = dict(weights)
    bits = {one.name: one.bits for one in graph.parameters}
    reference: list[Values] = [dict(sample) for sample in samples]
    lane: list[Values] = [dict(sample) for sample in samples]
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        for index, layer in enumerate(graph.layers):
            made = [graph.run_layer(layer, live, weights, None) if layer.nodes else {} for live in reference]
            for live, values in zip(reference, made, strict=True):
                live.update(values)
            shape = affine_of(graph, layer)
            if shape is not None and shape.rows(weights).shape[2] < _LARGEST_COLUMNS:
                inputs = [_read(graph, layer, shape, live, quantize) for live in lane]
                outputs = [values[shape.output] for values in made]
                equations = _equations(shape, inputs, outputs, chosen, generator)
                chosen.update(
                    _solve(
                        shape, equations, chosen, _Rounding(quantize_weight, bits[shape.kernel] or 8), settings.ridge
                    )
                )
            else:
                chosen.update(_mean_corrected(graph, layer, (made, lane), chosen, (quantize, quantize_weight)))
            used = {
                name: quantize_weight(chosen[name], width) if (width := bits.get(name)) else chosen[name]
                for name in layer.weights
                if name in chosen
            }
            for live in lane:
                if layer.nodes:
                    live.update(graph.run_layer(layer, live, used, quantize))
            for name in graph.dead_after(index):
                for live in (*reference, *lane):
                    live.pop(name, None)
            layer_done(layer)
    return chosen


def _mean_corrected(
    graph: TrainableGraph,
    layer: Layer,
    runs: tuple[Sequence[Values], Sequence[Values]],
    weights: Mapping[str, Tensor],
    rounding: tuple[Quantize, Callable[[Tensor, int], Tensor]],
) -> dict[str, Tensor]:
    """The bias of a layer that is not solved for, with the mean error of each channel taken out (bias correction).

    Deconvolutions, kernels with more inputs than are solved for, and windows that are not understood come here.
    """
    known = {one.name: one for one in graph.parameters if one.name in layer.weights}
    biases = [one.name for one in known.values() if one.bits is None and one.trained and weights[one.name].dim() == 1]
    if len(biases) != 1 or len(layer.outputs) != 1:
        return {}
    bias, output = weights[biases[0]], layer.outputs[0]
    made, lane = runs
    used = {name: rounding[1](weights[name], one.bits) if one.bits else weights[name] for name, one in known.items()}
    total, count = torch.zeros(len(bias)).double(), 0
    for wanted, live in zip(made, lane, strict=True):
        missing = (wanted[output] - graph.run_layer(layer, live, used, rounding[0])[output]).double()
        if missing.dim() < 2 or missing.shape[1] != len(bias):
            return {}
        flat = missing.transpose(0, 1).flatten(1)
        total, count = total + flat.sum(1), count + flat.shape[1]
    return {biases[0]: bias + (total / max(1, count)).to(bias.dtype)}


def _read(graph: TrainableGraph, layer: Layer, shape: Affine, live: Values, quantize: Quantize) -> Tensor:
    place = graph.places_of(layer).get(shape.source)
    value = live[shape.source]
    return value if place is None else quantize(value, place)


def _equations(
    shape: Affine,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    weights: Mapping[str, Tensor],
    generator: torch.Generator,
) -> list[_Equations]:
    kernel = shape.rows(weights)
    groups, per_group, columns = kernel.shape
    budget = max(_ROWS_A_COLUMN * columns, min(_MOST_ROWS, _MOST_VALUES // columns))
    budget = max(64, budget // len(inputs))
    products = torch.zeros(groups, columns + 1, columns + 1).double()
    missing = torch.zeros(groups, columns + 1, per_group).double()
    bias = weights[shape.bias].double() if shape.bias else torch.zeros(groups * per_group).double()
    now = torch.cat([kernel, bias.reshape(groups, per_group, 1)], 2).transpose(1, 2)
    for given, wanted in zip(inputs, outputs, strict=True):
        patches, targets = _patches(shape, given, wanted, budget, generator)
        ones = torch.ones(groups, len(patches), 1).double()
        rows = torch.cat([patches.transpose(0, 1).double(), ones], 2)
        targets = targets.double().reshape(len(targets), groups, per_group).transpose(0, 1)
        products += rows.transpose(1, 2) @ rows
        missing += rows.transpose(1, 2) @ (targets - rows @ now)
    return [_Equations(*pair) for pair in zip(products, missing, strict=True)]


def _patches(
    shape: Affine, given: Tensor, wanted: Tensor, budget: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What some outputs read, [rows, groups, inputs of an output], and the outputs [rows, channels]."""
    if not shape.window:
        return given.reshape(-1, 1, given.shape[-1])[:budget], wanted.reshape(-1, wanted.shape[-1])[:budget]
    extent, strides, dilations, pads = shape.window
    samples, channels, height, width = wanted.shape
    total = samples * height * width
    chosen = torch.arange(total)
    if total > budget:
        chosen = torch.randint(0, total, (budget,), generator=generator)
    sample, place = chosen // (height * width), chosen % (height * width)
    row, column = (place // width) * strides[0], (place % width) * strides[1]
    padded = torch.nn.functional.pad(given, (pads[1], pads[3], pads[0], pads[2]))
    down = row[:, None, None] + torch.arange(extent[0])[None, :, None] * dilations[0]
    along = column[:, None, None] + torch.arange(extent[1])[None, None, :] * dilations[1]
    patches = padded[sample[:, None, None], :, down, along].permute(0, 3, 1, 2)  # [rows, C, kh, kw]
    targets = wanted.permute(0, 2, 3, 1).reshape(-1, channels)[chosen]
    return patches.reshape(len(chosen), shape.groups, -1), targets


@dataclass(frozen=True)
class _Rounding:
    """Rounds some weights of a tensor with the coefficient of its largest magnitude."""

    quantize: Callable[[Tensor, int], Tensor]
    bits: int

    def __call__(self, values: Tensor, top: Tensor) -> Tensor:
        """Round; `top` rides along, so that every column of the tensor gets the same coefficient."""
        together = torch.cat([values.clamp(-top, top).reshape(-1), top.reshape(1)]).float()
        return self.quantize(together, self.bits)[:-1].reshape(values.shape).double()


def _solve(
    shape: Affine,
    equations: Sequence[_Equations],
    weights: Mapping[str, Tensor],
    rounding: _Rounding,
    ridge: float,
) -> Iterator[tuple[str, Tensor]]:
    kernel = shape.rows(weights)
    groups, per_group, columns = kernel.shape
    bias = weights[shape.bias].double().reshape(groups, per_group) if shape.bias else None
    fitted, hessians = kernel.clone(), []
    shifts = torch.zeros(groups, per_group).double()
    for group, one in enumerate(equations):
        system = one.products.clone()
        size = columns + 1 if shape.bias else columns
        system, missing = system[:size, :size], one.missing[:size]
        mean = system.diagonal()[:columns].mean()
        system.diagonal()[:columns].add_(ridge * mean + 1e-12)
        system.diagonal()[columns:].add_(1e-9 * float(mean) + 1e-12)
        change = torch.linalg.solve(system, missing)
        fitted[group] += change[:columns].t()
        if bias is not None:
            shifts[group] = change[columns]
        hessians.append(system)
    top = fitted.abs().max()
    for group, system in enumerate(hessians):
        inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(system)), upper=True)
        extra = shifts[group][:, None] if bias is not None else torch.zeros(per_group, 0).double()
        row = torch.cat([fitted[group], extra], 1)
        for column in range(columns):
            wanted = row[:, column]
            error = (wanted - rounding(wanted, top)) / inverse[column, column]
            row[:, column + 1 :] -= error[:, None] * inverse[column, column + 1 :]
        fitted[group] = row[:, :columns]
        if bias is not None:
            shifts[group] = row[:, columns]
    matrix = fitted.reshape(groups * per_group, columns).clamp(-top, top)
    old = weights[shape.kernel]
    yield shape.kernel, (matrix.reshape(old.shape) if shape.transposed else matrix.t()).float().contiguous()
    if bias is not None and shape.bias is not None:
        yield shape.bias, (bias + shifts).reshape(-1).float()

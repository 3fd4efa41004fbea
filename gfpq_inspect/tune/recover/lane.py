"""The quantized lane of a network in training: coefficients of data by observers, weights on their own grids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from gfpq_inspect.quantize import CoefficientObserver
from gfpq_inspect.tune.recover.graph import Place, Tensor, TrainableGraph, Values
from gfpq_inspect.tune.recover.samples import SampleStore
from gfpq_inspect.tune.torch_quant import fake_quantize

Weights = Mapping[str, Tensor]


class QuantizedLane:
    """Runs a network in float and quantized.

    Args:
        graph: The network.
        store: Samples.

    Attributes:
        graph: The network.
        observers: Place to what was seen there.
    """

    def __init__(self, graph: TrainableGraph, store: SampleStore) -> None:
        self.graph = graph
        self._store = store
        self._bits = {one.name: one.bits for one in graph.parameters}
        self._layers = {one.name: one.layer for one in graph.parameters}
        self.observers: dict[Place, CoefficientObserver] = {}

    def batches(self, indices: Sequence[int], size: int) -> Iterator[tuple[list[int], Values]]:
        """Samples, stacked where the network allows it, else one at a time; which they are, and the feeds."""
        size = size if self.graph.model.batchable else 1
        for first in range(0, len(indices), size):
            part = list(indices[first : first + size])
            yield part, self._feeds(part)

    def _feeds(self, indices: Sequence[int]) -> Values:
        samples = [self._store.sample(index) for index in indices]
        feeds = {}
        for one in self.graph.model.inputs:
            arrays = [sample[one.name] for sample in samples]
            array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            feeds[one.value] = torch.from_numpy(np.ascontiguousarray(array, np.dtype(one.dtype)))
        return feeds

    @property
    def reads_colour_images(self) -> bool:
        """Whether the network reads colour images and nothing else: [N, 3, H, W] or [N, H, W, 3]."""
        shapes = [one.shape for one in self.graph.model.inputs]
        return all(len(shape) == 4 and 3 in (shape[1], shape[3]) for shape in shapes)

    def mirrored(self, feeds: Values) -> Values:
        """Colour images, left and right exchanged."""
        return {name: tensor.flip(3 if tensor.shape[1] == 3 else 2) for name, tensor in feeds.items()}

    def quantized(self, weights: Weights) -> Values:
        """Weights as they are deployed: kernels on their grids, biases as they are; gradients go straight through."""
        return {
            name: tensor if self._bits[name] is None else self.quantize_weight(tensor, self._bits[name] or 8, name)
            for name, tensor in weights.items()
        }

    def quantize_weight(self, tensor: Tensor, bits: int, name: str = "") -> Tensor:
        """One weight on the grid of its own largest magnitude."""
        return fake_quantize(tensor, bits, where=f"weights of layer '{self._layers.get(name, '')}': " if name else "")

    def quantize(self, tensor: Tensor, place: Place) -> Tensor:
        """Data with the coefficient that was observed so far."""
        if not tensor.is_floating_point():
            return tensor
        return fake_quantize(tensor, place.bits, self.observers[place].delta, where=f"data '{place.value}': ")

    def observe_and_quantize(self, tensor: Tensor, place: Place) -> Tensor:
        """The same, after UPDATE with these data."""
        self._observe(tensor, place)
        return self.quantize(tensor, place)

    def _observe(self, tensor: Tensor, place: Place) -> Tensor:
        if tensor.is_floating_point():
            observer = self.observers.setdefault(place, CoefficientObserver(place.bits))
            observer.observe(tensor.detach().contiguous().numpy())
        return tensor

    def calibrate(self, indices: Sequence[int], weights: Weights) -> None:
        """Observe anew: data are float, weights as given."""
        self.observers = {}
        last = max((index for index, layer in enumerate(self.graph.layers) if self.graph.places_of(layer)), default=-1)
        with torch.no_grad():
            for _, feeds in self.batches(indices, 32):
                self.graph.run(feeds, weights, self._observe, (), last)

    def coefficients(self) -> list[tuple[str, int, int]]:
        """What was observed, to be stored: value, bits, coefficient."""
        return [(place.value, place.bits, one.delta or 0) for place, one in self.observers.items()]

    def restore(self, coefficients: Sequence[tuple[str, int, int]]) -> None:
        """Take stored coefficients up again."""
        self.observers = {}
        for value, bits, delta in coefficients:
            observer = CoefficientObserver(bits)
            observer.delta = delta
            self.observers[Place(value, bits)] = observer

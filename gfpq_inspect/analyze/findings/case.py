"""Everything that checks look at: the models, what was measured, and a few facts that several of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.analyze.channels import ChannelEvidence, PointTable, Table
from gfpq_inspect.analyze.dumps.comparison import DumpComparison
from gfpq_inspect.analyze.engine.interface import Experiment, Point, PointEvidence
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.analyze.result import Coefficient, LayerRow, Scores
from gfpq_inspect.analyze.rows import TableRow
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.pair import Pairing, canonical_type
from gfpq_inspect.models.tensors import array_of

Array = NDArray[Any]


@dataclass(frozen=True)
class Snapshot:
    """A model of an earlier step of the training, as weights by layer name."""

    name: str
    model: Model


@dataclass(frozen=True)
class Statistics:
    """What a BatchNorm layer subtracts and divides by, float64 [channels]."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True)
class WeightPair:
    """The weight of a layer in both models, a row a filter: float64 [filters, values]."""

    row: str
    first: Layer
    second: Layer
    name: str
    one: NDArray[np.float64]
    other: NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """What is known when a run is over.

    Attributes:
        experiment: What was run; holds the models and their weights.
        pairing: Where there are two models.
        table: The rows before they were measured.
        rows: The rows as judged, in the same order.
        threshold: Cosine below which a layer is flagged.
        coefficients: Rows of evidence of the format.
        evidence: Tables of channels.
        source: The samples.
        synthetic: Whether they are seeded noise.
        input_names: For each model, its input's name to the source's.
        stated: What each model's prototxt states about its data, and what was used; see `stated`.
        master: The float master of the second model, or None.
        snapshots: Earlier steps of its training, oldest first.
        view: 'as stored' or 'folded'.
        seen: What quantizing did at every point over all samples, where the coefficients come from other samples.
        dump: Where a dump is compared.
    """

    experiment: Experiment
    pairing: Pairing | None
    table: Sequence[TableRow]
    rows: Sequence[LayerRow]
    threshold: float
    coefficients: Sequence[Coefficient]
    evidence: ChannelEvidence
    source: SampleSource
    synthetic: bool
    input_names: Mapping[Side, Mapping[str, str]]
    master: Model | None = None
    snapshots: Sequence[Snapshot] = ()
    view: str = "as stored"
    seen: Sequence[PointEvidence] | None = None
    dump: DumpComparison | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def bits(self) -> int | None:
        """Bit width of the run."""
        return self.experiment.bits

    @property
    def models(self) -> Mapping[Side, Model]:
        """The models."""
        return self.experiment.models

    @property
    def first(self) -> Model:
        """The first model."""
        return self.models[Side.FIRST]

    @property
    def second(self) -> Model | None:
        """The second model, or None; a dump is none."""
        return self.models.get(Side.SECOND) if self.dump is None else None

    @cached_property
    def tensors(self) -> dict[Side, dict[str, onnx.TensorProto]]:
        """Every model's initializers by name."""
        return {side: initializers_of(model) for side, model in self.models.items()}

    def tensor(self, side: Side, name: str) -> Array:
        """A model's initializer; one that is quantized is not copied out of the graph once more."""
        if (side, name) in self._weights_as_stored:
            return self._weights_as_stored[side, name]
        array: Array = array_of(self.tensors[side][name])
        return array

    @cached_property
    def _weights_as_stored(self) -> dict[tuple[Side, str], Array]:
        weights = self.experiment.weights
        return {(side, entry.initializer): entry.stored for side in self.models for entry in weights.of(side)}

    @cached_property
    def row_of(self) -> dict[tuple[Side, str], str]:
        """(model, layer key) to the key of its first row."""
        found: dict[tuple[Side, str], str] = {}
        for entry in self.table:
            for side, layer in entry.layers.items():
                found.setdefault((side, layer.key), entry.row.key)
        return found

    def row_key(self, side: Side, layer: str) -> str:
        """Row of a layer."""
        return self.row_of.get((side, layer), layer)

    def row_key_of_first(self, layer: str) -> str:
        """Row of a layer of the first model."""
        return self.row_key(Side.FIRST, layer)

    @cached_property
    def row_index(self) -> dict[str, int]:
        """Row key to its place."""
        return {row.key: index for index, row in enumerate(self.rows)}

    def scores(self, row: str, comparison: str) -> Scores | None:
        """Scores of a row, or None."""
        index = self.row_index.get(row)
        return None if index is None else self.rows[index].scores.get(comparison)

    def channels(self, row: str, pair: str) -> Table | None:
        """Table of channels of a row, or None."""
        index = self.row_index.get(row)
        return None if index is None else self.evidence.rows.get((index, pair))

    @cached_property
    def layer_pairs(self) -> list[tuple[Layer, Layer]]:
        """Layers that are the same in both models, also a folded one with the convolution that it was folded into."""
        if self.pairing is None or self.second is None:
            return []
        first = {layer.key: layer for layer in self.first.layers}
        second = {layer.key: layer for layer in self.second.layers}
        return [(first[pair.first], second[pair.second]) for pair in self.pairing.pairs]

    @cached_property
    def weight_pairs(self) -> list[WeightPair]:
        """Weights of layers that are the same one in both models and have the same shape."""
        pairs = []
        for one, other in self.layer_pairs:
            names = (main_weight(one), main_weight(other))
            if names[0] is None or names[1] is None or canonical_type(one) != canonical_type(other):
                continue
            arrays = self.tensor(Side.FIRST, names[0]), self.tensor(Side.SECOND, names[1])
            if arrays[0].shape != arrays[1].shape:
                continue
            one_rows = filters_of(self.first, one, arrays[0])
            other_rows = filters_of(self.models[Side.SECOND], other, arrays[1])
            if one_rows.shape == other_rows.shape:
                key = self.row_key(Side.FIRST, one.key)
                pairs.append(WeightPair(key, one, other, names[1], one_rows, other_rows))
        return pairs

    def statistics(self, side: Side, layer: Layer) -> Statistics | None:
        """Stored statistics of a BatchNorm layer, or None for any other layer."""
        return statistics_of(self.models[side], layer, self.tensors[side])

    def batch_norms(self, side: Side) -> Iterator[tuple[Layer, Statistics]]:
        """BatchNorm layers with their statistics, in order of execution."""
        for layer in self.models[side].layers:
            statistics = self.statistics(side, layer)
            if statistics is not None:
                yield layer, statistics

    def points(self, side: Side) -> Iterator[tuple[int, Point, PointTable]]:
        """Data that are quantized, with what their coefficients do."""
        for index, point in enumerate(self.experiment.points):
            if point.side is side and index in self.evidence.points:
                yield index, point, self.evidence.points[index]

    @cached_property
    def value_rows(self) -> dict[tuple[Side, str], str]:
        """(model, graph value) to the row that measures it."""
        return {(side, value): entry.row.key for entry in self.table for side, value in entry.row.values.items()}

    @property
    def judged_side(self) -> Side:
        """The model whose quantization is judged."""
        return Side.FIRST if self.second is None else Side.SECOND

    @property
    def quantization_comparison(self) -> str:
        """The comparison that shows what quantization alone costs the judged model."""
        return "both" if self.second is None else "tuned"


def initializers_of(model: Model) -> dict[str, onnx.TensorProto]:
    """A model's initializers by name."""
    return {tensor.name: tensor for tensor in model.graph.graph.initializer}


def main_weight(layer: Layer) -> str | None:
    """The kernel of a convolution or the matrix of an inner product, or None."""
    if canonical_type(layer) not in ("Convolution", "Deconvolution", "InnerProduct") or not layer.weights:
        return None
    if layer.quantization is not None and layer.quantization.weights:
        return layer.quantization.weights[0]
    return layer.weights[0]


def filters_of(model: Model, layer: Layer, array: Array, dtype: type[np.floating] = np.float64) -> NDArray[Any]:
    """A weight with a row for every output channel, [filters, values]; a view where it has the dtype already."""
    working = array.astype(dtype, copy=False)
    if working.ndim < 2:
        return working.reshape(1, -1)
    kind = canonical_type(layer)
    if kind == "Deconvolution":
        groups = max(1, layer.group)
        size = working.shape[0] // groups
        split = working.reshape(groups, size, *working.shape[1:])
        return np.swapaxes(split, 1, 2).reshape(groups * working.shape[1], -1)
    if kind == "InnerProduct" and not _rows_are_outputs(model, layer):
        return np.swapaxes(working, -1, -2).reshape(working.shape[-1], -1)
    return working.reshape(working.shape[0], -1)


def _rows_are_outputs(model: Model, layer: Layer) -> bool:
    """Whether axis 0 of an inner product's matrix counts its outputs."""
    for node in model.graph.graph.node:
        if node.name in layer.nodes and node.op_type in ("Gemm", "MatMul"):
            return any(attribute.name == "transB" and attribute.i == 1 for attribute in node.attribute)
    return True


def statistics_of(model: Model, layer: Layer, tensors: Mapping[str, onnx.TensorProto]) -> Statistics | None:
    """Stored statistics of a BatchNorm layer in either framework's form, or None."""
    if canonical_type(layer) not in ("BatchNorm", "BN"):
        return None
    arrays = [array_of(tensors[name]).ravel().astype(np.float64) for name in layer.weights if name in tensors]
    if layer.type == "BatchNormalization":
        if len(arrays) < 4:
            return None
        epsilon = _epsilon(model, layer)
        return Statistics(arrays[2], np.sqrt(np.maximum(arrays[3] + epsilon, 0.0)))
    if len(arrays) >= 2 and arrays[0].shape == arrays[1].shape and layer.weights[0].endswith("mean"):
        return Statistics(arrays[0], arrays[1])
    return None


def _epsilon(model: Model, layer: Layer) -> float:
    for node in model.graph.graph.node:
        if node.name in layer.nodes:
            for attribute in node.attribute:
                if attribute.name == "epsilon":
                    return float(attribute.f)
    return 1e-5


def layers_text(count: int, noun: str = "layer") -> str:
    """'1 layer', '3 layers'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""What a network is, whatever framework wrote it: an ONNX graph and a table with a row a layer.

A Caffe net and an ONNX model end as the same `Model`. Every output of every layer has a name of its own in the graph
(in-place layers too), so that the table can point at it. Knows nothing of files, lanes or quantization formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray

from gfpq_inspect.quantize.number_format import NumberFormat

CUSTOM_DOMAIN = "gfpq_inspect"
"""Domain of graph nodes that ONNX has no operator for; `models.host_operators` computes them."""


class LayerKind(StrEnum):
    """What a layer is for; decides how it is listed when the other model lacks it."""

    COMPUTE = "compute"
    QUANT = "quant"  # a quantization point: identity in float lanes
    INPUT = "input"
    CONSTANT = "constant"  # Parameter, DummyData, PriorBox: no sample reaches it
    IDENTITY = "identity"  # Dropout at test, Split: never changes a value


@dataclass(frozen=True)
class Quantization:
    """Where and how NNIE quantizes a layer (guide section 1).

    Attributes:
        inputs: Graph values whose data are quantized before the layer reads them, one coefficient each.
        weights: Graph initializers that are quantized per tensor (never biases).
        bits: 8 or 16 for this layer, or None for the bit width of the run.
        outputs: Graph values that are quantized as the layer hands them on (models that quantize themselves).
        formats: The model's own format of each of `inputs`, `outputs` and `weights`, where it brings one.
        stored: Weights as the model's own codes say, by initializer; the graph holds them before quantization.
        coefficients: GFPQ coefficient of each of `inputs` that the model brings from its training (Quant layers).
    """

    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    bits: int | None = None
    outputs: tuple[str, ...] = ()
    formats: Mapping[str, NumberFormat] = field(default_factory=dict)
    stored: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    coefficients: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A row of the table.

    Attributes:
        key: Unique in the model: the name, or `name@i` where an earlier layer has that name (for Caffe, i is the
            layer's number in Caffe's own net, as in the recorded data).
        name: As the framework has it.
        type: As its framework calls it ('Convolution', or the ONNX operator 'Conv').
        kind: See `LayerKind`.
        inputs: Graph values it reads, in order, weights left out.
        outputs: Graph values it produces, in order.
        output_names: Names for people, one an output: `key` for the first, `key:1`, `key:2` for further ones.
        blob_names: The framework's own names of the outputs (Caffe's tops; equal to `outputs` for ONNX).
        nodes: Names of the graph nodes that compute it, in graph order; empty for inputs.
        weights: Initializers it holds, in the framework's order (weights, then biases).
        quantization: What NNIE quantizes here, or None.
        quantization_reason: One clause that says why it is or is not quantized.
        group: Convolution groups, else 1.
        multiply_adds: For one sample, or None where the notion makes no sense.
        source_line: Line in the prototxt, or None.
        notes: Things a reader should know (legacy shapes accepted, aliasing, ...).
        folded: Keys of the layers that were folded into this one's weights, in order; it then makes the value that the
            last of them made (see `models.fold`).
    """

    key: str
    name: str
    type: str
    kind: LayerKind
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    output_names: tuple[str, ...]
    blob_names: tuple[str, ...]
    nodes: tuple[str, ...]
    weights: tuple[str, ...] = ()
    quantization: Quantization | None = None
    quantization_reason: str = ""
    group: int = 1
    multiply_adds: int | None = None
    source_line: int | None = None
    notes: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelInput:
    """A network input: `name` for people, `value` in the graph; `shape` includes the batch axis."""

    name: str
    value: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Origin:
    """Where a model came from; everything a report prints about it.

    Attributes:
        framework: 'caffe' or 'onnx'.
        name: The network's own name, untrusted text.
        structure_file: Prototxt or ONNX file as the user gave it, or None.
        weights_file: Caffemodel as the user gave it, or None.
        structure_source: One of 'given', 'beside the weights', "the other model's", 'inside the weights'.
        sha256: File (base name) to SHA-256 of its bytes.
        notes: Lenient readings, ignored layers, upgrades: each one clause.
    """

    framework: str
    name: str
    structure_file: str | None
    weights_file: str | None
    structure_source: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """A network ready to run.

    Attributes:
        graph: ONNX model, opset 17 or later, static shapes where the framework has them. Its initializers are the
            float weights. Nodes of domain `CUSTOM_DOMAIN` are computed on the host.
        layers: In order of execution.
        inputs: In the framework's order.
        outputs: Graph values that nobody reads, sorted as the framework sorts them.
        origin: See `Origin`.
        batchable: True when axis 0 of every input and of every layer's output counts samples and the samples do
            not mix, so that any batch size gives the same numbers.
        quantizes_itself: True where the file itself says what is quantized and how (an ONNX model with QuantizeLinear
            nodes and their like): nothing else is then quantized in its lanes.
    """

    graph: onnx.ModelProto
    layers: tuple[Layer, ...]
    inputs: tuple[ModelInput, ...]
    outputs: tuple[str, ...]
    origin: Origin
    batchable: bool
    quantizes_itself: bool = False


class Network(Protocol):
    """A network read from its files, not yet bound to input shapes."""

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        ...

    @property
    def declared_inputs(self) -> tuple[ModelInput, ...]:
        """Inputs as the file declares them; a dimension that the file leaves open is -1, no shape at all is ()."""
        ...

    def build(self, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Model:
        """Translate for these input shapes (by input name; those not named keep the declared shape).

        Raises:
            ModelError: With all problems of the network, an input without a shape among them.
        """
        ...

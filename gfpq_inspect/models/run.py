"""The plain way to run a model: every layer's outputs at once. Slow and simple; engines are tested by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.models.host_operators import compute, node_attributes
from gfpq_inspect.models.model import CUSTOM_DOMAIN, Layer, Model
from gfpq_inspect.models.tensors import all_completed


def run_model(model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Evaluate a whole network.

    Args:
        model: The network.
        inputs: Arrays by input name (or by graph value), in the shapes of `model.inputs`.

    Returns:
        Every layer's outputs by graph value, the inputs included.

    Raises:
        InputError: An input is missing or has another shape.
    """
    values: dict[str, NDArray[Any]] = {}
    for one in model.inputs:
        array = inputs.get(one.name, inputs.get(one.value))
        if array is None:
            raise InputError(f"input '{one.name}' is missing; give an array of shape {one.shape}.")
        if array.shape != one.shape:
            raise InputError(f"input '{one.name}' has shape {array.shape}, the network takes {one.shape}.")
        values[one.value] = np.ascontiguousarray(array, np.dtype(one.dtype))
    return values | run_layers(model, model.layers, values)


def run_layers(model: Model, layers: Iterable[Layer], values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Evaluate some layers of a network.

    Args:
        model: The network.
        layers: Layers to evaluate, in order.
        values: Graph values that they read from outside.

    Returns:
        Their outputs by graph value.
    """
    layers = list(layers)
    return LayerRunner(model, layers, {value for layer in layers for value in layer.outputs}).run(values)


class LayerRunner:
    """Some layers of a network, ready to be evaluated on many samples.

    Args:
        model: The network.
        layers: Layers to evaluate, in order.
        wanted: Graph values to hand out.
    """

    def __init__(self, model: Model, layers: Iterable[Layer], wanted: Iterable[str]) -> None:
        names = {name for layer in layers for name in layer.nodes}
        nodes = [node for node in model.graph.graph.node if node.name in names]
        self._model = model.graph
        self._parts = list(_runs(nodes))
        self._wanted = set(wanted)
        self._read = {value for node in nodes for value in node.input}
        self._sessions: dict[tuple[Any, ...], Any] = {}

    def run(self, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Evaluate the layers on what they read from outside; the wanted values that they have."""
        known = dict(values)
        for index, (on_host, part) in enumerate(self._parts):
            if on_host:
                for node in part:
                    arrays = compute(node.op_type, node_attributes(node), [known[value] for value in node.input])
                    known.update(zip(node.output, arrays, strict=True))
            else:
                known.update(self._run_part(index, part, known))
        return {value: known[value] for value in self._wanted if value in known}

    def _run_part(
        self, index: int, nodes: Sequence[onnx.NodeProto], known: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        made = {value for node in nodes for value in node.output}
        read = {value for node in nodes for value in node.input if value} - made
        weights = [weight for weight in self._model.graph.initializer if weight.name in read]
        fed = sorted(read - {weight.name for weight in weights})
        outputs = sorted(made & (self._wanted | (self._read if len(self._parts) > 1 else set())))
        key = (index, *((known[value].dtype.str, known[value].shape) for value in fed))
        if key not in self._sessions:
            self._sessions[key] = _session(self._model, nodes, weights, {name: known[name] for name in fed}, outputs)
        results = self._sessions[key].run(outputs, {value: known[value] for value in fed})
        return dict(zip(outputs, results, strict=True))


def _runs(nodes: Sequence[onnx.NodeProto]) -> Iterator[tuple[bool, list[onnx.NodeProto]]]:
    """Split nodes into runs of ONNX's and of host operators."""
    part: list[onnx.NodeProto] = []
    for node in nodes:
        if part and (node.domain == CUSTOM_DOMAIN) != (part[0].domain == CUSTOM_DOMAIN):
            yield part[0].domain == CUSTOM_DOMAIN, part
            part = []
        part.append(node)
    if part:
        yield part[0].domain == CUSTOM_DOMAIN, part


def _session(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto],
    fed: Mapping[str, NDArray[Any]],
    outputs: Sequence[str],
) -> Any:
    """A session of ONNX Runtime for some nodes, exact: without any change of the graph."""
    import onnxruntime  # noqa: PLC0415  # heavy, and only needed here

    graph = onnx.helper.make_graph(
        nodes,
        "part",
        [
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in fed.items()
        ],
        [onnx.helper.make_empty_tensor_value_info(value) for value in outputs],
        all_completed(weights),
    )
    part = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])

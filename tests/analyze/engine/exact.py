"""Networks in double precision: what single precision is held against. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from gfpq_inspect.models.model import Layer, Model
from gfpq_inspect.models.tensors import array_of

Array = NDArray[Any]


class ExactNetwork:
    """Runs the nodes of a model in double precision, one by one.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        torch = pytest.importorskip("torch")
        from gfpq_inspect.analyze.engine.torch_call import Call
        from gfpq_inspect.analyze.engine.torch_steps import OPERATORS

        self._torch, self._call, self._operators = torch, Call, OPERATORS
        graph = model.graph.graph
        self._nodes = {node.name: node for node in graph.node}
        self._order = list(graph.node)
        self._known = {tensor.name: array_of(tensor) for tensor in graph.initializer}
        self._opset = next(entry.version for entry in model.graph.opset_import if entry.domain in ("", "ai.onnx"))

    def network(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All values of the network."""
        return self._run(self._order, feeds)

    def layer(self, layer: Layer, read: Mapping[str, Array]) -> dict[str, Array]:
        """All values of a layer."""
        return self._run([self._nodes[name] for name in layer.nodes], read)

    def _run(self, nodes: Sequence[onnx.NodeProto], given: Mapping[str, Array]) -> dict[str, Array]:
        values = {name: self._double(array) for name, array in given.items()}
        known = dict(self._known)
        for node in nodes:
            if node.op_type == "Constant":
                known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
                values[node.output[0]] = self._double(known[node.output[0]])
                continue
            for name in node.input:
                if name and name not in values:
                    values[name] = self._double(known[name])
            attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            attributes = {name: one.decode() if isinstance(one, bytes) else one for name, one in attributes.items()}
            inputs = [values[name] if name else None for name in node.input]
            arrays = [known.get(name) for name in node.input]
            found = self._operators[node.op_type](self._call(inputs, arrays, attributes, self._opset, len(node.output)))
            values.update(zip(node.output, [found] if isinstance(found, self._torch.Tensor) else found, strict=True))
        return {name: tensor.numpy() for name, tensor in values.items()}

    def _double(self, array: Array) -> Any:
        wide = array.astype(np.float64) if array.dtype in (np.float32, np.float16) else np.array(array)
        return self._torch.from_numpy(np.array(wide))

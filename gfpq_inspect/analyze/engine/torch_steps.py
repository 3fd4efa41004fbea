"""One layer, computed by PyTorch where all of its operators have a counterpart, else by ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch

from gfpq_inspect.analyze.engine.steps import Array, Step
from gfpq_inspect.analyze.engine.torch_call import Call, Function, UnsupportedError
from gfpq_inspect.analyze.engine.torch_device import TorchDevice, on_host
from gfpq_inspect.analyze.engine.torch_operators import ARITHMETIC
from gfpq_inspect.analyze.engine.torch_provider import BoundStep
from gfpq_inspect.analyze.engine.torch_shapes import SHAPES, constant_of
from gfpq_inspect.analyze.engine.torch_windows import WINDOWS
from gfpq_inspect.analyze.lanes import Weights
from gfpq_inspect.analyze.weights import QuantizedWeight
from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.models.model import Model
from gfpq_inspect.models.tensors import array_of

OPERATORS: Mapping[str, Function] = {**ARITHMETIC, **SHAPES, **WINDOWS}
"""Operator of ONNX's own domain to its function."""


class TorchStep(Step):
    """A step of the layered engine whose tensors stay on a device.

    Args:
        host: The same step for the CPU.
        nodes: Its nodes, in graph order.
        model: Where it comes from.
        weights: Its quantized weights.
        initializers: All initializers of the graph.
        device: Where to run it.
        bound: The same step for the device by ONNX Runtime's provider, where there is one.

    Attributes:
        host: The same step for the CPU.
        lacking: Why PyTorch cannot run it, or None.
        on_cpu: Why it runs on the CPU, or None.
    """

    def __init__(
        self,
        host: Step,
        nodes: list[onnx.NodeProto],
        *,
        model: Model,
        weights: Mapping[str, QuantizedWeight],
        initializers: Mapping[str, onnx.TensorProto],
        device: TorchDevice,
        bound: BoundStep | None = None,
    ) -> None:
        self.__dict__.update(host.__dict__)
        self.host = host
        self.lacking = reason_against(nodes)
        self.on_cpu = self.lacking if bound is None else None
        self._bound = bound
        self._model = model
        self._nodes = [(node, OPERATORS.get(node.op_type), _attributes(node)) for node in nodes]
        self._opset = next((entry.version for entry in model.graph.opset_import if entry.domain in ("", "ai.onnx")), 1)
        self._own = dict(weights)
        self._tensors = initializers
        self._device = device
        self._arrays: dict[str, Array] = {}
        self._there: dict[tuple[str, int], torch.Tensor] = {}

    def run(self, values: Mapping[str, Any], weights: Weights) -> list[Any]:
        """Compute the outputs; see `Step.run`. Values are tensors on the device, or whatever PyTorch has no type for.

        Raises:
            ModelError: The GPU's memory is too small.
        """
        reason = self.on_cpu
        if reason is None and all(isinstance(values[name], torch.Tensor) for name in self.inputs):
            try:
                with torch.no_grad():
                    if self._bound is not None:
                        return self._bound.run(values, weights)
                    return self._run_there(values, weights)
            except torch.cuda.OutOfMemoryError as error:
                raise self._too_large() from error
            except Exception as error:  # PyTorch's refusals are of many classes; ONNX Runtime then has the last word
                reason = " ".join(str(error).split())[:200] or type(error).__name__
        results = self.host.run({name: on_host(value) for name, value in values.items()}, weights)
        self.on_cpu = self.on_cpu or reason
        return [self._device.take(value) for value in results]

    def _too_large(self) -> ModelError:
        return ModelError(
            Problem(
                "the GPU's memory is too small for this layer in all lanes",
                file=self._model.origin.structure_file or self._model.origin.weights_file,
                layer=self.layer.name,
                line=self.layer.source_line,
                remedy="use fewer --workers, or leave --device away",
            )
        )

    def _run_there(self, values: Mapping[str, torch.Tensor], weights: Weights) -> list[torch.Tensor]:
        known: dict[str, torch.Tensor] = dict(values)
        arrays: dict[str, Array] = {}
        for node, function, attributes in self._nodes:
            if node.op_type == "Constant":
                arrays[node.output[0]] = constant_of(attributes)
                known[node.output[0]] = self._device.take(arrays[node.output[0]])
                continue
            if function is None:
                raise UnsupportedError(node.op_type)
            inputs = [self._input(name, known, weights) if name else None for name in node.input]
            given = [arrays.get(name, self._array(name)) for name in node.input]
            results = function(Call(inputs, given, attributes, self._opset, len(node.output)))
            several = [results] if isinstance(results, torch.Tensor) else results
            known.update(zip(node.output, several, strict=True))
        return [known[name].contiguous() for name in self.outputs]

    def _array(self, name: str) -> Array | None:
        """An initializer that is no weight; None for anything else."""
        if name not in self._tensors or name in self._own:
            return None
        if name not in self._arrays:
            self._arrays[name] = array_of(self._tensors[name])
        return self._arrays[name]

    def _input(self, name: str, known: Mapping[str, torch.Tensor], weights: Weights) -> torch.Tensor:
        if name in known:
            return known[name]
        array = self._own[name].variant(weights) if name in self._own else self._array(name)
        assert array is not None
        key = name, id(array)
        if key not in self._there:
            self._there[key] = self._device.take(np.asarray(array))
        if not isinstance(self._there[key], torch.Tensor):
            raise UnsupportedError(f"{name} is of a type that PyTorch lacks")
        return self._there[key]


def reason_against(nodes: list[onnx.NodeProto]) -> str | None:
    """Why these nodes cannot all run in PyTorch, or None."""
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            return f"{node.domain}.{node.op_type}"
        if node.op_type != "Constant" and node.op_type not in OPERATORS:
            return node.op_type
    return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in found.items()}

"""A woven graph ready to run, and what one batch brings and takes away."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from gfpq_inspect import _native
from gfpq_inspect.analyze.engine.handed_over import CONVOLUTIONS, is_fed
from gfpq_inspect.analyze.engine.interface import EACH_SAMPLE, Feeds, Measurement, PointEvidence
from gfpq_inspect.analyze.engine.merged.base import Base
from gfpq_inspect.analyze.engine.merged.external import hand_over
from gfpq_inspect.analyze.engine.merged.fuse import fuse
from gfpq_inspect.analyze.engine.merged.looks import SampleLooks
from gfpq_inspect.analyze.engine.merged.operators import RUN_INPUT, TAP_DOMAIN, exact_transforms, operator_options
from gfpq_inspect.analyze.engine.merged.refusal import NotMerged
from gfpq_inspect.analyze.engine.merged.taps import Tap
from gfpq_inspect.analyze.engine.merged.woven import Node, Woven
from gfpq_inspect.analyze.engine.plan import Value
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.quantize.kernels import SUM_FIELDS

Array = NDArray[Any]

Live = Mapping[str, dict[Value, Array]]
"""Lane name to its tensors."""

_COUNT = SUM_FIELDS.index("count")
_FLAG = "done"


@dataclass(frozen=True)
class _Room:
    """Where the taps of one batch write."""

    deltas: NDArray[np.int32]
    sums: NDArray[np.float64]
    products: NDArray[np.float64]
    evidence: NDArray[np.float64]
    magnitudes: NDArray[np.float64]
    captures: list[NDArray[np.float32]]


class Graph:
    """One graph in a session; may be run by several threads at once.

    Args:
        woven: What it consists of.
        bases: What it was woven from.
        inputs: Graph input of each model to a type and shape.
        points: Number of points.
        samples: Samples in a batch.

    Raises:
        NotMerged: ONNX Runtime refuses it.
    """

    def __init__(
        self,
        woven: Woven,
        bases: Mapping[Side, Base],
        inputs: Mapping[Value, tuple[np.dtype[Any], tuple[int, ...]]],
        points: int,
        samples: int,
    ) -> None:
        fuse(woven, exact_transforms(max((base.block for base in bases.values()), default=0)))
        self._results = woven.results
        self._problems = woven.problems
        self._unscored = woven.unscored
        self._inputs = woven.inputs
        self._points = points
        self._samples = samples
        options = operator_options()
        self._fed = _fed(woven)
        model = _written(woven, bases, inputs)
        for name, array in self._fed.items():
            elements = helper.np_dtype_to_tensor_dtype(array.dtype)
            model.graph.input.append(helper.make_tensor_value_info(name, elements, array.shape))
        packed = {name: array for name, array in woven.initializers.items() if name not in self._fed}
        # The nodes are those of the tasks, in their order.
        self._owners = dict(zip((node.name for node in model.graph.node), woven.owners, strict=False))
        self._brought = woven.brought
        self._gives = woven.gives
        self._outputs = list(dict.fromkeys(name for _, _, name in woven.gives))
        data, self._arrays = hand_over(model, packed, options, optimised=False)
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its refusals are of many classes
            raise self._blamed(error) from error
        self._used = {entry.name for entry in self._session.get_inputs()}

    def measure(
        self,
        feeds: Feeds,
        deltas: Sequence[Any] | None,
        into: Measurement,
        first: int,
        *,
        live: Live | None = None,
        looks: SampleLooks | None = None,
    ) -> None:
        """Run one batch and put what the taps find into a measurement.

        Args:
            feeds: The batch.
            deltas: As in `Engine.measure`.
            into: Sums of all samples of which this batch is a part.
            first: The batch's first sample in it.
            live: Tensors of every lane that other parts of the plan have made; gets what they need.
            looks: Takes the evidence of whole tensors, where the graph's taps take any.
        """
        room = self._room(deltas)
        self._run(feeds, room, live, looks)
        part = slice(first, first + self._samples)
        for target in self._results.targets:
            into.sums[part, target.row, target.columns] = room.sums[:, target.places]
            if target.shares is not None:
                side, places = target.shares
                into.isolation[part, target.row, side] = room.products[:, places]
        for row, column, elements in self._unscored:
            into.sums[0, row, column, _COUNT] += elements
        into.problems.update(self._problems)
        for entry, numbers in zip(into.evidence, room.evidence, strict=True):
            entry.add(_evidence(numbers))
        for (key, _, constant), array in zip(self._results.captures, room.captures, strict=True):
            known = into.captured.get(key)
            into.captured[key] = array if known is None or constant else np.concatenate([known, array])

    def magnitudes(self, feeds: Feeds, live: Live | None = None) -> NDArray[np.float64]:
        """Run one batch; largest magnitude of every point, float64 [samples, points]; `live` as in `measure`."""
        room = self._room(None)
        self._run(feeds, room, live)
        return room.magnitudes

    def _room(self, deltas: Sequence[Any] | None) -> _Room:
        samples, points, results = self._samples, self._points, self._results
        each = _native.EACH_SAMPLE
        given = [each] * points if deltas is None else [each if one is EACH_SAMPLE else int(one) for one in deltas]
        evidence = np.zeros((points, _native.EVIDENCE_FIELDS))
        evidence[:, -2], evidence[:, -1] = PointEvidence().delta_low, PointEvidence().delta_high
        captures = [
            np.empty(shape if constant or not shape else (shape[0] * samples, *shape[1:]), np.float32)
            for _, shape, constant in results.captures
        ]
        return _Room(
            deltas=np.array(given, np.int32),
            sums=np.zeros((samples, results.sum_slots, len(SUM_FIELDS))),
            products=np.zeros((samples, results.product_slots)),
            evidence=evidence,
            magnitudes=np.zeros((samples, points)),
            captures=captures,
        )

    def _blamed(self, error: Exception) -> NotMerged:
        """A failure with the layer whose node ONNX Runtime names, if it does."""
        names = re.findall(r"[('](n\d+|tap\d+(?:/\d+)?)[)']", str(error))
        owners = [self._owners[name] for name in names if self._owners.get(name) is not None]
        return NotMerged(" ".join(str(error).split())[:300], layer=owners[0] if owners else None)

    def _run(self, feeds: Feeds, room: _Room, live: Live | None, looks: SampleLooks | None = None) -> None:
        number = _native.begin_run(
            self._samples,
            room.deltas,
            room.sums,
            room.products,
            room.evidence,
            room.magnitudes,
            room.captures,
            None if looks is None else looks.room,
        )
        try:
            given: dict[str, Any] = {RUN_INPUT: np.array([number], np.int64), **self._fed}
            for (side, value), name in self._inputs.items():
                if name in self._used:
                    given[name] = feeds[side][value]
            for name, brought in self._brought.items():
                if live is not None and name in self._used:
                    given[name] = np.ascontiguousarray(live[brought.lane][brought.value])
            try:
                made = self._session.run([_FLAG, *self._outputs], given)
            except Exception as error:  # its refusals are of many classes
                raise self._blamed(error) from error
            if live is not None:
                arrays = dict(zip(self._outputs, made[1:], strict=True))
                for made_value, lane, output in self._gives:
                    live[lane][made_value] = arrays[output]
        finally:
            _native.end_run(number)


def _fed(woven: Woven) -> dict[str, Array]:
    """Large matrices: packed, each would be there twice, and give other bits than in the layered engine."""
    places: dict[str, list[tuple[str, str, int]]] = {}
    for task in woven.tasks:
        if isinstance(task, Node):
            for index, read in enumerate(task.inputs):
                if isinstance(read, str) and read in woven.initializers:
                    places.setdefault(read, []).append((task.source.op_type, task.source.domain, index))
    return {
        name: np.ascontiguousarray(woven.initializers[name])
        for name, found in places.items()
        if all(operator not in CONVOLUTIONS for operator, _, _ in found)
        and is_fed(found, woven.initializers[name].nbytes)
    }


def _evidence(numbers: NDArray[np.float64]) -> PointEvidence:
    finite, nonzero, snapped, beyond, flushed, magnitude, low, high = numbers
    return PointEvidence(
        int(finite), int(nonzero), int(snapped), int(beyond), int(flushed), float(magnitude), int(low), int(high)
    )


def _written(
    woven: Woven, bases: Mapping[Side, Base], inputs: Mapping[Value, tuple[np.dtype[Any], tuple[int, ...]]]
) -> onnx.ModelProto:
    """The graph as a model, without its initializers."""
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.extend(_opsets(bases))
    functions = [function for base in bases.values() for function in base.functions]
    if functions and len(bases) > 1:
        raise NotMerged("both models bring functions of their own")
    model.functions.extend(functions)
    graph = model.graph
    graph.name = "lanes"
    graph.input.append(helper.make_tensor_value_info(RUN_INPUT, onnx.TensorProto.INT64, [1]))
    for value, name in woven.inputs.items():
        dtype, shape = inputs[value]
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape))
    for name, brought in woven.brought.items():
        elements = helper.np_dtype_to_tensor_dtype(brought.dtype)
        graph.input.append(helper.make_tensor_value_info(name, elements, brought.shape))
    block = max((base.block for base in bases.values()), default=0)
    known = dict(woven.shapes)
    for task in woven.tasks:
        node = graph.node.add()
        if isinstance(task, Node):
            node.CopyFrom(task.source)
            node.name = f"n{len(graph.node)}"
            del node.input[:], node.output[:]
            node.input.extend(read if isinstance(read, str) else read.name for read in task.inputs)
            node.output.extend(task.outputs)
        else:
            _write_tap(node, task, block, known)
    done = graph.node.add()
    done.CopyFrom(helper.make_node("Identity", [RUN_INPUT], [_FLAG]))
    graph.output.append(helper.make_tensor_value_info(_FLAG, onnx.TensorProto.INT64, [1]))
    for name in dict.fromkeys(name for _, _, name in woven.gives):
        graph.output.add().name = name
    produced = {name for node in graph.node for name in node.output}
    for name, shape in known.items():
        if name in produced:
            graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return model


def _write_tap(node: onnx.NodeProto, tap: Tap, block: int, known: dict[str, tuple[int, ...]]) -> None:
    """A tap's node; its outputs have the shape of its tensors."""
    names, outputs, program = tap.finished(block)
    node.CopyFrom(helper.make_node("Tap", [RUN_INPUT, *names], outputs, tap.name, domain=TAP_DOMAIN, program=program))
    shape = tap.reads[0].symbol.shape
    for name in outputs:
        if shape is not None:
            known[name] = shape
    known.update({name: (0,) for name in outputs if name == f"{tap.name}/end"})


def _opsets(bases: Mapping[Side, Base]) -> list[onnx.OperatorSetIdProto]:
    versions: dict[str, int] = {TAP_DOMAIN: 1}
    for base in bases.values():
        for entry in base.opsets:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            if domain == TAP_DOMAIN:
                continue  # once registered, ONNX Runtime lists it everywhere, as of any version
            if versions.setdefault(domain, entry.version) != entry.version:
                raise NotMerged("the two models are of different operator sets")
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]

"""ONNX operators that move data or speak of shapes, as PyTorch functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from torch.nn import functional

from gfpq_inspect.analyze.engine.torch_call import Call, Function, Tensor, UnsupportedError
from gfpq_inspect.models.tensors import array_of

_TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
}


def _required(numbers: list[int] | None) -> list[int]:
    if numbers is None:
        raise UnsupportedError("a list of numbers is missing")
    return numbers


def _cast(call: Call) -> Tensor:
    wanted = _TYPES.get(call.attributes["to"])
    if wanted is None:
        raise UnsupportedError("a type that PyTorch lacks")
    return call[0].to(wanted)


def _concat(call: Call) -> Tensor:
    return torch.cat([call[index] for index in range(len(call.inputs))], dim=call.attributes["axis"])


def _constant_of_shape(call: Call) -> Tensor:
    shape = _required(call.integers(0))
    value = call.attributes.get("value")
    fill = np.zeros(1, np.float32) if value is None else array_of(value)
    one = torch.from_numpy(np.array(fill).reshape(1))
    return one.to(call[0].device).expand(math.prod(shape)).reshape(shape).clone()


def _depth_to_space(call: Call) -> Tensor:
    block, data = int(call.attributes["blocksize"]), call[0]
    n, c, h, w = data.shape
    if call.option("mode", "DCR") == "DCR":
        parts = data.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = data.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


def _space_to_depth(call: Call) -> Tensor:
    block, data = int(call.attributes["blocksize"]), call[0]
    n, c, h, w = data.shape
    parts = data.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * block**2, h // block, w // block)


def _expand(call: Call) -> Tensor:
    shape = np.broadcast_shapes(tuple(call[0].shape), tuple(_required(call.integers(1))))
    return call[0].expand(shape).contiguous()


def _flatten(call: Call) -> Tensor:
    axis, data = call.option("axis", 1), call[0]
    axis = axis + data.dim() if axis < 0 else axis
    return data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:]))


def _gather(call: Call) -> Tensor:
    data, axis = call[0], call.option("axis", 0) % max(1, call[0].dim())
    index = call[1].long()
    index = torch.where(index < 0, index + data.shape[axis], index)
    shape = (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :])
    return data.index_select(axis, index.reshape(-1)).reshape(shape)


def _gather_elements(call: Call) -> Tensor:
    data, axis, index = call[0], call.option("axis", 0), call[1].long()
    return torch.gather(data, axis, torch.where(index < 0, index + data.shape[axis], index))


def _scatter_elements(call: Call) -> Tensor:
    if call.option("reduction", "none") != "none":
        raise UnsupportedError("ScatterElements with a reduction")
    data, axis, index = call[0], call.option("axis", 0), call[1].long()
    return torch.scatter(data, axis, torch.where(index < 0, index + data.shape[axis], index), call[2])


def _pad(call: Call) -> Tensor:
    data = call[0]
    pads = _required(call.integers(1, "pads"))
    axes = [axis % data.dim() for axis in call.integers(3) or range(data.dim())]
    mode, count = call.option("mode", "constant"), len(axes)
    before, after = dict(zip(axes, pads[:count], strict=True)), dict(zip(axes, pads[count:], strict=True))
    if mode == "constant":
        value = call.number(2, "value", 0.0)
        flat = [side.get(axis, 0) for axis in reversed(range(data.dim())) for side in (before, after)]
        return functional.pad(data, flat, value=value)
    for axis in axes:
        length = data.shape[axis]
        index = torch.arange(-before[axis], length + after[axis])
        if mode == "edge":
            index = index.clamp(0, length - 1)
        elif mode == "wrap":
            index = index % length
        elif length == 1:
            index = torch.zeros_like(index)
        else:  # reflect
            index = index.abs() % (2 * length - 2)
            index = torch.where(index >= length, 2 * length - 2 - index, index)
        data = data.index_select(axis, index.to(data.device))
    return data


def _reshape(call: Call) -> Tensor:
    shape = _required(call.integers(1, "shape"))
    if not call.option("allowzero", 0):
        shape = [call[0].shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    return call[0].reshape(shape)


def _shape(call: Call) -> Tensor:
    lengths = list(call[0].shape)[slice(call.option("start", 0), call.option("end", None))]
    return torch.tensor(lengths, dtype=torch.int64, device=call[0].device)


def _size(call: Call) -> Tensor:
    return torch.tensor(call[0].numel(), dtype=torch.int64, device=call[0].device)


def _slice(call: Call) -> Tensor:
    data = call[0]
    starts, ends = _required(call.integers(1, "starts")), _required(call.integers(2, "ends"))
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4) or [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        places = range(*_bounds(start, end, step, data.shape[axis]), step)
        if step > 0:
            data = data[(slice(None),) * (axis % data.dim()) + (slice(places.start, places.stop, step),)]
        else:
            data = data.index_select(axis, torch.tensor(list(places), dtype=torch.int64, device=data.device))
    return data.contiguous()


def _bounds(start: int, end: int, step: int, length: int) -> tuple[int, int]:
    """First place and the one behind the last, as the specification clamps them."""
    start = start + length if start < 0 else start
    end = end + length if end < 0 else end
    if step > 0:
        return min(max(start, 0), length), min(max(end, 0), length)
    return min(max(start, 0), length - 1), min(max(end, -1), length - 1)


def _split(call: Call) -> Sequence[Tensor]:
    data, axis = call[0], call.option("axis", 0)
    sizes = call.integers(1, "split")
    if sizes is None:
        part = -(-data.shape[axis] // call.outputs)
        sizes = [min(part, data.shape[axis] - index * part) for index in range(call.outputs)]
    return [part.contiguous() for part in torch.split(data, sizes, dim=axis)]


def _squeeze(call: Call) -> Tensor:
    axes = call.integers(1, "axes")
    if axes is None:
        return torch.squeeze(call[0])
    return torch.squeeze(call[0], dim=[axis % call[0].dim() for axis in axes])


def _unsqueeze(call: Call) -> Tensor:
    axes, data = _required(call.integers(1, "axes")), call[0]
    for axis in sorted(axis % (data.dim() + len(axes)) for axis in axes):
        data = data.unsqueeze(axis)
    return data


def _tile(call: Call) -> Tensor:
    return call[0].repeat(_required(call.integers(1)))


def _transpose(call: Call) -> Tensor:
    order = call.option("perm", list(reversed(range(call[0].dim()))))
    return call[0].permute(order).contiguous()


def _where(call: Call) -> Tensor:
    return torch.where(call[0], call[1], call[2])


def _identity(call: Call) -> Tensor:
    return call[0]


def _dropout(call: Call) -> Tensor:
    if call.outputs > 1 or (call.has(2) and bool(call.array(2))):
        raise UnsupportedError("Dropout that drops")
    return call[0]


def _range(call: Call) -> Tensor:
    start, limit, delta = (call.array(index).item() for index in range(3))
    return torch.arange(start, limit, delta, dtype=call[0].dtype, device=call[0].device)


def constant_of(attributes: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """The array of a Constant node."""
    for name, value in attributes.items():
        if name == "value":
            return array_of(value)
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
    raise UnsupportedError("a Constant that is no tensor of numbers")


SHAPES: Mapping[str, Function] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Identity": _identity,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""Operator to its function."""

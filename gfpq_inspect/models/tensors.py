"""Weights that stay in their file: the graph only says where they lie, and whoever needs one reads it.

A graph in memory and the arrays that the lanes compute with would hold every weight twice; so would every changed copy
of a graph. `array_of` reads any initializer, wherever it lies; all that ask for it share one array as long as one of
them holds it.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import onnx
from numpy.typing import NDArray

from gfpq_inspect.errors import ModelError, Problem
from gfpq_inspect.quantize.aligned import aligned_empty

Array = NDArray[Any]

SMALLEST_BYTES = 1 << 17
"""Smaller tensors are always part of the graph: shape inference and checks look at their values."""

_PLAIN = frozenset(
    getattr(onnx.TensorProto, name)
    for name in ("FLOAT", "DOUBLE", "FLOAT16", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64")
)
_STATE = "checksum"  # the one key of external data that fits; others are warned of
_MARK = "state of the file: "

_read: WeakValueDictionary[tuple[str, ...], Array] = WeakValueDictionary()
_reading = threading.Lock()


def can_stay(tensor: onnx.TensorProto, size: int) -> bool:
    """Whether a tensor's data may stay in the file: bytes of a plain type, as many as its shape asks for, not few."""
    if size < SMALLEST_BYTES or tensor.data_type not in _PLAIN or sys.byteorder != "little":
        return False
    itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return min(tensor.dims, default=1) >= 0 and math.prod(tensor.dims) * itemsize == size


def leave(tensor: onnx.TensorProto, file: Path, offset: int, size: int) -> None:
    """Make a tensor say that its data lie in a file; they must be those of `can_stay`."""
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    place = {"location": str(file.resolve()), "offset": str(offset), "length": str(size), _STATE: _state_of(file)}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)


def stays(tensor: onnx.TensorProto) -> bool:
    """Whether the data lie in a file."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return False
    return any(one.key == _STATE and one.value.startswith(_MARK) for one in tensor.external_data)


def is_left(tensor: onnx.TensorProto, file: Path, offsets: Collection[int]) -> bool:
    """Whether the data lie in this file at one of these places: what a file says of itself is not believed."""
    if not stays(tensor):
        return False
    place = {entry.key: entry.value for entry in tensor.external_data}
    return place["location"] == str(file.resolve()) and place["offset"] in {str(offset) for offset in offsets}


def array_of(tensor: onnx.TensorProto) -> Array:
    """The values of an initializer.

    Raises:
        ModelError: Its file is gone, or is another by now.
    """
    if not stays(tensor):
        array: Array = onnx.numpy_helper.to_array(tensor)
        return array
    place = {entry.key: entry.value for entry in tensor.external_data}
    key = (*place.values(), str(tensor.data_type), *(str(length) for length in tensor.dims))
    with _reading:
        known = _read.get(key)
        if known is None:
            known = _read[key] = _from_file(tensor, place)
    return known


def completed(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor with its data inside: itself where they are there, else a copy."""
    if not stays(tensor):
        return tensor
    return onnx.numpy_helper.from_array(array_of(tensor), tensor.name)


def all_completed(tensors: Iterable[onnx.TensorProto]) -> list[onnx.TensorProto]:
    """As `completed`, each."""
    return [completed(tensor) for tensor in tensors]


def _from_file(tensor: onnx.TensorProto, place: dict[str, str]) -> Array:
    file = Path(place["location"])
    array = aligned_empty(tuple(tensor.dims), onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    what = f"changed while it was being read: the weights of '{tensor.name}' are not there any more"
    remedy = "run again when nobody writes to the file"
    try:
        if _state_of(file) != place[_STATE]:
            raise ModelError(Problem(what, file=str(file), remedy=remedy))
        with file.open("rb", buffering=0) as stream:
            stream.seek(int(place["offset"]))
            left = array.reshape(-1).view(np.uint8).data
            while left:
                count = stream.readinto(left)
                if not count:
                    raise ModelError(Problem(what, file=str(file), remedy=remedy))
                left = left[count:]
    except OSError as error:
        raise ModelError(
            Problem(f"cannot be read any more ({error.strerror})", file=str(file), remedy=remedy)
        ) from error
    array.flags.writeable = False
    return array


def _state_of(file: Path) -> str:
    """What changes when a file is written to or replaced."""
    found = file.stat()
    return f"{_MARK}{found.st_dev}/{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"

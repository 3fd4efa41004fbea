"""BlobProto: one array of a caffemodel, in every form that Caffe and its forks have written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.weights import MAX_BLOB_AXES, StoredBlob, count_of
from gfpq_inspect.models.caffe.wire import Buffer, LimitError, WireError, WireField

_LEGACY_AXES = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_RAW_TYPE, _RAW_DATA = 10, 12  # as OpenCV and NVCaffe write them
_SHAPE_DIM = 1
_RAW_DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}
MAX_PIECES = 100_000
"""Pieces that the values of one array may be scattered over; writers use one, or one run."""
_RAW_NAMES = {0: "float64", 1: "float32", 2: "float16"}


def read_blob(buffer: Buffer, start: int, end: int) -> StoredBlob:
    """Read one BlobProto.

    Shape: the legacy header if any of its four numbers is present (missing ones are 0), else `shape`, else a scalar.
    Values: double data if there are any, else float data, else raw data of a stated type. Gradients are ignored.

    Args:
        buffer: The file.
        start: First byte of the message.
        end: End of the message.

    Returns:
        The blob; counts that disagree and absurd sizes are its `fault`, since a blob that no layer uses harms nobody.

    Raises:
        WireError: The bytes are no message.
    """
    legacy: dict[int, int] = {}
    dimensions: list[int] = []
    floats = _Runs(buffer, _DATA, wire.FIXED32)
    doubles = _Runs(buffer, _DOUBLE_DATA, wire.FIXED64)
    raw_type, raw = 1, (0, 0)
    for item in _skipping_runs(buffer, start, end, {_DATA: floats, _DOUBLE_DATA: doubles}):
        if item.number in _LEGACY_AXES and item.wire == wire.VARINT:
            legacy[item.number] = _int32(item.value)
        elif item.number == _SHAPE and item.wire == wire.LENGTH:
            _read_dimensions(buffer, item, dimensions)
        elif item.number == _RAW_TYPE and item.wire == wire.VARINT:
            raw_type = item.value
        elif item.number == _RAW_DATA and item.wire == wire.LENGTH:
            raw = (item.start, item.end)
    shape = tuple(legacy.get(axis, 0) for axis in _LEGACY_AXES) if legacy else tuple(dimensions)
    values, note, fault = _values(buffer, floats, doubles, raw_type, raw)
    if fault:
        return StoredBlob(shape, values, fault)
    count = count_of(shape)
    if count is None:
        fault = f"its shape {_short(shape)} is one that Caffe could not hold"
    elif count != values.size:
        fault = f"its shape {_short(shape)} wants {count} values, {values.size} are stored"
    return StoredBlob(shape, values, fault, note)


class _Runs:
    """The values of one packed field: any number of packed pieces and of runs of single values, in file order."""

    def __init__(self, buffer: Buffer, number: int, single_wire: int) -> None:
        self.single_wire = single_wire
        self._buffer = buffer
        self._number = number
        self._dtype = np.dtype("<f4" if single_wire == wire.FIXED32 else "<f8")
        self._pieces: list[tuple[int, int, bool]] = []

    def add_packed(self, item: WireField) -> None:
        if (item.end - item.start) % self._dtype.itemsize:
            raise WireError("packed numbers do not fill their field", item.start)
        if item.end > item.start:
            self._add(item.start, item.end, packed=True)

    def add_singles(self, item: WireField, end: int) -> int:
        """Take the run that begins with `item`; return the position after it."""
        after = wire.single_run(self._buffer, item, end)
        self._add(item.start, after, packed=False)
        return after

    def _add(self, start: int, end: int, *, packed: bool) -> None:
        if len(self._pieces) >= MAX_PIECES:
            raise LimitError(f"the numbers of one array lie in more than {MAX_PIECES} pieces", start)
        self._pieces.append((start, end, packed))

    def values(self) -> NDArray[np.floating]:
        """Return all values; a view of the buffer when they lie in one packed piece."""
        if len(self._pieces) == 1 and self._pieces[0][2]:
            start, end, _ = self._pieces[0]
            return np.frombuffer(self._buffer, self._dtype, (end - start) // self._dtype.itemsize, start)
        joined = b"".join(
            self._buffer[start:end]
            if packed
            else wire.run_values(self._buffer, start, end, self._number, self.single_wire)
            for start, end, packed in self._pieces
        )
        return np.frombuffer(joined, self._dtype)


def _skipping_runs(buffer: Buffer, start: int, end: int, runs: dict[int, _Runs]) -> Iterator[WireField]:
    """Yield the fields of a message, those in `runs` collected there instead."""
    position = start
    while position < end:
        for item in wire.fields(buffer, position, end):
            run = runs.get(item.number)
            if run is None:
                yield item
            elif item.wire == wire.LENGTH:
                run.add_packed(item)
            elif item.wire == run.single_wire:
                position = run.add_singles(item, end)
                break
        else:
            return


def _read_dimensions(buffer: Buffer, shape: WireField, dimensions: list[int]) -> None:
    for item in wire.fields(buffer, shape.start, shape.end):
        if item.number != _SHAPE_DIM:
            continue
        if item.wire == wire.VARINT:
            dimensions.append(wire.signed(item.value))
        elif item.wire == wire.LENGTH:
            position = item.start
            while position < item.end:
                value, position = wire.read_varint(buffer, position, item.end)
                dimensions.append(wire.signed(value))
                _check_axes(dimensions, position)
        _check_axes(dimensions, item.start)


def _check_axes(dimensions: list[int], byte: int) -> None:
    if len(dimensions) > MAX_BLOB_AXES:
        raise LimitError(f"a blob has more than {MAX_BLOB_AXES} axes", byte)


def _values(
    buffer: Buffer, floats: _Runs, doubles: _Runs, raw_type: int, raw: tuple[int, int]
) -> tuple[NDArray[np.float32], str, str]:
    """Return float32 values, a note, and a fault."""
    values = doubles.values()
    if values.size:
        return _to_float32(values), "stored as float64", ""
    values = floats.values()
    if values.size or raw[0] == raw[1]:
        return values.astype(np.float32, copy=False), "", ""
    code = _RAW_DTYPES.get(raw_type)
    empty = np.zeros(0, np.float32)
    if code is None:
        return empty, "", f"its raw data have type {raw_type}, which holds no weights"
    size = np.dtype(code).itemsize
    if (raw[1] - raw[0]) % size:
        return empty, "", f"its raw data are no whole number of {_RAW_NAMES[raw_type]} values"
    stored = np.frombuffer(buffer, code, (raw[1] - raw[0]) // size, raw[0])
    return _to_float32(stored), f"stored as {_RAW_NAMES[raw_type]}", ""


def _to_float32(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float32)


def _int32(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - 2**32 if value >= 2**31 else value


def _short(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"

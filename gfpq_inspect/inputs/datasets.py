"""Data sets as other tools keep them: MNIST's idx files, HDF5 and LMDB as Caffe's data layers read them."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError, MissingExtraError
from gfpq_inspect.inputs.arrays import check_dtype, check_file
from gfpq_inspect.models.caffe import wire
from gfpq_inspect.models.caffe.wire import WireError

Array = NDArray[Any]
HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
_GZIP_MAGIC = b"\x1f\x8b"
_IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PIECE_BYTES = 1 << 24
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOAT_DATA, _ENCODED = range(1, 8)


# ------------------------------------------------------------------------------------------------ idx
@dataclass(frozen=True)
class IdxFile:
    """An idx file (MNIST's format: magic, big-endian dimensions, values), plain or gzipped.

    Attributes:
        path: The file as the user gave it.
        shape: As its header says.
        dtype: As its header says.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str | None = None

    @property
    def where(self) -> str:
        """See `StoredArray`."""
        return str(self.path)

    def rows(self) -> Iterator[Array]:
        """See `StoredArray`."""
        row_shape = self.shape[1:]
        row_bytes = int(np.prod(row_shape)) * self.dtype.itemsize
        rows_a_piece = max(1, _PIECE_BYTES // max(1, row_bytes))
        try:
            with _open_idx(self.path) as stream:
                stream.read(4 + 4 * len(self.shape))
                for start in range(0, self.shape[0], rows_a_piece):
                    count = min(rows_a_piece, self.shape[0] - start)
                    data = stream.read(count * row_bytes)
                    if len(data) < count * row_bytes:
                        raise EOFError("it ends before the last sample")
                    yield from np.frombuffer(data, self.dtype).reshape(count, *row_shape)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self.path}: is no readable idx file ({error}); fetch the file again") from error


def is_idx(path: Path) -> bool:
    """Whether a file begins like an idx file, plain or gzipped."""
    try:
        with _open_idx(path) as stream:
            magic = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _IDX_TYPES and 1 <= magic[3] <= 8


def idx_array(path: Path) -> IdxFile:
    """Read the header of an idx file.

    Raises:
        InputError: Cut short.
    """
    try:
        with _open_idx(path) as stream:
            magic = stream.read(4)
            shape = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: is no readable idx file ({error}); fetch the file again") from error
    return IdxFile(path, tuple(shape), np.dtype(_IDX_TYPES[magic[2]]))


def _open_idx(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path)) if zipped else path.open("rb")


# ------------------------------------------------------------------------------------------------ HDF5
@dataclass(frozen=True)
class Hdf5Array:
    """A dataset of an HDF5 file, as Caffe's HDF5Data layer reads them: one a blob, samples along axis 0."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def where(self) -> str:
        """See `StoredArray`."""
        return f"{self.path}: dataset '{self.name}'"

    def rows(self) -> Iterator[Array]:
        """See `StoredArray`."""
        try:
            with _hdf5().File(self.path, "r") as file:
                dataset = file[self.name]
                if not self.shape:
                    yield np.asarray(dataset[()])
                    return
                row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
                step = max(1, _PIECE_BYTES // max(1, row_bytes))
                for start in range(0, self.shape[0], step):
                    yield from np.asarray(dataset[start : start + step])
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise _bad_hdf5(self.path, error) from error


def hdf5_arrays(path: Path) -> list[Hdf5Array]:
    """List the datasets at the top of an HDF5 file.

    Raises:
        InputError: No HDF5 file, or no dataset in it.
        MissingExtraError: h5py is not installed.
    """
    check_file(path)
    h5py = _hdf5()
    try:
        with h5py.File(path, "r") as file:
            found = [
                Hdf5Array(path, name, tuple(item.shape), np.dtype(item.dtype))
                for name, item in file.items()
                if isinstance(item, h5py.Dataset) and item.shape is not None
            ]
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise _bad_hdf5(path, error) from error
    if not found:
        raise InputError(f"{path}: holds no dataset at its top; Caffe keeps one a blob there, named after it")
    for array in found:
        check_dtype(array.dtype, array.where)
    return found


def _hdf5() -> ModuleType:
    try:
        import h5py  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError("reading HDF5 files", "hdf5") from error
    return h5py  # type: ignore[no-any-return]  # h5py comes without types


def _bad_hdf5(path: Path, error: Exception) -> InputError:
    reason = str(error).split("\n", maxsplit=1)[0]
    return InputError(f"{path}: is no readable HDF5 file ({reason}); make the file again")


# ------------------------------------------------------------------------------------------------ LMDB
@dataclass(frozen=True)
class Datum:
    """One record of a Caffe data set.

    Attributes:
        pixels: [C, H, W], uint8 or float32; None when the record holds an encoded image.
        encoded: Bytes of an encoded image, or None.
        label: As stored.
    """

    pixels: Array | None
    encoded: bytes | None
    label: int


@dataclass(frozen=True)
class LmdbSet:
    """A Caffe LMDB: records in key order.

    Attributes:
        path: The folder, or the data file.
        keys: One a record, as text.
    """

    path: Path
    keys: tuple[str, ...]

    def records(self) -> Iterator[Datum]:
        """Give all records in key order.

        Raises:
            InputError: A record that is no Datum.
        """
        lmdb = _lmdb()
        try:
            with _environment(self.path) as environment, environment.begin() as transaction:
                for key, value in transaction.cursor():
                    yield parse_datum(bytes(value), f"{self.path}: record '{key.decode(errors='replace')}'")
        except lmdb.Error as error:
            raise InputError(f"{self.path}: is no readable LMDB ({error}); make it again") from error


def is_lmdb(path: Path) -> bool:
    """Whether a path is a folder with an LMDB in it, or its data file."""
    return (path / "data.mdb").is_file() or (path.suffix == ".mdb" and path.is_file())


def lmdb_set(path: Path) -> LmdbSet:
    """Open a Caffe LMDB and read its keys.

    Raises:
        InputError: No LMDB, or an empty one.
        MissingExtraError: lmdb is not installed.
    """
    lmdb = _lmdb()
    try:
        with _environment(path) as environment, environment.begin() as transaction:
            keys = tuple(
                bytes(key).decode(errors="replace") for key in transaction.cursor().iternext(keys=True, values=False)
            )
    except lmdb.Error as error:
        raise InputError(f"{path}: is no readable LMDB ({error}); make it again") from error
    if not keys:
        raise InputError(f"{path}: holds no record; make the data set again")
    return LmdbSet(path, keys)


def parse_datum(raw: bytes, where: str) -> Datum:
    """Read a Datum message.

    Args:
        raw: The record.
        where: For messages.

    Raises:
        InputError: The bytes are no Datum, or their count disagrees with its dimensions.
    """
    numbers: dict[int, int] = {}
    data = b""
    floats: list[bytes] = []
    try:
        for item in wire.fields(raw, 0, len(raw)):
            if item.wire == wire.VARINT:
                numbers[item.number] = item.value
            elif item.number == _DATA:
                data = raw[item.start : item.end]
            elif item.number == _FLOAT_DATA:
                floats.append(raw[item.start : item.end])
    except WireError as error:
        raise InputError(f"{where}: is no Datum ({error}); make the data set again") from error
    label = numbers.get(_LABEL, 0)
    if numbers.get(_ENCODED):
        return Datum(None, data, label)
    shape = tuple(numbers.get(number, 0) for number in (_CHANNELS, _HEIGHT, _WIDTH))
    joined = b"".join(floats)
    values: Array = np.frombuffer(data, np.uint8) if data else np.frombuffer(joined[: len(joined) // 4 * 4], "<f4")
    if values.size == 0 or values.size != int(np.prod(shape, dtype=np.int64)):
        said = " x ".join(map(str, shape))
        raise InputError(f"{where}: holds {values.size} values, its dimensions say {said}; make the data set again")
    return Datum(values.reshape(shape), None, label)


def datum_stream(datum: Datum) -> io.BytesIO:
    """The encoded image of a record as a file."""
    return io.BytesIO(datum.encoded or b"")


def _environment(path: Path) -> Any:
    subfolder = path.is_dir()
    return _lmdb().open(str(path), readonly=True, lock=False, create=False, subdir=subfolder, readahead=False)


def _lmdb() -> ModuleType:
    try:
        import lmdb  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingExtraError("reading LMDB data sets", "lmdb") from error
    return lmdb

"""NumPy files as samples: .npy memory mapped, .npz read in pieces; both without ever unpickling."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError

Array = NDArray[Any]
_READ_ERRORS = (
    OSError, ValueError, EOFError, OverflowError, MemoryError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, SyntaxError, tokenize.TokenError,  # NumPy reads headers as Python
)  # fmt: skip
_PIECE_BYTES = 1 << 24


class StoredArray(Protocol):
    """An array whose shape and type are known and whose values are read row by row."""

    @property
    def where(self) -> str:
        """For messages: the file, and the array in it."""
        ...

    @property
    def name(self) -> str | None:
        """Its name among the arrays of one file; None where a file holds one array without a name."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """As stored."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """As stored: a boolean, integer or floating type."""
        ...

    def rows(self) -> Iterator[Array]:
        """Give the rows (slices along axis 0) in order; a scalar is one row.

        Raises:
            InputError: The values cannot be read.
        """
        ...


@dataclass(frozen=True)
class MemoryArray:
    """An array of the caller's: a plain one, a memory map."""

    values: Array
    where: str
    name: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """See `StoredArray`."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """See `StoredArray`."""
        return self.values.dtype

    def rows(self) -> Iterator[Array]:
        """See `StoredArray`."""
        yield from self.values if self.values.ndim else [self.values]


@dataclass(frozen=True)
class NumpyFile:
    """An array in an .npy or .npz file, its header read, its values not.

    Attributes:
        path: The file as the user gave it.
        name: Array name in an .npz, or None for an .npy.
        shape: As stored.
        dtype: As stored: a boolean, integer or floating type.
        fortran: Stored column by column.
    """

    path: Path
    name: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def where(self) -> str:
        """For messages: the file, and the array in it."""
        return str(self.path) if self.name is None else f"{self.path}: array '{self.name}'"

    def rows(self) -> Iterator[Array]:
        """Give the rows (slices along axis 0) in order; a scalar is one row.

        Raises:
            InputError: The file cannot be read or is shorter than its header says.
        """
        try:
            if self.name is None:
                mapped: Array = np.load(self.path, mmap_mode="r", allow_pickle=False)
                yield from mapped if mapped.ndim else [np.asarray(mapped)]
            else:
                yield from self._member_rows()
        except _READ_ERRORS as error:
            raise _unreadable(self.path, error) from error

    def _member_rows(self) -> Iterator[Array]:
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as stream:
            if self.fortran or not self.shape:
                whole: Array = np.lib.format.read_array(stream, allow_pickle=False)
                yield from whole if whole.ndim else [whole]
                return
            _read_header(stream)
            row_shape, row_count = self.shape[1:], self.shape[0]
            row_bytes = int(np.prod(row_shape)) * self.dtype.itemsize
            rows_a_piece = max(1, _PIECE_BYTES // max(1, row_bytes))
            for start in range(0, row_count, rows_a_piece):
                count = min(rows_a_piece, row_count - start)
                data = stream.read(count * row_bytes)
                if len(data) < count * row_bytes:
                    raise EOFError("the array is cut short")
                yield from np.frombuffer(data, self.dtype).reshape(count, *row_shape)


def numpy_arrays(path: Path) -> list[NumpyFile]:
    """Read the headers of an .npy or .npz file.

    Args:
        path: The file.

    Returns:
        One array for .npy; for .npz all, in the file's order.

    Raises:
        InputError: Missing, empty or damaged, no array in it, or an array of objects or text.
    """
    check_file(path)
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as stream:
                arrays = [_stored(path, None, stream)]
            # The map is the cheapest proof that the file is as long as its header says.
            np.load(path, mmap_mode="r", allow_pickle=False)
            return arrays
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = []
            for name in members:
                with archive.open(name) as stream:
                    arrays.append(_stored(path, name.removesuffix(".npy"), stream))
    except _READ_ERRORS as error:
        raise _unreadable(path, error) from error
    if not arrays:
        raise InputError(f"{path}: holds no array; save arrays with numpy.savez under the names of the inputs")
    return arrays


def check_file(path: Path) -> None:
    """Refuse what cannot hold data.

    Raises:
        InputError: Missing, not a file, unreadable or empty.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: there is no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: is not a file; give a file, a folder of images or a pattern")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty; make the file again")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error


def check_dtype(dtype: np.dtype[Any], where: str) -> None:
    """Refuse what is no array of numbers.

    Raises:
        InputError: Objects, text, complex numbers, dates.
    """
    if dtype.hasobject:
        raise InputError(f"{where}: holds Python objects, which are never loaded; save it as an array of numbers")
    if dtype.kind not in "biuf":
        raise InputError(f"{where}: holds values of type {dtype}, not numbers; save it as float32 or uint8")


def _stored(path: Path, name: str | None, stream: IO[bytes]) -> NumpyFile:
    shape, fortran, dtype = _read_header(stream)
    stored = NumpyFile(path, name, shape, dtype, fortran)
    check_dtype(dtype, stored.where)
    return stored


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"array format {version[0]}.{version[1]} is only used for structured types")


def _unreadable(path: Path, error: BaseException) -> InputError:
    kind = "NumPy array file" if path.suffix.lower() == ".npy" else "NumPy archive"
    reason = getattr(error, "strerror", None) or str(error).split("\n", maxsplit=1)[0] or type(error).__name__
    return InputError(f"{path}: is no readable {kind} ({reason}); make the file again with numpy.save or numpy.savez")

"""Values written one a line: hexadecimal fixed point and codes, and floats, with the place of what cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError

FRACTION_STEPS = 4096
"""20.12 fixed point: 12 fraction bits."""

HIGHEST = (2**31 - 1) / FRACTION_STEPS
"""The largest magnitude that 20.12 holds, 524 287.9998."""

MOST_BYTES = 2 << 30
"""Larger text files are refused: NumPy's are memory mapped."""

_DIGITS = np.full(256, 255, np.uint8)
for _position, _digit in enumerate(b"0123456789abcdef"):
    _DIGITS[_digit] = _position
for _position, _digit in enumerate(b"ABCDEF"):
    _DIGITS[_digit] = 10 + _position

_ODD_FLOATS = {
    rb"^[+-]?1\.#(?:ind|qnan|snan)\d*$": "nan",
    rb"^1\.#inf\d*$": "inf",
    rb"^\+1\.#inf\d*$": "inf",
    rb"^-1\.#inf\d*$": "-inf",
    rb"^[+-]nan(\(.*\))?$": "nan",
    rb"^nan\(.*\)$": "nan",
}
"""What C libraries print for values that are not finite, as a pattern, and how Python reads it."""


def read_words(path: Path) -> list[bytes]:
    """All words of a text file.

    Raises:
        InputError: It cannot be read, is empty, or is larger than text should be.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: holds {size} bytes of text; save tensors of this size as .npy")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    if not data.strip():
        raise InputError(f"{path}: is empty; dump the layer again")
    if b"\0" in data[:4096]:
        raise InputError(
            f"{path} (byte {data.index(0)}): is binary, its name says text; dump it again as text or as .npy"
        )
    return data.split()


def read_floats(path: Path) -> NDArray[np.float32]:
    """Floats, separated by white space.

    Returns:
        float32 [values]; NaN and infinities as they were written.

    Raises:
        InputError: A word that is no number, with its line; see `read_words`.
    """
    words = read_words(path)
    try:
        values = np.array(words).astype(np.float64)
    except ValueError:
        values = np.array([_float_of(path, words, index) for index in range(len(words))])
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _float_of(path: Path, words: list[bytes], index: int) -> float:
    word = words[index].rstrip(b",;")
    try:
        return float(word)
    except ValueError:
        for pattern, text in _ODD_FLOATS.items():
            if re.match(pattern, word.lower()):
                return float(text)
    raise _unreadable(path, index, words[index], "a number")


def read_fixed_point(path: Path) -> NDArray[np.float32]:
    """Hexadecimal two's complement of 32 bits with 12 fraction bits: value / 4096.

    Returns:
        float32 [values].

    Raises:
        InputError: A word that is no such number, with its line; see `read_words`.
    """
    numbers = _hexadecimal(path, read_words(path), 8).astype(np.uint32).view(np.int32)
    return (numbers / FRACTION_STEPS).astype(np.float32)


def read_codes(path: Path) -> NDArray[Any]:
    """GFPQ codes: two digits at 8 bit, four at 16 bit.

    Returns:
        uint8 or uint16 [values].

    Raises:
        InputError: A word of another length, with its line; see `read_words`.
    """
    words = [word[2:] if word[:2] in (b"0x", b"0X") else word for word in read_words(path)]
    digits = len(words[0])
    if digits not in (2, 4):
        raise _unreadable(path, 0, words[0], "a code of 2 (8 bit) or 4 (16 bit) hexadecimal digits")
    if set(map(len, words)) != {digits}:
        wrong = next(index for index, word in enumerate(words) if len(word) != digits)
        raise _unreadable(path, wrong, words[wrong], f"a code of {digits} hexadecimal digits, as the first line is")
    return _hexadecimal(path, words, digits).astype(np.uint8 if digits == 2 else np.uint16)


def _hexadecimal(path: Path, words: list[bytes], digits: int) -> NDArray[np.uint64]:
    """Words as numbers; shorter ones have leading zeros left out."""
    if set(map(len, words)) == {digits}:
        padded = words
    else:
        bare = [word[2:] if word[:2] in (b"0x", b"0X") else word for word in words]
        wrong = next((index for index, word in enumerate(bare) if not 0 < len(word) <= digits), None)
        if wrong is not None:
            raise _unreadable(path, wrong, words[wrong], f"a hexadecimal number of up to {digits} digits")
        padded = [word.rjust(digits, b"0") for word in bare]
    nibbles = _DIGITS[np.frombuffer(b"".join(padded), np.uint8)].reshape(-1, digits)
    bad = (nibbles > 15).any(axis=1)
    if bad.any():
        wrong = int(bad.argmax())
        raise _unreadable(path, wrong, words[wrong], "a hexadecimal number")
    numbers: NDArray[np.uint64] = np.zeros(len(nibbles), np.uint64)
    for column in range(digits):
        numbers = (numbers << np.uint64(4)) | nibbles[:, column]
    return numbers


def _unreadable(path: Path, index: int, word: bytes, wanted: str) -> InputError:
    """Name the line of the `index`-th word."""
    seen = 0
    line = 1
    with path.open("rb") as stream:
        for line, text in enumerate(stream, 1):  # noqa: B007  (its last value is the answer)
            seen += len(text.split())
            if seen > index:
                break
    shown = word[:24].decode("latin-1") + ("..." if len(word) > 24 else "")
    return InputError(
        f"{path}:{line}: '{shown}' is not {wanted}; the file is damaged or of another kind: dump it again"
    )

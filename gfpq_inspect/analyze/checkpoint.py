"""A run that goes on after Ctrl-C, a crash or a full disk: what was pooled so far, kept beside the output.

The file is written whole or not at all, every few seconds. It holds sums and decisions, no tensors, so its size hardly
grows with the samples. It belongs to one run: networks, data and options are part of its key.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfpq_inspect.errors import InputError, OutputError, UsageError
from gfpq_inspect.files import write_atomically

FORMAT, VERSION = "gfpq-inspect checkpoint", 1
SHORTEST_PAUSE_S = 2.0
LARGEST_SHARE = 0.02
"""Of the run's time that writing may take."""

State = dict[str, Any]
"""Nested mappings and lists of plain values and NumPy arrays."""


class Checkpoint:
    """What a run keeps of itself.

    Args:
        path: The file.
        key: Part of the run (a network, the data, an option) to its hash or value.
        resume: Whether to go on from the file, where it exists; else it is written anew.
        tell: Told in a sentence when the file could not be written; the run goes on.

    Raises:
        UsageError: The file is of another run; says what differs.
        InputError: It is damaged.
    """

    def __init__(self, path: Path, key: Mapping[str, str], *, resume: bool, tell: Callable[[str], None]) -> None:
        self.path = path
        self._key = dict(key)
        self._tell = tell
        self._told = False
        self._written_s = time.perf_counter()
        self._pause_s = SHORTEST_PAUSE_S
        self.state: State | None = self._read() if resume and path.exists() else None

    def _read(self) -> State:
        found = read_state(self.path)
        stored = found.get("key")
        if not isinstance(stored, dict) or not isinstance(found.get("state"), dict):
            raise _damaged(self.path, "it lacks its key")
        differing = [
            _difference(name, stored.get(name), self._key.get(name))
            for name in {**stored, **self._key}
            if stored.get(name) != self._key.get(name)
        ]
        if differing:
            raise UsageError(
                f"{self.path}: is of another run: {'; '.join(differing)}. Give the options of that run, or --force "
                "without --resume to start anew."
            )
        state: State = found["state"]
        return state

    def offer(self, make: Callable[[], State]) -> None:
        """Write the state, unless that was done a moment ago.

        Args:
            make: Gives the state.
        """
        if time.perf_counter() - self._written_s >= self._pause_s:
            self.save(make)

    def save(self, make: Callable[[], State]) -> None:
        """Write the state now. A disk that refuses costs the checkpoint, not the run: the one before stays."""
        begin = time.perf_counter()
        try:
            content = pack_state({"key": self._key, "state": make()})
            write_atomically(self.path, content, overwrite=True)
        except OutputError as error:
            if not self._told:
                self._tell(f"The checkpoint could not be written, the run goes on without it: {error}")
            self._told = True
        self._written_s = time.perf_counter()
        self._pause_s = max(SHORTEST_PAUSE_S, (self._written_s - begin) / LARGEST_SHARE)


def _difference(name: str, before: object, now: object) -> str:
    if before is None or now is None:
        return f"{name} {'is new' if before is None else 'is gone'}"
    shown = (str(before), str(now))
    if any(len(text) > 40 for text in shown):
        return f"{name} has changed"
    return f"{name} was {shown[0]} and is {shown[1]}"


def pack_state(state: State) -> bytes:
    """Write a state as a zip archive: JSON, and an array a member."""
    arrays: list[np.ndarray[Any, Any]] = []
    document = {"format": FORMAT, "version": VERSION, "state": _without_arrays(state, arrays)}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(zipfile.ZipInfo("state.json"), json.dumps(document), zipfile.ZIP_DEFLATED, 1)
        for index, array in enumerate(arrays):
            with archive.open(zipfile.ZipInfo(f"{index}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def read_state(path: Path) -> State:
    """Read what `pack_state` wrote.

    Raises:
        InputError: It cannot be read, is damaged, or of another version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            document = json.loads(archive.read("state.json"))
            count = len(archive.namelist()) - 1
            arrays = [
                np.lib.format.read_array(io.BytesIO(archive.read(f"{index}.npy")), allow_pickle=False)
                for index in range(count)
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("version") != VERSION:
        raise _damaged(path, "it was written by another version")
    try:
        state: State = _with_arrays(document["state"], arrays)
    except (KeyError, IndexError, TypeError) as error:
        raise _damaged(path, type(error).__name__) from error
    return state


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: is no checkpoint that can be used ({reason}); --force without --resume starts anew")


def _without_arrays(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"$array": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {str(key): _without_arrays(entry, arrays) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry, arrays) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def _with_arrays(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, dict):
        if set(value) == {"$array"}:
            return arrays[value["$array"]]
        return {key: _with_arrays(entry, arrays) for key, entry in value.items()}
    return [_with_arrays(entry, arrays) for entry in value] if isinstance(value, list) else value

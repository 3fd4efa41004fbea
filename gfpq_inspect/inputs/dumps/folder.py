"""Opens a dump: finds its files, tells samples from layers, reads every value once."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gfpq_inspect.errors import GfpqError, InputError
from gfpq_inspect.inputs.arrays import check_dtype, numpy_arrays
from gfpq_inspect.inputs.dumps.dump import Dump, DumpTensor, StoredTensor
from gfpq_inspect.inputs.dumps.names import Encoding, FileName, Role, parse_file_name, parse_stem
from gfpq_inspect.inputs.dumps.store import ValueStore
from gfpq_inspect.inputs.dumps.text import read_codes, read_fixed_point, read_floats

MAPPER_FOLDERS = ("mapper_quant", "inst_layer_output_linear", "func_layer_output_linear", "caffe", "layer_output")
"""Sub-folders in which the vendor's tools put their dumps."""

MOST_FILES = 200_000
MOST_HASHES = 64
_MODEL_SUFFIXES = (".caffemodel", ".prototxt", ".onnx", ".wk")
_ARCHIVE = ".npz"


@dataclass(frozen=True)
class _Found:
    """A tensor of one sample, found but not read: a file, or an array in an .npz."""

    path: Path
    array: str | None
    file_name: FileName

    @property
    def key(self) -> tuple[str, Role, int]:
        said = self.file_name
        layer = said.layer if said.place is None else f"seg{said.place[0]}_layer{said.place[1]}"
        return layer, said.role, said.port

    @property
    def where(self) -> str:
        return self.path.name if self.array is None else f"{self.path.name}: array '{self.array}'"


def is_dump(path: Path) -> bool:
    """Whether a path, in place of a network, names a dump: a folder, or an .npz or .npy file."""
    return path.is_dir() or path.suffix.lower() in (_ARCHIVE, ".npy")


def open_dump(path: Path, store: ValueStore | None = None) -> Dump:
    """Read a dump.

    Args:
        path: A folder of tensors; a folder with a sub-folder (or an .npz) a sample; an .npz by layer name.
        store: Where values are kept.

    Raises:
        InputError: Nothing there, no tensor in it, the same tensor twice, or nothing that can be read.
    """
    store = store or ValueStore()
    if not path.exists():
        raise InputError(f"{path}: there is no such folder or file; check the path")
    notes: list[str] = []
    folder, others = path, list[str]()
    if path.is_dir():
        folder = _descend(path, notes)
        samples = _samples_of(folder, others, notes)
    else:
        samples = {"": [*_in_file(path)]}
    if not any(samples.values()):
        raise InputError(_nothing_found(path, others))
    tensors = [*_tensors(samples, store)]
    wanted = [entry for entry in tensors if entry.file_name.role is not Role.PARAMETER]
    if not wanted:
        raise InputError(f"{path}: holds parameters of layers only, no output of any; name the folder of the outputs")
    if all(entry.problem for entry in wanted):
        raise InputError(f"{path}: no tensor in it can be used: {wanted[0].problem}")
    tools = Counter(found.file_name.tool for entries in samples.values() for found in entries)
    return Dump(
        path=str(path),
        name=path.resolve().name,
        tensors=tuple(tensors),
        samples=tuple(samples),
        tools=tuple(tool for tool, _ in tools.most_common()),
        other_files=tuple(sorted(set(others))),
        sha256=_hashes(folder if path.is_dir() else path.parent, samples),
        notes=tuple(notes),
    )


def _nothing_found(path: Path, others: Sequence[str]) -> str:
    networks = [name for name in others if name.lower().endswith(_MODEL_SUFFIXES)]
    if networks:
        return f"{path}: is a folder without tensors; it holds {networks[0]}: name that file to compare the network"
    kinds = ".npy, .npz, .linear.hex, .linear.float, .hex, .float or .txt"
    held = f"it holds {', '.join(others[:4])}" if others else "it is empty"
    return f"{path}: holds no tensors ({kinds}), {held}; name the folder that the layers were dumped to"


def _descend(path: Path, notes: list[str]) -> Path:
    """The vendor's tools dump to a sub-folder of the project; go there where it is the only one."""
    known = [path / name for name in MAPPER_FOLDERS if (path / name).is_dir()]
    if len(known) == 1 and not any(_is_tensor_file(entry) for entry in path.iterdir()):
        notes.append(f"The tensors were read from the sub-folder {known[0].name}.")
        return known[0]
    if len(known) > 1 and not any(_is_tensor_file(entry) for entry in path.iterdir()):
        names = ", ".join(entry.name for entry in known)
        raise InputError(f"{path}: holds several dumps ({names}); name one of these folders")
    return path


def _is_tensor_file(path: Path) -> bool:
    return path.is_file() and (path.suffix.lower() == _ARCHIVE or parse_file_name(path.name) is not None)


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts 'a2' before 'a10'."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part[:18]), part) if part.isdigit() and part.isascii() else (1, 0, part) for part in parts)


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders of a folder, in natural order, hidden ones left out."""
    try:
        with os.scandir(folder) as found:
            entries = [(Path(entry.path), entry.is_dir()) for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}; check its permissions") from error
    if len(entries) > MOST_FILES:
        raise InputError(f"{folder}: holds {len(entries)} files, more than {MOST_FILES}; name the folder of one dump")
    entries.sort(key=lambda entry: natural(entry[0].name))
    return [path for path, is_folder in entries if not is_folder], [path for path, is_folder in entries if is_folder]


def _samples_of(folder: Path, others: list[str], notes: list[str]) -> dict[str, list[_Found]]:
    """What each sample has: the folder itself, each sub-folder, or each .npz where they hold the same arrays."""
    files, folders = _listing(folder)
    here = [found for path in files for found in _in_file(path) if path.suffix.lower() != _ARCHIVE]
    archives = {path: [*_in_file(path)] for path in files if path.suffix.lower() == _ARCHIVE}
    others += [path.name for path in files if not _is_tensor_file(path)]
    per_archive = _are_samples(archives.values())
    if per_archive and not here:
        return {path.stem: found for path, found in archives.items()}
    here += [found for entries in archives.values() for found in entries]
    if here:
        ignored = [path.name for path in folders]
        if ignored:
            notes.append(f"Sub-folders were not looked at: {', '.join(ignored[:4])}.")
        return {"": here}
    below = {}
    for path in folders:
        inner: list[str] = []
        target = _descend(path, [])
        inner_files, _ = _listing(target)
        found = [entry for file in inner_files for entry in _in_file(file)]
        inner += [file.name for file in inner_files if not _is_tensor_file(file)]
        others += inner
        if found:
            below[path.name] = found
    if len(below) > 1 and not _are_samples(below.values()):
        names = ", ".join(list(below)[:4])
        raise InputError(
            f"{folder}: its sub-folders ({names}) share no tensors, so they are no samples; name one of them"
        )
    return below or {"": []}


def _are_samples(parts: Iterable[Sequence[_Found]]) -> bool:
    """Whether parts hold the same tensors, at least half of the first's."""
    keys = [{found.key for found in part} for part in parts]
    if len(keys) < 2:
        return False
    return all(2 * len(keys[0] & other) >= max(len(keys[0]), len(other)) > 0 for other in keys[1:])


def _in_file(path: Path) -> Iterable[_Found]:
    """The tensors that one file holds."""
    if path.suffix.lower() == _ARCHIVE:
        for array in numpy_arrays(path):
            name = str(array.name)
            stem = path.stem if name == "arr_0" else name
            yield _Found(path, name, parse_stem(stem, Encoding.NUMPY, "numpy"))
        return
    said = parse_file_name(path.name)
    if said is not None:
        yield _Found(path, None, said)


_PREFERRED = (Encoding.NUMPY, Encoding.FLOAT_TEXT, Encoding.FIXED_POINT, Encoding.CODES)


def _one_each(found: Sequence[_Found]) -> dict[tuple[str, Role, int], _Found]:
    """One file a tensor: dequantized values before codes; two of a kind are refused."""
    chosen: dict[tuple[str, Role, int], _Found] = {}
    for entry in found:
        known = chosen.get(entry.key)
        if known is None:
            chosen[entry.key] = entry
            continue
        codes = [one.file_name.encoding is Encoding.CODES for one in (known, entry)]
        if codes[0] == codes[1] and entry.file_name.role is not Role.PARAMETER:
            raise InputError(
                f"{known.where} and {entry.where} hold the same tensor ('{entry.key[0]}', {entry.key[1]} "
                f"{entry.key[2]}); keep one of them, or put the two dumps into folders of their own"
            )
        if codes[0] and not codes[1]:
            chosen[entry.key] = entry
    return chosen


def _code_widths(found: Sequence[_Found]) -> dict[tuple[str, Role, int], int]:
    """Bits of GFPQ codes by their number of digits."""
    widths = {}
    for entry in found:
        if entry.file_name.encoding is Encoding.CODES and entry.file_name.role is not Role.PARAMETER:
            try:
                with entry.path.open("rb") as stream:
                    word = stream.read(64).split()
            except OSError:
                continue
            digits = len(word[0].removeprefix(b"0x")) if word else 0
            if digits in (2, 4):
                widths[entry.key] = 4 * digits
    return widths


def _tensors(samples: Mapping[str, Sequence[_Found]], store: ValueStore) -> Iterable[DumpTensor]:
    by_sample = [_one_each(found) for found in samples.values()]
    widths = [_code_widths(found) for found in samples.values()]
    every = {key: entry for entries in reversed(by_sample) for key, entry in entries.items()}
    for key in sorted(every, key=lambda key: (natural(key[0]), key[1] != Role.OUTPUT, key[2])):
        said = every[key].file_name
        if said.role is Role.PARAMETER:
            weight = said.port == 0 and said.encoding is Encoding.FLOAT_TEXT
            one = _read(every[key], store) if weight else StoredTensor(every[key].where, None)
            yield DumpTensor(f"{key[0]} ({every[key].path.name})", said, (one,))
            continue
        plain = said.tool == "numpy" and _is_plain(every[key], key)
        name = key[0] if plain else f"{key[0]}_{key[1]}{key[2]}"
        stored = tuple(_read(entries[key], store) if key in entries else None for entries in by_sample)
        yield DumpTensor(name, said, stored, next((codes[key] for codes in widths if key in codes), None))


def _is_plain(found: _Found, key: tuple[str, Role, int]) -> bool:
    stem = found.array if found.array not in (None, "arr_0") else found.path.stem
    return stem == key[0]


def _read(found: _Found, store: ValueStore) -> StoredTensor:
    """Values of one tensor, or why there are none."""
    try:
        match found.file_name.encoding:
            case Encoding.NUMPY:
                return StoredTensor(found.where, store.keep(_read_numpy(found)))
            case Encoding.FLOAT_TEXT:
                return StoredTensor(found.where, store.keep(read_floats(found.path)))
            case Encoding.FIXED_POINT:
                return StoredTensor(found.where, store.keep(read_fixed_point(found.path)))
            case Encoding.CODES:
                return StoredTensor(found.where, store.keep(read_codes(found.path)))
    except GfpqError as error:
        told = str(error).replace(str(found.path), found.path.name)
        return StoredTensor(found.where, None, told)


def _read_numpy(found: _Found) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    array = next(entry for entry in numpy_arrays(found.path) if entry.name == found.array)
    check_dtype(array.dtype, found.where)
    if 0 in array.shape:
        raise InputError(f"{found.where}: holds no value (shape {array.shape}); dump the layer again")
    if found.array is None:
        mapped = np.load(found.path, mmap_mode="r", allow_pickle=False)
        return mapped if mapped.dtype == np.float32 else np.asarray(mapped).astype(np.float32)
    rows = list(array.rows())
    whole = np.stack(rows) if array.shape else np.asarray(rows[0])
    return whole.astype(np.float32, copy=False)


def _hashes(root: Path, samples: Mapping[str, Sequence[_Found]]) -> dict[str, str]:
    """SHA-256 of every file; of many, one hash of all names and hashes."""
    paths = sorted({found.path for entries in samples.values() for found in entries})
    hashes = {}
    for path in paths:
        try:
            with path.open("rb") as stream:
                hashes[path.relative_to(root).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    if len(hashes) <= MOST_HASHES:
        return hashes
    together = "".join(f"{name} {digest}\n" for name, digest in hashes.items())
    return {f"all {len(hashes)} files": hashlib.sha256(together.encode()).hexdigest()}

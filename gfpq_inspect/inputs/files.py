"""Finding files: a file, a folder, a pattern or a list becomes files in a stated order with names for people."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import check_file
from gfpq_inspect.inputs.datasets import HDF5_SUFFIXES, is_lmdb
from gfpq_inspect.inputs.frames import FRAME_FORMATS
from gfpq_inspect.inputs.images import image_suffixes

NUMPY_SUFFIXES = (".npy", ".npz")
LIST_SUFFIXES = (".txt", ".lst", ".list")


@dataclass(frozen=True)
class Item:
    """A file that was found, with its name for people and what its list said of it."""

    path: Path
    name: str
    label: str | None = None


def find_items(specification: str) -> tuple[tuple[Item, ...], str]:
    """Find the files of a specification.

    Args:
        specification: A file, a folder (images in it and below, by name), a pattern, or a list file (one path a line).

    Returns:
        The files, and a few words that describe them.

    Raises:
        InputError: Nothing there.
    """
    path = Path(specification)
    if is_lmdb(path):
        return (Item(path, path.name),), path.name
    if path.is_dir():
        return _folder(path), f"{path.resolve().name}/"
    if glob.has_magic(specification) and not path.exists():
        found = sorted(Path(name) for name in glob.glob(specification, recursive=True))  # noqa: PTH207 (whole path is a pattern)
        files = [name for name in found if name.is_file()]
        if not files:
            raise InputError(f"{specification}: no file fits this pattern; check the folder and quote the pattern")
        return _named(files), "/".join(Path(specification).parts[-2:])
    check_file(path)
    if path.suffix.lower() in LIST_SUFFIXES:
        return _list_file(path), path.name
    return (Item(path, path.name),), path.name


def _folder(folder: Path) -> tuple[Item, ...]:
    """The images of a folder and of those below it; where there are none its raw frames, else its arrays."""
    kinds = (image_suffixes() - set(FRAME_FORMATS), frozenset(FRAME_FORMATS), frozenset(NUMPY_SUFFIXES + HDF5_SUFFIXES))
    found: tuple[list[Path], ...] = tuple([] for _ in kinds)
    for base, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            for kind, paths in zip(kinds, found, strict=True):
                if Path(name).suffix.lower() in kind and not name.startswith("."):
                    paths.append(Path(base) / name)
    chosen = sorted(next((paths for paths in found if paths), []))
    if not chosen:
        raise InputError(f"{folder}: holds no image and no .npy or .npz file; check the folder")
    return tuple(Item(path, path.relative_to(folder).as_posix()) for path in chosen)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: cannot be read: {error.strerror}; check its permissions")


def _list_file(path: Path) -> tuple[Item, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file; a list holds one path a line") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; check its permissions") from error
    files: list[Path] = []
    labels: list[str | None] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found, label = _listed_file(path, text)
        if found is None:
            raise InputError(f"{path}:{number}: there is no file '{text}'; paths count from the list's own folder")
        files.append(found)
        labels.append(label)
    if not files:
        raise InputError(f"{path}: lists no file; write one path a line")
    named = _named(files)
    return tuple(Item(item.path, item.name, label) for item, label in zip(named, labels, strict=True))


def _listed_file(listing: Path, text: str) -> tuple[Path | None, str | None]:
    """The file of a line and the label behind it; relative paths count from the list's folder, then from here."""
    candidates: list[tuple[str, str | None]] = [(text, None)]
    if len(parts := text.rsplit(maxsplit=1)) == 2:
        candidates.append((parts[0], parts[1]))
    for name, label in candidates:
        # Lists that were made on Windows have the other slash.
        for path in (listing.parent / name, Path(name), listing.parent / name.replace("\\", "/")):
            if path.is_file():
                return path, label
    return None, None


def _named(paths: Sequence[Path]) -> tuple[Item, ...]:
    """Base names, with as many folders before them as tell different files apart."""
    depth = 1
    deepest = max(len(path.parts) for path in paths)
    distinct = len(set(paths))
    while depth < deepest and len({path.parts[-depth:] for path in paths}) < distinct:
        depth += 1
    return tuple(Item(path, "/".join(path.parts[-depth:]).lstrip("/")) for path in paths)

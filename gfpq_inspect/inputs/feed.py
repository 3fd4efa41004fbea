"""One input's samples from files: which files, in which order, under which names, fitted to the network's shape."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import StoredArray, check_file, stored_arrays
from gfpq_inspect.inputs.images import check_image, image_suffixes, read_image
from gfpq_inspect.inputs.preprocess import Preprocessing

ARRAY_SUFFIXES = (".npy", ".npz")
LIST_SUFFIXES = (".txt", ".lst", ".list")


class Feed(Protocol):
    """The samples of one network input."""

    @property
    def identities(self) -> tuple[str, ...]:
        """One name a sample."""
        ...

    @property
    def description(self) -> str:
        """Where they come from, a few words: 'test.npz', 'photographs/*.jpg'."""
        ...

    def samples(self) -> Iterator[NDArray[Any]]:
        """Give each sample in order: the input's sample shape and type, finite, preprocessed."""
        ...


@dataclass(frozen=True)
class Item:
    """A file that was found, with its name for people and what its list said of it."""

    path: Path
    name: str
    label: str | None = None


@dataclass(frozen=True)
class ArrayFeed:
    """Samples along axis 0 of one stored array."""

    array: StoredArray
    name: str
    preprocessing: Preprocessing
    description: str
    identities: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Count the samples.

        Raises:
            InputError: The array does not fit the network's input, or holds no sample.
        """
        count = self.preprocessing.sample_count(self.array)
        one = count == 1 and len(self.array.shape) < len(self.preprocessing.sample_shape)
        names = (self.name,) if one else tuple(f"{self.name}[{index}]" for index in range(count))
        object.__setattr__(self, "identities", names)

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        fitted = self.preprocessing.array_samples(self.array)
        for identity, sample in zip(self.identities, fitted, strict=True):
            yield _finite(sample, self.array.where, identity)


@dataclass(frozen=True)
class ImageFeed:
    """One sample an image, decoded when it is asked for."""

    items: tuple[Item, ...]
    preprocessing: Preprocessing
    description: str

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return tuple(item.name for item in self.items)

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        plan = self.preprocessing
        for item in self.items:
            pixels = read_image(
                item.path, channels=plan.image_channels, order=plan.channel_order, size=plan.image_size,
                resize=plan.resize,
            )  # fmt: skip
            yield _finite(plan.image_sample(pixels), str(item.path), item.name)


@dataclass(frozen=True)
class ChainedFeed:
    """Several feeds one after another."""

    feeds: tuple[Feed, ...]
    description: str

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return tuple(identity for feed in self.feeds for identity in feed.identities)

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        for feed in self.feeds:
            yield from feed.samples()


def open_feed(specification: str, preprocessing: Preprocessing) -> Feed:
    """Find the files of one specification and check all of them without decoding them.

    Args:
        specification: A file, a folder, a pattern, or a list file.
        preprocessing: Of the input that they feed.

    Raises:
        InputError: Nothing found, or a file that cannot serve; names the file and what to do.
    """
    items, description = find_items(specification)
    plain = [item for item in items if item.path.suffix.lower() not in ARRAY_SUFFIXES]
    if len(plain) == len(items):
        return _images(items, preprocessing, description)
    feeds: list[Feed] = []
    for item in items:
        if item.path.suffix.lower() in ARRAY_SUFFIXES:
            array = _chosen(stored_arrays(item.path), preprocessing.input_name)
            feeds.append(ArrayFeed(array, item.name, preprocessing, description))
        else:
            feeds.append(_images((item,), preprocessing, description))
    return feeds[0] if len(feeds) == 1 else ChainedFeed(tuple(feeds), description)


def _images(items: tuple[Item, ...], preprocessing: Preprocessing, description: str) -> ImageFeed:
    preprocessing.check_image_input(str(items[0].path))
    for item in items:
        check_image(item.path)
    return ImageFeed(items, preprocessing, description)


def _chosen(arrays: Sequence[StoredArray], name: str) -> StoredArray:
    """The array of the input's name, or the only one."""
    for array in arrays:
        if array.member in (None, name):
            return array
    if len(arrays) == 1:
        return arrays[0]
    members = ", ".join(str(array.member) for array in arrays[:12])
    raise InputError(
        f"{arrays[0].path}: holds no array named '{name}' (it holds {members}); save it under the input's name"
    )


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
    wanted = image_suffixes()
    images: list[Path] = []
    arrays: list[Path] = []
    for base, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if name.startswith(".") or suffix not in (wanted | set(ARRAY_SUFFIXES)):
                continue
            (images if suffix in wanted else arrays).append(Path(base) / name)
    found = sorted(images or arrays)
    if not found:
        raise InputError(f"{folder}: holds no image and no .npy or .npz file; check the folder")
    return tuple(Item(path, path.relative_to(folder).as_posix()) for path in found)


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
        for path in (listing.parent / name, Path(name)):
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


def _finite(sample: NDArray[Any], where: str, identity: str) -> NDArray[Any]:
    if sample.dtype.kind != "f":
        return sample
    finite = np.isfinite(sample)
    if finite.all():
        return sample
    bad = np.argwhere(~finite)
    place = ", ".join(str(index) for index in bad[0])
    raise InputError(
        f"{where}: sample '{identity}' holds {len(bad)} values that are NaN or infinite (the first at [{place}]); "
        "repair the sample or leave it out"
    )

"""One input's samples from files: which files, in which order, under which names, fitted to the network's shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.arrays import MemoryArray, StoredArray, numpy_arrays
from gfpq_inspect.inputs.datasets import (
    HDF5_SUFFIXES,
    LmdbSet,
    datum_stream,
    hdf5_arrays,
    idx_array,
    is_idx,
    is_lmdb,
    lmdb_set,
)
from gfpq_inspect.inputs.files import NUMPY_SUFFIXES, Item, find_items
from gfpq_inspect.inputs.frames import FrameFile, frame_file, is_frames
from gfpq_inspect.inputs.images import check_image, fit_image, image_suffixes, read_image
from gfpq_inspect.inputs.labels import Labels, labels_beside, labels_from_folders, labels_from_texts
from gfpq_inspect.inputs.preprocess import Preprocessing


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

    def labels(self) -> Labels | None:
        """True classes that come with the samples, or None."""
        ...


@dataclass(frozen=True)
class ArrayFeed:
    """Samples along axis 0 of one stored array."""

    array: StoredArray
    name: str
    preprocessing: Preprocessing
    description: str
    beside: Sequence[StoredArray] = ()
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
        fitted = zip(self.identities, self.preprocessing.array_samples(self.array), strict=True)
        # Small samples of an array in memory are checked together: a call for each takes longer than its work.
        in_memory = isinstance(self.array, MemoryArray)
        bytes_each = self.preprocessing.dtype.itemsize * math.prod(self.preprocessing.sample_shape)
        together = max(1, _CHECKED_AT_ONCE // max(1, bytes_each)) if in_memory else 1
        while some := list(islice(fitted, together)):
            if together == 1 or not _all_finite([sample for _, sample in some]):
                for identity, sample in some:
                    yield finite(sample, self.array.where, identity)
            else:
                yield from (sample for _, sample in some)

    def labels(self) -> Labels | None:
        """See `Feed`."""
        return labels_beside(self.beside, len(self.identities), self.name)


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
            pixels = read_image(item.path, str(item.path), plan.target)
            yield finite(plan.image_sample(pixels), str(item.path), item.name)

    def labels(self) -> Labels | None:
        """See `Feed`."""
        listed = labels_from_texts([item.label for item in self.items], self.description)
        return listed or labels_from_folders([item.name for item in self.items], self.description)


@dataclass(frozen=True)
class FrameFeed:
    """Raw frames of one file."""

    file: FrameFile
    name: str
    preprocessing: Preprocessing
    description: str

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return (self.name,) if self.file.count == 1 else tuple(f"{self.name}[{i}]" for i in range(self.file.count))

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        plan = self.preprocessing
        for frame in self.file.frames():
            yield plan.image_sample(fit_image(frame, str(self.file.path), plan.target))

    def labels(self) -> None:
        """Frames come without labels."""
        return


@dataclass(frozen=True)
class LmdbFeed:
    """Records of a Caffe LMDB; without a resize rule they are cut from the centre, as Caffe's data layers do."""

    records: LmdbSet
    preprocessing: Preprocessing
    description: str

    @property
    def identities(self) -> tuple[str, ...]:
        """See `Feed`."""
        return self.records.keys

    def samples(self) -> Iterator[NDArray[Any]]:
        """See `Feed`."""
        plan = self.preprocessing
        target = replace(plan.target, resize=plan.resize or 0)
        for key, datum in zip(self.records.keys, self.records.records(), strict=True):
            where = f"{self.records.path}: record '{key}'"
            if datum.pixels is None:
                sample = plan.image_sample(read_image(datum_stream(datum), where, target))
            else:
                sample = plan.plane_sample(datum.pixels, where)
            yield finite(sample, where, key)

    def labels(self) -> Labels | None:
        """See `Feed`."""
        return Labels(tuple(datum.label for datum in self.records.records()), self.description)


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

    def labels(self) -> Labels | None:
        """See `Feed`."""
        found = [feed.labels() for feed in self.feeds]
        known = [labels for labels in found if labels is not None and not labels.names]
        if len(known) < len(found):
            return None
        return Labels(tuple(each for labels in known for each in labels.classes), self.description)


def open_feed(specification: str, preprocessing: Preprocessing) -> Feed:
    """Find the files of one specification and check all of them without decoding them.

    Args:
        specification: A file, a folder, a pattern, or a list file; `FILE:ARRAY` is one array of an .npz or HDF5 file.
        preprocessing: Of the input that they feed.

    Raises:
        InputError: Nothing found, or a file that cannot serve; names the file and what to do.
    """
    path, array_name = _array_of(specification)
    items, description = find_items(path)
    feeds: list[Feed] = []
    for is_image, group in groupby(items, key=lambda item: reader_of(item.path) is None):
        if is_image:
            feeds.append(_images(tuple(group), preprocessing, description))
        else:
            feeds += [_single(item, preprocessing, description, array_name) for item in group]
    return feeds[0] if len(feeds) == 1 else ChainedFeed(tuple(feeds), description)


def _array_of(specification: str) -> tuple[str, str | None]:
    """Split `FILE:ARRAY`; a file of the whole name wins."""
    path, separator, name = specification.rpartition(":")
    holds_several = path.lower().endswith((".npz", *HDF5_SUFFIXES))
    if separator and name and holds_several and not Path(specification).exists():
        return path, name
    return specification, None


def reader_of(path: Path) -> str | None:
    """Which reader a file wants: 'numpy', 'hdf5', 'lmdb', 'frames', 'idx', or None for images."""
    suffix = path.suffix.lower()
    if suffix in NUMPY_SUFFIXES:
        return "numpy"
    if suffix in HDF5_SUFFIXES:
        return "hdf5"
    if is_lmdb(path):
        return "lmdb"
    if is_frames(path):
        return "frames"
    return "idx" if suffix not in image_suffixes() and is_idx(path) else None


def stored_arrays(path: Path) -> Sequence[StoredArray] | None:
    """The arrays of a file that holds arrays, else None.

    Raises:
        InputError: Such a file that cannot be read.
    """
    match reader_of(path):
        case "numpy":
            return numpy_arrays(path)
        case "hdf5":
            return hdf5_arrays(path)
        case "idx":
            return [idx_array(path)]
    return None


def _single(item: Item, preprocessing: Preprocessing, description: str, array_name: str | None) -> Feed:
    arrays = stored_arrays(item.path)
    if arrays is not None:
        array = _chosen(item.path, arrays, array_name, preprocessing.input_name)
        return ArrayFeed(array, item.name, preprocessing, description, arrays)
    preprocessing.check_image_input(str(item.path))
    if is_lmdb(item.path):
        return LmdbFeed(lmdb_set(item.path), preprocessing, description)
    height, width = preprocessing.frame_size or preprocessing.image_size
    return FrameFeed(frame_file(item.path, height, width), item.name, preprocessing, description)


def _images(items: tuple[Item, ...], preprocessing: Preprocessing, description: str) -> ImageFeed:
    preprocessing.check_image_input(str(items[0].path))
    for item in items:
        check_image(item.path)
    return ImageFeed(items, preprocessing, description)


def _chosen(path: Path, arrays: Sequence[StoredArray], said: str | None, input_name: str) -> StoredArray:
    """The array that was named, else that of the input's name, else the only one."""
    name = said or input_name
    for array in arrays:
        if array.name in (None, name):
            return array
    if len(arrays) == 1 and said is None:
        return arrays[0]
    members = ", ".join(str(array.name) for array in arrays[:12])
    raise InputError(
        f"{path}: holds no array named '{name}' (it holds {members}); save it so, or name another: {path}:ARRAY"
    )


_CHECKED_AT_ONCE = 1 << 18
"""Bytes of small samples that are looked at together."""


def _all_finite(samples: Sequence[NDArray[Any]]) -> bool:
    return samples[0].dtype.kind != "f" or bool(np.isfinite(np.concatenate(samples, axis=None)).all())


def finite(sample: NDArray[Any], where: str, identity: str) -> NDArray[Any]:
    """Give the sample back if all its values are finite.

    Raises:
        InputError: NaN or infinite values; names the sample, their count and the first one's place.
    """
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

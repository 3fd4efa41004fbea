"""Feeds of several inputs, side by side, as one source of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError, InternalError
from gfpq_inspect.inputs.arrays import check_file
from gfpq_inspect.inputs.feed import Feed, stored_arrays
from gfpq_inspect.inputs.labels import Labels, read_labels
from gfpq_inspect.inputs.options import InputOptions
from gfpq_inspect.inputs.preprocess import Preprocessing
from gfpq_inspect.inputs.source import InputFacts
from gfpq_inspect.inputs.synthetic import SyntheticFeed

MAXIMUM_IDENTITIES = 1000
_HASHED_AT_ONCE = 1 << 20
"""Bytes of a batch up to which a copy of it is hashed in one go: a call a small sample takes longer."""


class FeedSource:
    """Samples for all inputs of a network, one feed an input; a feed of one sample serves every sample.

    Implements `source.SampleSource`.

    Args:
        feeds: Input name to feed, in the network's order.
        plans: Input name to preprocessing.
        options: As given, for the record.
    """

    def __init__(self, feeds: Mapping[str, Feed], plans: Mapping[str, Preprocessing], options: InputOptions) -> None:
        self._feeds = dict(feeds)
        self._plans = dict(plans)
        self._options = options
        counts = {name: len(feed.identities) for name, feed in feeds.items()}
        most = max(counts.values())
        for name, count in counts.items():
            if count not in (1, most):
                other = next(key for key, value in counts.items() if value == most)
                raise InputError(
                    f"input '{name}' has {count} samples ({feeds[name].description}) and input '{other}' has {most} "
                    f"({feeds[other].description}); give each input as many samples, or one for all"
                )
        available = next(feed.identities for name, feed in feeds.items() if counts[name] == most)
        self._identities = _unique(available[: options.samples])
        self._sha256 = ""

    @property
    def names(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return tuple(self._feeds)

    @property
    def plans(self) -> Mapping[str, Preprocessing]:
        """Preprocessing of each input."""
        return self._plans

    @property
    def options(self) -> InputOptions:
        """Options as given."""
        return self._options

    @property
    def count(self) -> int:
        """See `SampleSource`."""
        return len(self._identities)

    @property
    def identities(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return self._identities

    def labels(self, path: Path | None = None) -> Labels | None:
        """True classes of the samples, in their order.

        Args:
            path: A file of labels (see `labels.read_labels`); without it those that come with the samples: behind the
                paths of a list, folder names, an array named 'label' beside the data, an LMDB's own.

        Returns:
            None where nothing tells them.

        Raises:
            InputError: The file cannot serve.
        """
        if path is not None:
            check_file(path)
            return read_labels(path, stored_arrays(path), self._identities)
        for feed in self._feeds.values():
            found = feed.labels()
            if found is not None and len(found.classes) >= self.count:
                return found.first(self.count)
        return None

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        """See `SampleSource`."""
        for name, plan in self._plans.items():
            if shapes[name] != plan.sample_shape:
                raise InternalError(
                    f"input '{name}' was opened for samples of shape {plan.sample_shape}, not {shapes[name]}"
                )
        digest = hashlib.sha256()
        for group in _groups(self._samples(), size):
            arrays = {
                name: group[0][name] if len(group) == 1 else np.concatenate([sample[name] for sample in group])
                for name in self._feeds
            }
            if len(group) > 1 and sum(values.nbytes for values in arrays.values()) <= _HASHED_AT_ONCE:
                digest.update(_hashed_bytes(group[0], arrays, len(group)).data)
            else:
                for sample in group:
                    for name, values in sample.items():
                        digest.update(_head(name, values))
                        digest.update(values.data)
            yield arrays
        self._sha256 = digest.hexdigest()

    def _samples(self) -> Iterator[dict[str, NDArray[Any]]]:
        streams = {
            name: repeat(next(feed.samples())) if len(feed.identities) == 1 else feed.samples()
            for name, feed in self._feeds.items()
        }
        for _ in range(self.count):
            yield {name: next(stream) for name, stream in streams.items()}

    def facts(self) -> InputFacts:
        """See `SampleSource`; the hash is empty until all samples were read once."""
        synthetic = any(isinstance(feed, SyntheticFeed) for feed in self._feeds.values())
        return InputFacts(
            synthetic=synthetic,
            description=self._description(),
            sample_count=self.count,
            samples=self._identities[:MAXIMUM_IDENTITIES],
            preprocessing=self._record(),
            seed=self._options.seed if synthetic else None,
            sha256=self._sha256,
        )

    def _description(self) -> str:
        noun = "sample" if self.count == 1 else "samples"
        descriptions = {name: feed.description for name, feed in self._feeds.items()}
        if len(set(descriptions.values())) == 1:
            first = next(iter(self._feeds.values()))
            if isinstance(first, SyntheticFeed):
                return f"{self.count} {noun} of {first.description}"
            return f"{self.count} {noun} from {first.description}"
        parts = ", ".join(f"{name} from {text}" for name, text in descriptions.items())
        return f"{self.count} {noun}: {parts}"

    def _record(self) -> dict[str, str]:
        record: dict[str, str] = {}
        for name, plan in self._plans.items():
            for key, text in plan.record().items():
                record[key if len(self._plans) == 1 else f"{name}: {key}"] = text
        if self._options.notes:
            record["notes"] = "; ".join(self._options.notes)
        return record


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Tell the same name met again apart: 'a.png', 'a.png#2'."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(result)


def _head(name: str, values: NDArray[Any]) -> bytes:
    """What the hash holds before the values of a sample."""
    return f"{name}\0{values.dtype.str}\0{values.shape}\0".encode()


def _hashed_bytes(
    first: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]], samples: int
) -> NDArray[np.uint8]:
    """The bytes that the hash reads of a batch, sample by sample: of each input its head, then its values."""
    parts = []
    for name, values in first.items():
        head = np.frombuffer(_head(name, values), dtype=np.uint8)
        parts.append(np.broadcast_to(head, (samples, head.size)))
        parts.append(arrays[name].reshape(samples, -1).view(np.uint8))
    return np.concatenate(parts, axis=1)


def _groups(samples: Iterator[dict[str, NDArray[Any]]], size: int) -> Iterator[list[dict[str, NDArray[Any]]]]:
    while group := list(islice(samples, size)):
        yield group

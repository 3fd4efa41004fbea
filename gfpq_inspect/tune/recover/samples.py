"""Samples that are read in any order, again and again, without filling the memory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.feed_source import MAXIMUM_IDENTITIES
from gfpq_inspect.inputs.source import InputFacts, SampleSource

Array = NDArray[Any]
MEMORY_BYTES = 512 << 20
"""Samples that take more than this lie in a temporary file."""


class SampleStore:
    """All samples of a source, read once; beyond `MEMORY_BYTES` they lie in a temporary file.

    Args:
        source: The samples.
        shapes: Input name to the shape of one sample.

    Raises:
        InputError: Samples that cannot be read.
    """

    def __init__(self, source: SampleSource, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.names = tuple(shapes)
        self.identities = tuple(source.identities)
        self._arrays: dict[str, Array] = {}
        digest = hashlib.sha256()
        for index, sample in enumerate(source.batches(1, shapes)):
            if not self._arrays:
                self._make_room(sample, source.count)
            for name, array in self._arrays.items():
                array[index] = sample[name]
                digest.update(np.ascontiguousarray(sample[name]).data)
        self.facts = source.facts()
        self.sha256 = digest.hexdigest()

    def _make_room(self, sample: Mapping[str, Array], count: int) -> None:
        size = sum(sample[name].nbytes for name in self.names) * count
        for name in self.names:
            one = np.asarray(sample[name])
            shape = (count, *one.shape)
            if size <= MEMORY_BYTES:
                self._arrays[name] = np.empty(shape, one.dtype)
                continue
            with tempfile.TemporaryFile(prefix="gfpq-inspect-") as stream:  # without a name: it goes with the mapping
                self._arrays[name] = np.memmap(stream, one.dtype, "w+", shape=shape)

    def sample(self, index: int) -> dict[str, Array]:
        """One sample by input name."""
        return {name: np.array(array[index]) for name, array in self._arrays.items()}

    def part(self, indices: Sequence[int], description: str) -> StorePart:
        """Some of the samples as a source of their own."""
        return StorePart(self, tuple(indices), description)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.identities)


@dataclass(frozen=True)
class StorePart:
    """Some samples of a store; implements `SampleSource`.

    Attributes:
        store: The store.
        indices: Which, in order.
        description: What they are for, a few words.
    """

    store: SampleStore
    indices: tuple[int, ...]
    description: str
    _digest: list[str] = field(default_factory=list, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return self.store.names

    @property
    def count(self) -> int:
        """See `SampleSource`."""
        return len(self.indices)

    @property
    def identities(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return tuple(self.store.identities[index] for index in self.indices)

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, Array]]:
        """See `SampleSource`."""
        digest = hashlib.sha256()
        for first in range(0, self.count, size):
            group = [self.store.sample(index) for index in self.indices[first : first + size]]
            for sample in group:
                for name in shapes:
                    digest.update(sample[name].data)
            yield {name: np.concatenate([sample[name] for sample in group]) for name in shapes if group[0][name].ndim}
        self._digest[:] = [digest.hexdigest()]

    def facts(self) -> InputFacts:
        """See `SampleSource`."""
        base = self.store.facts
        return replace(
            base,
            description=f"{self.count} of {base.description} ({self.description})",
            sample_count=self.count,
            samples=self.identities[:MAXIMUM_IDENTITIES],
            sha256=self._digest[0] if self._digest else "",
        )


@dataclass(frozen=True)
class Split:
    """Which samples do what.

    Attributes:
        train: Trained on, and observed for the coefficients of data.
        holdout: Watched during training: what is best on them is kept.
        judged: Seen by nothing before the comparison at the end; where there are none, `holdout`.
    """

    train: tuple[int, ...]
    holdout: tuple[int, ...]
    judged: tuple[int, ...]


def split_samples(count: int, holdout: float, judged: float, seed: int) -> Split:
    """Draw who trains, who is watched and who judges.

    Args:
        count: Samples.
        holdout: Share that is watched.
        judged: Share that judges; 0 for none.
        seed: Of the draw.

    Raises:
        InputError: Too few samples.
    """
    watched = max(1, round(count * holdout))
    judging = max(1, round(count * judged)) if judged else 0
    if count - watched - judging < 1:
        least = 3 if judged else 2
        raise InputError(
            f"{count} sample{'s are' if count != 1 else ' is'} too few to train on some and be watched by others: "
            f"give at least {least} (a few dozen are better), or lower --holdout and --judged"
        )
    order = [int(index) for index in np.random.default_rng(seed).permutation(count)]
    first, second = watched + judging, judging
    parts = sorted(order[first:]), sorted(order[second:first]), sorted(order[:second])
    return Split(tuple(parts[0]), tuple(parts[1]), tuple(parts[2] or parts[1]))

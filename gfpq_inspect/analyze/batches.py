"""Samples to batches to workers and back, in order.

Each worker takes a whole batch and runs it on one thread; results come back in sample order, so nothing that is made of
them depends on the number of workers.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.analyze.engine.interface import Engine, Facts, Feeds
from gfpq_inspect.analyze.lanes import Side
from gfpq_inspect.errors import InputError, ModelError
from gfpq_inspect.inputs.source import SampleSource
from gfpq_inspect.models.model import Model, ModelInput

Array = NDArray[Any]
Outcome = TypeVar("Outcome")

CACHE_BYTES = 8 << 20
"""What the busiest layer of a batch may touch: more samples than that leave the cache and are no faster."""
LIVE_BYTES = 192 << 20
"""What all live tensors of one worker may take."""
LARGEST_BATCH = 256


@dataclass(frozen=True)
class Batch:
    """Samples on their way through the engine.

    Attributes:
        first: Index of the first one.
        samples: Number of samples.
        feeds: Their arrays.
        digest: Of all samples up to and with these, where the feeder was asked for it.
    """

    first: int
    samples: int
    feeds: Feeds
    digest: str = ""


class Feeder:
    """Reads a source in the shapes and types of the models.

    Args:
        source: The samples, named by the first model's inputs.
        models: The models.
        input_names: For each model, its input name to the source's.
        digests: Whether each batch carries a digest of all samples so far.
    """

    def __init__(
        self,
        source: SampleSource,
        models: Mapping[Side, Model],
        input_names: Mapping[Side, Mapping[str, str]],
        *,
        digests: bool = False,
    ) -> None:
        self._digests = digests
        self._source = source
        self._models = models
        self._input_names = input_names
        missing = [entry.name for entry in models[Side.FIRST].inputs if entry.name not in source.names]
        if missing:
            raise InputError(f"nothing is given for the input '{missing[0]}'; give it as {missing[0]}=FILE.")
        self.may_stack = all(
            model.batchable and all(entry.shape and entry.shape[0] >= 1 for entry in model.inputs)
            for model in models.values()
        )

    def batches(self, size: int, start: int = 0, expected: str = "") -> Iterator[Batch]:
        """All samples in order, `size` at a time.

        Args:
            size: Samples a batch.
            start: Samples to pass over; they are read all the same.
            expected: Digest of the samples that are passed over, '' for any.

        Raises:
            InputError: The samples that are passed over are others than expected.
        """
        first = 0
        digest = _Digest(self._source.names if self._digests else ())
        one_sample = self.may_stack
        shapes = {
            entry.name: (1, *entry.shape[1:]) if one_sample else entry.shape
            for entry in self._models[Side.FIRST].inputs
        }
        for arrays in self._source.batches(size, shapes):
            name, array = next(iter(arrays.items()))
            base = shapes[name]
            samples = array.shape[0] // base[0] if base else 1
            passed = min(max(start - first, 0), samples)
            digest.add(_part(arrays, 0, passed, samples))
            if passed and first + passed == start and expected and digest.value() != expected:
                raise InputError(
                    f"the first {start} samples are not those that the run to be resumed has seen; start it anew."
                )
            rest = _part(arrays, passed, samples, samples)
            digest.add(rest)
            if rest:
                yield Batch(first + passed, samples - passed, self._feeds(rest), digest.value())
            first += samples

    def _feeds(self, arrays: Mapping[str, Array]) -> dict[Side, dict[str, Array]]:
        feeds: dict[Side, dict[str, Array]] = {}
        converted: dict[tuple[str, str], Array] = {}
        for side, model in self._models.items():
            feeds[side] = {}
            for entry in model.inputs:
                name = self._input_names[side][entry.name]
                key = (name, entry.dtype)
                if key not in converted:
                    converted[key] = _converted(arrays[name], entry)
                feeds[side][entry.value] = converted[key]
        return feeds


def _part(arrays: Mapping[str, Array], begin: int, end: int, samples: int) -> Mapping[str, Array]:
    """Some of the samples of a batch; none where the part is empty."""
    if (begin, end) == (0, samples):
        return arrays
    if begin == end:
        return {}
    return {
        name: array[begin * array.shape[0] // samples : end * array.shape[0] // samples]
        for name, array in arrays.items()
    }


class _Digest:
    """Of all samples so far, whatever the batches were.

    Args:
        names: Inputs to look at; none to look at nothing.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._hashes = {name: hashlib.sha256() for name in names}

    def add(self, arrays: Mapping[str, Array]) -> None:
        """Look at the next samples."""
        for name, found in self._hashes.items():
            if name in arrays:
                found.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)

    def value(self) -> str:
        """One digest of all inputs; '' where nothing is looked at."""
        if not self._hashes:
            return ""
        return hashlib.sha256(b"".join(found.digest() for found in self._hashes.values())).hexdigest()


def _converted(array: Array, entry: ModelInput) -> Array:
    wanted = np.dtype(entry.dtype)
    if array.dtype == wanted:
        return np.ascontiguousarray(array)
    result: Array = np.ascontiguousarray(array, dtype=wanted)
    if not np.issubdtype(wanted, np.floating) and not np.array_equal(result, array):
        raise InputError(f"the input '{entry.name}' takes {wanted} values, but the data are not whole numbers.")
    return result


def first_sample(feeder: Feeder) -> Batch:
    """The first sample alone.

    Raises:
        InputError: There is none.
    """
    batch = next(iter(feeder.batches(1)), None)
    if batch is None:
        raise InputError("the input holds no samples; give at least one.")
    return batch


def stacking_holds(engine: Engine, feeder: Feeder) -> bool:
    """Whether two samples stacked give, bit for bit, what each gives alone.

    A network may mix samples in a layer that nobody expected to; this looks instead of believing.
    """
    if not feeder.may_stack:
        return False
    pair = next(iter(feeder.batches(2)))
    if pair.samples < 2:
        return False
    singles = [batch for batch, _ in zip(feeder.batches(1), range(2), strict=False)]
    try:
        together = engine.trial(pair.feeds, 2, digests=True).digests
        apart = [engine.trial(batch.feeds, 1, digests=True).digests for batch in singles]
    except ModelError:
        return False
    return all(
        found == (apart[0][value] + apart[1][value] if len(found) == 2 else apart[0][value])
        for value, found in together.items()
    )


def batch_size(facts: Facts) -> int:
    """Samples to stack: as many as fit the cache, and the memory set aside for live tensors."""
    if facts.room_bytes is not None:
        return max(1, min(facts.room_bytes // max(1, facts.bytes_per_sample), LARGEST_BATCH))
    by_cache = CACHE_BYTES // max(1, facts.largest_step_bytes)
    by_memory = LIVE_BYTES // max(1, facts.bytes_per_sample)
    return max(1, min(by_cache, by_memory, LARGEST_BATCH))


class Stopped(Exception):  # noqa: N818 - no error: the person asked for it
    """Raised in a worker that was told to stop."""


def run_in_order(
    batches: Iterator[Batch],
    work: Callable[[Batch], Outcome],
    workers: int,
    stop: threading.Event | None = None,
) -> Iterator[tuple[Batch, Outcome]]:
    """Work on batches with several threads; results come in the order of the batches.

    Args:
        batches: Read lazily: at most one more than there are workers is in memory.
        work: Called in a worker's thread.
        workers: Number of threads.
        stop: Set when the caller is interrupted, so that workers end soon.
    """
    if workers <= 1:
        for batch in batches:
            yield batch, work(batch)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[Batch, Future[Outcome]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, pool.submit(work, batch)))
                if len(waiting) > workers:
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        except BaseException:
            if stop is not None:
                stop.set()
            raise
        finally:
            for _, future in waiting:
                future.cancel()

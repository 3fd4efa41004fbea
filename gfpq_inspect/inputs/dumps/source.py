"""Samples of a network together with the tensors that were dumped for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError
from gfpq_inspect.inputs.dumps.samples import SamplePlan
from gfpq_inspect.inputs.dumps.values import Reading
from gfpq_inspect.inputs.labels import Labels
from gfpq_inspect.inputs.source import InputFacts, SampleSource

Array = NDArray[Any]


class DumpSource:
    """Implements `source.SampleSource`: the input's samples that the dump has too, with the dump's tensors.

    Args:
        inner: Samples for the network's inputs; None where only dumps are compared.
        shapes: Shape of one sample of each input of the network.
        readings: The dumps' tensors by the name of their model's input, one mapping a dump.
        plan: Which samples belong together.
        identities: Names of the samples, where there is no `inner`.
        description: What the report says of the input, where there is no `inner`.
    """

    def __init__(
        self,
        inner: SampleSource | None,
        shapes: Mapping[str, tuple[int, ...]],
        readings: Sequence[Mapping[str, Reading]],
        plan: SamplePlan,
        *,
        identities: Sequence[str] = (),
        description: str = "",
    ) -> None:
        self._inner = inner
        self._shapes = dict(shapes)
        self._readings = [dict(entry) for entry in readings]
        self._plan = plan
        self._description = description
        names = inner.identities if inner is not None else identities
        self._identities = tuple(names[index] for index, _ in plan.pairs)

    @property
    def inner(self) -> SampleSource | None:
        """All samples of the input, those too that the dump does not have."""
        return self._inner

    @property
    def plan(self) -> SamplePlan:
        """Which samples belong together."""
        return self._plan

    @property
    def names(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        own = self._inner.names if self._inner is not None else ()
        return (*own, *(name for readings in self._readings for name in readings))

    @property
    def count(self) -> int:
        """See `SampleSource`."""
        return len(self._plan.pairs)

    @property
    def identities(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return self._identities

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, Array]]:
        """See `SampleSource`."""
        own = {name: shapes.get(name, shape) for name, shape in self._shapes.items()}
        waiting: list[dict[str, Array]] = []
        for index, arrays in self._samples(own):
            waiting.append({**arrays, **self._dumped(index)})
            if len(waiting) == size:
                yield _stacked(waiting)
                waiting = []
        if waiting:
            yield _stacked(waiting)

    def _samples(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[int, dict[str, Array]]]:
        """Place in the plan, and the network's own arrays."""
        if self._inner is None:
            yield from ((place, {}) for place in range(self.count))
            return
        wanted = {index: place for place, (index, _) in enumerate(self._plan.pairs)}
        for index, arrays in enumerate(self._inner.batches(1, shapes)):
            if index in wanted:
                yield wanted[index], arrays

    def _dumped(self, place: int) -> dict[str, Array]:
        index = self._plan.pairs[place][1]
        return {
            name: reading.sample(index if reading.samples > 1 else 0)
            for readings in self._readings
            for name, reading in readings.items()
        }

    def labels(self) -> Labels | None:
        """True classes of the samples, where the input brings them and all of its samples are used."""
        whole = self._inner is not None and self.count == self._inner.count
        labels = getattr(self._inner, "labels", None) if whole else None
        found = None if labels is None else labels()
        return found if isinstance(found, Labels) else None

    def facts(self) -> InputFacts:
        """See `SampleSource`."""
        if self._inner is None:
            return InputFacts(
                synthetic=False,
                description=self._description,
                sample_count=self.count,
                samples=self._identities,
                preprocessing={},
                seed=None,
                sha256="",
            )
        facts = self._inner.facts()
        record = {**facts.preprocessing, "samples of the dump": self._plan.rule}
        description = facts.description
        if self.count < self._inner.count:
            description = f"{self.count} of {description}, '{self._identities[0]}'"
            description += f" to '{self._identities[-1]}'" if self.count > 1 else ""
        return replace(
            facts,
            sample_count=self.count,
            samples=self._identities,
            preprocessing=record,
            description=description,
        )


def _stacked(samples: Sequence[dict[str, Array]]) -> dict[str, Array]:
    if len(samples) == 1:
        return samples[0]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def one_sample(source: SampleSource, shapes: Mapping[str, tuple[int, ...]], wanted: int) -> dict[str, Array]:
    """The arrays of one sample.

    Raises:
        InputError: There are not as many.
    """
    for index, arrays in enumerate(source.batches(1, shapes)):
        if index == wanted:
            return arrays
    raise InputError(f"the input has no sample {wanted}; it has {source.count}")

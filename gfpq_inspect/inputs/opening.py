"""From `--input` to samples for every input of a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gfpq_inspect.errors import InputError, InternalError, UsageError
from gfpq_inspect.inputs.arrays import StoredArray
from gfpq_inspect.inputs.feed import ArrayFeed, ChainedFeed, Feed, open_feed, stored_arrays
from gfpq_inspect.inputs.files import Item, find_items
from gfpq_inspect.inputs.options import (
    DEFAULT_CHANNEL_ORDER,
    DEFAULT_SYNTHETIC_SAMPLES,
    InputOptions,
    listed,
    parse_frame_size,
    parse_resize,
    split_name,
)
from gfpq_inspect.inputs.preprocess import Preprocessing, make_preprocessing
from gfpq_inspect.inputs.source import InputFacts
from gfpq_inspect.inputs.synthetic import SyntheticFeed
from gfpq_inspect.models.model import ModelInput

MAXIMUM_IDENTITIES = 1000


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
    def count(self) -> int:
        """See `SampleSource`."""
        return len(self._identities)

    @property
    def identities(self) -> tuple[str, ...]:
        """See `SampleSource`."""
        return self._identities

    def batches(self, size: int, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, NDArray[Any]]]:
        """See `SampleSource`."""
        for name, plan in self._plans.items():
            if shapes[name] != plan.sample_shape:
                raise InternalError(
                    f"input '{name}' was opened for samples of shape {plan.sample_shape}, not {shapes[name]}"
                )
        digest = hashlib.sha256()
        for group in _groups(self._samples(), size):
            for sample in group:
                for name, values in sample.items():
                    digest.update(f"{name}\0{values.dtype.str}\0{values.shape}\0".encode())
                    digest.update(values.data)
            yield {
                name: group[0][name] if len(group) == 1 else np.concatenate([sample[name] for sample in group])
                for name in self._feeds
            }
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
        return record


def open_inputs(
    specifications: Sequence[str],
    model_inputs: Sequence[ModelInput],
    options: InputOptions | None = None,
    *,
    batchable: bool = True,
) -> FeedSource:
    """Open what feeds a network; without specifications, seeded synthetic noise.

    Files are found and their headers read now, so that a missing or foreign file is told before the run; pixels and
    values are read when batches are asked for, a few at a time.

    Args:
        specifications: Each a file (.npy, .npz, image, list of paths), a folder or a pattern, or `NAME=` one of these.
            Those for one input follow one another. An .npz feeds every input that it has an array for.
        model_inputs: The network's inputs, with their final shapes.
        options: Preprocessing and sample count.
        batchable: Whether axis 0 of the inputs counts samples (`Model.batchable`); if not, a sample is what the
            network takes at a time.

    Returns:
        The samples.

    Raises:
        InputError: A file that cannot serve, an input without data, counts that differ.
        UsageError: Options that do not fit the network.
    """
    options = options or InputOptions()
    if not model_inputs:
        raise InputError("the network has no input to feed; it computes constants only")
    plans = {model_input.name: _plan(model_input, model_inputs, options, batchable) for model_input in model_inputs}
    if not specifications:
        count = options.samples or DEFAULT_SYNTHETIC_SAMPLES
        noise = {
            name: SyntheticFeed(plan, options.seed, position, count)
            for position, (name, plan) in enumerate(plans.items())
        }
        return FeedSource(noise, plans, options)
    found: dict[str, list[Feed]] = {name: [] for name in plans}
    for specification in specifications:
        for name, feed in _feeds_of(specification, plans):
            found[name].append(feed)
    missing = [name for name, feeds in found.items() if not feeds]
    if missing:
        raise InputError(
            f"there are no data for input {listed(missing)} of the network; give --input {missing[0]}=FILE"
        )
    return FeedSource({name: _chained(feeds) for name, feeds in found.items()}, plans, options)


def _feeds_of(specification: str, plans: Mapping[str, Preprocessing]) -> Iterator[tuple[str, Feed]]:
    name, path = split_name(specification, tuple(plans))
    if name is not None:
        yield name, open_feed(path, plans[name])
    elif len(plans) == 1:
        only = next(iter(plans))
        yield only, open_feed(path, plans[only])
    else:
        for item in find_items(path)[0]:
            arrays = stored_arrays(item.path)
            if arrays is None or arrays[0].name is None:
                raise UsageError(
                    f"--input {specification} names no input, and the network has {listed(tuple(plans))}; "
                    f"write NAME={specification}"
                )
            yield from _named_arrays(item, arrays, plans)


def _named_arrays(
    item: Item, arrays: Sequence[StoredArray], plans: Mapping[str, Preprocessing]
) -> Iterator[tuple[str, Feed]]:
    """The arrays of a file that carry the names of inputs."""
    named = {array.name: array for array in arrays}
    if not set(named) & set(plans):
        raise InputError(
            f"{item.path}: holds {listed([str(name) for name in named])}, but the network's inputs are "
            f"{listed(tuple(plans))}; save the arrays under the inputs' names"
        )
    for name, plan in plans.items():
        if name in named:
            yield name, ArrayFeed(named[name], item.name, plan, item.name)


def _chained(feeds: Sequence[Feed]) -> Feed:
    if len(feeds) == 1:
        return feeds[0]
    descriptions = list(dict.fromkeys(feed.description for feed in feeds))
    said = ", ".join(descriptions[:4]) + (f" and {len(descriptions) - 4} more" if len(descriptions) > 4 else "")
    return ChainedFeed(tuple(feeds), said)


def _plan(
    model_input: ModelInput, model_inputs: Sequence[ModelInput], options: InputOptions, batchable: bool
) -> Preprocessing:
    shape = model_input.shape
    if any(size < 1 for size in shape):
        raise InputError(
            f"input '{model_input.name}' of the network has no fixed shape; "
            f"give --input-shape {model_input.name}:N,C,H,W with its dimensions"
        )
    alone = len(model_inputs) == 1
    applies = alone or len(shape) == 4
    return make_preprocessing(
        model_input.name,
        (1, *shape[1:]) if batchable and shape else shape,
        model_input.dtype,
        layout=options.layout,
        channel_order=options.channel_order or DEFAULT_CHANNEL_ORDER,
        resize=parse_resize(options.resize),
        mean=_option_for(options.mean, model_input.name, applies),
        scale=_option_for(options.scale, model_input.name, applies),
        frame_size=parse_frame_size(options.frame_size),
    )


def _option_for(value: Any, name: str, applies: bool) -> Any:
    """The value for one input: by name, or the one for all; several inputs share it only where they are images."""
    if isinstance(value, Mapping):
        return value.get(name)
    return value if applies else None


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Tell the same name met again apart: 'a.png', 'a.png#2'."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(result)


def _groups(samples: Iterator[dict[str, NDArray[Any]]], size: int) -> Iterator[list[dict[str, NDArray[Any]]]]:
    while group := list(islice(samples, size)):
        yield group
